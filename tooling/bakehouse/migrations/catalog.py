"""The objects in a database, and what changed between two readings."""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg.rows import RowFactory, args_row, scalar_row, tuple_row

from bakehouse.database import Connection, Row, fetch, sql_file, value


def about_ours(name: str) -> bytes:
    """Read a query, and put our schemas before its first `with` clause, as `schemas`."""
    query, schemas = (sql_file(__package__, one) for one in (name, "schemas"))
    begin, clause, rest = query.partition(b"\nwith")
    recursive, _, rest = rest.partition(b"\n")
    return b"%s%s%s\nschemas as (\n%s),\n%s" % (begin, clause, recursive, schemas, rest)


DEFINITIONS = about_ours("definitions")
_OBJECTS = about_ours("catalog")
_SURROUNDINGS = sql_file(__package__, "surroundings")
_PROMISES = about_ours("promises")

_NAME_ALL: LiteralString = (
    "select current_setting('search_path'), set_config('search_path', 'pg_catalog', true)"
)

Objects = Mapping[str, str]  # the name of each object, and a hash of its definition
_PARTITION = "partition "
# the kinds in surroundings.sql
AROUND = ("role ", "membership ", "setting ", "default ", "event ", "publication ", "guard ")


@dataclass(frozen=True)
class Changes:
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.gone)


def objects(conn: Connection) -> dict[str, str]:
    """Read all objects of the migrations."""
    return {name: hash for name, hash, _ in fetch_named(conn, tuple_row, _OBJECTS, False)}


def read(conn: Connection) -> dict[str, str]:
    """Read all objects under the search_path pg_catalog, which the caller has set."""
    return {name: hash for name, hash, _ in fetch(conn, tuple_row, _OBJECTS, False)}


def surroundings(conn: Connection, migration_role: str | None = None) -> dict[str, str]:
    """Read the roles, rights and triggers around these objects."""
    found = fetch_named(conn, tuple_row, _SURROUNDINGS, False, migration_role)
    return {name: hash for name, hash, _ in found}


def texts(conn: Connection) -> dict[str, tuple[str, str, str | None]]:
    """Read hash, definition and (if known) creating statement of everything."""
    found = fetch_named(conn, tuple_row, _OBJECTS, True)
    found += fetch_named(conn, tuple_row, _SURROUNDINGS, True, None)
    statements = {row[0]: row[1] for row in fetch_named(conn, tuple_row, DEFINITIONS)}
    return {
        name: (hash, definition, statements.get(name.replace(_PARTITION, "table ", 1)))
        for name, hash, definition in found
    }


def made(objects: Objects) -> dict[str, str]:
    """Return what the files make alike in every environment."""
    return {k: v for k, v in objects.items() if not k.startswith((_PARTITION, *AROUND))}


def promises(conn: Connection) -> set[str]:
    """Read what callers may rely on, as one sentence each."""
    return set(fetch_named(conn, args_row("{} {}".format), _PROMISES))


def fetch_named(conn: Connection, row: RowFactory[Row], query: bytes, *given: object) -> list[Row]:
    """Run a query that names objects: the search_path of the session must not shorten names."""
    with conn.transaction():
        # no rollback, after which psycopg would plan the query again
        path = value(conn, _NAME_ALL)
        rows = fetch(conn, row, query, *given)
        fetch(conn, scalar_row, "select set_config('search_path', $1, true)", path)
    return rows


def breaking(changes: Changes, before: set[str], after: set[str], had: Container[str]) -> list[str]:
    """List what callers could rely on before, but not any more.

    `had` names the objects at the start of the run: changes to objects that the run created break
    no caller. A dropped object is listed once, without its promises.
    """
    gone = tuple(f"{name} " for name in changes.gone)
    ended = sorted(one for one in before - after if not one.startswith(gone))
    return [f"{name} is gone" for name in changes.gone if name in had] + [
        f"no longer: {one}" for one in ended
    ]


def compare(before: Objects, after: Objects) -> Changes:
    return Changes(
        added=sorted(after.keys() - before.keys()),
        changed=sorted(name for name, _ in after.items() - before.items() if name in before),
        gone=sorted(before.keys() - after.keys()),
    )


def fingerprint(objects: Objects) -> str:
    """Hash what the files make."""
    lines = "\n".join(f"{name}\t{hash}" for name, hash in sorted(made(objects).items()))
    return hashlib.sha256(lines.encode()).hexdigest()
