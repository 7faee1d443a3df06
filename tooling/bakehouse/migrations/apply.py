"""Run migration files under one lock. A file is applied whole, or its run can be continued."""

import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row

from bakehouse import database
from bakehouse.database import Connection, execute, fetch, sql_file, value
from bakehouse.errors import BakehouseError, Kind
from bakehouse.migrations import history, sqltext
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration

_BLOCKERS = sql_file(__package__, "blockers")
_STOPS_READERS = sql_file(__package__, "stops_readers")
_LOCK_HOLDER = sql_file(__package__, "lock_holder")
_STEP = sql_file(__package__, "step")

Tell = Callable[[str], None]

LOCK_TIMEOUT = "3s"
LOCK_TRIES = 5
ALONE_TIMEOUT = "1h"  # a concurrent build waits for old snapshots
READERS_WAIT = 1.0  # seconds that a guarded transaction may stop readers
_LOCK_KEY = 7165891230427  # any number, but the same in every version of the tool
_UNDONE = "Rolled back: this file changed nothing. Fix the file and run again."
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_NAME = rf"{_IDENTIFIER}(?: \. {_IDENTIFIER})*"
_INDEX = re.compile(
    r"(?:create(?: unique)?|drop) index concurrently(?: if not exists| if exists)? "
    rf"(?!on )({_NAME})(?: on (?:only )?({_NAME}))?"
)
_IS_INVALID: LiteralString = (
    "select not indisvalid from pg_index where indexrelid = to_regclass($1)"
)
_BUSY = errors.LockNotAvailable, errors.DeadlockDetected


@dataclass(frozen=True)
class Ran:
    """A file that was applied."""

    version: str
    label: str
    duration_ms: int
    tries: int = 1


@contextmanager
def lock(conn: Connection, wait: float, tell: Tell) -> Iterator[None]:
    """Hold the lock that all writing bakehouse commands share. Polls instead of waiting for it."""
    deadline = time.monotonic() + wait
    told = False
    while not value(conn, "select pg_try_advisory_lock($1)", _LOCK_KEY):
        holder = value(conn, _LOCK_HOLDER, _LOCK_KEY)
        if time.monotonic() > deadline:
            raise BakehouseError(
                "busy",
                f"another bakehouse command is running here: {holder or 'an unknown session'}",
                "Nothing was run. Try again when that command ends, or wait longer: --lock-wait.",
            )
        if not told:
            tell(f"waiting for another bakehouse command: {holder or 'an unknown session'}")
            told = True
        time.sleep(0.1)
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", (_LOCK_KEY,))


def run(
    conn: Connection,
    dsn: str,
    files: Iterable[Migration],
    commit: str | None,
    tell: Tell,
    objects: Objects | None = None,
) -> Iterator[Ran]:
    """Run the files in order, and record each in the history.

    `objects` is what is there now. Each file then moves the baseline by what the file changes.
    """
    history.ensure(conn)
    files = list(files)
    record = partial(history.record, conn, commit=commit)
    with BlockerWatch(conn, dsn, tell).looking() as watch:
        run = _Run(conn, tell, watch, record, objects, [file.version for file in files])
        for file in files:
            yield _with_retries(run, file) if file.transactional else _step_by_step(run, file)


def run_down(
    conn: Connection, dsn: str, script: Migration, tell: Tell, objects: Objects | None = None
) -> Ran:
    """Run the down script of a version and delete the version from the history, together."""

    def forget(script: Migration, _duration_ms: int) -> None:
        history.delete(conn, script.version)

    with BlockerWatch(conn, dsn, tell).looking() as watch:
        return _with_retries(_Run(conn, tell, watch, forget, objects, []), script)


@dataclass
class _Run:
    """What the files of one run share."""

    conn: Connection
    tell: Tell
    watch: "BlockerWatch"
    record: Callable[[Migration, int], None]  # changes the history row of a file
    seen: Objects | None  # the last reading; without one, the baseline stays
    versions: list[str]

    def finish(self, file: Migration, started: float, tries: int = 1) -> Ran:
        """Record the file, in the transaction that ran it."""
        duration = milliseconds_since(started)
        self.record(file, duration)
        self.move_baseline(file)
        return Ran(file.version, file.label, duration, tries)

    def move_baseline(self, file: Migration) -> None:
        """Move the baseline by what changed since the last reading."""
        if self.seen is None:
            return
        # a deferred check that failed at commit would leave this reading without its transaction
        self.conn.execute("set constraints all immediate")
        now = history.reading(self.conn, self.versions)
        head = history.chain_head(history.applied(self.conn))
        history.advance(self.conn, self.seen, now, head, file.text)
        self.seen = now


def _with_retries(run: _Run, file: Migration) -> Ran:
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with run.watch.over(file.label):
                return _whole(run, file, attempt)
        except _BUSY as error:
            run.tell(f"{file.label}: {error.diag.message_primary}, try {attempt} of {LOCK_TRIES}")
            time.sleep(random.uniform(0.1, 0.3) * attempt)  # noqa: S311 jitter, not a secret
    blocker = run.watch.blocker
    raise BakehouseError(
        "busy",
        f"{file.label} could not get its locks: {blocker or 'the blocker has ended'}",
        "Rolled back: this file changed nothing. It is safe to try again.",
        blocker=blocker,
    )


def _whole(run: _Run, file: Migration, attempt: int) -> Ran:
    """Run the file in one message, which saves a round trip for each statement."""
    conn, (start, end) = run.conn, file.span
    begin = f"begin; set local lock_timeout = '{LOCK_TIMEOUT}';"
    started = time.monotonic()
    ran = False
    try:
        execute(conn, f"{begin}{file.text[start:end]};reset role")
        ran = True
        done = run.finish(file, started, attempt)
        conn.execute("commit; reset all; reset role")
    except BaseException as error:
        _roll_back(conn)
        if isinstance(error, _BUSY) or not isinstance(error, psycopg.Error):
            raise
        place = None if ran else place_of(conn, error, file, begin, begin)
        _roll_back(conn)
        raise explain(error, file, place, "failed", _UNDONE) from None
    return done


def place_of(
    conn: Connection, error: psycopg.Error, file: Migration, prologue: str, again: str
) -> int | None:
    """Return the offset of the error. Runs the file `again` if the server does not name it.

    The error has a position in the prologue and the body of the file, which ran together.
    """
    if position := error.diag.statement_position:
        return file.span[0] - len(prologue) + int(position) - 1
    with suppress(psycopg.OperationalError):  # the connection is lost
        execute(conn, again)
        for statement in file.body:
            try:
                execute(conn, statement.text)
            except psycopg.Error:
                return statement.start
    return None


def _roll_back(conn: Connection) -> None:
    with suppress(psycopg.OperationalError):  # the server has rolled back a lost connection
        conn.execute("rollback; reset all; reset role")


def _step_by_step(run: _Run, file: Migration) -> Ran:
    conn, started = run.conn, time.monotonic()
    place: int | None = None
    try:
        for ordinal, statement in enumerate(file.body):
            place = statement.start
            _step(run, file, ordinal, statement)
        place = None
        with conn.transaction():
            done = run.finish(file, started)
            conn.execute("delete from bakehouse.steps where version = %s", (file.version,))
    except psycopg.Error as error:
        raise explain(
            error,
            file,
            place,
            "partial",
            "This file runs without a transaction: the statements before this one stay. Fix the"
            " cause and run `migrate up` again; it resumes with this statement.",
        ) from None
    finally:
        if not conn.closed:
            conn.execute("reset all")
    return done


def _step(run: _Run, file: Migration, ordinal: int, statement: sqltext.Statement) -> None:
    conn, step = run.conn, (file.version, ordinal)
    digest = sqltext.sql_hash([statement])
    facts = (digest, *index_of(statement), statement.tokens[0] == "create")
    [(index, done, leftovers, finished)] = fetch(conn, tuple_row, _STEP, *step, *facts)
    if done:
        run.tell(f"{file.label}: statement {ordinal + 1} was done before")
        return
    for one in leftovers:
        run.tell(f"{file.label}: dropping {one}, which an earlier run left invalid")
        execute(conn, f"drop index concurrently if exists {one}")
    conn.execute(
        "insert into bakehouse.steps (version, ordinal, sql_hash, index_name)"
        " values (%s, %s, %s, %s) on conflict (version, ordinal) do update"
        " set sql_hash = excluded.sql_hash, index_name = excluded.index_name, done = false,"
        " started_at = clock_timestamp()",
        (*step, digest, index),
    )
    if not finished:
        conn.execute(f"set statement_timeout = '{ALONE_TIMEOUT}'; set lock_timeout = 0")
        execute(conn, statement.text)
        if value(conn, _IS_INVALID, index):
            raise errors.ObjectNotInPrerequisiteState(f"index {index} is invalid")
    with conn.transaction():
        conn.execute(
            "update bakehouse.steps set done = true where version = %s and ordinal = %s", step
        )
        run.move_baseline(file)


def index_of(statement: sqltext.Statement) -> tuple[str | None, str | None]:
    """Return the index that a concurrent statement creates or drops, and the table of a new one."""
    match = _INDEX.match(statement.line)
    name, table = match.groups() if match else (None, None)
    return name and name.replace(" . ", "."), table and table.replace(" . ", ".")


@dataclass
class BlockerWatch:
    """Names the session that blocks a slow file. Looks through a second connection.

    With a guard, which is that connection, also ends a transaction that stops readers too long.
    """

    conn: Connection
    dsn: str
    tell: Tell
    guard: Connection | None = None
    blocker: str = ""  # the blocker of the last file
    culprit: str = ""  # the statement that stopped readers too long
    _label: str = ""
    _slow_at: float = math.inf  # when the file that runs will count as slow
    _held: tuple[float, str] | None = None  # since when readers wait, and for what

    @contextmanager
    def looking(self) -> Iterator["BlockerWatch"]:
        self._pid = value(self.conn, "select pg_backend_pid()")  # a pooler hides the real number
        end = threading.Event()
        thread = threading.Thread(target=self._look, args=(end,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            end.set()
            thread.join()

    @contextmanager
    def over(self, label: str) -> Iterator[None]:
        """Watch while this file or statement runs."""
        if label != self._label:
            self._label, self.blocker = label, ""
        self._slow_at = time.monotonic() + 0.3
        try:
            yield
            self._spare_readers()  # now, because the next statement did not take these locks
        finally:
            self._slow_at = math.inf

    def _look(self, end: threading.Event) -> None:
        if self.guard is None and end.wait(0.3):  # a fast run needs no second connection
            return
        look = nullcontext(self.guard) if self.guard else database.connect(self.dsn, "watch")
        try:
            with look as conn:
                while not end.wait(0.1):
                    found = time.monotonic() > self._slow_at and value(conn, _BLOCKERS, self._pid)
                    if found and not self.blocker:
                        self.tell(f"{self._label} waits for {found}")
                    self.blocker = found or self.blocker
                    self._spare_readers()
        except (BakehouseError, psycopg.Error) as error:
            self.blocker = f"unknown: a second connection failed ({error})"

    def _spare_readers(self) -> None:
        if self.guard is None:
            return
        if not value(self.guard, _STOPS_READERS, self._pid):
            self._held = None
        elif self._held is None:
            self._held = time.monotonic(), self._label
        elif time.monotonic() - self._held[0] > READERS_WAIT - 0.2:  # a look may come late
            self.culprit = self._held[1]
            self.conn.cancel()


@contextmanager
def guarded(conn: Connection, dsn: str, tell: Tell) -> Iterator[BlockerWatch]:
    """Watch a session, and cancel its statements once readers wait too long for its locks."""
    with (
        database.connect(dsn, "guard") as other,
        BlockerWatch(conn, dsn, tell, other).looking() as watch,
    ):
        try:
            yield watch
        except (BakehouseError, psycopg.Error):
            if not watch.culprit:
                raise
            raise BakehouseError(
                "gate",
                f"{watch.culprit}: this statement holds a lock that stops readers",
                f"Rolled back after about {READERS_WAIT:g} s, because others use the database."
                " Rehearse the file on staging: `migrate plan --env staging`.",
            ) from None


def explain(
    error: psycopg.Error, file: Migration, place: int | None, kind: Kind, hint: str
) -> BakehouseError:
    """Return the error of the server, with file, line and a caret at the place."""
    diag, where = error.diag, file.path.name
    facts: dict[str, object] = {"file": where, "sqlstate": error.sqlstate}
    lines = []
    if place is not None:
        line, column, text = sqltext.place(file.text, place)
        where, margin = f"{where}:{line}", f"  {line} | "
        lines = [margin + text.expandtabs(1).rstrip(), " " * (len(margin) + column - 1) + "^"]
        facts |= {"line": line, "column": column}
    lines.insert(0, f"{where}: {database.message_of(error)}")
    extras = {"detail": diag.message_detail, "hint": diag.message_hint, "where": diag.context}
    for label, extra in extras.items():
        if extra:
            lines.append(f"  {label}: {extra}")
            facts[f"server_{label}"] = extra
    if error.sqlstate is None or error.sqlstate.startswith("57P"):  # the server ended this session
        kind = "connection"
        hint = "The connection was lost. `migrate status` shows what is applied."
    return BakehouseError(kind, "\n".join(lines), hint, **facts)


def milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
