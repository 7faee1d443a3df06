"""Repair one row of the history. The schema does not change, and a record is kept."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import How, Version, VersionState

Action = Literal["adopt", "rehash", "forget", "rename"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Adoption:
    """How a version is adopted, and the objects before and after its file."""

    how: How = "adopted"
    reason: str | None = None
    before: Objects = field(default_factory=dict)
    after: Objects = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)  # what else the run records


def repair(
    conn: Connection,
    action: Action,
    version: str,
    files: Collection[Migration],
    to: str,
    adoption: Adoption,
) -> str:
    """Repair the row of a version and keep a record. Returns what was done."""
    history.ensure(conn)
    versions = history.compare(files, history.applied(conn))
    entry = find(versions, version)
    with conn.transaction():
        if action == "adopt":
            done = _adopt(conn, entry, adoption)
        else:
            other = next((one for one in versions if one.version == to), None)
            done = _REPAIRS[action](conn, entry, other)
        conn.execute(
            "insert into bakehouse.repairs (action, version, detail) values (%s, %s, %s)",
            (action, version, Jsonb({"state": entry.state, "to": to, "done": done})),
        )
        history.start(conn)
        head = history.chain_head(history.applied(conn))
        history.advance(conn, adoption.before, adoption.after, head)
    return done


def find(versions: Collection[Version], version: str) -> Version:
    entry = next((one for one in versions if one.version == version), None)
    if entry is None:
        raise BakehouseError(
            "usage",
            f"version {version} is in neither the database nor the files",
            "`bakehouse migrate status` lists every version.",
        )
    return entry


def adoptable(entry: Version) -> Migration:
    """Return the file of a version that can be adopted."""
    states: set[VersionState] = {"pending", "out of order", "unverified", "applied", "foreign"}
    return _require(entry, states, "adopted")


def _adopt(conn: Connection, entry: Version, adoption: Adoption) -> str:
    history.record(conn, adoptable(entry), 0, None, adoption.how, adoption.reason)
    unproven = ", unproven" if adoption.how == "unproven" else ""
    return f"{entry.version} is adopted{unproven}; its SQL was not run"


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
    "rehash": _rehash,
    "forget": _forget,
    "rename": _rename,
}
