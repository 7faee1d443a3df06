"""Open connections, or explain in one line why that fails. No message shows a password."""

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import RowFactory, scalar_row, tuple_row

from bakehouse.errors import BakehouseError

OLDEST = 15  # the oldest Postgres major that works

Connection = psycopg.Connection[tuple[object, ...]]
Row = TypeVar("Row")

_REASONS = (
    (r"password authentication failed|no password supplied|SASL|scram", "wrong password"),
    (r"Connection refused|No such file or directory", "nothing listens there"),
    (r"timeout|timed out", "no answer in time"),
    (r"could not translate host|Name or service|nodename nor servname", "no such host"),
    (r'database ".*" does not exist', "no such database"),
    (r'role ".*" does not exist', "no such user"),
    (r"too many (clients|connections)|remaining connection slots", "the server is full"),
    (r"no pg_hba.conf entry|SSL", "the server does not accept this way of connecting"),
)
_ADVICE = {
    "wrong password": "Check the password in the database URL, or in PGPASSWORD.",
    "nothing listens there": "Is the server up? `bakehouse up` starts the dev server.",
    "the server is full": "Close other connections, or use the direct connection, not a pool.",
    "the server does not accept this way of connecting": "Try sslmode=require in the URL.",
}
_NETWORK = {  # seconds, but milliseconds for tcp_user_timeout: notice a server that went away
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_ONE_SERVER = "Use the address of one server, the primary: each command connects more than once."
_DIRECT = "Use the direct connection (port 5432), or the pooler in session mode."


def parse(url: str) -> str:
    """Turn a URL into a connection string. An error does not repeat the URL."""
    try:
        facts = conninfo_to_dict(url)
        int(facts.get("port") or 0)
        return make_conninfo(
            url, **(_NETWORK | {key: facts[key] for key in _NETWORK.keys() & facts.keys()})
        )
    except (psycopg.ProgrammingError, ValueError):
        raise BakehouseError(
            "usage",
            "the database URL cannot be read",
            "Write it as postgresql://user@host:port/database",
        ) from None


def describe(dsn: str) -> str:
    """Return host:port/database, the part of a connection string that may be shown."""
    facts = conninfo_to_dict(dsn)
    place = f"{facts.get('host', 'local socket')}:{facts.get('port', 5432)}"
    return f"{place}/{facts.get('dbname') or facts.get('user') or ''}"


@contextmanager
def connect(dsn: str, purpose: str) -> Iterator[Connection]:
    """Open a session in autocommit. Refuse a standby, an old server, or a transaction pooler."""
    name = f"bakehouse {purpose} ({socket.gethostname()}, pid {os.getpid()})"
    try:
        conn: Connection = psycopg.connect(dsn, autocommit=True, application_name=name[:63])
    except psycopg.OperationalError as error:
        raise _unreachable(dsn, str(error)) from None
    with conn:
        _require_usable(conn, dsn)
        yield conn


def act_as(conn: Connection, role: str, user_id: str = "") -> None:
    """Take a role of the API and the claims of an account until the transaction ends."""
    claims = {"role": role} | ({"sub": user_id} if user_id else {})
    conn.execute(
        "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
        (json.dumps(claims), role),
    )


def sql_file(package: str, name: str) -> bytes:
    """Read an SQL file of a package."""
    text = files(package).joinpath(f"sql/{name}.sql").read_bytes()
    return text.replace(b"\r\n", b"\n")  # functions keep their text


def fetch(
    conn: Connection, row: RowFactory[Row], query: LiteralString | bytes, *parameters: object
) -> list[Row]:
    """Run a query with the parameters $1, $2 and so on. Returns its rows."""
    cursor = psycopg.RawCursor(conn, row_factory=row)
    return cursor.execute(query, parameters or None).fetchall()


def value(conn: Connection, query: LiteralString | bytes, *parameters: object) -> Any:
    """Return the first column of the first row, or None without a row."""
    return next(iter(fetch(conn, scalar_row, query, *parameters)), None)


def execute(conn: Connection, text: str) -> None:
    """Run SQL that is not a literal, which the types of psycopg would reject."""
    conn.execute(text.encode())


def message_of(error: psycopg.Error) -> str:
    """Return the sentence of an error, without its detail, hint and context."""
    return error.diag.message_primary or str(error).strip() or type(error).__name__


def table_exists(conn: Connection, table: str) -> bool:
    return bool(value(conn, "select to_regclass($1) is not null", table))


def _unreachable(dsn: str, said: str) -> BakehouseError:
    reason = next((why for pattern, why in _REASONS if re.search(pattern, said)), "")
    if not reason:
        secret = str(conninfo_to_dict(dsn).get("password") or "")
        last = said.strip().splitlines()[-1] if said.strip() else "no reason given"
        reason = last.replace(secret, "***") if secret else last
    return BakehouseError(
        "connection", f"cannot connect to {describe(dsn)}: {reason}", _ADVICE.get(reason, "")
    )


def _require_usable(conn: Connection, dsn: str) -> None:
    if conn.info.server_version // 10000 < OLDEST:
        raise BakehouseError(
            "server",
            f"{describe(dsn)} is Postgres {conn.info.server_version // 10000}",
            f"bakehouse needs Postgres {OLDEST} or later.",
        )
    row = conn.execute("select pg_backend_pid(), pg_is_in_recovery()").fetchone()
    if row is None or row[1]:
        raise BakehouseError(
            "server", f"{describe(dsn)} is a standby, which takes no writes", "Use the primary."
        )
    if row[0] != conn.info.backend_pid:  # only a pooler hides the number of the session
        _require_one_session(conn, dsn)


def _require_one_session(conn: Connection, dsn: str) -> None:
    """Refuse a pooler that shares a session, changes it, or leads to several servers."""
    query: LiteralString = "select pg_backend_pid(), pg_postmaster_start_time()"
    first, again = (fetch(conn, tuple_row, query)[0] for _ in range(2))
    with psycopg.connect(dsn, autocommit=True) as other:
        second = fetch(other, tuple_row, query)[0]
    if first != again or first == second:
        raise BakehouseError("pooler", f"{describe(dsn)} is a pooler in transaction mode", _DIRECT)
    if first[1] != second[1]:
        raise BakehouseError(
            "pooler", f"{describe(dsn)} leads to several servers in turn", _ONE_SERVER
        )
