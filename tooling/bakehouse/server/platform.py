"""Give plain Postgres what a hosted Supabase project provides. Refuses to run on Supabase."""

from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import class_row, scalar_row, tuple_row

from bakehouse.database import Connection, execute, fetch, sql_file, value
from bakehouse.errors import BakehouseError

REGIMES = ("explicit", "legacy")  # default privileges: new Supabase projects are "explicit"


@dataclass(frozen=True)
class Missing:
    """A fault, and the one statement that repairs it."""

    subject: str
    fault: str
    repair: str


def missing(conn: Connection, migration_role: str) -> list[Missing]:
    """List what the roles lack. An existing limit is accepted."""
    query = sql_file(__package__, "missing")
    return fetch(conn, class_row(Missing), query, migration_role, is_supabase(conn))


def left_behind(conn: Connection) -> list[Missing]:
    """List what an upgrade of Postgres left behind in this database."""
    return fetch(conn, class_row(Missing), sql_file(__package__, "left_behind"))


def is_supabase(conn: Connection) -> bool:
    """Check if this server is Supabase. The role `supabase_admin` alone is no proof."""
    query: LiteralString = (
        "select 1 from pg_roles where rolname ~ '^supabase_(auth|storage)_admin$'"
    )
    return value(conn, query) is not None


def bootstrap(
    conn: Connection,
    migration_role: str = "postgres",
    password: str | None = None,
    regime: str = "explicit",
) -> None:
    """Prepare the current database for migrations, which `migration_role` will run.

    Creates or adjusts the role and makes it the owner of the database. Sets the password of the
    role and of `authenticator`. You can call this again, even with the other regime. Keeps the
    limits that a role has.
    """
    settings = {
        "bakehouse.migration_role": migration_role,
        "bakehouse.migration_secret": _verifier(conn, migration_role, password),
        "bakehouse.authenticator_secret": _verifier(conn, "authenticator", password),
        "bakehouse.regime": regime,
    }
    with conn.transaction():
        _require(conn, migration_role, regime)
        for setting in settings.items():
            conn.execute("select set_config(%s, %s, true)", setting)
        conn.execute(sql_file(__package__, "platform"))
        for one in missing(conn, migration_role):
            execute(conn, one.repair)


def _require(conn: Connection, migration_role: str, regime: str) -> None:
    if regime not in REGIMES:
        raise BakehouseError("usage", f"no such regime: {regime}", f"One of: {', '.join(REGIMES)}.")
    query = sql_file(__package__, "refusals")
    refused = fetch(conn, tuple_row, query, migration_role, is_supabase(conn))
    for message, hint in refused:
        raise BakehouseError("usage", f"{message}: nothing was changed", hint)
    statements = fetch(conn, scalar_row, sql_file(__package__, "administrator"), migration_role)
    if statements:
        lines = "\n".join(f"  {statement};" for statement in statements)
        raise BakehouseError(
            "usage",
            f"{conn.info.user} is no superuser and lacks rights to set up the platform: nothing was"
            " changed",
            f"An administrator must run this in the database {conn.info.dbname}. Then run the"
            f" command again.\n{lines}",
            statements=statements,
        )


def _verifier(conn: Connection, role: str, password: str | None) -> str:
    """Compute the hash of the password here, so that no statement, log or error shows it."""
    if password is None:
        return ""
    encrypted = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return encrypted.decode()
