"""The README is true: its commands run and answer as shown, its tables are complete."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse import sqltext
from bakehouse.database import Connection
from bakehouse.errors import EXIT_CODES
from projects import Project, free_port
from support import acting_as, value, values

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
VARIABLE = re.compile(r"\b[0-9a-f]{64}\b|\d{14}|\b\d+(?= (ms|objects)\b)")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Project]:
    """A copy of the project with its dev server up."""
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    project = Project(tmp_path)
    try:
        ran = project.run("up", "--port", str(free_port()))
        assert ran.code == 0, ran.err
        yield project
    finally:
        project.run("down", "--remove")


def session() -> list[tuple[str, str]]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    parts = re.split(r"^\$ (.*)\n", "".join(blocks), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_session_in_the_readme_runs_as_shown(checkout: Project) -> None:
    for command, shown in session():
        ran = checkout.run(*shlex.split(command)[1:])

        assert ran.code == 0, ran.err
        assert VARIABLE.sub("#", ran.out) == VARIABLE.sub("#", shown)


def test_the_sql_in_the_readme_runs_as_the_roles_it_names(db: Connection) -> None:
    found = re.search(r"```sql\n(.*?)```", README, re.DOTALL)
    assert found
    first, *calls = sqltext.split(found[1])
    db.execute(first.text.encode())
    admin = values(db, "select user_id from public.staff_shared where full_name = 'First Admin'")[0]

    with acting_as(db, "authenticated", admin):
        for call in calls:
            db.execute(call.text.encode())

    assert len(calls) == 3
    assert value(db, "select app.setting('bannos', 'inventory_tracking_enabled')") is True


def test_every_exit_code_is_in_the_readme() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", README, re.MULTILINE)

    assert {kind: int(code) for code, kind in rows} == EXIT_CODES


@pytest.mark.parametrize("group", [(), ("migrate",), ("env",), ("gate",), ("release",)])
def test_every_command_is_in_the_readme(project: Project, group: tuple[str, ...]) -> None:
    said = project.run(*group, "--help").out
    commands = re.findall(r"^│ (\w+) ", said, re.MULTILINE)

    assert commands
    for command in set(commands) - {"migrate", "env", "gate", "release", "version"}:
        assert f"`{' '.join(('bakehouse', *group, command))}" in README


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets | {"any"}
