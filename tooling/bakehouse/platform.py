"""What a hosted Supabase project provides and plain Postgres lacks; never run on Supabase."""

from pathlib import Path
from typing import LiteralString

from bakehouse.database import OLDEST, Connection
from bakehouse.errors import BakehouseError

REGIMES = ("explicit", "legacy")  # of default privileges; new projects are "explicit"
_SQL = Path(__file__).with_name("sql") / "platform.sql"


def is_supabase(conn: Connection) -> bool:
    """Whether Supabase made this server: `supabase_admin` is also our own dev superuser."""
    return _exists(
        conn,
        "select from pg_roles where rolname in ('supabase_auth_admin', 'supabase_storage_admin')",
    )


def bootstrap(
    conn: Connection,
    migration_role: str = "postgres",
    password: str | None = None,
    regime: str = "explicit",
) -> None:
    """Make the current database look like a Supabase project to migrations.

    They run as `migration_role`, which is created or adjusted and owns the database. A password
    is set on it and on `authenticator`. Running it again is safe, also with the other regime.
    """
    _require(conn, migration_role, regime)
    settings = {
        "bakehouse.migration_role": migration_role,
        "bakehouse.migration_secret": _verifier(conn, migration_role, password),
        "bakehouse.authenticator_secret": _verifier(conn, "authenticator", password),
        "bakehouse.regime": regime,
    }
    with conn.transaction():
        for name, value in settings.items():
            conn.execute("select set_config(%s, %s, true)", (name, value))
        conn.execute(_SQL.read_bytes())


def _require(conn: Connection, migration_role: str, regime: str) -> None:
    major = conn.info.server_version // 10000
    if regime not in REGIMES:
        raise BakehouseError("usage", f"no such regime: {regime} (there are {', '.join(REGIMES)})")
    if major < OLDEST:
        raise BakehouseError("usage", f"this is Postgres {major}, and {OLDEST} is the oldest to do")
    if is_supabase(conn):
        raise BakehouseError(
            "usage",
            "this server is Supabase: it has all of the platform already, nothing was changed",
            "Go straight to `bakehouse migrate up`.",
        )
    if not _exists(conn, "select from pg_roles where rolname = current_user and rolsuper"):
        raise BakehouseError(
            "usage",
            "only a superuser can set up the platform, nothing was changed",
            "Connect as the server's superuser; migrations then run as another role.",
        )
    if _exists(conn, "select from pg_roles where rolname = %s and rolsuper", migration_role):
        raise BakehouseError(
            "usage",
            f"the role {migration_role} is a superuser and cannot be the migration role",
            "Choose another name: a superuser would hide what fails on Supabase.",
        )


def _exists(conn: Connection, query: LiteralString, *parameters: str) -> bool:
    with conn.transaction():
        return conn.execute(query, parameters).fetchone() is not None


def _verifier(conn: Connection, role: str, password: str | None) -> str:
    """What the server stores, computed here: no statement, log or error can hold the password."""
    if password is None:
        return ""
    encrypted = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return encrypted.decode()
