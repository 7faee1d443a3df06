"""What a database has had: read its history, compare it with the files, mend one row."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files as package_files
from typing import Any, cast

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from bakehouse import __version__, catalog, sqltext
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import Migration


@dataclass(frozen=True)
class Applied:
    """A version that the database says it has."""

    version: str
    name: str | None
    sql_hash: str | None
    byte_hash: str | None = None  # only what bakehouse applied has the rest
    applied_at: datetime | None = None
    applied_by: str | None = None
    duration_ms: int | None = None


@dataclass(frozen=True)
class Entry:
    """One version, seen from both sides."""

    version: str
    name: str
    state: str
    detail: str = ""
    file: Migration | None = None
    applied: Applied | None = None


BLOCKING = {"edited", "unknown", "out of order"}


def ensure(conn: Connection) -> None:
    """Create the tables of the history where they are missing."""
    if not exists(conn, "bakehouse.evidence"):
        conn.execute(package_files("bakehouse").joinpath("sql/history.sql").read_bytes())


def read(conn: Connection) -> list[Applied]:
    """The versions in the database, in their order; to_jsonb copes with any age of the table."""
    if not exists(conn, "supabase_migrations.schema_migrations"):
        return []
    rows = conn.cursor(row_factory=dict_row)
    if not exists(conn, "bakehouse.migrations"):
        rows.execute(
            "select h.version, to_jsonb(h) ->> 'name' as name,"
            " to_jsonb(h) -> 'statements' as statements"
            ' from supabase_migrations.schema_migrations as h order by h.version collate "C"'
        )
    else:
        rows.execute(
            "select h.version, coalesce(m.name, to_jsonb(h) ->> 'name') as name,"
            " case when m.version is null then to_jsonb(h) -> 'statements' end as statements,"
            " m.sql_hash, m.byte_hash, m.applied_at, m.applied_by, m.duration_ms"
            " from supabase_migrations.schema_migrations as h"
            " left join bakehouse.migrations as m on m.version = h.version"
            ' order by h.version collate "C"'
        )
    return [_applied(row) for row in rows]


def _applied(row: dict[str, Any]) -> Applied:
    statements = row.pop("statements")
    if statements is not None:
        try:
            row["sql_hash"] = sqltext.sql_hash(sqltext.split(";\n".join(statements)))
        except sqltext.SqlTextError:
            row["sql_hash"] = None
    return Applied(**{"sql_hash": None} | row)


def chain_head(applied: Collection[Applied]) -> str | None:
    """One value for the whole history; none while a row's SQL is not known."""
    head = ""
    for row in applied:
        if row.sql_hash is None:
            return None
        head = hashlib.sha256(f"{head}{row.version}{row.sql_hash}".encode()).hexdigest()
    return head


def head_after(applied: Collection[Applied], pending: Collection[Migration]) -> str | None:
    """The chain head that the history will have once these files are applied."""
    ahead = [Applied(file.version, file.name, file.sql_hash) for file in pending]
    return chain_head(sorted([*applied, *ahead], key=lambda row: row.version))


def compare(
    files: Collection[Migration], applied: Collection[Applied], skip: Collection[str] = ()
) -> list[Entry]:
    """Every version known to either side, in order, with what is to be said of it."""
    return sorted(_entries(files, applied, skip), key=lambda entry: entry.version)


def _entries(
    files: Collection[Migration], applied: Collection[Applied], skip: Collection[str]
) -> Iterator[Entry]:
    had = {row.version: row for row in applied}
    by_version = {file.version: file for file in files}
    begun = {file.milestone for file in files if file.version in had}
    newest = max(had, default="")
    for row in applied:
        if row.version not in by_version:
            yield _unknown(row, [file for file in files if file.version not in had])
    for file in files:
        entry = had.get(file.version)
        if entry is not None:
            state, detail = _match(file, entry)
        elif file.milestone in skip:
            state, detail = "skipped", ""
        elif file.version < newest and file.milestone in begun:
            # a milestone that was left out as a whole may still come later
            state = "out of order"
            detail = f"older than {newest}, which is applied: give it a later version"
        else:
            state, detail = "pending", ""
        yield Entry(file.version, file.name, state, detail, file, entry)


def _match(file: Migration, row: Applied) -> tuple[str, str]:
    if row.byte_hash == file.byte_hash:
        return "applied", ""
    if row.sql_hash is None:
        return "unverified", "applied by another tool, its SQL was not kept"
    if row.sql_hash != file.sql_hash:
        return "edited", "the file's SQL is not what was applied"
    if row.byte_hash is None:
        return "applied", "by another tool"
    return "reformatted", "same SQL; comments or layout changed"


def _unknown(row: Applied, pending: list[Migration]) -> Entry:
    twin = next((file for file in pending if file.sql_hash == row.sql_hash), None)
    detail = "in the database, but no such file"
    if twin:
        detail = f"same SQL as {twin.path.name}: migrate repair rename {row.version} {twin.version}"
    return Entry(row.version, row.name or "", "unknown", detail, None, row)


def require_clean(entries: Collection[Entry]) -> None:
    """Refuse to go on from a history that disagrees with the files."""
    bad = [entry for entry in entries if entry.state in BLOCKING]
    if bad:
        lines = [f"{entry.version} {entry.name}: {entry.state}, {entry.detail}" for entry in bad]
        raise BakehouseError(
            "drift",
            "the history and the files disagree\n" + "\n".join(f"  {line}" for line in lines),
            "Nothing was run. `migrate status` shows all, `migrate repair` mends a row;"
            " in dev, `bakehouse reset` starts again from the files.",
            findings=lines,
        )


def record(conn: Connection, file: Migration, duration_ms: int, commit: str | None) -> None:
    """Write the file's row into both histories, in the caller's transaction."""
    conn.execute(
        "with kept as ("
        " insert into supabase_migrations.schema_migrations (version, statements, name)"
        " values (%(version)s, %(statements)s, %(name)s)"
        " on conflict (version) do update"
        " set statements = excluded.statements, name = excluded.name)"
        " insert into bakehouse.migrations"
        " (version, name, sql_hash, byte_hash, duration_ms, tool_version, git_commit)"
        " values (%(version)s, %(name)s, %(sql_hash)s, %(byte_hash)s, %(duration_ms)s,"
        " %(tool_version)s, %(git_commit)s)"
        " on conflict (version) do update set name = excluded.name,"
        " sql_hash = excluded.sql_hash, byte_hash = excluded.byte_hash",
        {
            "version": file.version,
            "name": file.name,
            "statements": [statement.text for statement in file.statements],
            "sql_hash": file.sql_hash,
            "byte_hash": file.byte_hash,
            "duration_ms": duration_ms,
            "tool_version": __version__,
            "git_commit": commit,
        },
    )


def snapshot(conn: Connection, objects: catalog.Objects) -> None:
    """Remember the objects of the database as they are, under the history that made them."""
    head = chain_head(read(conn))
    if head is not None:
        with conn.transaction():
            conn.execute("delete from bakehouse.snapshots where chain_head is not null")
            conn.execute(
                "insert into bakehouse.snapshots (chain_head, objects) values (%s, %s)",
                (head, Jsonb(objects)),
            )


def last_snapshot(conn: Connection) -> tuple[str, dict[str, str]] | None:
    """The chain head and the objects of the last snapshot."""
    if not exists(conn, "bakehouse.snapshots"):
        return None
    row = conn.execute("select chain_head, objects from bakehouse.snapshots").fetchone()
    return (str(row[0]), cast("dict[str, str]", row[1])) if row else None


def wipe(conn: Connection) -> None:
    """Drop all that the migrations made, and the memory of them; the mark and the roles stay."""
    with conn.transaction():
        owner = conn.execute("select 1 from pg_roles where rolname = 'bakehouse_owner'")
        if owner.fetchone():
            conn.execute("drop owned by bakehouse_owner cascade")
        conn.execute("drop schema if exists bakehouse cascade")
        if exists(conn, "supabase_migrations.schema_migrations"):
            conn.execute("delete from supabase_migrations.schema_migrations where true")


def exists(conn: Connection, table: str) -> bool:
    row = conn.execute("select to_regclass(%s) is not null", (table,)).fetchone()
    return bool(row and row[0])


def forget(conn: Connection, script: Migration, _duration_ms: int) -> None:
    """Take the version of a down script out of both histories, in the caller's transaction."""
    delete(conn, script.version)


def delete(conn: Connection, version: str) -> None:
    """Take a version out of both histories, in the caller's transaction."""
    conn.execute("select set_config('bakehouse.guard', 'off', true)")
    conn.execute("delete from bakehouse.migrations where version = %s", (version,))
    conn.execute("delete from supabase_migrations.schema_migrations where version = %s", (version,))


def recorded_text(conn: Connection, version: str) -> str:
    """The SQL that was applied under a version, as far as the history kept it."""
    row = conn.execute(
        "select array_to_string(statements, E';\n') || ';'"
        " from supabase_migrations.schema_migrations where version = %s",
        (version,),
    ).fetchone()
    return str(row[0]) if row and row[0] else ""


def repair(
    conn: Connection, action: str, version: str, files: Collection[Migration], to: str = ""
) -> str:
    """Mend one row of the history, and leave a record of it. Returns what was done."""
    ensure(conn)
    entries = {entry.version: entry for entry in compare(files, read(conn))}
    entry = entries.get(version)
    if entry is None:
        raise BakehouseError("usage", f"neither the database nor the files know version {version}")
    with conn.transaction():
        done = _REPAIRS[action](conn, entry, entries.get(to))
        conn.execute(
            "insert into bakehouse.repairs (action, version, detail) values (%s, %s, %s)",
            (action, version, Jsonb({"state": entry.state, "to": to, "done": done})),
        )
        snapshot(conn, catalog.read(conn))
    return done


def _adopt(conn: Connection, entry: Entry, _to: Entry | None) -> str:
    file = _require(entry, {"pending", "out of order", "unverified", "applied"}, "adopted")
    record(conn, file, 0, None)
    return f"{entry.version} counts as applied; its SQL was not run"


def _rehash(conn: Connection, entry: Entry, _to: Entry | None) -> str:
    file = _require(entry, {"edited", "reformatted"}, "rehashed")
    record(conn, file, 0, None)
    return f"{entry.version} is recorded as the file reads now; its SQL was not run again"


def _require(entry: Entry, states: Collection[str], verb: str) -> Migration:
    if entry.file is None or entry.state not in states:
        raise BakehouseError("usage", f"{entry.version} is {entry.state}: it cannot be {verb}")
    return entry.file


def _forget(conn: Connection, entry: Entry, _to: Entry | None) -> str:
    if entry.applied is None:
        raise BakehouseError("usage", f"{entry.version} is {entry.state}: nothing to forget")
    delete(conn, entry.version)
    return f"{entry.version} is no longer recorded; `migrate up` would run it"


def _rename(conn: Connection, entry: Entry, to: Entry | None) -> str:
    if entry.state != "unknown" or entry.applied is None:
        raise BakehouseError("usage", f"{entry.version} has its file: there is nothing to rename")
    if to is None or to.file is None or to.applied is not None:
        raise BakehouseError("usage", "rename needs the version of a file that is not applied")
    if to.file.sql_hash != entry.applied.sql_hash:
        raise BakehouseError("drift", f"{to.file.path.name} is not the SQL of {entry.version}")
    delete(conn, entry.version)
    record(conn, to.file, entry.applied.duration_ms or 0, None)
    return f"{entry.version} is now {to.version}; nothing was run"


_REPAIRS = {"adopt": _adopt, "rehash": _rehash, "forget": _forget, "rename": _rename}
ACTIONS = tuple(_REPAIRS)
