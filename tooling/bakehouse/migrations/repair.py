"""Repair one row of the history. The schema does not change, and a record is kept."""

from collections.abc import Callable, Collection
from typing import Literal, get_args

from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import Version, VersionState

Action = Literal["adopt", "rehash", "forget", "rename"]
ACTIONS: tuple[Action, ...] = get_args(Action)


def repair(
    conn: Connection, action: Action, version: str, files: Collection[Migration], to: str = ""
) -> str:
    """Repair the row of a version and keep a record. Returns what was done."""
    history.ensure(conn)
    versions = {one.version: one for one in history.compare(files, history.applied(conn))}
    entry = versions.get(version)
    if entry is None:
        raise BakehouseError(
            "usage",
            f"version {version} is in neither the database nor the files",
            "`bakehouse migrate status` lists every version.",
        )
    with conn.transaction():
        done = _REPAIRS[action](conn, entry, versions.get(to))
        conn.execute(
            "insert into bakehouse.repairs (action, version, detail) values (%s, %s, %s)",
            (action, version, Jsonb({"state": entry.state, "to": to, "done": done})),
        )
        history.start(conn)
        history.advance(conn, {}, {}, history.chain_head(history.applied(conn)))
    return done


def _adopt(conn: Connection, entry: Version, _to: Version | None) -> str:
    file = _require(entry, {"pending", "out of order", "unverified", "applied"}, "adopted")
    history.record(conn, file, 0, None)
    return f"{entry.version} counts as applied; its SQL was not run"


def _rehash(conn: Connection, entry: Version, _to: Version | None) -> str:
    file = _require(entry, {"edited", "reformatted"}, "rehashed")
    history.record(conn, file, 0, None)
    return f"{entry.version} is recorded as the file reads now; its SQL was not run again"


def _require(entry: Version, states: Collection[VersionState], verb: str) -> Migration:
    if entry.file is None or entry.state not in states:
        needed = ", ".join(sorted(states))
        raise BakehouseError(
            "usage",
            f"{entry.version} is {entry.state}: it cannot be {verb}",
            f"This action needs a file and one of these states: {needed}.",
        )
    return entry.file


def _forget(conn: Connection, entry: Version, _to: Version | None) -> str:
    if entry.applied is None:
        raise BakehouseError(
            "usage",
            f"{entry.version} is {entry.state}: there is no row to forget",
            "Only a version that is in the history can be forgotten.",
        )
    history.delete(conn, entry.version)
    return f"{entry.version} is no longer recorded; `migrate up` would run it"


def _rename(conn: Connection, entry: Version, to: Version | None) -> str:
    if entry.state != "unknown" or entry.applied is None:
        raise BakehouseError(
            "usage",
            f"{entry.version} is {entry.state}: there is nothing to rename",
            "Only a row without a file can be renamed.",
        )
    if to is None or to.file is None or to.applied is not None:
        raise BakehouseError(
            "usage",
            "rename needs the version of a file that is not applied",
            "Name both versions: migrate repair rename OLD NEW",
        )
    if to.file.sql_hash != entry.applied.sql_hash:
        raise BakehouseError(
            "drift",
            f"the SQL of {to.file.path.name} is not the SQL of {entry.version}",
            "A row can only be renamed to a file with the same SQL.",
        )
    history.delete(conn, entry.version)
    history.record(conn, to.file, entry.applied.duration_ms or 0, None)
    return f"{entry.version} is now {to.version}; nothing was run"


_REPAIRS: dict[Action, Callable[[Connection, Version, Version | None], str]] = {
    "adopt": _adopt,
    "rehash": _rehash,
    "forget": _forget,
    "rename": _rename,
}
