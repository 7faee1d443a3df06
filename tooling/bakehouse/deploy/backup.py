"""Dump a database, and restore a dump to prove that it works."""

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from bakehouse.database import Connection, connect, fetch, table_exists, value
from bakehouse.deploy import backup_record
from bakehouse.deploy.backup_record import Recorded
from bakehouse.deploy.environment import Settings
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, history
from bakehouse.migrations.apply import milliseconds_since
from bakehouse.server import cluster
from bakehouse.server.binaries import Binaries, installed_binaries
from bakehouse.shop import smoke


@dataclass(frozen=True)
class Taken:
    """A new backup: `file`, and beside it `.roles.sql` and `.sha256`."""

    file: Path
    bytes: int
    sha256: str
    tables: int
    rows: int
    duration_ms: int


@dataclass(frozen=True)
class Drill:
    """What a restore of the newest backup showed."""

    file: Path
    restore_ms: int
    duration_ms: int
    objects: int
    rows: int
    steps: int
    notes: list[str]


@dataclass(frozen=True)
class _Contents:
    """What was in the database at the moment of the dump."""

    rows: dict[str, int]  # by table
    objects: catalog.Objects
    head: str | None


# Take


def take(conn: Connection, dsn: str, settings: Settings, root: Path) -> Taken:
    """Dump the database and its roles, check the dump, and record the backup."""
    history.ensure(conn)
    binaries = binaries_for(conn.info.server_version // 10000)
    folder = root / settings.backup_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = time.monotonic()
    taken_at = datetime.now(UTC)
    file = folder / f"{settings.name}-{taken_at:%Y%m%dT%H%M%SZ}.dump"
    with _private(file, ".roles.sql", ".sha256") as (dump, roles, sums):
        contents = _dump(conn, dsn, binaries, dump)
        # the dump has no roles, but a restore needs its owners and grantees
        _run(binaries, "pg_dumpall", dsn, "-r", "--no-role-passwords", f"--file={roles}")
        _require_restorable(binaries, dump)
        checksum = _sha256(dump)
        sums.write_text(
            f"{checksum}  {file.name}\n{_sha256(roles)}  {file.with_suffix('.roles.sql').name}\n"
        )
    recorded = Recorded(
        file.name,
        taken_at.isoformat(),
        file.stat().st_size,
        checksum,
        conn.info.server_version // 10000,
        conn.info.user,
        contents.head,
        contents.rows,
        milliseconds_since(started),
    )
    backup_record.add(conn, recorded, contents.objects)
    counts = len(contents.rows), sum(contents.rows.values())
    return Taken(file, recorded.bytes, checksum, *counts, recorded.duration_ms)


def _dump(conn: Connection, dsn: str, binaries: Binaries, dump: Path) -> _Contents:
    """Dump the database, and read its contents in the same snapshot."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        snapshot = value(conn, "select pg_export_snapshot()")
        head = history.chain_head(history.applied(conn))
        contents = _Contents(_counts(conn), catalog.objects(conn), head)
        _run(binaries, "pg_dump", dsn, "-Fc", f"--snapshot={snapshot}", f"--file={dump}")
    return contents


@contextmanager
def _private(file: Path, *suffixes: str) -> Iterator[list[Path]]:
    """Yield partial files that only this user may read. Renames them when all are complete."""
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


def binaries_for(major: int) -> Binaries:
    """Return the oldest binaries that can dump or restore this major: older ones cannot."""
    able = [one for one in installed_binaries() if one.version >= major]
    if not able:
        raise BakehouseError(
            "binaries",
            f"the database is Postgres {major}, but the programs on this machine are older",
            f"pg_dump and pg_restore cannot read a later major: install Postgres {major}.",
        )
    return min(able, key=lambda binaries: binaries.version)


def _run(binaries: Binaries, program: str, dsn: str, *arguments: str, strict: bool = True) -> str:
    """Run a program of Postgres on a database. The command line holds no password."""
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
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise BakehouseError("backup", f"{program} failed: {said[0]}", *said[1:2])
    return done.stderr


def _require_restorable(binaries: Binaries, dump: Path) -> None:
    """Check that pg_restore can read the dump to its end, and that it holds rows of tables."""
    done = subprocess.run(
        [binaries.tool("pg_restore"), "--file=/dev/null", str(dump)], capture_output=True, text=True
    )
    listed = subprocess.run(
        [binaries.tool("pg_restore"), "--list", str(dump)], capture_output=True, text=True
    )
    if done.returncode or listed.returncode or " TABLE DATA " not in listed.stdout:
        said = (done.stderr or listed.stderr or "it holds no rows of any table").strip()
        raise BakehouseError("backup", f"the dump cannot be restored: {said.splitlines()[0]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _counts(conn: Connection) -> dict[str, int]:
    """Count the rows of each of our tables."""
    tables = fetch(
        conn,
        tuple_row,
        "select n.nspname, c.relname from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname in ('public', 'app', 'private')"
        " order by n.nspname, c.relname",
    )
    counted = {}
    for schema, name in tables:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
        counted[f"{schema}.{name}"] = int(value(conn, query.as_bytes(conn)))
    return counted


# Restore


def newest(conn: Connection, settings: Settings, root: Path) -> tuple[Path, Recorded]:
    """Return the newest `backup take` dump, if its file is still as it was."""
    last = backup_record.last(conn)
    if last is None:
        raise BakehouseError(
            "backup", "no backup is on record", "Run `bakehouse backup take` to take one."
        )
    file = root / settings.backup_folder / last.file
    again = "Run `bakehouse backup take` to take a new one."
    if not file.is_file():
        raise BakehouseError("backup", f"the backup {file} is missing", again)
    if _sha256(file) != last.sha256:
        raise BakehouseError("backup", f"{file} was changed: its checksum differs", again)
    return file, last


def drill(conn: Connection, settings: Settings, root: Path) -> Drill:
    """Restore the newest `backup take` dump on a scratch server, and test it there."""
    file, last = newest(conn, settings, root)
    objects = backup_record.objects_of(conn, last.file)
    started = time.monotonic()
    with restored(file, last) as (scratch, complaints):
        restore_ms = milliseconds_since(started)
        scratch.execute(sql.SQL("set role {}").format(sql.Identifier(last.role)))
        absent = _require_same(scratch, last, objects)
        steps = list(smoke.walk(scratch)) if table_exists(scratch, "public.orders") else []
    if failed := smoke.failures(steps):
        raise BakehouseError(
            "backup",
            "the smoke walk failed\n  " + "\n  ".join(failed),
            "The dump was restored, but the restored database does not work.",
        )
    duration, rows = milliseconds_since(started), sum(last.rows.values())
    backup_record.add_drill(conn, last.file, duration)
    notes = [*absent, *complaints]
    return Drill(file, restore_ms, duration, len(objects), rows, len(steps), notes)


@contextmanager
def restored(file: Path, last: Recorded) -> Iterator[tuple[Connection, list[str]]]:
    """Restore a dump on a scratch server. Yields a session there, and the errors of pg_restore."""
    binaries = binaries_for(last.server)
    with cluster.scratch(binaries) as port:
        server = cluster.superuser_dsn(port)
        roles = str(file.with_suffix(".roles.sql"))
        _run(binaries, "psql", server, "-qX", "-f", roles)  # ignores roles that already exist
        with connect(server, "backup drill") as scratch:
            scratch.execute("create database drill template template0")
        restored = cluster.superuser_dsn(port, "drill")
        said = _run(binaries, "pg_restore", restored, str(file), strict=False)
        with connect(restored, "backup drill") as scratch:
            yield scratch, [line for line in said.splitlines() if "error:" in line]


def _require_same(scratch: Connection, last: Recorded, objects: catalog.Objects) -> list[str]:
    """Compare the restored database with the record. Returns extensions that are missing here."""
    changes = catalog.compare(objects, catalog.objects(scratch))
    available = "select array_agg('extension ' || name) from pg_available_extensions"
    here = value(scratch, available)
    absent = [name for name in changes.gone if name.startswith("extension ") and name not in here]
    wrong = [
        *(f"missing  {name}" for name in changes.gone if name not in absent),
        *(f"differs  {name}" for name in changes.changed),
        *(f"added    {name}" for name in changes.added),
    ]
    if history.chain_head(history.applied(scratch)) != last.chain_head:
        wrong.append("its history is not the history on record")
    counted = _counts(scratch)
    wrong += [
        f"{table} had {rows} rows, and has {counted.get(table, 'gone')}"
        for table, rows in last.rows.items()
        if counted.get(table) != rows
    ]
    if wrong:
        lines = "\n  ".join(wrong[:20])
        raise BakehouseError(
            "backup", f"the restored database does not match the backup\n  {lines}"
        )
    return [f"{name} is not installed on this machine" for name in absent]
