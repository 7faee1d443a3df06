"""The months that a table no longer keeps: list them, and detach them while the shop works."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from bakehouse.database import Connection, execute, fetch, sql_file, table_exists, value
from bakehouse.errors import BakehouseError

_MONTHS = sql_file(__package__, "months")
_READERS = sql_file(__package__, "month_readers")
_TRY = "2s"  # writers of orders wait behind a try that waits for them


@dataclass(frozen=True)
class Month:
    name: str
    parent: str
    state: str  # attached, detaching (interrupted) or detached
    is_old: bool
    bytes: int
    detach: str  # the statement that starts or finishes the detach

    @property
    def due(self) -> bool:
        return self.state == "detaching" or (self.is_old and self.state == "attached")


def months(conn: Connection) -> list[Month]:
    """List the old months and the detached ones, oldest first."""
    if not table_exists(conn, "app.monthly_tables"):
        raise BakehouseError(
            "usage",
            "this database has no tables with months",
            "Apply the migrations first: `bakehouse migrate up`.",
        )
    return fetch(conn, class_row(Month), _MONTHS)


def detach(conn: Connection, month: Month, wait: float, tell: Callable[[str], None]) -> None:
    """Detach a month. Goes on with a detach that was interrupted."""
    ends = time.monotonic() + wait
    if month.state == "attached":  # else an earlier run has committed this
        conn.execute("select app.begin_after_month(%s)", (month.name,))
    while month.due:
        try:
            _try(conn, month.detach)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            readers = value(conn, _READERS, month.parent) or "a session that has just ended"
            if time.monotonic() > ends:
                raise BakehouseError(
                    "busy",
                    f"{month.name} is not detached yet, because of {readers}",
                    "No row is lost. Run the command again, which finishes the detach.",
                ) from None
            tell(f"{month.name} waits for {readers}")
        (month,) = (one for one in months(conn) if one.name == month.name)


def _try(conn: Connection, statement: str) -> None:
    conn.execute("select set_config('lock_timeout', %s, false)", (_TRY,))
    conn.execute("set role bakehouse_owner")
    try:
        execute(conn, statement)
    finally:
        conn.execute("reset role")
