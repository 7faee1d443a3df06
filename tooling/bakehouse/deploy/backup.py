"""Dump a database, and restore a dump to prove that it works."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from bakehouse.database import Connection, connect, sql_file, table_exists, value
from bakehouse.deploy import dump
from bakehouse.deploy.dump import Recorded
from bakehouse.deploy.work import Work, ending_of, noted
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, history
from bakehouse.migrations.apply import milliseconds_since
from bakehouse.server import cluster
from bakehouse.server.binaries import Binaries
from bakehouse.shop import smoke

_COUNT_ROWS = sql_file(__package__, "count_rows")


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


# Take


def take(conn: Connection, dsn: str, work: Work) -> tuple[Path, Recorded]:
    """Dump the database and its roles, check the dump, and record the backup.

    The file of the dump has `.roles.sql` and `.sha256` beside it.
    """
    work.require_key()
    binaries = dump.binaries_for(conn.info.server_version // 10000)
    folder = work.root / work.settings.backup_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = time.monotonic()
    taken_at = datetime.now(UTC)
    file = folder / f"{work.settings.name}-{taken_at:%Y%m%dT%H%M%SZ}.dump"
    with _private(work, file, ".roles.sql", ".sha256") as (new, roles, sums):
        rows, objects, head = _dump(conn, dsn, binaries, new)
        # the dump has no roles, but a restore needs its owners and grantees
        options = "-r", "--no-role-passwords", f"--file={roles}"
        dump.run(binaries, "pg_dumpall", *options, dsn=dsn, failed="pg_dumpall failed")
        dump.read(binaries, new, "--file=/dev/null")
        if " TABLE DATA " not in dump.read(binaries, new, "--list"):
            raise BakehouseError("backup", "the dump holds no rows of any table")
        checksum, roles_name = dump.sha256(new), file.with_suffix(".roles.sql").name
        sums.write_text(f"{checksum}  {file.name}\n{dump.sha256(roles)}  {roles_name}\n")
    recorded = Recorded(
        file.name,
        taken_at.isoformat(),
        file.stat().st_size,
        checksum,
        server=conn.info.server_version // 10000,
        role=conn.info.user,
        chain_head=head,
        rows=rows,
        duration_ms=milliseconds_since(started),
        objects=objects,
    )
    with noted(conn, work, "backup", recorded.facts):
        dump.record(conn, recorded)
    return file, recorded


def _dump(
    conn: Connection, dsn: str, binaries: Binaries, file: Path
) -> tuple[dict[str, int], catalog.Objects, str | None]:
    """Dump the database. Returns its rows by table, its objects and its chain head."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        snapshot = value(conn, "select pg_export_snapshot()")
        head = history.chain_head(history.applied(conn))
        contents = value(conn, _COUNT_ROWS), catalog.objects(conn), head
        options = "-Fc", f"--snapshot={snapshot}", f"--file={file}"
        dump.run(binaries, "pg_dump", *options, dsn=dsn, failed="pg_dump failed")
    return contents


@contextmanager
def _private(work: Work, file: Path, *suffixes: str) -> Iterator[list[Path]]:
    """Yield partial files that only this user may read. Renames them when all are complete.

    First removes the partial files that a killed backup left in the folder.
    """
    names = [file, *(file.with_suffix(suffix) for suffix in suffixes)]
    partial = [name.with_name(f"{name.name}.partial") for name in names]
    lock = os.open(file.parent, os.O_RDONLY)
    os.set_inheritable(lock, True)  # a pg_dump that outlives this process keeps the lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in sorted(file.parent.glob("*.partial")):
            path.unlink()
            work.tell(f"removed {path}, which a killed backup left")
        for path in partial:
            path.touch(0o600)
        yield partial
        for path, name in zip(partial, names, strict=True):
            path.rename(name)
    except BlockingIOError:
        partial = []
        said = f"another backup is being written to {file.parent}"
        raise BakehouseError("busy", said, "Try again when that backup is done.") from None
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
        os.close(lock)


# Restore


def newest(conn: Connection) -> Recorded:
    """Return the record of the newest `backup take` dump."""
    last = dump.newest(conn)
    if last is None:
        raise BakehouseError(
            "backup", "no backup is on record", "Run `bakehouse backup take` to take one."
        )
    return last


def intact(conn: Connection, work: Work, last: Recorded) -> Path:
    """Return the file of a dump, if it is still as it was."""
    file = work.root / work.settings.backup_folder / last.file
    if why := dump.refutation(conn, file, last):
        again = "Run `bakehouse backup take` to take a new one."
        raise BakehouseError("backup", f"{file} {why}", again)
    return file


def drill(conn: Connection, work: Work) -> Drill:
    """Restore the newest `backup take` dump on a scratch server, test it there, and record that."""
    last = newest(conn)
    work.require_key()
    started = time.monotonic()
    failure: BakehouseError | psycopg.Error | None = None
    try:
        done = _try(intact(conn, work, last), last)
    except (BakehouseError, psycopg.Error) as error:
        failure = error
    duration = milliseconds_since(started)
    with noted(conn, work, "drill", last.facts) as noting:
        noting |= {"duration_ms": duration, **ending_of(failure)}
    if failure:
        raise failure
    return done


def _try(file: Path, last: Recorded) -> Drill:
    started = time.monotonic()
    with restored(file, last) as (scratch, complaints):
        restore_ms = milliseconds_since(started)
        scratch.execute(sql.SQL("set role {}").format(sql.Identifier(last.role)))
        absent = _require_same(scratch, last)
        steps = list(smoke.walk(scratch)) if table_exists(scratch, "public.orders") else []
    if failed := smoke.failures(steps):
        raise BakehouseError(
            "backup",
            "the smoke walk failed\n  " + "\n  ".join(failed),
            "The dump was restored, but the restored database does not work.",
        )
    rows, notes = sum(last.rows.values()), [*absent, *complaints]
    duration = milliseconds_since(started)
    return Drill(file, restore_ms, duration, len(last.objects), rows, len(steps), notes)


@contextmanager
def restored(file: Path, last: Recorded) -> Iterator[tuple[Connection, list[str]]]:
    """Restore a dump on a scratch server. Yields a session there, and the errors of pg_restore."""
    binaries = dump.binaries_for(last.server)
    with cluster.scratch(binaries) as port:
        server = cluster.superuser_dsn(port)
        roles = "-qX", "-f", str(file.with_suffix(".roles.sql"))  # ignores roles that exist
        dump.run(binaries, "psql", *roles, dsn=server, failed="psql failed")
        with connect(server, "backup drill") as scratch:
            scratch.execute("create database drill template template0")
        restored = cluster.superuser_dsn(port, "drill")
        said = dump.run(binaries, "pg_restore", str(file), dsn=restored).stderr
        with connect(restored, "backup drill") as scratch:
            yield scratch, [line for line in said.splitlines() if "error:" in line]


def _require_same(scratch: Connection, last: Recorded) -> list[str]:
    """Compare the restored database with the record. Returns extensions that are missing here."""
    changes = catalog.compare(last.objects, catalog.objects(scratch))
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
    counted = value(scratch, _COUNT_ROWS)
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
