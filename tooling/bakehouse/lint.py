"""What a file does to tables that are in use, and what to do instead: seen while it runs.

Its text would say less: a statement may hide in a do block, and most are harmless on a table that
the same files make.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg import errors

from bakehouse import sqltext
from bakehouse.database import Connection
from bakehouse.migrations import Migration

_SEE: LiteralString = """
with tables as (
  select c.oid, c.relfilenode, format('%%I.%%I', n.nspname, c.relname) as label
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = any(%s::oid[])
)
select 'file', t.oid::bigint, 0::bigint, t.label, '', t.relfilenode::text from tables as t
union all
select 'index', t.oid, i.indexrelid::bigint, t.label, i.indexrelid::regclass::text, ''
from tables as t join pg_index as i on i.indrelid = t.oid
union all
select 'constraint', t.oid, k.oid::bigint, t.label, quote_ident(k.conname), k.convalidated::text
from tables as t join pg_constraint as k on k.conrelid = t.oid
where k.contype in ('c', 'f') and k.conparentid = 0
union all
select what.kind, t.oid, a.attnum, t.label, quote_ident(a.attname), what.value
from tables as t
join pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
cross join lateral (
  values ('type', format_type(a.atttypid, a.atttypmod)),
    ('not null', case when a.attnotnull then '' end),
    ('filled', case when a.atthasdef or a.attidentity <> '' then '' end),
    ('proved', (
      select '' from pg_constraint as k
      where k.conrelid = t.oid and k.contype = 'c' and k.convalidated
        and k.conkey = array[a.attnum]
        and pg_get_constraintdef(k.oid) = format('CHECK ((%%I IS NOT NULL))', a.attname)
      limit 1
    ))
) as what (kind, value)
where what.value is not null
"""

Seen = Mapping[
    tuple[str, int, int], tuple[str, str, str]
]  # kind, table, number: label, name, value


@dataclass(frozen=True)
class Finding:
    place: str  # file:line
    table: str  # whose size decides how bad it is; '' where any size is too much
    rows: int  # of it, where this was seen
    what: str
    advice: str

    def level(self, large: int, rows: int | None = None) -> str:
        size = self.rows if rows is None else rows
        return "warning" if self.table and size < large else "error"

    def __str__(self) -> str:
        return f"{self.place}: {self.what}. {self.advice}"


def see(conn: Connection, tables: Collection[int]) -> Seen:
    """What there is to know of these tables, which were there before the first file."""
    rows = conn.execute(_SEE, (list(tables),)).fetchall() if tables else []
    return {
        (str(kind), int(str(table)), int(str(number))): (str(label), str(name), str(value))
        for kind, table, number, label, name, value in rows
    }


def locate(
    conn: Connection, file: Migration, tables: Mapping[int, int], before: Seen
) -> Iterator[Finding]:
    """Run the file again, a statement at a time, to say which does what to the tables and rows."""
    known = _labels(conn)
    for statement in file.body:
        place = f"{file.path.name}:{sqltext.place(file.text, statement.start)[0]}"
        labels = _labels(conn)
        try:
            conn.execute(statement.text.encode())
        except errors.UnsafeNewEnumValueUsage as error:
            said = error.diag.message_primary or ""
            for label in sorted(labels - known):
                if f'"{label}"' in said:
                    yield Finding(place, "", 0, f"uses '{label}', which this file adds", _ENUM)
            return
        after = see(conn, tables)
        for oid, what, advice in _compare(before, after):
            label = after[("file", oid, 0)][0] if oid else ""
            yield Finding(place, label, tables.get(oid, 0), what, advice)
        before = after
    conn.execute("reset role")


def compare(before: Seen, after: Seen) -> bool:
    """Whether there is something to locate."""
    return any(_compare(before, after))


_ENUM = "A new value can be used only after the file that adds it"
_INDEX = "Create it concurrently, in a file of its own"
_TYPE = "Add a column, fill it, let readers move over, drop the old one in a later release"
_CHECK = "Add it not valid; validate it in a later file"
_NOT_NULL = "Validate a check that it is not null in an earlier file: then there is no scan"
_REQUIRED = "Add it nullable or with a default, and fill it; set not null in a later release"
_REWRITE = "A default that is constant needs no rewrite; fill other values in batches"


def _compare(before: Seen, after: Seen) -> Iterator[tuple[int, str, str]]:
    retyped = set()
    for (kind, oid, number), (table, name, value) in after.items():
        old = before.get((kind, oid, number))
        column = f"{table}.{name}"
        if kind == "index" and old is None:
            yield oid, f"builds {name} while nobody can write to {table}", _INDEX
        elif kind == "constraint" and old is None and value == "true":
            yield oid, f"checks every row of {table} for {name} under a lock", _CHECK
        elif kind == "type" and old and old[2] != value:
            retyped.add(oid)
            yield oid, f"changes the type of {column} from {old[2]} to {value}", _TYPE
        elif kind == "not null" and old is None:
            if ("type", oid, number) not in before:
                if ("filled", oid, number) not in after:
                    what = f"the release before this one cannot insert into {table} without {name}"
                    yield 0, what, _REQUIRED
            elif ("proved", oid, number) not in before:
                yield oid, f"looks for a null in all of {column} under a lock", _NOT_NULL
    for (kind, oid, number), (table, _, value) in after.items():
        old = before.get((kind, oid, number))
        if kind == "file" and old and old[2] != value and oid not in retyped:
            yield oid, f"writes {table} anew while nobody can use it", _REWRITE


def _labels(conn: Connection) -> set[str]:
    return {str(row[0]) for row in conn.execute("select enumlabel from pg_enum")}
