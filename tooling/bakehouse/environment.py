"""Which environment a database is: it says so itself, and a copy of it does not count."""

from psycopg import sql
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError

ENVIRONMENTS = ("dev", "staging", "prod")

# A function, because functions in this schema outlive a wipe by the Supabase CLI, tables do not.
_DEFINE = """
create schema if not exists supabase_migrations;
create or replace function supabase_migrations.bakehouse_identity()
returns jsonb
language sql
immutable
set search_path = ''
as {body};
revoke all on function supabase_migrations.bakehouse_identity() from public;
"""

_HERE = (
    "select jsonb_build_object("
    "'system_identifier', (select system_identifier::text from pg_control_system()),"
    " 'database_oid', (select oid::bigint from pg_database where datname = current_database()))"
)


def read(conn: Connection) -> str | None:
    """The environment's name; 'copy' when the mark was made in another database; None unmarked."""
    row = conn.execute(
        "select to_regprocedure('supabase_migrations.bakehouse_identity()') is not null"
    ).fetchone()
    if not row or not row[0]:
        return None
    said = conn.execute("select supabase_migrations.bakehouse_identity()").fetchone()
    here = conn.execute(_HERE).fetchone()
    identity, place = (said or ({},))[0], (here or ({},))[0]
    if not isinstance(identity, dict) or not isinstance(place, dict):
        return None
    return str(identity.get("env")) if identity.items() >= place.items() else "copy"


def mark(conn: Connection, env: str) -> None:
    """Write the environment's name into the database."""
    if env not in ENVIRONMENTS:
        raise BakehouseError(
            "usage", f"no environment is called '{env}'", f"One of: {', '.join(ENVIRONMENTS)}."
        )
    with conn.transaction():
        row = conn.execute(
            f"{_HERE} || jsonb_build_object('env', %s::text,"
            " 'marked_by', session_user, 'marked_at', clock_timestamp())",
            (env,),
        ).fetchone()
        identity = sql.Literal(Jsonb(row[0] if row else {}))
        body = sql.Literal(sql.SQL("select {}").format(identity).as_string(conn))
        conn.execute(sql.SQL(_DEFINE).format(body=body))


def require_dev(conn: Connection, command: str) -> None:
    """Only a database that calls itself dev may be seeded or emptied, whoever asks."""
    env = read(conn)
    if env != "dev":
        raise BakehouseError(
            "identity",
            f"`{command}` runs only in dev, and this database is {env or 'not marked'}",
            "Nothing was run. `bakehouse env mark dev` marks a database that is really for dev.",
        )
