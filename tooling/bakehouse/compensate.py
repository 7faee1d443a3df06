"""Write the migration that adds back what another one dropped.

What was dropped is seen by running the files on a server of their own, so it does not matter how
they drop it, nor where they have been applied.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

import psycopg

from bakehouse import apply, catalog, database, embedded, migrations
from bakehouse.apply import Tell
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import Migration

_QUERY = package_files("bakehouse").joinpath("sql/definitions.sql").read_bytes()
_KINDS = ("aggregate", "extension", "foreign table", "function", "type")  # what _QUERY may not know


@dataclass(frozen=True)
class Written:
    paths: tuple[Path, Path]
    again: list[str]  # the objects that are added back
    by_hand: list[str]  # statements and objects that are left to a person


@dataclass(frozen=True)
class _Object:
    name: str
    again: str
    away: str | None
    guard: str | None
    table: str | None
    new: str
    kept: str
    how: str = ""

    @property
    def statement(self) -> str:
        if not self.guard:
            return f"{self.again};"
        lines = self.again.replace("\n", "\n    ")
        return f"do $do$\nbegin\n  if {self.guard} then\n    {lines};\n  end if;\nend;\n$do$;"


def write(root: Path, files: list[Migration], version: str, tell: Tell) -> Written:
    """Run the files up to this one, and write down what the last of them took away."""
    done = [file for file in files if file.version <= version]
    if not done or done[-1].version != version:
        raise BakehouseError("usage", f"there is no migration of version {version}")
    with (
        embedded.scratch(embedded.find_binaries()) as port,
        database.connect(embedded.dsn(port), "migrate compensate") as conn,
    ):
        list(apply.run(conn, embedded.dsn(port), done[:-1], None, tell))
        before, known = _read(conn), catalog.read(conn)
        list(apply.run(conn, embedded.dsn(port), done[-1:], None, tell))
        after = {one.name for one in _read(conn)}
        left = catalog.read(conn)
        gone = [one for one in before if one.name not in after]
        dropped = {one.table for one in gone if one.name == f"table {one.table}"}
        wanted = [_settled(one, one.table in dropped) for one in gone]
        again, stuck = _in_order(conn, [one for one in wanted if one.how == "run"])
    names = {one.name for one in before}
    unknown = sorted(name for name in known.keys() - left.keys() - names if name.startswith(_KINDS))
    by_hand = [one.again for one in wanted if one.how == "hand"]
    by_hand += [one.again for one in stuck]
    by_hand += [f"{name} is gone too" for name in unknown]
    if not again and not by_hand:
        raise BakehouseError("usage", f"{done[-1].label} drops nothing that could be added back")
    paths = migrations.create(
        root / "supabase" / "migrations",
        root / "supabase" / "down",
        done[-1].milestone,
        f"compensate {version}",
    )
    title = f"-- {done[-1].milestone} compensate {version}"
    head = "begin;\nset local lock_timeout = '5s';\n"
    paths[0].write_text(
        f"{title}: add back what {done[-1].label} dropped.\n--\n"
        "-- What was in it does not come back: its rows and values are in a backup.\n"
        f"-- Needs: {', '.join(sorted({done[-1].milestone, *done[-1].needs}))}\n"
        f"-- Re-run: safe, each statement converges\n\n{head}"
        "set local check_function_bodies = off; -- one may use another that comes later\n\n"
        + "".join(f"{one.statement}\n" for one in again)
        + "".join(f"{line}\n" for line in _comments(by_hand))
        + "\ncommit;\n"
    )
    aways = [one.away for one in reversed(again) if one.away and _stands_alone(one, dropped)]
    paths[1].write_text(
        f"{title}, taken away\n\n{head}\n" + "".join(f"{away};\n" for away in aways) + "\ncommit;\n"
    )
    return Written(paths, [one.name for one in again], by_hand)


def _settled(one: _Object, anew: bool) -> _Object:
    """The object with what is to be done about it, in a table that is made anew or was kept."""
    how = one.new if anew else one.kept
    if how == "not valid":
        return replace(one, again=f"{one.again} not valid", how="run")
    return replace(one, how=how)


def _in_order(conn: Connection, wanted: list[_Object]) -> tuple[list[_Object], list[_Object]]:
    """The objects in an order in which they can be made, found by making them; and what cannot."""
    ordered: list[_Object] = []
    conn.execute("set check_function_bodies = off")
    while wanted:
        stuck = []
        for one in wanted:
            try:
                with conn.transaction():
                    conn.execute(one.statement.encode())
                ordered.append(one)
            except psycopg.Error:  # it may need one that comes later
                stuck.append(one)
        if len(stuck) == len(wanted):
            break
        wanted = stuck
    return ordered, wanted


def _stands_alone(one: _Object, dropped: set[str | None]) -> bool:
    """Whether it must be taken away by itself: what belongs to a table goes with it."""
    return one.table not in dropped or one.name == f"table {one.table}"


def _comments(by_hand: list[str]) -> Iterator[str]:
    if by_hand:
        yield "\n-- By hand, once there are values:"
    for text in by_hand:
        yield from (f"-- {line}" for line in f"{text};".splitlines())


def _read(conn: Connection) -> list[_Object]:
    with conn.transaction():
        conn.execute("set local search_path = pg_catalog")
        rows = conn.execute(_QUERY).fetchall()
        conn.execute("reset search_path")
    return [
        _Object(
            str(name),
            str(again),
            None if away is None else str(away),
            None if guard is None else str(guard),
            None if table is None else str(table),
            str(new),
            str(kept),
        )
        for name, again, away, guard, table, new, kept in rows
    ]
