"""Repair one row of the history. The schema does not change, and a record is kept."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import How, Version, VersionState

Action = Literal["adopt", "rehash", "forget", "rename"]
# what is done to a version, the states that allow this, and what is said afterwards
_ACTIONS: dict[Action, tuple[str, set[VersionState], str]] = {
    "adopt": (
        "adopted",
        {"pending", "out of order", "unverified", "applied", "foreign"},
        "is {how}; its SQL was not run",
    ),
    "rehash": (
        "rehashed",
        {"edited", "reformatted"},
        "is recorded as the file reads now; its SQL was not run again",
    ),
    "forget": (
        "forgotten",
        {"applied", "adopted", "unverified", "reformatted", "edited", "foreign", "unknown"},
        "is no longer recorded; `migrate up` would run it",
    ),
    "rename": ("renamed", {"unknown"}, "is now {to}; nothing was run"),
}


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
    _require(entry, action)
    file = _renamed(versions, entry, to) if action == "rename" else entry.file
    how = adoption.how if action == "adopt" else None
    with conn.transaction():
        if action in ("forget", "rename"):
            history.delete(conn, version)
        if file and action != "forget":
            duration = (entry.applied and entry.applied.duration_ms) or 0
            history.record(conn, file, duration, None, how, adoption.reason)
        manner = "adopted, unproven" if how == "unproven" else how
        done = f"{version} {_ACTIONS[action][2].format(how=manner, to=to)}"
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
    _require(entry, "adopt")
    assert entry.file
    return entry.file


def _require(entry: Version, action: Action) -> None:
    """Refuse an action that the state of the version does not allow."""
    verb, states, _ = _ACTIONS[action]
    if entry.state not in states:
        raise BakehouseError(
            "usage",
            f"{entry.version} is {entry.state}: it cannot be {verb}",
            f"This action needs one of these states: {', '.join(sorted(states))}.",
        )


def _renamed(versions: Collection[Version], entry: Version, to: str) -> Migration:
    """Return the file that gets the row."""
    new = next((one for one in versions if one.version == to), None)
    if new is None or new.file is None or new.applied is not None:
        raise BakehouseError(
            "usage",
            "rename needs the version of a file that is not applied",
            "Name both versions: migrate repair rename OLD NEW",
        )
    if entry.applied is None or new.file.sql_hash != entry.applied.sql_hash:
        raise BakehouseError(
            "drift",
            f"the SQL of {new.file.path.name} is not the SQL of {entry.version}",
            "A row can only be renamed to a file with the same SQL.",
        )
    return new.file
