"""Run migration files under one lock. A file is applied whole, or its run can be continued."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row

from bakehouse import database
from bakehouse.database import Connection, execute, sql_file, value
from bakehouse.errors import BakehouseError, Kind
from bakehouse.migrations import history, sqltext
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration, runs_alone

_BLOCKERS = sql_file(__package__, "blockers")
_STOPS_READERS = sql_file(__package__, "stops_readers")
_LOCK_HOLDER = sql_file(__package__, "lock_holder")

Tell = Callable[[str], None]
Record = Callable[[Connection, Migration, int], None]  # writes the history row of a file

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
_INDEX_OF = sql_file(__package__, "index_of")
_JOURNAL: LiteralString = (
    "select done, sql_hash, coalesce(index_name, '') from bakehouse.steps"
    " where version = $1 and ordinal = $2"
)


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
    """Run the files in order and record each in the history.

    `objects` is what is there now. Each file then moves the baseline by what the file changes.
    """
    history.ensure(conn)
    files = list(files)
    moves = _Moves(objects, [file.version for file in files])

    def record(conn: Connection, file: Migration, duration_ms: int) -> None:
        history.record(conn, file, duration_ms, commit)
        moves.note(conn, file)

    with BlockerWatch(conn, dsn, tell) as watch:
        for file in files:
            if file.transactional:
                yield _with_retries(conn, file, record, tell, watch)
            else:
                yield _step_by_step(conn, file, record, moves, tell)


def run_down(
    conn: Connection, dsn: str, script: Migration, tell: Tell, objects: Objects | None = None
) -> Ran:
    """Run the down script of a version and delete the version from the history, together."""
    moves = _Moves(objects, [])

    def forget(conn: Connection, script: Migration, _duration_ms: int) -> None:
        history.delete(conn, script.version)
        moves.note(conn, script)

    with BlockerWatch(conn, dsn, tell) as watch:
        return _with_retries(conn, script, forget, tell, watch)


@dataclass
class _Moves:
    """Moves the baseline by what changed since the last reading. Without a reading: not at all."""

    seen: Objects | None
    versions: list[str]

    def note(self, conn: Connection, file: Migration) -> None:
        if self.seen is None:
            return
        # a deferred check that failed at commit would leave this reading without its transaction
        conn.execute("set constraints all immediate")
        now, head = history.reading(conn, self.versions), history.chain_head(history.applied(conn))
        history.advance(conn, self.seen, now, head, file.text)
        self.seen = now


def _with_retries(
    conn: Connection, file: Migration, record: Record, tell: Tell, watch: "BlockerWatch"
) -> Ran:
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with watch.over(file.label):
                return _whole(conn, file, record, attempt)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            tell(f"{file.label}: {error.diag.message_primary}, try {attempt} of {LOCK_TRIES}")
            time.sleep(random.uniform(0.1, 0.3) * attempt)  # noqa: S311 jitter, not a secret
    raise BakehouseError(
        "busy",
        f"{file.label} could not get its locks: {watch.blocker or 'the blocker has ended'}",
        "Rolled back: this file changed nothing. It is safe to try again.",
        blocker=watch.blocker,
    )


def _whole(conn: Connection, file: Migration, record: Record, attempt: int) -> Ran:
    """Run the file in one message, which saves a round trip for each statement."""
    start, end = file.span
    prologue = f"begin; set local lock_timeout = '{LOCK_TIMEOUT}';"
    started = time.monotonic()
    ran = False
    try:
        execute(conn, f"{prologue}{file.text[start:end]};reset role")
        ran = True
        duration = milliseconds_since(started)
        record(conn, file, duration)
        conn.execute("commit; reset all; reset role")
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        _roll_back(conn)
        raise
    except psycopg.Error as error:
        _roll_back(conn)
        place = place_of(error, file, prologue)
        if place is None and not ran:
            place = _find(conn, file)
        raise explain(error, file, place, "failed", _UNDONE) from None
    except BaseException:
        _roll_back(conn)
        raise
    return Ran(file.version, file.label, duration, attempt)


def _find(conn: Connection, file: Migration) -> int | None:
    """Find the place where a file fails, if the server does not name it."""
    try:
        conn.execute(f"begin; set local lock_timeout = '{LOCK_TIMEOUT}'")
        return failing_statement(conn, file)
    except psycopg.OperationalError:  # the connection is lost, and the transaction with it
        return None
    finally:
        _roll_back(conn)


def place_of(error: psycopg.Error, file: Migration, prologue: str) -> int | None:
    """Convert the position in the error of the server to an offset in the file."""
    position = error.diag.statement_position
    return file.span[0] - len(prologue) + int(position) - 1 if position else None


def failing_statement(conn: Connection, file: Migration) -> int | None:
    """Run the file again, a statement at a time. Returns where the first error is."""
    for statement in file.body:
        try:
            execute(conn, statement.text)
        except psycopg.Error:
            return statement.start
    return None


def _roll_back(conn: Connection) -> None:
    with suppress(psycopg.OperationalError):  # the server has rolled back a lost connection
        conn.execute("rollback; reset all; reset role")


def _step_by_step(
    conn: Connection, file: Migration, record: Record, moves: _Moves, tell: Tell
) -> Ran:
    started = time.monotonic()
    place: int | None = None
    try:
        for ordinal, statement in enumerate(file.body):
            place = statement.start
            _step(conn, file, ordinal, statement, moves, tell)
        place = None
        with conn.transaction():
            duration = milliseconds_since(started)
            record(conn, file, duration)
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
    return Ran(file.version, file.label, duration)


def _step(
    conn: Connection,
    file: Migration,
    ordinal: int,
    statement: sqltext.Statement,
    moves: _Moves,
    tell: Tell,
) -> None:
    fingerprint = sqltext.sql_hash([statement])
    journal = database.fetch(conn, tuple_row, _JOURNAL, file.version, ordinal)
    done, begun, journaled = journal[0] if journal else (False, "", "")
    again = begun == fingerprint
    if done and again:
        tell(f"{file.label}: statement {ordinal + 1} was done before")
        return
    name, table = index_of(statement)
    # a dropped index has no schema any more, but the journal knows it
    index: str = (name and value(conn, _INDEX_OF, name, table)) or (journaled if again else "")
    left = [one for one in {index, journaled} if _is_invalid(conn, one)]
    for one in left:
        tell(f"{file.label}: dropping {one}, which an earlier run left invalid")
        execute(conn, f"drop index concurrently if exists {one}")
    conn.execute(
        "insert into bakehouse.steps (version, ordinal, sql_hash, index_name)"
        " values (%s, %s, %s, %s) on conflict (version, ordinal) do update"
        " set sql_hash = excluded.sql_hash, index_name = excluded.index_name, done = false,"
        " started_at = clock_timestamp()",
        (file.version, ordinal, fingerprint, index or None),
    )
    if again and index and not left:
        exists = database.table_exists(conn, index)
        if exists == (statement.words[0] == "create"):
            # an earlier run was killed, but the server finished the statement
            _finish(conn, file, ordinal, moves)
            return
    conn.execute(f"set statement_timeout = '{ALONE_TIMEOUT}'; set lock_timeout = 0")
    execute(conn, statement.text)
    if _is_invalid(conn, index):
        raise errors.ObjectNotInPrerequisiteState(f"index {index} is invalid")
    _finish(conn, file, ordinal, moves)


def _finish(conn: Connection, file: Migration, ordinal: int, moves: _Moves) -> None:
    with conn.transaction():
        conn.execute(
            "update bakehouse.steps set done = true where version = %s and ordinal = %s",
            (file.version, ordinal),
        )
        moves.note(conn, file)


def index_of(statement: sqltext.Statement) -> tuple[str, str | None]:
    """Return the index that a concurrent statement creates or drops, and the table of a new one.

    Other statements have the index ''.
    """
    match = _INDEX.match(statement.line) if runs_alone(statement) else None
    name, table = match.groups() if match else ("", None)
    return name.replace(" . ", "."), table and table.replace(" . ", ".")


def _is_invalid(conn: Connection, index: str) -> bool:
    query: LiteralString = "select not indisvalid from pg_index where indexrelid = to_regclass($1)"
    return bool(index and value(conn, query, index))


class BlockerWatch:
    """Names the session that blocks a slow file. Looks through a second connection.

    With a guard, which is that connection, also ends a transaction that stops readers too long.
    """

    def __init__(
        self, conn: Connection, dsn: str, tell: Tell, guard: Connection | None = None
    ) -> None:
        self.blocker = ""  # the blocker of the last file
        self.culprit = ""  # the statement that stopped readers too long
        self._conn = conn
        self._pid = value(conn, "select pg_backend_pid()")  # a pooler hides the real number
        self._dsn = dsn
        self._tell = tell
        self._guard = guard
        self._held: tuple[float, str] | None = None  # since when readers wait, and for what
        self._label = ""
        self._since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "BlockerWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def over(self, label: str) -> Iterator[None]:
        """Watch while this file or statement runs."""
        if label != self._label:
            self._label, self.blocker = label, ""
        self._since = time.monotonic()
        try:
            yield
            self._spare_readers()  # now, because the next statement did not take these locks
        finally:
            self._since = None

    def _look(self) -> None:
        with ExitStack() as stack:
            conn = self._guard
            while not self._end.wait(0.1):
                slow = self._since is not None and time.monotonic() - self._since > 0.3
                try:
                    if slow and conn is None:  # connect only when a file is slow
                        conn = stack.enter_context(database.connect(self._dsn, "watch"))
                    if slow and conn:
                        self._note(value(conn, _BLOCKERS, self._pid))
                    self._spare_readers()
                except (BakehouseError, psycopg.Error) as error:
                    self.blocker = f"unknown: a second connection failed ({error})"
                    return

    def _note(self, found: object) -> None:
        if found and not self.blocker:
            self._tell(f"{self._label} waits for {found}")
        self.blocker = str(found or self.blocker)

    def _spare_readers(self) -> None:
        if self._guard is None:
            return
        if not value(self._guard, _STOPS_READERS, self._pid):
            self._held = None
        elif self._held is None:
            self._held = time.monotonic(), self._label
        elif time.monotonic() - self._held[0] > READERS_WAIT - 0.2:  # a look may come late
            self.culprit = self._held[1]
            self._conn.cancel()


@contextmanager
def guarded(conn: Connection, dsn: str, tell: Tell) -> Iterator[BlockerWatch]:
    """Watch a session, and cancel its statements once readers wait too long for its locks."""
    with database.connect(dsn, "guard") as other, BlockerWatch(conn, dsn, tell, other) as watch:
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
    diag = error.diag
    said = database.message_of(error)
    facts: dict[str, object] = {"file": file.path.name, "sqlstate": error.sqlstate}
    if place is None:
        lines = [f"{file.path.name}: {said}"]
    else:
        line, column, text = sqltext.place(file.text, place)
        margin = f"  {line} | "
        lines = [
            f"{file.path.name}:{line}: {said}",
            margin + text.expandtabs(1).rstrip(),
            " " * (len(margin) + column - 1) + "^",
        ]
        facts |= {"line": line, "column": column}
    for label, extra in (
        ("detail", diag.message_detail),
        ("hint", diag.message_hint),
        ("where", diag.context),
    ):
        if extra:
            lines.append(f"  {label}: {extra}")
            facts[f"server_{label}"] = extra
    if error.sqlstate is None or error.sqlstate.startswith("57P"):  # the server ended this session
        kind, hint = (
            "connection",
            "The connection was lost. `migrate status` shows what is applied.",
        )
    return BakehouseError(kind, "\n".join(lines), hint, **facts)


def milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
