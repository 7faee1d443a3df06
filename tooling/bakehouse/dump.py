"""Backups of our own: dump a database, and restore a dump to prove that it can be done."""

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from bakehouse import backup, catalog, database, embedded, history, smoke
from bakehouse.database import Connection
from bakehouse.embedded import Binaries
from bakehouse.environment import Settings
from bakehouse.errors import BakehouseError


@dataclass(frozen=True)
class Taken:
    """A backup of our own: `<file>`, and beside it `.roles.sql` and `.sha256`."""

    file: Path
    bytes: int
    sha256: str
    tables: int
    rows: int
    duration_ms: int


@dataclass(frozen=True)
class Drill:
    file: Path
    restore_ms: int
    duration_ms: int
    objects: int
    rows: int
    steps: int
    notes: list[str]


# Take one


def take(conn: Connection, dsn: str, settings: Settings, root: Path) -> Taken:
    """Dump the database and its roles, check the dump, and put it on record."""
    history.ensure(conn)
    binaries = able(conn.info.server_version // 10000)
    folder = root / settings.backup_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = time.monotonic()
    taken_at = datetime.now(UTC)
    file = folder / f"{settings.name}-{taken_at:%Y%m%dT%H%M%SZ}.dump"
    with _private(file, ".roles.sql", ".sha256") as (dump, roles, sums):
        with conn.transaction():
            conn.execute("set transaction isolation level repeatable read, read only")
            row = conn.execute("select pg_export_snapshot()").fetchone()
            snapshot = str(row and row[0])
            # of the same moment as the dump
            counted, objects = _counts(conn), catalog.read(conn)
            head = history.chain_head(history.read(conn))
            _run(binaries, "pg_dump", dsn, "-Fc", f"--snapshot={snapshot}", f"--file={dump}")
        # what cannot be in a dump: the owners and grantees, without their passwords
        _run(binaries, "pg_dumpall", dsn, "-r", "--no-role-passwords", f"--file={roles}")
        _require_restorable(binaries, dump)
        checksum = _sha256(dump)
        sums.write_text(
            f"{checksum}  {file.name}\n{_sha256(roles)}  {file.with_suffix('.roles.sql').name}\n"
        )
    done = Taken(
        file,
        file.stat().st_size,
        checksum,
        len(counted),
        sum(counted.values()),
        _since(started),
    )
    facts = {
        "taken_at": taken_at.isoformat(),
        "bytes": done.bytes,
        "sha256": checksum,
        "server": conn.info.server_version // 10000,
        "role": conn.info.user,
        "chain_head": head,
        "rows": counted,
        "duration_ms": done.duration_ms,
    }
    conn.execute(
        "insert into bakehouse.backups (file, facts, objects) values (%s, %s, %s)",
        (file.name, Jsonb(facts), Jsonb(objects)),
    )
    return done


@contextmanager
def _private(file: Path, *suffixes: str) -> Iterator[list[Path]]:
    """Paths to write that only we may read; they get their names when all are complete."""
    names = [file, *(file.with_suffix(suffix) for suffix in suffixes)]
    partial = [name.with_name(f"{name.name}.partial") for name in names]
    try:
        for path in partial:
            path.touch(0o600)
        yield partial
        for path, name in zip(partial, names, strict=True):
            path.rename(name)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def able(major: int) -> Binaries:
    """The oldest binaries that can dump or restore this major: none can do a later one's."""
    able = [one for one in embedded.installed() if one.version >= major]
    if not able:
        raise BakehouseError(
            "binaries",
            f"the database is Postgres {major}, and no binaries as new as that are here",
            f"pg_dump and pg_restore cannot work on a later major: install Postgres {major}.",
        )
    return min(able, key=lambda binaries: binaries.version)


def _run(binaries: Binaries, program: str, dsn: str, *arguments: str, strict: bool = True) -> str:
    """Run a program of Postgres on a database; no password is on its command line."""
    facts = conninfo_to_dict(dsn)
    password = str(facts.pop("password", None) or os.environ.get("PGPASSWORD", ""))
    target = make_conninfo("", **facts)
    done = subprocess.run(
        [binaries.tool(program), f"--dbname={target}", "--no-password", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PGPASSWORD": password, "LC_ALL": "C"},
        check=False,
    )
    if strict and done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BakehouseError("backup", f"{program} failed: {said[0]}", *said[1:2])
    return done.stderr


def _require_restorable(binaries: Binaries, dump: Path) -> None:
    """Whether pg_restore can read the dump to its end, every table's data among it."""
    done = subprocess.run(
        [binaries.tool("pg_restore"), "--file=/dev/null", str(dump)], capture_output=True, text=True
    )
    listed = subprocess.run(
        [binaries.tool("pg_restore"), "--list", str(dump)], capture_output=True, text=True
    )
    if done.returncode or listed.returncode or " TABLE DATA " not in listed.stdout:
        said = (done.stderr or listed.stderr or "no table's data is in it").strip()
        raise BakehouseError("backup", f"the dump cannot be restored: {said.splitlines()[0]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _counts(conn: Connection) -> dict[str, int]:
    """How many rows each table of ours has."""
    tables = conn.execute(
        "select n.nspname, c.relname from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname in ('public', 'app', 'private')"
        " order by n.nspname, c.relname"
    ).fetchall()
    counted = {}
    for schema, name in tables:
        table = sql.Identifier(str(schema), str(name))
        row = conn.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
        counted[f"{schema}.{name}"] = int(str(row and row[0]))
    return counted


# Prove one


def drill(conn: Connection, settings: Settings, root: Path) -> Drill:
    """Restore the newest backup of ours on a server of its own, look at it, throw it away."""
    last = backup.last(conn)
    if last is None:
        raise BakehouseError("backup", "none is on record", "`bakehouse backup take` takes one.")
    name, facts = last
    file = root / settings.backup_folder / name
    if not file.is_file():
        raise BakehouseError("backup", f"{file} is gone", "Where it was moved to, nobody knows.")
    if _sha256(file) != facts["sha256"]:
        raise BakehouseError("backup", f"{file} is not what was taken: its checksum differs")
    binaries = able(facts["server"])
    row = conn.execute("select objects from bakehouse.backups where file = %s", (name,)).fetchone()
    before = cast("dict[str, str]", row and row[0])
    started = time.monotonic()
    with embedded.scratch(binaries) as port:
        server = embedded.superuser_dsn(port)
        roles = str(file.with_suffix(".roles.sql"))
        _run(binaries, "psql", server, "-qX", "-f", roles)  # some are there already
        with database.connect(server, "backup drill") as scratch:
            scratch.execute("create database drill template template0")
        restored = embedded.superuser_dsn(port, "drill")
        said = _run(binaries, "pg_restore", restored, str(file), strict=False)
        restore_ms = _since(started)
        with database.connect(restored, "backup drill") as scratch:
            scratch.execute(sql.SQL("set role {}").format(sql.Identifier(facts["role"])))
            absent = _require_same(scratch, facts, before)
            steps = list(smoke.walk(scratch)) if history.exists(scratch, "public.orders") else []
    if failed := smoke.failures(steps):
        raise BakehouseError("backup", "the smoke walk failed\n  " + "\n  ".join(failed))
    done = Drill(
        file,
        restore_ms,
        _since(started),
        len(before),
        sum(facts["rows"].values()),
        len(steps),
        [*absent, *(line for line in said.splitlines() if "error:" in line)],
    )
    conn.execute(
        "update bakehouse.backups set facts = facts || %s where file = %s",
        (
            Jsonb({"drilled_at": datetime.now(UTC).isoformat(), "drill_ms": done.duration_ms}),
            name,
        ),
    )
    return done


def _require_same(scratch: Connection, facts: dict[str, Any], before: catalog.Objects) -> list[str]:
    """Whether what was restored is what was dumped; returns the extensions that are not here."""
    changes = catalog.compare(before, catalog.read(scratch))
    here = scratch.execute("select 'extension ' || name from pg_available_extensions").fetchall()
    absent = [
        name for name in changes.gone if name.startswith("extension ") and (name,) not in here
    ]
    wrong = [
        *(f"missing  {name}" for name in changes.gone if name not in absent),
        *(f"differs  {name}" for name in changes.changed),
        *(f"added    {name}" for name in changes.added),
    ]
    if history.chain_head(history.read(scratch)) != facts["chain_head"]:
        wrong.append("its history is not the one it was taken with")
    counted = _counts(scratch)
    wrong += [
        f"{table} had {rows} rows, and has {counted.get(table, 'gone')}"
        for table, rows in facts["rows"].items()
        if counted.get(table) != rows
    ]
    if wrong:
        lines = "\n  ".join(wrong[:20])
        raise BakehouseError("backup", f"what was restored is not what was taken\n  {lines}")
    return [f"{name} is not installed on this machine" for name in absent]


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
