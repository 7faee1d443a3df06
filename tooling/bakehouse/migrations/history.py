"""The history of a database: read it, compare it with the files, and write to it."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

from psycopg.rows import args_row, kwargs_row, scalar_row, tuple_row
from psycopg.types.json import Jsonb

from bakehouse import __version__
from bakehouse.database import Connection, fetch, sql_file, table_exists, value
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, sqltext
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration

VersionState = (
    Literal["applied", "adopted", "reformatted", "unverified", "pending", "out of order", "skipped"]
    | Literal["edited", "unknown", "foreign"]
)
BLOCKING: frozenset[VersionState] = frozenset({"edited", "unknown", "foreign"})
_RECORD = sql_file(__package__, "record")
How = Literal["applied", "adopted", "unproven"]  # unproven: adopted without a comparison


@dataclass(frozen=True)
class Applied:
    """A version that is in the history of the database."""

    version: str
    name: str | None
    sql_hash: str | None
    byte_hash: str | None = None  # known only if bakehouse applied the file, as below
    applied_at: datetime | None = None
    applied_by: str | None = None
    duration_ms: int | None = None
    how: How = "applied"
    reason: str | None = None  # why it was adopted
    foreign_row: str = ""  # the user and the time, if another tool wrote the row


@dataclass(frozen=True)
class Baseline:
    """What the files left in the database: the chain head, and the hash of each object."""

    head: str | None
    objects: dict[str, str]


@dataclass(frozen=True)
class Version:
    """A version in the files, in the history, or in both."""

    version: str
    name: str
    state: VersionState
    detail: str = ""
    file: Migration | None = None
    applied: Applied | None = None

    @property
    def blocking(self) -> bool:
        return self.state in BLOCKING

    @property
    def pending(self) -> bool:
        return self.state in ("pending", "out of order")

    def __str__(self) -> str:
        return f"{self.version} {self.name}: {self.state}, {self.detail}"


def ensure(conn: Connection) -> None:
    """Create the tables of the history that are missing."""
    tables = "bakehouse.accepted_drift", "supabase_migrations.schema_migrations"
    if not all(table_exists(conn, name) for name in tables):
        conn.execute(sql_file(__package__, "history"))


def applied(conn: Connection) -> list[Applied]:
    """Read the versions in the database, in order."""
    if not table_exists(conn, "supabase_migrations.schema_migrations"):
        return []
    ours = table_exists(conn, "bakehouse.migrations")
    query = sql_file(__package__, "applied" if ours else "applied_elsewhere")
    return fetch(conn, kwargs_row(_applied), query)


def _applied(statements: list[str] | None, sql_hash: str | None = None, **facts: Any) -> Applied:
    if statements is not None:
        with suppress(sqltext.SqlTextError):
            sql_hash = sqltext.sql_hash(sqltext.split(";\n".join(statements)))
    return Applied(sql_hash=sql_hash, **facts)


def chain_head(applied: Collection[Applied]) -> str | None:
    """Hash the history, without foreign rows. Returns None if the SQL of a row is not known."""
    head = ""
    for row in applied:
        if row.foreign_row:
            continue
        if row.sql_hash is None:
            return None
        head = hashlib.sha256(f"{head}{row.version}{row.sql_hash}".encode()).hexdigest()
    return head


def head_after(applied: Collection[Applied], pending: Collection[Migration]) -> str | None:
    """Return the chain head of the history after these files."""
    ahead = [Applied(file.version, file.name, file.sql_hash) for file in pending]
    return chain_head(sorted([*applied, *ahead], key=lambda row: row.version))


def compare(
    files: Collection[Migration], applied: Collection[Applied], skip: Collection[str] = ()
) -> list[Version]:
    """Return every version of the files and the history, in order, with its state."""
    rows = {row.version: row for row in applied}
    newest = max(rows, default="")
    begun = {file.milestone for file in files if file.version in rows}
    found = []
    for file in files:
        row = rows.pop(file.version, None)
        state, detail = _match(file, row) if row else _pending(file, skip, begun, newest)
        found.append(Version(file.version, file.name, state, detail, file, row))
    pending = [one.file for one in found if one.file and not one.applied]
    found += [_unknown(row, pending) for row in rows.values()]
    return sorted(found, key=lambda one: one.version)


def _pending(
    file: Migration, skip: Collection[str], begun: Collection[str], newest: str
) -> tuple[VersionState, str]:
    if file.milestone in skip:
        return "skipped", ""
    # the files of a milestone that was skipped are still allowed
    if file.version < newest and file.milestone in begun:
        return "out of order", f"older than {newest}, which is applied"
    return "pending", ""


def _match(file: Migration, row: Applied) -> tuple[VersionState, str]:
    if row.foreign_row:
        return "foreign", f"another tool wrote this row, {row.foreign_row}: migrate repair adopt"
    if row.how != "applied" and row.sql_hash == file.sql_hash:
        unproven = "" if row.how == "adopted" else "unproven, "
        return "adopted", f"{unproven}its SQL was not run here: {row.reason or 'no reason given'}"
    if row.byte_hash == file.byte_hash:
        return "applied", ""
    if row.sql_hash is None:
        return "unverified", "applied by another tool, its SQL was not kept"
    if row.sql_hash != file.sql_hash:
        return "edited", "the file's SQL is not what was applied"
    if row.byte_hash is None:
        return "applied", "by another tool"
    return "reformatted", "same SQL; comments or layout changed"


def _unknown(row: Applied, pending: list[Migration]) -> Version:
    twin = next((file for file in pending if file.sql_hash == row.sql_hash), None)
    detail = "in the database, but no such file"
    if row.foreign_row:
        detail += f"; another tool wrote this row, {row.foreign_row}"
    if twin:
        detail = f"same SQL as {twin.path.name}: migrate repair rename {row.version} {twin.version}"
    return Version(row.version, row.name or "", "unknown", detail, None, row)


def require_clean(versions: Collection[Version]) -> None:
    """Refuse a history that disagrees with the files."""
    bad = [str(version) for version in versions if version.blocking]
    if bad:
        raise BakehouseError(
            "drift",
            "\n  ".join(["the history and the files disagree", *bad]),
            f"Nothing was run. {DISAGREEMENT}",
            findings=bad,
        )


DISAGREEMENT = (
    "`migrate status` shows every version, `migrate verify` the SQL of each change,"
    " `migrate repair` repairs a row;"
    " in dev, `bakehouse reset` starts again from the files."
)


def record(
    conn: Connection,
    file: Migration,
    duration_ms: int,
    commit: str | None,
    how: How | None = None,
    reason: str | None = None,
) -> None:
    """Write the row of a file into both histories, in the transaction of the caller."""
    text = [statement.text for statement in file.statements], file.sql_hash, file.byte_hash
    facts = duration_ms, __version__, commit, how, reason
    fetch(conn, tuple_row, _RECORD, file.version, file.name, *text, *facts)


def baseline(conn: Connection) -> Baseline | None:
    """Read the baseline; None before the first run."""
    if not table_exists(conn, "bakehouse.baseline"):
        return None
    query: LiteralString = "select chain_head, objects from bakehouse.baseline"
    return next(iter(fetch(conn, args_row(Baseline), query)), None)


def unfinished(conn: Connection, versions: Collection[str]) -> dict[str, str | None]:
    """Read what the unfinished steps of these versions make or drop, with the old hash."""
    if not table_exists(conn, "bakehouse.baseline"):
        return {}
    query = sql_file(__package__, "unfinished")
    return dict(catalog.fetch_named(conn, tuple_row, query, list(versions)))


def reading(conn: Connection, versions: Collection[str]) -> dict[str, str]:
    """Read everything that is there. Objects of unfinished steps are as in the baseline."""
    found = {**catalog.objects(conn), **catalog.surroundings(conn), **unfinished(conn, versions)}
    return {name: hash for name, hash in found.items() if hash}


def start(conn: Connection) -> Baseline:
    """Read the baseline. The first baseline is what is there now."""
    known = baseline(conn)
    if known is None:
        known = Baseline(chain_head(applied(conn)), reading(conn, ()))
        conn.execute(
            "insert into bakehouse.baseline (chain_head, objects) values (%s, %s)",
            (known.head, Jsonb(known.objects)),
        )
    return known


def advance(
    conn: Connection, before: Objects, after: Objects, head: str | None, text: str = ""
) -> None:
    """Move the baseline by the difference of two readings, in the transaction of the caller.

    Drift that is in both readings stays drift, unless it is accepted and this text names it.
    """
    changes = catalog.compare(before, after)
    moved = {name: after[name] for name in (*changes.added, *changes.changed)}
    query = sql_file(__package__, "advance")
    fetch(conn, scalar_row, query, head, changes.gone, Jsonb(moved), text)


@contextmanager
def surrounding(
    conn: Connection, migration_role: str | None = None, moved: bool = False
) -> Iterator[None]:
    """Move the baseline by what the block changes in the surroundings.

    `moved`: the baseline is that of another database, so all surroundings are new.
    """
    known = baseline(conn)
    before = catalog.surroundings(conn, migration_role)
    if known and moved:
        before = {k: v for k, v in known.objects.items() if k.startswith(catalog.AROUND)}
    yield
    if known:
        advance(conn, before, catalog.surroundings(conn, migration_role), known.head)


def remember(conn: Connection) -> None:
    """Keep the SQL of each object of the baseline."""
    now = [(name, *facts) for name, facts in catalog.texts(conn).items()]
    columns = map(list, zip(*now, strict=True))
    fetch(conn, scalar_row, sql_file(__package__, "remember"), *columns)


def wipe(conn: Connection) -> None:
    """Drop all objects of migrations, and the history. Keeps the mark and the roles."""
    conn.execute(sql_file(__package__, "wipe"))


def delete(conn: Connection, version: str) -> None:
    """Delete a version from both histories, in the transaction of the caller."""
    conn.execute("select set_config('bakehouse.guard', 'off', true)")
    conn.execute("delete from bakehouse.migrations where version = %s", (version,))
    conn.execute("delete from supabase_migrations.schema_migrations where version = %s", (version,))


def difference(conn: Connection, file: Migration) -> list[str]:
    """Compare the applied SQL of a version with its file, line by line."""
    query: LiteralString = (
        "select array_to_string(statements, E';\n') || ';'"
        " from supabase_migrations.schema_migrations where version = $1"
    )
    now = ";\n".join(statement.text for statement in file.statements) + ";"
    return sqltext.diff(value(conn, query, file.version) or "", now, "applied", file.path.name)
