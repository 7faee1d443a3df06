"""The scheduled tasks: run those that are due, each in a transaction of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg.rows import scalar_row

from bakehouse.database import Connection, fetch, message_of, table_exists, value

TIMEOUT = 300.0  # seconds that one task may take


@dataclass(frozen=True)
class Run:
    task: str
    state: str  # done, failed, busy or not_due
    result: int | None = None
    error: str | None = None


def run_due(conn: Connection, timeout: float = TIMEOUT) -> Iterator[Run]:
    """Run the tasks that are due. A task that fails does not stop the others."""
    try:
        with conn.transaction():
            _limit(conn, timeout)
            names = fetch(conn, scalar_row, "select app.due_tasks()")
    except psycopg.Error as error:
        yield _failed(conn, "app.due_tasks", error)
        return
    for name in names:
        yield _run(conn, name, timeout)


def runs_by_itself(conn: Connection) -> bool:
    """Check if pg_cron runs the tasks."""
    query = b"select exists (select from cron.job where active and command like '%app.run_task%')"
    return table_exists(conn, "cron.job") and bool(value(conn, query))


def _run(conn: Connection, name: str, timeout: float) -> Run:
    try:
        with conn.transaction():
            _limit(conn, timeout)
            return Run(**value(conn, "select app.run_task($1)", name))
    except psycopg.Error as error:  # before or after the task, such as a locked table
        return _failed(conn, name, error)


def _failed(conn: Connection, name: str, error: psycopg.Error) -> Run:
    if conn.closed:
        raise error
    return Run(name, "failed", error=message_of(error))


def _limit(conn: Connection, timeout: float) -> None:
    """Set the timeouts before the call: a running statement keeps the timeout it began with."""
    conn.execute(
        "select set_config('statement_timeout', %s, true), set_config('lock_timeout', '2s', true)",
        (f"{1000 * timeout:.0f}ms",),
    )
