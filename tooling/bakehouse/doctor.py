"""What would stop the other commands, looked for one thing at a time."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bakehouse import database, embedded, environment, history, migrations
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError


@dataclass(frozen=True)
class Check:
    name: str
    state: str  # good, note or bad
    detail: str


def examine(project: Path, dsn: Callable[[], str]) -> Iterator[Check]:
    """Every check in turn; those on the database only when there is one."""
    yield Check("python", "good", sys.version.split()[0])
    yield _attempt("postgres binaries", _binaries)
    node = shutil.which("node")
    yield Check("node", "good" if node else "note", node or "none: Supabase CLI checks are skipped")
    yield _attempt("migration files", lambda: _files(project))
    try:
        where = dsn()
        with database.connect(where, "doctor") as conn:
            yield Check("connection", "good", database.describe(where))
            yield from _database(conn, project)
    except BakehouseError as error:
        yield Check("connection", "bad", f"{error.message}. {error.hint}")


def _attempt(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "good", look())
    except BakehouseError as error:
        return Check(name, "bad", f"{error.message} {error.hint}")


def _binaries() -> str:
    found = embedded.find_binaries()
    return f"Postgres {found.version} from {found.source}"


def _files(project: Path) -> str:
    return f"{len(migrations.discover(project / 'supabase' / 'migrations'))} in order"


def _database(conn: Connection, project: Path) -> Iterator[Check]:
    row = conn.execute(
        "select current_setting('server_version'), r.rolsuper, r.rolcreaterole,"
        " pg_has_role(d.datdba, 'USAGE'),"
        " (select count(*) from pg_roles where rolname in ('anon', 'authenticated',"
        " 'service_role')), to_regclass('auth.users') is not null"
        " from pg_roles as r, pg_database as d"
        " where r.rolname = current_user and d.datname = current_database()"
    ).fetchone()
    if row is None:
        return
    yield Check("server", "good", f"Postgres {row[0]}")
    superuser = "a superuser hides what fails on Supabase: migrate as the database's owner"
    if row[1]:
        yield Check("migration role", "bad", superuser)
    elif not (row[2] and row[3]):
        yield Check("migration role", "bad", "must own the database and have CREATEROLE")
    else:
        yield Check("migration role", "good", "owns the database, is no superuser")
    ready = row[4] == 3 and row[5]
    yield Check(
        "platform",
        "good" if ready else "bad",
        "API roles and auth.users are there" if ready else "missing: run `bakehouse bootstrap`",
    )
    env = environment.says(conn)
    yield Check("environment", "good" if env else "note", env or "not marked: `bakehouse env mark`")
    files = migrations.discover(project / "supabase" / "migrations")
    entries = history.compare(files, history.read(conn))
    for state in sorted({entry.state for entry in entries}):
        count = sum(entry.state == state for entry in entries)
        verdict = "bad" if state in history.BLOCKING else "good" if state == "applied" else "note"
        yield Check("history", verdict, f"{count} {state}")
