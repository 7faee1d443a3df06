"""Write the migration that adds back what another one dropped.

What was dropped is seen by running the files on a server of their own, so it does not matter how
they drop it, nor where they have been applied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path

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
    names = {one.name for one in before}
    unknown = sorted(name for name in known.keys() - left.keys() - names if name.startswith(_KINDS))
    dropped = {one.table for one in gone if one.name == f"table {one.table}"}
    again = [one for one in gone if (one.new if one.table in dropped else one.kept) == "run"]
    by_hand = [one.again for one in gone if one.table not in dropped and one.kept == "hand"]
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
