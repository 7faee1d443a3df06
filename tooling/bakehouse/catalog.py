"""The catalogue of a database as data: what is there, and what changed between two looks."""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from bakehouse.database import Connection

_QUERY = files("bakehouse").joinpath("sql/catalog.sql").read_bytes()
_PROMISES = files("bakehouse").joinpath("sql/promises.sql").read_bytes()

Objects = Mapping[str, str]  # what it is called -> a hash of its definition


@dataclass(frozen=True)
class Changes:
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.gone)


def read(conn: Connection) -> dict[str, str]:
    """All objects, read with a search_path that does not depend on the session."""
    with conn.transaction():
        conn.execute("set local search_path = pg_catalog")
        rows = conn.execute(_QUERY).fetchall()
        conn.execute("reset search_path")
    return {str(name): str(definition) for name, definition in rows}


def promises(conn: Connection) -> set[str]:
    """What callers may count on, a sentence each."""
    with conn.transaction():
        conn.execute("set local search_path = pg_catalog")
        rows = conn.execute(_PROMISES).fetchall()
        conn.execute("reset search_path")
    return {f"{object_} {promise}" for object_, promise in rows}


def breaking(changes: Changes, before: set[str], after: set[str], had: Container[str]) -> list[str]:
    """What callers could count on and no longer can; of an object that is gone, only that.

    `had` is what was there when the run began: what the run itself has made breaks nobody.
    """
    gone = tuple(f"{name} " for name in changes.gone)
    ended = sorted(one for one in before - after if not one.startswith(gone))
    return [f"{name} is gone" for name in changes.gone if name in had] + [
        f"no longer: {one}" for one in ended
    ]


def compare(before: Objects, after: Objects) -> Changes:
    return Changes(
        added=sorted(after.keys() - before.keys()),
        changed=sorted(
            name for name in before.keys() & after.keys() if before[name] != after[name]
        ),
        gone=sorted(before.keys() - after.keys()),
    )


def fingerprint(objects: Objects) -> str:
    """One value for the whole catalogue."""
    lines = "\n".join(f"{name}\t{objects[name]}" for name in sorted(objects))
    return hashlib.sha256(lines.encode()).hexdigest()
