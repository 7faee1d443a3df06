"""Two calls at once: the second must wait for the first."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import psycopg

from bakehouse.database import Connection
from calls import acting_as
from rows import value


@dataclass(frozen=True)
class Call:
    account: UUID | None
    query: LiteralString
    parameters: tuple[object, ...] = ()
    role: str = "authenticated"


def meet(dsn: str, first: Call, second: Call) -> None:
    """Commits the first call once the second waits for it. Raises the refusal of the second."""
    with held_up(dsn, first, second):
        pass


@contextmanager
def held_up(dsn: str, first: Call, second: Call) -> Iterator[Connection]:
    """Like `meet`. Yields the connection of the first call while the second waits."""
    with psycopg.connect(dsn) as one, psycopg.connect(dsn) as two, ThreadPoolExecutor() as pool:
        # ends the test if the first call does not commit
        two.execute("set statement_timeout = '30s'")
        _make(one, first)
        second_ends = pool.submit(_make, two, second)
        deadline = time.monotonic() + 20
        while not value(one, "select %s = any(pg_blocking_pids(%s))", _pid(one), _pid(two)):
            assert not second_ends.done(), "the second call did not wait for the first"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield one
        finally:
            one.commit()
        second_ends.result()


def wait_for_waiting(db: Connection, sessions: int) -> None:
    """Waits until this many sessions of the database wait for a lock."""
    query: LiteralString = (
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 20
    while value(db, query) < sessions:
        assert time.monotonic() < deadline
        db.execute("select pg_stat_clear_snapshot()")  # otherwise a transaction sees one state


def _make(conn: Connection, call: Call) -> None:
    with acting_as(conn, call.role, call.account):
        conn.execute(call.query, call.parameters)


def _pid(conn: Connection) -> int:
    return conn.info.backend_pid
