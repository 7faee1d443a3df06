"""Write a migration that adds back what another one dropped.

The files run on a scratch server, which shows what was dropped. So the way in which a file drops
objects does not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

_LATER = "set local check_function_bodies = off; -- a function may use one that comes later\n"


@dataclass(frozen=True)
class _Object:
    name: str
    again: str  # the statement that creates it
    away: str | None  # the statement that drops it
    part_of: str | None  # the table that it belongs to
    with_table: str | None  # what to run if its table is created again
    alone: str | None  # what to run if its table still exists; without it, a person must decide

    @property
    def is_table(self) -> bool:
        return self.name == f"table {self.part_of}"


_Again = tuple[_Object, str]  # an object to add back, and the statement that does it


def write(
    root: Path, files: list[Migration], version: str, tell: Tell
) -> tuple[tuple[Path, Path], list[str], list[str]]:
    """Run the files up to a version. Write a migration that adds back what the version dropped.

    Returns its files, the objects that it adds back, and what a person must add.
    """
    done = [file for file in files if file.version <= version]
    if not done or done[-1].version != version:
        raise BakehouseError(
            "usage",
            f"there is no migration of version {version}",
            "Give the 14 digits of its file name.",
        )
    dropping = done[-1]
    again, by_hand = _find_loss(done, tell)
    if not again and not by_hand:
        raise BakehouseError(
            "usage",
            f"{dropping.label} drops nothing that could be added back",
            "Nothing was written.",
        )
    statements = [statement for _, statement in again]
    paths = create(
        root / "supabase",
        dropping.milestone,
        f"compensate {version}",
        about=f": add back what {dropping.label} dropped.\n--\n"
        "-- Its rows and values do not come back: they are in a backup.",
        needs={dropping.milestone, *dropping.needs},
        up="\n".join([_LATER, *statements, *_comments(by_hand), ""]),
        back="\n".join(["", *_drops([one for one, _ in again]), ""]),
    )
    return paths, [one.name for one, _ in again], by_hand


def _find_loss(files: list[Migration], tell: Tell) -> tuple[list[_Again], list[str]]:
    """Run the files on a scratch server, and compare before and after the last of them.

    Returns what to create, in this order, and what a person must add.
    """
    with (
        cluster.scratch(find_binaries()) as port,
        connect(cluster.dsn(port), "migrate compensate") as conn,
    ):
        list(apply.run(conn, cluster.dsn(port), files[:-1], None, tell))
        before, known = _definitions(conn), catalog.objects(conn)
        list(apply.run(conn, cluster.dsn(port), files[-1:], None, tell))
        after, left = {one.name for one in _definitions(conn)}, catalog.objects(conn)
        gone = [one for one in before if one.name not in after]
        tables = {one.part_of for one in gone if one.is_table}
        wanted = [(one, one.with_table if one.part_of in tables else one.alone) for one in gone]
        conn.execute("set check_function_bodies = off")
        again, stuck = _in_order(conn, [(one, run) for one, run in wanted if run])
    by_hand = [one.again for one, run in wanted if not run and one.part_of not in tables]
    by_hand += [one.again for one, _ in stuck]
    names = known.keys() - left.keys() - {one.name for one in before}
    by_hand += [f"{name} is gone too" for name in sorted(names) if name.startswith(_KINDS)]
    return again, by_hand


def _drops(again: list[_Object]) -> list[str]:
    """Drop what is added back. The parts of a dropped table go with it."""
    tables = {one.part_of for one in again if one.is_table}
    drops = [one.away for one in reversed(again) if one.is_table or one.part_of not in tables]
    return [f"{drop};" for drop in drops if drop]


def _in_order(conn: Connection, wanted: list[_Again]) -> tuple[list[_Again], list[_Again]]:
    """Create the objects in an order that works. Returns this order, and the failed objects."""
    done, stuck = [], []
    for one in wanted:
        try:
            with conn.transaction():
                execute(conn, one[1])
            done.append(one)
        except psycopg.Error:  # it may need a later object
            stuck.append(one)
    if not (done and stuck):
        return done, stuck
    more, stuck = _in_order(conn, stuck)
    return done + more, stuck


def _comments(by_hand: list[str]) -> Iterator[str]:
    if by_hand:
        yield "\n-- By hand, once there are values:"
    for text in by_hand:
        yield from (f"-- {line}" for line in f"{text};".splitlines())


def _definitions(conn: Connection) -> list[_Object]:
    return catalog.fetch_named(conn, class_row(_Object), catalog.DEFINITIONS)
