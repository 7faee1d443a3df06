"""Which environment a database is: it says so itself, and a copy of it does not count."""

import tomllib
from dataclasses import dataclass, fields
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from bakehouse import history
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError

ENVIRONMENTS = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Settings:
    """What bakehouse.toml says of an environment: where it is, and its limits. No secret."""

    name: str
    url: str = ""  # the environment variable that holds the URL
    host: str = ""
    database: str = ""
    secrets: tuple[str, ...] = ()  # variables, or a shop's as store/webhook and store/token
    backup_probe: tuple[str, ...] = ()  # a command that prints when the last backup was taken
    backup_pgbackrest: tuple[str, ...] = ()  # pgbackrest info --output=json
    backup_supabase: tuple[str, ...] = ()  # supabase backups list --output=json
    backup_folder: str = "backups"  # where `bakehouse backup take` puts its own
    backup_hours: float = 24
    rehearsal_hours: float = 24
    promotion_days: float = 7
    pause_minutes: float = 15
    transaction_seconds: float = 60
    large_rows: int = 100_000


@dataclass(frozen=True)
class Identity:
    """What a database says of itself, and whether it says it of another."""

    env: str
    marked_by: str
    marked_at: str
    system_identifier: str
    database_oid: int
    copied: bool

    @property
    def name(self) -> str:
        return "copy" if self.copied else self.env


# A function, because functions in this schema outlive a wipe by the Supabase CLI, tables do not.
_DEFINE = """
create schema if not exists supabase_migrations;
create or replace function supabase_migrations.bakehouse_identity()
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as {body};
revoke all on function supabase_migrations.bakehouse_identity() from public;
"""

_HERE = (
    "select jsonb_build_object("
    "'system_identifier', (select system_identifier::text from pg_control_system()),"
    " 'database_oid', (select oid::bigint from pg_database where datname = current_database()))"
)


def load(project: Path, name: str, required: bool = True) -> Settings:
    """The settings of an environment; to be worked on, all but dev must be in bakehouse.toml."""
    if name not in ENVIRONMENTS:
        raise BakehouseError(
            "usage", f"no environment is called '{name}'", f"One of: {', '.join(ENVIRONMENTS)}."
        )
    path = project / "bakehouse.toml"
    try:
        table = tomllib.loads(path.read_text()).get(name) if path.is_file() else None
    except tomllib.TOMLDecodeError as error:
        raise BakehouseError("usage", f"bakehouse.toml cannot be read: {error}") from None
    if table is None and (name == "dev" or not required):
        return Settings(name)
    if not isinstance(table, dict):
        raise BakehouseError(
            "usage",
            f"bakehouse.toml has no [{name}]",
            "It says where an environment is: url (the name of a variable), host and database.",
        )
    settings = Settings(name, **{key: _setting(name, key, given) for key, given in table.items()})
    missing = [key for key in ("url", "host", "database") if not getattr(settings, key)]
    if missing and name != "dev":
        raise BakehouseError("usage", f"bakehouse.toml: [{name}] does not say {', '.join(missing)}")
    return settings


def _setting(env: str, key: str, given: Any) -> Any:
    known = {field.name: field.default for field in fields(Settings)[1:]}
    if key not in known:
        raise BakehouseError("usage", f"bakehouse.toml: [{env}] has no setting '{key}'")
    value = tuple(given) if isinstance(given, list) else given
    kinds = (int, float) if isinstance(known[key], (int, float)) else type(known[key])
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise BakehouseError("usage", f"bakehouse.toml: [{env}] {key} cannot be {given!r}")
    return value


def read(conn: Connection) -> Identity | None:
    """What the database says it is; None when it was never marked."""
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
    return Identity(**identity, copied=not identity.items() >= place.items())


def says(conn: Connection) -> str | None:
    """The environment's name; 'copy' when the mark was made in another database."""
    identity = read(conn)
    return identity.name if identity else None


def mismatch(identity: Identity | None, settings: Settings, host: str, database: str) -> str:
    """Why this is not the database to work on; nothing when it is."""
    if identity is None:
        return "this database is not marked"
    if identity.copied:
        return f"this database is a copy of one that is {identity.env}"
    if identity.env != settings.name:
        return f"this database is {identity.env}, not {settings.name}"
    return _misplaced(settings, host, database)


def _misplaced(settings: Settings, host: str, database: str) -> str:
    for what, is_so, expected in (
        ("host", host, settings.host),
        ("database", database, settings.database),
    ):
        if expected and is_so != expected:
            return f"its {what} is {is_so}, and bakehouse.toml expects {expected}"
    return ""


def require(conn: Connection, settings: Settings, purpose: str) -> None:
    """Refuse to write where the database is not what the caller takes it for."""
    identity = read(conn)
    why = mismatch(identity, settings, conn.info.host, conn.info.dbname)
    if not why:
        return
    hint = f"`bakehouse env mark {settings.name}` marks a database that really is."
    if identity and not identity.copied:
        hint = f"If it is meant, name it: --env {identity.env}."
    raise BakehouseError(
        "identity", f"`{purpose}` is for {settings.name}, and {why}", f"Nothing was run. {hint}"
    )


def mark(conn: Connection, settings: Settings) -> None:
    """Write the environment's name into the database; outside dev, guard its history."""
    env = settings.name
    place = _misplaced(settings, conn.info.host, conn.info.dbname)
    if place:
        raise BakehouseError("identity", f"this is not {env}: {place}", "Nothing was marked.")
    with conn.transaction():
        row = conn.execute(
            f"{_HERE} || jsonb_build_object('env', %s::text,"
            " 'marked_by', session_user, 'marked_at', clock_timestamp())",
            (env,),
        ).fetchone()
        identity = sql.Literal(Jsonb(row[0] if row else {}))
        body = sql.Literal(sql.SQL("select {}").format(identity).as_string(conn))
        conn.execute(sql.SQL(_DEFINE).format(body=body))
        if env == "dev":
            conn.execute("drop function if exists supabase_migrations.bakehouse_guard() cascade")
        else:
            history.ensure(conn)
            conn.execute(package_files("bakehouse").joinpath("sql/guard.sql").read_bytes())
