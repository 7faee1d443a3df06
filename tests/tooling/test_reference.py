"""docs/rpc.md agrees with the database, and its examples run."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bakehouse import database
from bakehouse.database import Connection
from bakehouse.deploy import environment
from bakehouse.errors import BakehouseError
from bakehouse.rpc import reference
from bakehouse.rpc.reference import Example
from command import Project
from postgres import Server
from rows import values

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "rpc"
FOLDER = ROOT / "docs" / "examples"
EXAMPLES = [one for path in FOLDER.glob("*.sql") for one in reference.parse(path).examples]


@pytest.fixture(scope="module")
def seeded(server: Server, template: str) -> Iterator[Connection]:
    """A migrated database with the dev data."""
    name = server.copy(template)
    with psycopg.connect(server.dsn(name), autocommit=True) as conn:
        environment.mark(conn, environment.Settings("dev"))
        conn.execute((ROOT / "supabase" / "seed_dev.sql").read_bytes())
        yield conn
    server.drop(name)


def run(conn: Connection, role: str, sql: str) -> psycopg.Cursor[tuple[object, ...]]:
    """Returns the answer of the last statement."""
    api = role if role == "service_role" else "authenticated"
    database.act_as(conn, api, reference.ACCOUNTS[role])
    ran = conn.execute(sql.encode())
    while ran.nextset():
        pass
    return ran


def lists(conn: Connection) -> list[str]:
    return values(conn, "select proname::text from pg_proc where proretset")


def test_the_pages_agree_with_the_database(session_db: Connection) -> None:
    pages = reference.render(reference.gather(session_db, FOLDER))

    assert {path.name: path.read_text() for path in PAGES.glob("*.md")} == pages, (
        "write them again: bakehouse docs rpc"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.function}-{one.role}")
def test_an_example_runs_as_the_role_it_names(seeded: Connection, example: Example) -> None:
    with seeded.transaction(force_rollback=True):
        ran = run(seeded, example.role, example.sql)

        # only a list may return no rows
        assert ran.rowcount > 0 or example.function in lists(seeded)


def test_the_example_of_calling_from_sql_runs(seeded: Connection) -> None:
    opening = (FOLDER / "opening.md").read_text()
    found = re.search(r"```sql\n(.*?)```", opening, re.DOTALL)
    assert found

    ran = seeded.execute(found[1].encode())
    while ran.description is None and ran.nextset():
        pass

    assert ran.fetchone() == (
        ["Vanilla", "Chocolate", "Strawberry", "Mango", "Hazelnut", "Pistachio"],
    )


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("create function public.bad() returns int language sql as 'select 1'", "no example"),
        (
            "comment on function public.get_flavours(text) is 'Flavours.'",
            "get_flavours: its comment",
        ),
        (
            "comment on function public.get_flavours(text) is e'Flavours.\n\nRole: Baker.'",
            "get_flavours: its comment",
        ),
        (
            "comment on function public.get_flavours(text) is e'It.\n\nRole: Admin. Errors: ODD.'",
            "get_flavours: no error code ODD",
        ),
        ("drop function public.get_flavours(text)", "an example of get_flavours"),
    ],
)
def test_an_incomplete_page_is_refused(db: Connection, bad: str, problem: str) -> None:
    db.execute(bad.encode())

    with pytest.raises(BakehouseError, match=problem):
        reference.render(reference.gather(db, FOLDER))


def test_the_command_writes_the_page_and_reports_a_stale_one(tmp_path: Path, clone: str) -> None:
    for part in ("supabase", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    project, pages = Project(tmp_path), tmp_path / "docs" / "rpc"
    page = pages / "errors.md"
    current = project.run("docs", "rpc", "--check", url=clone)
    page.write_text(page.read_text() + "and more\n")
    (pages / "gone.md").write_text("a chapter of another time\n")

    stale = project.run("docs", "rpc", "--check", url=clone)
    written = project.run("docs", "rpc", url=clone)

    assert (current.code, stale.code, written.code) == (0, 4, 0), current.err + written.err
    assert page.read_text() == (PAGES / "errors.md").read_text()
    assert not (pages / "gone.md").exists()
