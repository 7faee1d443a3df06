"""Pause the webhooks of the shops during a breaking change, and resume them."""

from typing import LiteralString

from psycopg import errors
from psycopg.rows import scalar_row

from bakehouse.database import Connection, fetch, sql_file, table_exists, value
from bakehouse.deploy.work import Work, noted
from bakehouse.errors import BakehouseError

_OURS = "migrate up"  # how the reason begins if a deploy paused webhooks
_PAUSE_TABLE = "app.ingest_pause"
_END_OURS: LiteralString = (
    "select app.resume_ingest() from app.ingest_pause as pause where starts_with(pause.reason, $1)"
)


def can_pause(conn: Connection) -> bool:
    return value(conn, "select to_regprocedure('app.pause_ingest(timestamptz, text)')") is not None


def pause(conn: Connection, work: Work) -> None:
    """Pause webhooks, and wait for deliveries in progress."""
    minutes, reason = work.settings.pause_minutes, f"{_OURS}: breaking change"
    try:
        with conn.transaction():
            conn.execute("set local lock_timeout = '10s'")
            fetch(conn, scalar_row, sql_file(__package__, "pause"), minutes, reason)
    except errors.LockNotAvailable:
        raise BakehouseError(
            "busy",
            "webhooks could not be paused: a delivery takes more than 10 seconds",
            "Nothing was run. Try again.",
        ) from None
    work.tell(f"webhooks are paused until {paused_until(conn)}")


def end_pause(conn: Connection) -> None:
    """End the pause that a deploy began. A pause that a person began stays."""
    if table_exists(conn, _PAUSE_TABLE):
        fetch(conn, scalar_row, _END_OURS, _OURS)


def paused_until(conn: Connection) -> str:
    """Return when the pause ends, in words; '' if webhooks are not paused."""
    if not table_exists(conn, _PAUSE_TABLE):
        return ""
    return value(conn, sql_file(__package__, "paused_until")) or ""


def resume(conn: Connection, work: Work) -> bool:
    """End every pause, and record that. Returns False if webhooks were not paused."""
    if not paused_until(conn):
        return False
    with noted(conn, work, "resume"):
        conn.execute("select app.resume_ingest()")
    return True


def secret_is_set(conn: Connection, store: str, kind: str) -> bool:
    """Check if a shop has this secret: its kind is webhook or token."""
    try:
        return bool(value(conn, "select app.shop_secret($1, $2) is not null", store, kind))
    except (errors.UndefinedFunction, errors.InvalidSchemaName):
        return False
