"""Find what a running file does to tables in use, and advise what to do instead.

The text of the file is not enough. A do block can hide a statement, and most statements are
harmless on a table that the same files create.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg import errors
from psycopg.rows import kwargs_row, scalar_row, tuple_row

from bakehouse.database import Connection, execute, fetch, sql_file
from bakehouse.migrations import catalog
from bakehouse.migrations.files import Migration

_WATCHED = sql_file(__package__, "watched")
_ADVICE = catalog.about_ours("advice")
_LABELS = b"select enumlabel::text from pg_enum"

Key = tuple[str, int, int]  # the kind, the oid of the table, a number
Advice = tuple[str, str, str, str]  # the rule, the object, what is wrong, what to do
Seen = Mapping[Key, "Trait"]
Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Trait:
    """A property of a table: an index, a constraint, or the type of a column."""

    table: str
    name: str
    value: str


@dataclass(frozen=True)
class Finding:
    place: str  # file:line
    table: str  # '' if the size of the table does not matter
    rows: int  # the rows of the table
    what: str
    advice: str

    def level(self, large: int, rows: int | None = None) -> Level:
        size = self.rows if rows is None else rows
        return "warning" if self.table and size < large else "error"

    def __str__(self) -> str:
        return f"{self.place}: {self.what}. {self.advice}"


def see(conn: Connection, tables: Collection[int]) -> Seen:
    """Read the traits of these tables, which existed before the first file."""
    if not tables:
        return {}
    return dict(catalog.fetch_named(conn, kwargs_row(_trait), _WATCHED, list(tables)))


def _trait(
    kind: str, oid: int, number: int, label: str, name: str, value: str
) -> tuple[Key, Trait]:
    return (kind, oid, number), Trait(label, name, value)


def locate(
    conn: Connection, file: Migration, tables: Mapping[int, int], before: Seen
) -> Iterator[Finding]:
    """Run the file again, a statement at a time, to find the statement of each finding.

    `tables` gives the rows of each table.
    """
    known = set(fetch(conn, scalar_row, _LABELS))
    for statement in file.body:
        place = file.place(statement.start)
        labels = set(fetch(conn, scalar_row, _LABELS))
        try:
            execute(conn, statement.text)
        except errors.UnsafeNewEnumValueUsage as error:
            said = error.diag.message_primary or ""
            for label in sorted(labels - known):
                if f'"{label}"' in said:
                    yield Finding(place, "", 0, f"uses '{label}', which this file adds", _ENUM)
            return
        after = see(conn, tables)
        for oid, what, advice in _findings(before, after):
            label = after["file", oid, 0].table if oid else ""
            yield Finding(place, label, tables.get(oid, 0), what, advice)
        before = after
    conn.execute("reset role")


def advice(conn: Connection) -> set[Advice]:
    """Read what opens the data to the API by mistake."""
    return set(fetch(conn, tuple_row, _ADVICE))


def rewritten(before: Seen, after: Seen) -> list[int]:
    """List the oids of the tables that have a new file."""
    return [
        key[1]
        for key, now in after.items()
        if key[0] == "file" and key in before and before[key].value != now.value
    ]


def has_findings(before: Seen, after: Seen) -> bool:
    return any(_findings(before, after))


_ENUM = "A new value can be used only after the file that adds it"
_INDEX = "Create it concurrently, in a file of its own"
_TYPE = "Add a column, fill it, let readers move over, drop the old one in a later release"
_CHECK = "Add it not valid; validate it in a later file"
_NOT_NULL = "Validate a check that it is not null in an earlier file: then there is no scan"
_REQUIRED = "Add it nullable or with a default, and fill it; set not null in a later release"
_REWRITE = "A default that is constant needs no rewrite; fill other values in batches"


def _findings(before: Seen, after: Seen) -> Iterator[tuple[int, str, str]]:
    """Compare two readings. Yields the table's oid (0: at any size), the finding, the advice."""
    retyped = set()
    for (kind, oid, number), now in after.items():
        old = before.get((kind, oid, number))
        table, column = now.table, f"{now.table}.{now.name}"
        if kind == "index" and old is None:
            yield oid, f"builds {now.name} while nobody can write to {table}", _INDEX
        elif kind == "constraint" and old is None and now.value == "true":
            yield oid, f"checks every row of {table} for {now.name} under a lock", _CHECK
        elif kind == "type" and old and old.value != now.value:
            retyped.add(oid)
            yield oid, f"changes the type of {column} from {old.value} to {now.value}", _TYPE
        elif kind == "not null" and old is None:
            if ("type", oid, number) not in before:
                if ("filled", oid, number) not in after:
                    what = f"the previous release cannot insert into {table} without {now.name}"
                    yield 0, what, _REQUIRED
            elif ("proved", oid, number) not in before:
                yield oid, f"scans {column} for nulls under a lock", _NOT_NULL
    for oid in rewritten(before, after):
        if oid not in retyped:
            yield oid, f"rewrites {after['file', oid, 0].table} while nobody can use it", _REWRITE
