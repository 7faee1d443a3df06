"""Rehearse pending files: run them, report what they did, roll everything back."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg
from psycopg import errors
from psycopg.rows import class_row, scalar_row, tuple_row

from bakehouse.database import Connection, execute, fetch, sql_file
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, watch
from bakehouse.migrations.apply import BlockerWatch, milliseconds_since
from bakehouse.migrations.catalog import Changes
from bakehouse.migrations.files import Migration
from bakehouse.migrations.watch import Advice, Finding

LOCK_TIMEOUT = "2s"
_ROLLED_BACK = "Rolled back: this was a rehearsal."
_TOO_LONG = (
    "Rolled back: this was a rehearsal. Give the statement more time (--rehearsal-seconds), or let"
    " `migrate up --accept-rehearsal` apply the file without a rehearsal."
)
_NAME_ALL = "set local search_path = pg_catalog"  # the catalog queries then name every schema
_NAME_FEW = "reset search_path"  # as a file expects
_BACK = f"rollback to savepoint file; {_NAME_FEW}"
_TABLES = sql_file(__package__, "tables_in_use")
_LOCKS = sql_file(__package__, "locks_held")


@dataclass(frozen=True)
class Rehearsal:
    """The effects of one file, seen by running it."""

    label: str
    duration_ms: int = 0
    locks: list[str] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    breaking: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)  # the names of locked tables
    rewritten: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HeavyRead:
    """The plan and duration of a heavy read after the files."""

    name: str
    text: str
    duration_ms: int
    plan: list[str]


@dataclass(frozen=True)
class Table:
    oid: int
    name: str
    rows: int  # an estimate

    def __str__(self) -> str:
        return f"{self.name} (about {self.rows} rows)"


def rehearse(
    conn: Connection,
    files: Iterable[Migration],
    reads: Migration | None,
    seconds: float,
    careful: AbstractContextManager[BlockerWatch | None],
) -> tuple[list[Rehearsal], list[HeavyRead]]:
    """Run the files, then the heavy reads, in one transaction. Rolls it back.

    No statement may take longer than these seconds. A careful run also protects readers.
    """
    try:
        conn.execute(
            f"begin; set local lock_timeout = '{LOCK_TIMEOUT}';"
            f" set local statement_timeout = {max(1, round(1000 * seconds))}; {_NAME_ALL}"
        )
        with careful as guard:  # ends before the rollback, which must not be canceled
            known = watch.advice(conn)
            before = _Before(conn)
            report: list[Rehearsal] = []
            for file in files:
                report.append(_rehearse_file(conn, file, before, guard))
                if file.transactional and report[-1].notes:
                    break
            _add_advice(report, watch.advice(conn) - known)
            if reads is None or any(one.notes for one in report):
                return report, []
            conn.execute(_NAME_FEW)
            return report, list(_explain(conn, reads))
    finally:
        if not conn.closed:
            conn.execute("rollback; reset all; reset role")


def _explain(conn: Connection, reads: Migration) -> Iterator[HeavyRead]:
    for statement in reads.body:
        started = time.monotonic()
        try:
            query = f"explain (analyze, buffers) {statement.text}".encode()
            plan = fetch(conn, scalar_row, query)
        except psycopg.Error as error:
            raise apply.explain(error, reads, statement.start, "failed", _ROLLED_BACK) from None
        above = statement.text[: statement.start - statement.offset].strip().splitlines()
        name = above[-1].lstrip("- ") if above else statement.text[:60]
        yield HeavyRead(name, statement.text, milliseconds_since(started), plan)


class _Before:
    """The state before the next file. Each rehearsed file updates that state."""

    def __init__(self, conn: Connection) -> None:
        self.tables = tables(conn)
        self.rows = {oid: table.rows for oid, table in self.tables.items()}  # before the first file
        self.locks: set[tuple[int, str]] = set()
        self.seen = watch.see(conn, self.rows)
        self.objects, self.promises = catalog.read(conn), catalog.promises(conn)
        self.had, self.promised = self.objects.keys(), self.promises  # as at the start of the run

    def breaking(self, conn: Connection, changes: Changes) -> list[str]:
        """List what the file broke. A new object breaks no caller."""
        if not (changes.gone or changes.changed):
            return []
        counted_on, self.promises = self.promises & self.promised, catalog.promises(conn)
        return catalog.breaking(changes, counted_on, self.promises, self.had)


def _rehearse_file(
    conn: Connection, file: Migration, before: _Before, guard: BlockerWatch | None
) -> Rehearsal:
    if not file.transactional:
        return Rehearsal(file.label, notes=["not rehearsed: it cannot run in a transaction"])
    started = time.monotonic()
    notes = run(conn, file, guard)
    duration = milliseconds_since(started)
    objects = catalog.read(conn)
    changes = catalog.compare(before.objects, objects)
    locks = set(fetch(conn, tuple_row, _LOCKS, list(before.tables)))
    seen = before.seen
    if locks or changes.changed:  # otherwise the file touched no older table
        seen = watch.see(conn, before.rows)
    effects = watch.effects(conn, before.seen, seen)
    findings: list[Finding] = []
    if notes or any(one.what for one in effects):  # find the statements
        conn.execute(_BACK)
        findings += watch.locate(conn, file, before.rows, before.seen)
    if notes:
        conn.execute(_BACK)
    conn.execute(f"release savepoint file; {_NAME_ALL}")
    breaking = before.breaking(conn, changes)
    rewritten = [before.tables[one.oid] for one in effects if one.rewrites]
    locked = [(mode, before.tables[oid]) for oid, mode in locks - before.locks]
    before.locks |= locks
    before.objects, before.seen = objects, seen
    return Rehearsal(
        file.label,
        duration,
        sorted(f"{mode} on {table}" for mode, table in locked),
        sorted(map(str, rewritten)),
        changes,
        breaking,
        sorted(table.name for _, table in locked),
        sorted(table.name for table in rewritten),
        findings,
        notes,
    )


def _add_advice(report: list[Rehearsal], found: set[Advice]) -> None:
    """Add each finding to the last file that touched its object."""
    for rule, name, what, advice in sorted(found):
        touched = [one for one in report if name in (*one.changes.added, *one.changes.changed)]
        last = (touched or report)[-1]
        last.findings.append(
            Finding(f"{last.label}.sql", "", 0, f"{name}: {what} ({rule})", advice)
        )


def run(conn: Connection, file: Migration, guard: BlockerWatch | None = None) -> list[str]:
    """Run the file after a savepoint, which stays open. Returns why the rehearsal must stop."""
    prologue = f"savepoint file; {_NAME_FEW};"
    start, end = file.span
    at: int | None = None
    try:
        if guard:
            conn.execute(prologue.encode())
            for statement in file.body:
                at = statement.start
                with guard.over(file.place(at)):
                    execute(conn, statement.text)
            conn.execute(f"reset role; {_NAME_ALL}")
        else:  # one message for the whole file: most statements are faster than a round trip
            execute(conn, f"{prologue}{file.text[start:end]};reset role; {_NAME_ALL}")
    except errors.UnsafeNewEnumValueUsage:
        conn.execute(_BACK)
        return [
            "needs a commit boundary: it uses an enum value that was added just now;"
            " this file and those after it were not rehearsed"
        ]
    except errors.LockNotAvailable as error:
        raise BakehouseError(
            "busy",
            f"{file.label}: no lock within {LOCK_TIMEOUT} ({error.diag.message_primary})",
            "Rolled back. Another session uses the same tables; try again.",
        ) from None
    except psycopg.Error as error:
        if guard and guard.culprit:
            raise
        place = at if guard else apply.place_of(conn, error, file, prologue, _BACK)
        hint = _TOO_LONG if isinstance(error, errors.QueryCanceled) else _ROLLED_BACK
        raise apply.explain(error, file, place, "failed", hint) from None
    return []


def tables(conn: Connection) -> dict[int, Table]:
    """Read all tables that can be in use."""
    return {table.oid: table for table in fetch(conn, class_row(Table), _TABLES)}
