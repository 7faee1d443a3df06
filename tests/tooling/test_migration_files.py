"""Bad files are refused before any connection, with file and line."""

from pathlib import Path

import pytest

from bakehouse.errors import BakehouseError
from bakehouse.migrations.files import discover, select
from command import NOWHERE, Project

GOOD = "begin;\nselect 1;\ncommit;\n"
FIRST = "20260101000000_M0_first.sql"


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        (FIRST, "begin;\nselect 1;\n", 1, "no commit"),
        (FIRST, "select 1;\n\ncommit;\n", 3, "no begin"),
        (FIRST, "begin;\nselect 1;\ncommit;\nbegin;\nselect 2;\ncommit;\n", 3, "second trans"),
        (FIRST, "begin;\nselect 1;\nrollback;\ncommit;\n", 3, "second transaction"),
        (FIRST, "begin;\nsavepoint a;\ncommit;\n", 2, "second transaction"),
        (FIRST, "begin isolation level serializable;\nselect 1;\ncommit;\n", 1, "second trans"),
        (FIRST, "begin;\n\\i other.sql\ncommit;\n", 2, "psql meta-command"),
        (FIRST, "select 1;\ncopy t from stdin;\n", 2, "copy from stdin"),
        (FIRST, "begin;\nselect 'open;\ncommit;\n", 2, "never closed"),
        (FIRST, "create index concurrently a on t (b);\nselect 1;\n", 2, "cannot run in a trans"),
        (FIRST, "begin;\nvacuum;\ncommit;\n", 1, "cannot run in a transaction"),
        (FIRST, "-- Needs: M7\nselect 1;\n", 1, "no such milestone"),
        ("20260101_M0_short.sql", GOOD, 1, "not a migration's name"),
        ("20260101000000_core.sql", GOOD, 1, "not a migration's name"),
        ("20260101000000_M0_Core.sql", GOOD, 1, "not a migration's name"),
        ("20260101000000_M0_core.SQL", GOOD, 1, "not a migration's name"),
        ("20260101000000_M0_core.down.sql", GOOD, 1, "supabase/down"),
    ],
)
def test_a_bad_file_is_refused_before_connecting(
    project: Project, name: str, text: str, line: int, said: str
) -> None:
    project.write(name, text)

    ran = project.run("migrate", "up", url=NOWHERE)

    assert ran.code == 6
    assert f"{name}:{line}: " in ran.err
    assert said in ran.err


def test_every_problem_of_the_files_is_reported_at_once(project: Project) -> None:
    project.write("20260101000000_M0_first.sql", "begin;")
    project.write("20260101000000_M0_twin.sql", GOOD)
    project.write("20260101000001_M0_bad.sql", "select '")
    (project.root / "supabase/migrations/sub").mkdir()
    (project.root / "supabase/migrations/sub/20260101000002_M0_lost.sql").write_text(GOOD)
    (project.root / "supabase/migrations/20260101000003_M0_latin.sql").write_bytes(b"-- caf\xe9")

    ran = project.run("migrate", "up", "--json", url=NOWHERE)

    assert ran.code == ran.json["code"] == 6
    assert ran.json["kind"] == "lint"
    places = [finding.split(":")[0] for finding in ran.json["findings"]]
    assert sorted(places) == [
        "20260101000000_M0_first.sql",
        "20260101000000_M0_twin.sql",
        "20260101000001_M0_bad.sql",
        "20260101000003_M0_latin.sql",
        "sub",
    ]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "BEGIN;\nselect 1;\nEND;\n",
        "begin transaction;\nselect 1;\ncommit work;\n",
        "select 1;\n",
        "-- only a comment\n",
        "",
        "create index concurrently a on t (b);\ndrop index concurrently c;\n",
        "do $$ begin perform 1; end; $$;\n",
        "\ufeffselect 1;\n",
    ],
)
def test_a_valid_file_is_accepted(tmp_path: Path, text: str) -> None:
    (tmp_path / FIRST).write_text(text)

    assert [found.label for found in discover(tmp_path)] == [FIRST.removesuffix(".sql")]


def test_milestones_can_be_left_out_but_not_those_that_others_need(tmp_path: Path) -> None:
    for number, (milestone, needs) in enumerate([("M0", ""), ("M3", "M0"), ("M6", "M0 M3")]):
        name = f"2026010100000{number}_{milestone}_part.sql"
        (tmp_path / name).write_text(f"-- Needs: {needs or 'nothing'}\nselect 1;\n")
    found = discover(tmp_path)

    assert [file.milestone for file in select(found, {"M6"})] == ["M0", "M3"]
    with pytest.raises(BakehouseError, match="M6_part needs M3, which --skip leaves out"):
        select(found, {"M3"})
    with pytest.raises(BakehouseError, match="unknown milestone: M9"):
        select(found, {"M9"})


def test_a_new_migration_sorts_last_and_has_a_down_script(project: Project) -> None:
    project.write("29990101000000_M0_future.sql", GOOD)

    ran = project.run("migrate", "new", "M5", "Faster", "scans!", "--json")

    assert ran.code == 0
    assert ran.json["files"] == [
        "supabase/migrations/29990101000001_M5_faster_scans.sql",
        "supabase/down/29990101000001_M5_faster_scans.sql",
    ]
    assert all((project.root / name).is_file() for name in ran.json["files"])
    assert len(discover(project.root / "supabase" / "migrations")) == 2


@pytest.mark.parametrize("arguments", [("five", "scans"), ("M5", "!")])
def test_an_invalid_name_of_a_migration_is_refused(
    project: Project, arguments: tuple[str, str]
) -> None:
    assert project.run("migrate", "new", *arguments).code == 2


def test_outside_a_project_the_error_says_what_a_project_is(tmp_path: Path) -> None:
    ran = Project(tmp_path).run("migrate", "status")

    assert ran.code == 2
    assert "supabase/migrations" in ran.err
