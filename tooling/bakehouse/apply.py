"""Run migration files: one lock, each file whole or not at all, resumable where it cannot be."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import errors

from bakehouse import database, history, sqltext
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import Migration, runs_alone

_BLOCKERS = """
select string_agg(
  format(
    'pid %%s, user %%s, %%s for %%s s: %%s', a.pid, a.usename, a.state,
    extract(epoch from clock_timestamp() - a.xact_start)::int,
    left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80)
  ), '; '
)
from pg_stat_activity as a
where a.pid = any(pg_blocking_pids(%s))
"""

Tell = Callable[[str], None]
Record = Callable[[Connection, Migration, int], None]  # what the history is told of a file

LOCK_TIMEOUT = "3s"
LOCK_TRIES = 5
ALONE_TIMEOUT = "1h"  # a concurrent build waits for old snapshots, which lock_timeout would count
_LOCK_KEY = 7165891230427  # any number, the same in every version of the tool
_UNDONE = "Rolled back: the database is as before this file. Mend it and run again."
_INDEX_NAME = re.compile(
    r"(?:create(?: unique)?|drop) index concurrently(?: if not exists| if exists)? "
    r'((?:(?:"(?:[^"]|"")+"|[\w$]+) ?\. ?)?(?:"(?:[^"]|"")+"|(?!on )[\w$]+))'
)


@dataclass(frozen=True)
class Done:
    version: str
    label: str
    duration_ms: int
    tries: int = 1


@contextmanager
def lock(conn: Connection, wait: float, tell: Tell) -> Iterator[None]:
    """Hold the one lock of all bakehouse commands that write; polled, so it blocks nobody."""
    deadline = time.monotonic() + wait
    told = False
    while not _one(conn, "select pg_try_advisory_lock(%s)", _LOCK_KEY):
        holder = _one(
            conn,
            "select format('pid %%s (%%s, since %%s)', a.pid, a.application_name,"
            " to_char(a.backend_start, 'HH24:MI:SS')) from pg_locks as l"
            " join pg_stat_activity as a on a.pid = l.pid where l.locktype = 'advisory'"
            " and l.granted and (l.classid::bigint << 32) + l.objid::bigint = %s"
            " and l.database = (select oid from pg_database where datname = current_database())",
            _LOCK_KEY,
        )
        if time.monotonic() > deadline:
            raise BakehouseError(
                "busy",
                f"another bakehouse command is at work here: {holder or 'it has just ended'}",
                "Nothing was run. Try again when it is done, or wait longer: --lock-wait.",
            )
        if not told:
            tell(f"waiting for another bakehouse command: {holder or 'it is about to end'}")
            told = True
        time.sleep(0.1)
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", (_LOCK_KEY,))


def run(
    conn: Connection, dsn: str, files: Iterable[Migration], commit: str | None, tell: Tell
) -> Iterator[Done]:
    """Run the files in turn and record each."""
    history.ensure(conn)
    record = partial(history.record, commit=commit)
    with Watch(conn, dsn, tell) as watch:
        for file in files:
            if file.transactional:
                yield _with_retries(conn, file, record, tell, watch)
            else:
                yield _step_by_step(conn, file, commit, tell)


def take_back(conn: Connection, dsn: str, script: Migration, tell: Tell) -> Done:
    """Run the down script of a version and forget that version, together."""
    with Watch(conn, dsn, tell) as watch:
        return _with_retries(conn, script, history.forget, tell, watch)


def _with_retries(
    conn: Connection, file: Migration, record: Record, tell: Tell, watch: "Watch"
) -> Done:
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with watch.over(file.label):
                return _whole(conn, file, record, attempt)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            tell(f"{file.label}: {error.diag.message_primary}, try {attempt} of {LOCK_TRIES}")
            time.sleep(random.uniform(0.1, 0.3) * attempt)  # noqa: S311 jitter, not a secret
    raise BakehouseError(
        "busy",
        f"{file.label} could not get its locks: {watch.blocker or 'the blocker is gone'}",
        "Rolled back: the database is as before this file. It is safe to try again.",
        blocker=watch.blocker,
    )


def _whole(conn: Connection, file: Migration, record: Record, attempt: int) -> Done:
    """The file in one message, so that a small file costs little more than its commit."""
    start, end = file.span
    prologue = f"begin; set local lock_timeout = '{LOCK_TIMEOUT}';"
    started = time.monotonic()
    ran = False
    try:
        conn.execute(f"{prologue}{file.text[start:end]};reset role".encode())
        ran = True
        duration = _since(started)
        record(conn, file, duration)
        conn.execute("commit; reset all; reset role")
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        _roll_back(conn)
        raise
    except psycopg.Error as error:
        _roll_back(conn)
        place: int | None = None
        if error.diag.statement_position:
            place = start - len(prologue) + int(error.diag.statement_position) - 1
        elif not ran:
            place = _find(conn, file)
        raise explain(error, file, place, "failed", _UNDONE) from None
    except BaseException:
        _roll_back(conn)
        raise
    return Done(file.version, file.label, duration, attempt)


def _find(conn: Connection, file: Migration) -> int | None:
    """Where a file fails, when the server does not say."""
    try:
        conn.execute(f"begin; set local lock_timeout = '{LOCK_TIMEOUT}'")
        return failing(conn, file)
    except psycopg.OperationalError:  # the connection is gone, and with it the transaction
        return None
    finally:
        _roll_back(conn)


def failing(conn: Connection, file: Migration) -> int | None:
    """The statement at which a file fails: it is run again, one at a time."""
    for statement in file.body:
        try:
            conn.execute(statement.text.encode())
        except psycopg.Error:
            return statement.start
    return None


def _roll_back(conn: Connection) -> None:
    with suppress(psycopg.OperationalError):  # a lost connection has rolled back by itself
        conn.execute("rollback; reset all; reset role")


def _step_by_step(conn: Connection, file: Migration, commit: str | None, tell: Tell) -> Done:
    started = time.monotonic()
    place: int | None = None
    try:
        for ordinal, statement in enumerate(file.body):
            place = statement.start
            _step(conn, file, ordinal, statement, tell)
        place = None
        with conn.transaction():
            duration = _since(started)
            history.record(conn, file, duration, commit)
            conn.execute("delete from bakehouse.steps where version = %s", (file.version,))
    except psycopg.Error as error:
        raise explain(
            error,
            file,
            place,
            "partial",
            "This file runs without a transaction: what came before stays. Mend the cause and run"
            " `migrate up` again; it goes on from this statement.",
        ) from None
    finally:
        if not conn.closed:
            conn.execute("reset all")
    return Done(file.version, file.label, duration)


def _step(
    conn: Connection, file: Migration, ordinal: int, statement: sqltext.Statement, tell: Tell
) -> None:
    fingerprint = sqltext.sql_hash([statement])
    begun = conn.execute(
        "select done, sql_hash from bakehouse.steps where version = %s and ordinal = %s",
        (file.version, ordinal),
    ).fetchone()
    if begun == (True, fingerprint):
        tell(f"{file.label}: statement {ordinal + 1} was done before")
        return
    conn.execute(
        "insert into bakehouse.steps (version, ordinal, sql_hash) values (%s, %s, %s)"
        " on conflict (version, ordinal) do update"
        " set sql_hash = excluded.sql_hash, done = false, started_at = clock_timestamp()",
        (file.version, ordinal, fingerprint),
    )
    index = index_of(statement)
    if _is_invalid(conn, index):
        tell(f"{file.label}: dropping {index}, which an earlier run left invalid")
        conn.execute(f"drop index concurrently if exists {index}".encode())
    elif begun == (False, fingerprint) and index:
        exists = _one(conn, "select to_regclass(%s) is not null", index)
        if exists == statement.begins("create"):
            _finish(conn, file, ordinal)  # the statement outlived the run that began it
            return
    conn.execute(f"set statement_timeout = '{ALONE_TIMEOUT}'; set lock_timeout = 0")
    conn.execute(statement.text.encode())
    if _is_invalid(conn, index):
        raise errors.ObjectNotInPrerequisiteState(f"index {index} is invalid")
    _finish(conn, file, ordinal)


def _finish(conn: Connection, file: Migration, ordinal: int) -> None:
    conn.execute(
        "update bakehouse.steps set done = true where version = %s and ordinal = %s",
        (file.version, ordinal),
    )


def index_of(statement: sqltext.Statement) -> str:
    """The name of the index that a concurrent statement makes or drops; '' for all others."""
    if not runs_alone(statement):
        return ""
    match = _INDEX_NAME.match(" ".join(statement.tokens))
    return match[1].replace(" . ", ".") if match else ""


def _is_invalid(conn: Connection, index: str) -> bool:
    return bool(
        index
        and _one(
            conn,
            "select not i.indisvalid from pg_index as i where i.indexrelid = to_regclass(%s)",
            index,
        )
    )


class Watch:
    """Notices, on a connection of its own, who holds up a file that takes its time."""

    def __init__(self, conn: Connection, dsn: str, tell: Tell) -> None:
        self.blocker = ""  # of the file that ran last
        self._pid = conn.info.backend_pid
        self._dsn = dsn
        self._tell = tell
        self._label = ""
        self._since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def over(self, label: str) -> Iterator[None]:
        """While this file runs."""
        if label != self._label:
            self._label, self.blocker = label, ""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _look(self) -> None:
        with ExitStack() as stack:
            conn: Connection | None = None
            while not self._end.wait(0.2):
                slow = self._since is not None and time.monotonic() - self._since > 0.3
                try:
                    if slow and conn is None:  # most runs never need a second connection
                        conn = stack.enter_context(database.connect(self._dsn, "watch"))
                    if slow and conn:
                        self._note(_one(conn, _BLOCKERS, self._pid))
                except (BakehouseError, psycopg.Error) as error:
                    self.blocker = f"unknown, since a second connection failed ({error})"
                    return

    def _note(self, found: object) -> None:
        if found and not self.blocker:
            self._tell(f"{self._label} waits for {found}")
        self.blocker = str(found or self.blocker)


def explain(
    error: psycopg.Error, file: Migration, place: int | None, kind: str, hint: str
) -> BakehouseError:
    """The server's error, with the file, the line and a caret under the place."""
    diag = error.diag
    said = diag.message_primary or str(error).strip()
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
    for label, value in (
        ("detail", diag.message_detail),
        ("hint", diag.message_hint),
        ("where", diag.context),
    ):
        if value:
            lines.append(f"  {label}: {value}")
            facts[f"server_{label}"] = value
    if error.sqlstate is None or error.sqlstate.startswith("57P"):  # it was ended from outside
        kind, hint = "connection", "The connection was lost. `migrate status` shows where we are."
    return BakehouseError(kind, "\n".join(lines), hint, **facts)


def _one(conn: Connection, query: str, *parameters: object) -> object:
    row = conn.execute(query.encode(), parameters).fetchone()
    return row[0] if row else None


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
