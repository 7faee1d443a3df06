"""Rules for the text of the migration files. Each rule is shown to fail."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

import postgres

CREATES = re.compile(
    r"\bcreate\s+(?:or\s+replace\s+)?(?:materialized\s+)?(?:function|procedure|view)\s+"
    r"(?:if\s+not\s+exists\s+)?([\w.]+)",
    re.IGNORECASE,
)


def created_twice(folder: Path) -> dict[str, list[str]]:
    """Functions and views that more than one migration creates, each with these files."""
    files: dict[str, set[str]] = defaultdict(set)
    for path in folder.glob("*.sql"):
        for name in CREATES.findall(path.read_text()):
            files[name.lower()].add(path.name)
    return {name: sorted(found) for name, found in files.items() if len(found) > 1}


def test_no_function_or_view_is_created_in_two_migrations() -> None:
    assert created_twice(postgres.MIGRATIONS) == {}


@pytest.mark.parametrize("kind", ["function", "view", "materialized view", "procedure"])
def test_a_second_definition_is_found(tmp_path: Path, kind: str) -> None:
    (tmp_path / "1_M0_a.sql").write_text(f"create {kind} app.x as select 1;")
    (tmp_path / "2_M0_b.sql").write_text(f"create {kind} app.y as select 1;")
    assert created_twice(tmp_path) == {}

    (tmp_path / "3_M0_c.sql").write_text(f"begin;\nCREATE OR REPLACE {kind} app.X as select 2;")

    assert created_twice(tmp_path) == {"app.x": ["1_M0_a.sql", "3_M0_c.sql"]}


def test_one_file_may_choose_between_two_definitions(tmp_path: Path) -> None:
    (tmp_path / "1_M0_a.sql").write_text(
        "create function app.x() ...; create or replace function app.x() ...;"
    )

    assert created_twice(tmp_path) == {}


ALTERS = re.compile(r"\b(?:create|alter|drop)\s+(?:role|user)\s+(?!bakehouse_)\S+", re.IGNORECASE)


def test_no_migration_touches_a_role_of_the_platform() -> None:
    """Roles belong to the whole server: `bakehouse bootstrap` sets their limits."""
    folders = (postgres.MIGRATIONS, postgres.MIGRATIONS.with_name("down"))
    found = {
        path.name: touched
        for folder in folders
        for path in folder.glob("*.sql")
        if (touched := ALTERS.findall(path.read_text()))
    }

    assert found == {}


@pytest.mark.parametrize(
    ("statement", "touches"),
    [
        ("alter role anon set statement_timeout = '3s'", True),
        ("ALTER USER authenticator SET lock_timeout = 0", True),
        ("drop role service_role", True),
        ("create role baker", True),
        ("create role bakehouse_owner nologin", False),
        ("alter default privileges for role bakehouse_owner grant select on tables to anon", False),
    ],
)
def test_a_statement_that_touches_such_a_role_is_found(statement: str, touches: bool) -> None:
    assert bool(ALTERS.search(statement)) is touches
