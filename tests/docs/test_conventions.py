"""The examples of docs/conventions.md work."""

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import calls
import rows
from bakehouse.database import Connection, connect
from bakehouse.deploy import environment
from command import Project
from docs import pages
from docs.pages import ROOT

SQL = pages.blocks(pages.read("docs/conventions.md"), "sql")
FILES = [code for code in SQL if code.startswith("-- M")]


def test_the_files_apply(tmp_path: Path, clone: str) -> None:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    project = Project(tmp_path)
    with connect(clone, "tests") as conn:
        environment.mark(conn, environment.Settings("dev"))
    for code in FILES:
        title = code.splitlines()[0].strip("- ").partition(":")[0]
        made = project.run("migrate", "new", *title.split())
        (tmp_path / made.out.split()[0]).write_text(code)

    ran = project.run("migrate", "up", url=clone)

    assert len(FILES) == 2
    assert (ran.code, ran.out) == (0, "applied 2 migrations\n"), ran.err


@pytest.mark.parametrize("code", [code for code in SQL if code not in FILES])
def test_the_statement_runs_twice(db: Connection, code: str) -> None:
    db.execute("set local role bakehouse_owner")

    for _ in range(2):
        db.execute(code.encode())


def test_the_example_of_a_test_passes(db: Connection) -> None:
    (code,) = pages.blocks(pages.read("docs/conventions.md"), "python")
    names: dict[str, Any] = {**vars(calls), **vars(rows), "Connection": Connection, "UUID": UUID}

    exec(code, names)  # noqa: S102  # the page is ours

    names["test_an_order_cannot_be_packed_before_its_decorating"](db, rows.make_staff(db))
