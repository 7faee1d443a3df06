"""Two calls at once, of which the second has to wait for the first."""

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
    """Commit the first only once the second waits for it; raise what the second is refused with."""
    with held_up(dsn, first, second):
        pass


@contextmanager
def held_up(dsn: str, first: Call, second: Call) -> Iterator[Connection]:
    """As meet; what happens meanwhile, and the connection that made the first call."""
    with psycopg.connect(dsn) as one, psycopg.connect(dsn) as two, ThreadPoolExecutor() as pool:
        two.execute("set statement_timeout = '30s'")  # should nobody ever let it go on
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


def _make(conn: Connection, call: Call) -> None:
    with acting_as(conn, call.role, call.account):
        conn.execute(call.query, call.parameters)


def _pid(conn: Connection) -> int:
    return conn.info.backend_pid
