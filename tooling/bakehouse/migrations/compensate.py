"""Write a migration that adds back what another one dropped.

The files run on a scratch server, which shows what was dropped. So the way in which a file drops
objects does not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import class_row

from bakehouse.database import Connection, connect, execute
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog
from bakehouse.migrations.apply import Tell
from bakehouse.migrations.files import Migration, create
from bakehouse.server import cluster
from bakehouse.server.binaries import find_binaries

# kinds of objects whose definition the query may not find
_KINDS = ("aggregate", "extension", "foreign table", "function", "type")

How = Literal["", "run", "skip", "hand", "not valid"]


@dataclass(frozen=True)
class Written:
    paths: tuple[Path, Path]
    again: list[str]  # the objects that are added back
    by_hand: list[str]  # what a person must add


@dataclass(frozen=True)
class _Object:
    name: str
    again: str  # the statement that creates it
    away: str | None  # the statement that drops it
    guard: str | None
    part_of: str | None  # the table that it belongs to
    new: How  # what to do if its table is created again
    kept: How  # what to do if its table still exists
    how: How = ""  # the decision: new or kept

    @property
    def statement(self) -> str:
        if not self.guard:
            return f"{self.again};"
        lines = self.again.replace("\n", "\n    ")
        return f"do $do$\nbegin\n  if {self.guard} then\n    {lines};\n  end if;\nend;\n$do$;"


@dataclass(frozen=True)
class _Loss:
    """The objects that a migration dropped."""

    tables: set[str | None]  # the dropped tables
    again: list[_Object]  # the objects to create, in this order
    by_hand: list[str]


def write(root: Path, files: list[Migration], version: str, tell: Tell) -> Written:
    """Run the files up to a version. Write a migration that adds back what the version dropped."""
    done = [file for file in files if file.version <= version]
    if not done or done[-1].version != version:
        raise BakehouseError(
            "usage",
            f"there is no migration of version {version}",
            "Give the 14 digits of its file name.",
        )
    dropping = done[-1]
    loss = _find_loss(done, tell)
    if not loss.again and not loss.by_hand:
        raise BakehouseError(
            "usage",
            f"{dropping.label} drops nothing that could be added back",
            "Nothing was written.",
        )
    supabase = root / "supabase"
    paths = create(
        supabase / "migrations", supabase / "down", dropping.milestone, f"compensate {version}"
    )
    paths[0].write_text(_up_text(dropping, loss))
    paths[1].write_text(_down_text(dropping, loss))
    return Written(paths, [one.name for one in loss.again], loss.by_hand)


def _find_loss(files: list[Migration], tell: Tell) -> _Loss:
    """Run the files on a scratch server, and compare before and after the last of them."""
    with (
        cluster.scratch(find_binaries()) as port,
        connect(cluster.dsn(port), "migrate compensate") as conn,
    ):
        list(apply.run(conn, cluster.dsn(port), files[:-1], None, tell))
        before, known = _definitions(conn), catalog.objects(conn)
        list(apply.run(conn, cluster.dsn(port), files[-1:], None, tell))
        after, left = {one.name for one in _definitions(conn)}, catalog.objects(conn)
        gone = [one for one in before if one.name not in after]
        tables = {one.part_of for one in gone if one.name == f"table {one.part_of}"}
        wanted = [_decided(one, one.part_of in tables) for one in gone]
        again, stuck = _in_order(conn, [one for one in wanted if one.how == "run"])
    names = {one.name for one in before}
    unknown = sorted(name for name in known.keys() - left.keys() - names if name.startswith(_KINDS))
    by_hand = [one.again for one in wanted if one.how == "hand"]
    by_hand += [one.again for one in stuck]
    by_hand += [f"{name} is gone too" for name in unknown]
    return _Loss(tables, again, by_hand)


def _up_text(dropping: Migration, loss: _Loss) -> str:
    return (
        f"{_title(dropping)}: add back what {dropping.label} dropped.\n--\n"
        "-- Its rows and values do not come back: they are in a backup.\n"
        f"-- Needs: {', '.join(sorted({dropping.milestone, *dropping.needs}))}\n\n{_BEGIN}"
        "set local check_function_bodies = off; -- a function may use one that comes later\n\n"
        + "".join(f"{one.statement}\n" for one in loss.again)
        + "".join(f"{line}\n" for line in _comments(loss.by_hand))
        + "\ncommit;\n"
    )


def _down_text(dropping: Migration, loss: _Loss) -> str:
    drops = [one.away for one in reversed(loss.again) if one.away and _stands_alone(one, loss)]
    statements = "".join(f"{drop};\n" for drop in drops)
    return f"{_title(dropping)}, rolled back\n\n{_BEGIN}\n{statements}\ncommit;\n"


_BEGIN = "begin;\nset local lock_timeout = '5s';\n"


def _title(dropping: Migration) -> str:
    return f"-- {dropping.milestone} compensate {dropping.version}"


def _decided(one: _Object, made_again: bool) -> _Object:
    """Decide how to add an object back: with its table, or to a table that still exists."""
    how = one.new if made_again else one.kept
    if how == "not valid":
        return replace(one, again=f"{one.again} not valid", how="run")
    return replace(one, how=how)


def _in_order(conn: Connection, wanted: list[_Object]) -> tuple[list[_Object], list[_Object]]:
    """Create the objects in an order that works. Returns this order, and the failed objects."""
    ordered: list[_Object] = []
    conn.execute("set check_function_bodies = off")
    while wanted:
        stuck = []
        for one in wanted:
            try:
                with conn.transaction():
                    execute(conn, one.statement)
                ordered.append(one)
            except psycopg.Error:  # it may need a later object
                stuck.append(one)
        if len(stuck) == len(wanted):
            break
        wanted = stuck
    return ordered, wanted


def _stands_alone(one: _Object, loss: _Loss) -> bool:
    """Check if an object needs its own drop statement. Parts of a dropped table do not."""
    return one.part_of not in loss.tables or one.name == f"table {one.part_of}"


def _comments(by_hand: list[str]) -> Iterator[str]:
    if by_hand:
        yield "\n-- By hand, once there are values:"
    for text in by_hand:
        yield from (f"-- {line}" for line in f"{text};".splitlines())


def _definitions(conn: Connection) -> list[_Object]:
    return catalog.fetch_named(conn, class_row(_Object), catalog.DEFINITIONS)
