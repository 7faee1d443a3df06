"""Find what a running file does to tables in use, and advise what to do instead.

The text of the file is not enough. A do block can hide a statement, and most statements are
harmless on a table that the same files create.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg import errors
from psycopg.rows import class_row, scalar_row, tuple_row

from bakehouse.database import Connection, execute, fetch, sql_file
from bakehouse.migrations import catalog
from bakehouse.migrations.files import Migration

_WATCHED = sql_file(__package__, "watched")
_FINDINGS = sql_file(__package__, "findings")
_ADVICE = catalog.about_ours("advice")
_ENUM = "A new value can be used only after the file that adds it"
_LABELS = b"select enumlabel::text from pg_enum"

Advice = tuple[str, str, str, str]  # the rule, the object, what is wrong, what to do
Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Effect:
    """What happened to a table in use."""

    oid: int  # 0 if the size of the table does not matter
    label: str
    what: str  # '' if another effect explains it
    advice: str
    rewrites: bool  # whether the table has a new file


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


def see(conn: Connection, tables: Collection[int]) -> str:
    """Read these tables, which existed before the first file, for a later comparison."""
    [seen] = catalog.fetch_named(conn, scalar_row, _WATCHED, list(tables))
    return seen or "[]"


def effects(conn: Connection, before: str, after: str) -> list[Effect]:
    """Compare two readings."""
    return fetch(conn, class_row(Effect), _FINDINGS, before, after) if before != after else []


def locate(
    conn: Connection, file: Migration, tables: Mapping[int, int], before: str
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
        for one in effects(conn, before, after):
            if one.what:
                yield Finding(place, one.label, tables.get(one.oid, 0), one.what, one.advice)
        before = after
    conn.execute("reset role")


def advice(conn: Connection) -> set[Advice]:
    """Read what opens the data to the API by mistake."""
    return set(fetch(conn, tuple_row, _ADVICE))
