"""Dump a database, and restore a dump to prove that it works."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from bakehouse.database import Connection, connect, fetch, table_exists, value
from bakehouse.deploy import backup_record, dump, evidence
from bakehouse.deploy.backup_record import Recorded
from bakehouse.deploy.work import Work, circumstances, save
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, history
from bakehouse.migrations.apply import milliseconds_since
from bakehouse.server import cluster
from bakehouse.server.binaries import Binaries
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


def take(conn: Connection, dsn: str, work: Work) -> Taken:
    """Dump the database and its roles, check the dump, and record the backup."""
    history.ensure(conn)
    facts = circumstances(conn, work)
    binaries = dump.binaries_for(conn.info.server_version // 10000)
    folder = work.root / work.settings.backup_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = time.monotonic()
    taken_at = datetime.now(UTC)
    file = folder / f"{work.settings.name}-{taken_at:%Y%m%dT%H%M%SZ}.dump"
    with _private(work, file, ".roles.sql", ".sha256") as (new, roles, sums):
        contents = _dump(conn, dsn, binaries, new)
        # the dump has no roles, but a restore needs its owners and grantees
        _run(binaries, "pg_dumpall", dsn, "-r", "--no-role-passwords", f"--file={roles}")
        dump.read(binaries, new, "--file=/dev/null")
        if not dump.header(binaries, new).has_rows:
            raise BakehouseError("backup", "the dump holds no rows of any table")
        checksum = dump.sha256(new)
        roles_name = file.with_suffix(".roles.sql").name
        sums.write_text(f"{checksum}  {file.name}\n{dump.sha256(roles)}  {roles_name}\n")
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
    with conn.transaction():
        backup_record.add(conn, recorded, contents.objects)
        run = evidence.note(conn, "backup", "done", **facts, **recorded.facts)
    save(conn, work, [run.id])
    counts = len(contents.rows), sum(contents.rows.values())
    return Taken(file, recorded.bytes, checksum, *counts, recorded.duration_ms)


def _dump(conn: Connection, dsn: str, binaries: Binaries, file: Path) -> _Contents:
    """Dump the database, and read its contents in the same snapshot."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        snapshot = value(conn, "select pg_export_snapshot()")
        head = history.chain_head(history.applied(conn))
        contents = _Contents(_counts(conn), catalog.objects(conn), head)
        _run(binaries, "pg_dump", dsn, "-Fc", f"--snapshot={snapshot}", f"--file={file}")
    return contents


@contextmanager
def _private(work: Work, file: Path, *suffixes: str) -> Iterator[list[Path]]:
    """Yield partial files that only this user may read. Renames them when all are complete."""
    names = [file, *(file.with_suffix(suffix) for suffix in suffixes)]
    partial = [name.with_name(f"{name.name}.partial") for name in names]
    with ExitStack() as held:
        with _lock(file.parent, fcntl.LOCK_EX):  # no other command sees a file without its lock
            _remove_abandoned(work, file.parent)
            for path in partial:
                path.touch(0o600)
                os.set_inheritable(held.enter_context(_lock(path, fcntl.LOCK_EX)), True)
                held.callback(path.unlink, missing_ok=True)
        yield partial
        for path, name in zip(partial, names, strict=True):
            path.rename(name)


@contextmanager
def _lock(path: Path, how: int) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, how)
        yield number
    finally:
        os.close(number)


def _remove_abandoned(work: Work, folder: Path) -> None:
    """Remove the partial files of killed backups. A running backup holds locks on its files."""
    for path in sorted(folder.glob("*.partial")):
        with suppress(OSError), _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            path.unlink()
            work.tell(f"removed {path}, which a killed backup left")


def _run(binaries: Binaries, program: str, dsn: str, *arguments: str, strict: bool = True) -> str:
    """Run a program of Postgres on a database. The command line holds no password."""
    facts = conninfo_to_dict(dsn)
    password = str(facts.pop("password", None) or os.environ.get("PGPASSWORD", ""))
    target = make_conninfo("", **facts)
    done = subprocess.run(
        [binaries.tool(program), f"--dbname={target}", "--no-password", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PGPASSWORD": password, **dump.CLOCK},
        close_fds=False,  # pg_dump keeps the lock of its file if this process is killed
    )
    if strict and done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise BakehouseError("backup", f"{program} failed: {said[0]}", *said[1:2])
    return done.stderr


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


def newest(conn: Connection) -> Recorded:
    """Return the record of the newest `backup take` dump."""
    last = backup_record.last(conn)
    if last is None:
        raise BakehouseError(
            "backup", "no backup is on record", "Run `bakehouse backup take` to take one."
        )
    return last


def intact(work: Work, last: Recorded) -> Path:
    """Return the file of a dump, if it is still as it was."""
    file = work.root / work.settings.backup_folder / last.file
    again = "Run `bakehouse backup take` to take a new one."
    if not file.is_file():
        raise BakehouseError("backup", f"the backup {file} is missing", again)
    if dump.sha256(file) != last.sha256:
        raise BakehouseError("backup", f"{file} was changed: its checksum differs", again)
    return file


def drill(conn: Connection, work: Work) -> Drill:
    """Restore the newest `backup take` dump on a scratch server, test it there, and record that."""
    last = newest(conn)
    facts = circumstances(conn, work) | last.facts
    started = time.monotonic()
    failure: BakehouseError | psycopg.Error | None = None
    try:
        done = _try(conn, intact(work, last), last)
    except (BakehouseError, psycopg.Error) as error:
        failure = error
    facts |= {"duration_ms": milliseconds_since(started), "error": failure and str(failure)}
    run = evidence.note(conn, "drill", evidence.outcome_of(failure), **facts)
    save(conn, work, [run.id])
    if failure:
        raise failure
    return done


def _try(conn: Connection, file: Path, last: Recorded) -> Drill:
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
    rows, notes = sum(last.rows.values()), [*absent, *complaints]
    duration = milliseconds_since(started)
    return Drill(file, restore_ms, duration, len(objects), rows, len(steps), notes)


@contextmanager
def restored(file: Path, last: Recorded) -> Iterator[tuple[Connection, list[str]]]:
    """Restore a dump on a scratch server. Yields a session there, and the errors of pg_restore."""
    binaries = dump.binaries_for(last.server)
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
