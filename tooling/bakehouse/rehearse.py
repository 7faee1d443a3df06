"""Rehearse pending files: run them, look at what they did, roll it all back."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import errors

from bakehouse import apply, catalog, lint
from bakehouse.catalog import Changes
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.lint import Finding
from bakehouse.migrations import Migration

LOCK_TIMEOUT = "2s"
STATEMENT_TIMEOUT = "60s"

_TABLES: LiteralString = """
select c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relfilenode::bigint,
  greatest(c.reltuples, 0)::bigint
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^(pg_|information_schema$|bakehouse$)'
"""
# Weaker locks stop nobody from reading and writing; of several, the strongest counts.
_LOCKS: LiteralString = """
select distinct on (l.relation) l.relation::bigint, l.mode
from pg_locks as l
join unnest(array['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock'])
  with ordinality as strength (mode, rank) on strength.mode = l.mode
where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted
  and l.relation = any(%s::oid[])
order by l.relation, strength.rank
"""


@dataclass(frozen=True)
class Rehearsal:
    """What one file does, seen by running it."""

    label: str
    duration_ms: int = 0
    locks: list[str] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    breaking: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)  # the tables of locks and rewrites, by name
    rewritten: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Read:
    """How a heavy read goes once the files have run."""

    name: str
    text: str
    duration_ms: int
    plan: list[str]


@dataclass(frozen=True)
class _Table:
    name: str
    file: int
    rows: int


def rehearse(
    conn: Connection, files: Iterable[Migration], reads: Migration | None = None
) -> tuple[list[Rehearsal], list[Read]]:
    """Run the files, then the reads, in one transaction that ends in a rollback."""
    try:
        conn.execute(
            f"begin; set local lock_timeout = '{LOCK_TIMEOUT}';"
            f" set local statement_timeout = '{STATEMENT_TIMEOUT}'"
        )
        report = _all(conn, files)
        seen = [] if any(one.notes for one in report) else list(_explain(conn, reads))
        return report, seen
    finally:
        if not conn.closed:
            conn.execute("rollback; reset all; reset role")


def _explain(conn: Connection, reads: Migration | None) -> Iterator[Read]:
    for statement in reads.body if reads else ():
        started = time.monotonic()
        try:
            rows = conn.execute(f"explain (analyze, buffers) {statement.text}".encode()).fetchall()
        except psycopg.Error as error:
            assert reads
            raise apply.explain(
                error, reads, statement.start, "failed", "Rolled back: a rehearsal."
            ) from None
        duration = round((time.monotonic() - started) * 1000)
        above = statement.text[: statement.start - statement.offset].strip().splitlines()
        name = above[-1].lstrip("- ") if above else statement.text[:60]
        yield Read(name, statement.text, duration, [str(row[0]) for row in rows])


def _all(conn: Connection, files: Iterable[Migration]) -> list[Rehearsal]:
    done: list[Rehearsal] = []
    tables = _tables(conn)
    held: set[tuple[int, str]] = set()
    in_use = {oid: table.rows for oid, table in tables.items()}
    known = lint.see(conn, in_use)
    objects, promises = catalog.read(conn), catalog.promises(conn)
    had, at_first = objects.keys(), promises
    for file in files:
        if not file.transactional:
            note = "not rehearsed: it cannot run in a transaction"
            done.append(Rehearsal(file.label, notes=[note]))
            continue
        started = time.monotonic()
        notes = run(conn, file)
        duration = round((time.monotonic() - started) * 1000)
        before, objects = objects, catalog.read(conn)
        changes = catalog.compare(before, objects)
        locks = set(_locks(conn, tables))
        seen, findings = known, list[Finding]()
        if locks or changes.changed:  # else nothing happened to a table that was there before
            known = lint.see(conn, in_use)
        if notes or lint.compare(seen, known):
            conn.execute("rollback to savepoint file")
            findings += lint.locate(conn, file, in_use, seen)
        if notes:
            conn.execute("rollback to savepoint file")
        conn.execute("release savepoint file")
        breaking: list[str] = []
        if changes.gone or changes.changed:  # what is only added breaks nobody
            counted_on, promises = promises & at_first, catalog.promises(conn)
            breaking = catalog.breaking(changes, counted_on, promises, had)
        locked = locks - held
        now = _tables(conn)
        rewritten = [oid for oid in tables.keys() & now.keys() if tables[oid].file != now[oid].file]
        done.append(
            Rehearsal(
                file.label,
                duration,
                sorted(f"{mode} on {_size(tables[oid])}" for oid, mode in locked),
                sorted(_size(tables[oid]) for oid in rewritten),
                changes,
                breaking,
                sorted(tables[oid].name for oid, _ in locked),
                sorted(tables[oid].name for oid in rewritten),
                findings,
                notes,
            )
        )
        held |= locked
        tables |= {oid: now[oid] for oid in rewritten}
        if notes:
            break
    return done


def run(conn: Connection, file: Migration) -> list[str]:
    """The file from a savepoint on, which is left to the caller; and why it has no end."""
    start, end = file.span
    prologue = "savepoint file;"
    try:
        # one message: a round trip for every statement would cost more than most statements
        text = f"{prologue}{file.text[start:end]};reset role"
        conn.execute(text.encode())
    except errors.UnsafeNewEnumValueUsage:
        conn.execute("rollback to savepoint file")
        return [
            "needs a commit boundary: it uses an enum value that was added just now;"
            " this file and those after it were not rehearsed"
        ]
    except errors.LockNotAvailable as error:
        raise BakehouseError(
            "busy",
            f"{file.label}: no lock in {LOCK_TIMEOUT} ({error.diag.message_primary})",
            "Rolled back. Someone works on the same tables; try again.",
        ) from None
    except psycopg.Error as error:
        place: int | None = None
        if error.diag.statement_position:
            place = start - len(prologue) + int(error.diag.statement_position) - 1
        elif not conn.closed:
            conn.execute("rollback to savepoint file")
            place = apply.failing(conn, file)
        raise apply.explain(error, file, place, "failed", "Rolled back: a rehearsal.") from None
    return []


def _tables(conn: Connection) -> dict[int, _Table]:
    rows = conn.execute(_TABLES).fetchall()
    return {int(str(r[0])): _Table(str(r[1]), int(str(r[2])), int(str(r[3]))) for r in rows}


def _locks(conn: Connection, tables: Iterable[int]) -> list[tuple[int, str]]:
    rows = conn.execute(_LOCKS, (list(tables),)).fetchall()
    return [(int(str(oid)), str(mode)) for oid, mode in rows]


def _size(table: _Table) -> str:
    return f"{table.name} (about {table.rows} rows)"
