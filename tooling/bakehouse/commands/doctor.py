"""The commands about the tool itself: doctor, which looks for problems, and version."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer
from psycopg.rows import class_row

from bakehouse import __version__, database, output
from bakehouse.commands.context import Database, Tool, command
from bakehouse.database import Connection, value
from bakehouse.deploy import environment
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.output import Result
from bakehouse.server import platform
from bakehouse.server.binaries import find_binaries

app = typer.Typer()


@dataclass(frozen=True)
class _Check:
    name: str
    state: Literal["good", "note", "bad"]
    detail: str
    repair: str = ""  # the statement or command that repairs a fault, where one alone does


@command(app, "doctor")
def doctor(
    here: Database,
    after_upgrade: Annotated[
        bool,
        typer.Option(
            "--after-upgrade", help="Also name what an upgrade of Postgres has left behind."
        ),
    ] = False,
) -> Result:
    """Look for problems that would stop other commands, and say how to fix them."""
    checks = list(_examine(here, after_upgrade))
    text = output.table(
        ("state", "check", "found"), [(one.state, one.name, one.detail) for one in checks]
    )
    error = None
    if any(one.state == "bad" for one in checks):
        error = BakehouseError("unexpected", "a check failed", "Fix what is marked bad.")
    return Result({"checks": [asdict(one) for one in checks]}, text, error)


@command(app, "version")
def version(here: Tool) -> Result:
    """Print the version of this tool."""
    return Result({"version": __version__}, __version__)


def _examine(here: Database, after_upgrade: bool) -> Iterator[_Check]:
    """Make every check. Checks of the database need a connection."""
    yield _Check("python", "good", sys.version.split()[0])
    yield _attempt("postgres binaries", lambda: str(find_binaries()))
    node = shutil.which("node")
    absent = "none: Supabase CLI checks are skipped"
    yield _Check("node", "good" if node else "note", node or absent)
    yield _attempt("migration files", lambda: f"{len(here.files()[0])} in order")
    try:
        with database.connect(here.dsn, here.command) as conn:
            yield _Check("connection", "good", database.describe(here.dsn))
            server = database.sql_file(__package__, "server")
            yield from database.fetch(conn, class_row(_Check), server)
            faults = platform.missing(conn, conn.info.user)
            yield from _repairable(faults, "roles", "no membership and no limit is missing")
            yield from _examine_history(conn, here)
            if after_upgrade:
                yield from _examine_upgrade(conn)
            yield from _examine_invariants(conn)
            yield from _find_alerts(conn)
    except BakehouseError as error:
        yield _Check("connection", "bad", f"{error.message}. {error.hint}")


def _find_alerts(conn: Connection) -> Iterator[_Check]:
    """List the alerts. They concern the shop and no other command, so none is marked bad."""
    if _may_call(conn, "app.alerts()"):
        yield from database.fetch(conn, class_row(_Check), database.sql_file(__package__, "alerts"))


def _may_call(conn: Connection, function: str) -> bool:
    """Check that a function is there. After an upgrade, the role may lack the right to call it."""
    may = "select has_function_privilege(to_regprocedure($1), 'execute')"
    return bool(value(conn, may, function))


def _attempt(name: str, look: Callable[[], str]) -> _Check:
    try:
        return _Check(name, "good", look())
    except BakehouseError as error:
        return _Check(name, "bad", f"{error.message} {error.hint}")


def _examine_upgrade(conn: Connection) -> Iterator[_Check]:
    faults = platform.left_behind(conn)
    identity = environment.identity(conn)
    if identity and identity.copied:
        what = f"says that it is a copy of {identity.env}"
        command = f"bakehouse env mark {identity.env} --yes"
        faults.append(platform.Missing("database", what, command))
    yield from _repairable(faults, "upgrade", "nothing was left behind")


def _repairable(faults: list[platform.Missing], name: str, without: str) -> Iterator[_Check]:
    if not faults:
        yield _Check(name, "good", without)
    for one in faults:
        yield _Check(one.subject, "bad", f"{one.fault}: `{one.repair}`", one.repair)


def _examine_history(conn: Connection, here: Database) -> Iterator[_Check]:
    env = environment.name_of(conn)
    unmarked = "not marked: `bakehouse env mark`"
    yield _Check("environment", "good" if env else "note", env or unmarked)
    versions = history.compare(here.files()[0], history.applied(conn))
    for state in sorted({one.state for one in versions}):
        count = sum(one.state == state for one in versions)
        verdict: Literal["good", "note", "bad"] = "good" if state == "applied" else "note"
        if state in history.BLOCKING:
            verdict = "bad"
        yield _Check("history", verdict, f"{count} {state}")


def _examine_invariants(conn: Connection) -> Iterator[_Check]:
    """Compare the facts that two tables repeat, where the migration that does this is applied."""
    if not _may_call(conn, "app.audit_all()"):
        return
    output.say("checking the invariants: this takes a minute for 500,000 orders")
    found = database.fetch(conn, class_row(_Check), database.sql_file(__package__, "invariants"))
    yield from found or [_Check("invariants", "good", "what tables repeat agrees")]
    if _may_call(conn, "app.stock_audit()"):
        yield from database.fetch(conn, class_row(_Check), database.sql_file(__package__, "stock"))
