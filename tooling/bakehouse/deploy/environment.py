"""The environment of a database, as marked in the database. A copied mark does not count."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, LiteralString, get_args

from bakehouse.database import Connection, sql_file, value
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history

EnvironmentName = Literal["dev", "staging", "prod"]
ENVIRONMENTS: tuple[EnvironmentName, ...] = get_args(EnvironmentName)


@dataclass(frozen=True)
class Settings:
    """The settings of an environment in bakehouse.toml, which holds no secret."""

    name: EnvironmentName
    url: str = ""  # the environment variable that holds the URL
    host: str = ""
    database: str = ""
    secrets: tuple[str, ...] = ()  # variables, or secrets of a shop: store/webhook, store/token
    backup_probe: tuple[str, ...] = ()  # a command that prints the time of the newest backup
    backup_pgbackrest: tuple[str, ...] = ()  # such as pgbackrest info --output=json
    backup_supabase: tuple[str, ...] = ()  # such as supabase backups list --output=json
    backup_folder: str = "backups"  # where `bakehouse backup take` writes dumps
    backup_hours: float = 24
    rehearsal_hours: float = 24
    promotion_days: float = 7
    pause_minutes: float = 15
    transaction_seconds: float = 60
    large_rows: int = 100_000


@dataclass(frozen=True)
class Identity:
    """The mark of a database, and whether the mark was made in another database."""

    env: str
    marked_by: str
    marked_at: str
    system_identifier: str
    database_oid: int
    copied: bool
    reason: str = ""
    who: dict[str, str | None] = field(default_factory=dict)
    earlier: list[dict[str, Any]] = field(default_factory=list)  # the marks before this one

    @property
    def name(self) -> str:
        return "copy" if self.copied else self.env

    @property
    def began(self) -> datetime:
        """When this database became this environment. Marks before that are of another database."""
        marks = [vars(self), *reversed(self.earlier)]
        keys = ("env", "system_identifier", "database_oid")
        own = takewhile(lambda one: all(one[key] == marks[0][key] for key in keys), marks)
        return datetime.fromisoformat(list(own)[-1]["marked_at"])


_HERE: LiteralString = (
    "select jsonb_build_object("
    "'system_identifier', (select system_identifier::text from pg_control_system()),"
    " 'database_oid', (select oid::bigint from pg_database where datname = current_database()))"
)
_MARKER: LiteralString = (
    "select jsonb_build_object('marked_by', session_user, 'marked_at', clock_timestamp())"
)


def load(project: Path, name: str, required: bool = True) -> Settings:
    """Read the settings of an environment. Only dev may be missing from bakehouse.toml."""
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
            "Add the section, with url (the name of a variable), host and database.",
        )
    settings = Settings(name, **{key: _setting(name, key, given) for key, given in table.items()})
    missing = [key for key in ("url", "host", "database") if not getattr(settings, key)]
    if missing and name != "dev":
        raise BakehouseError(
            "usage",
            f"bakehouse.toml: [{name}] lacks {', '.join(missing)}",
            "Add them: every environment but dev needs url, host and database.",
        )
    return settings


def _setting(env: str, key: str, given: Any) -> Any:
    known = {field.name: field.default for field in fields(Settings)[1:]}
    if key not in known:
        raise BakehouseError(
            "usage",
            f"bakehouse.toml: [{env}] has no setting '{key}'",
            f"One of: {', '.join(known)}.",
        )
    setting = tuple(given) if isinstance(given, list) else given
    kinds = (int, float) if isinstance(known[key], (int, float)) else type(known[key])
    if not isinstance(setting, kinds) or isinstance(setting, bool):
        raise BakehouseError(
            "usage",
            f"bakehouse.toml: [{env}] {key} cannot be {given!r}",
            f"Its default is {known[key]!r}; give a value of the same type.",
        )
    return setting


def identity(conn: Connection) -> Identity | None:
    """Read the mark of the database; None if it was never marked."""
    said = _mark_of(conn)
    if not said:
        return None
    return Identity(**said, copied=not said.items() >= value(conn, _HERE).items())


def _mark_of(conn: Connection) -> dict[str, Any]:
    function = "select to_regprocedure('supabase_migrations.bakehouse_identity()') is not null"
    if not value(conn, function):
        return {}
    said: dict[str, Any] = value(conn, "select supabase_migrations.bakehouse_identity()")
    return said


def name_of(conn: Connection) -> str | None:
    """Return the name of the environment, or 'copy' if the mark was made in another database."""
    found = identity(conn)
    return found.name if found else None


def was_prod(conn: Connection) -> bool:
    """Check if this very database ever had the mark of prod. A copy of prod was never prod."""
    found = identity(conn)
    marks = [vars(found), *found.earlier] if found else []
    place = value(conn, _HERE)
    return any(one["env"] == "prod" and one.items() >= place.items() for one in marks)


def mismatch(identity: Identity | None, settings: Settings, host: str, database: str) -> str:
    """Return why this is not the database of the environment, or '' if it is."""
    if identity is None:
        return "this database is not marked"
    if identity.copied:
        return f"this database is a copy of one that is {identity.env}"
    if identity.env != settings.name:
        return f"this database is {identity.env}, not {settings.name}"
    return _misplaced(settings, host, database)


def _misplaced(settings: Settings, host: str, database: str) -> str:
    for what, actual, expected in (
        ("host", host, settings.host),
        ("database", database, settings.database),
    ):
        if expected and actual != expected:
            return f"its {what} is {actual}, and bakehouse.toml expects {expected}"
    return ""


def require(conn: Connection, settings: Settings, purpose: str) -> None:
    """Refuse to write to a database that is not of this environment."""
    found = identity(conn)
    why = mismatch(found, settings, conn.info.host, conn.info.dbname)
    if not why:
        return
    hint = f"If it really is {settings.name}, mark it: `bakehouse env mark {settings.name}`."
    if found and not found.copied:
        hint = f"If you mean this database, name it: --env {found.env}."
    raise BakehouseError(
        "identity", f"`{purpose}` is for {settings.name}, and {why}", f"Nothing was run. {hint}"
    )


def mark(
    conn: Connection,
    settings: Settings,
    reason: str = "",
    who: Mapping[str, str | None] | None = None,
) -> None:
    """Write the name of the environment into the database. Outside dev, guard its history."""
    env = settings.name
    place = _misplaced(settings, conn.info.host, conn.info.dbname)
    if place:
        raise BakehouseError("identity", f"this is not {env}: {place}", "Nothing was marked.")
    before = _mark_of(conn)
    earlier = [*before.pop("earlier", []), before] if before else []
    facts = value(conn, _HERE) | {"env": env} | value(conn, _MARKER)
    facts |= {"reason": reason, "who": dict(who or {}), "earlier": earlier}
    copied = bool(before) and not before.items() >= value(conn, _HERE).items()
    with conn.transaction(), history.surrounding(conn, moved=copied):
        value(conn, "select set_config('bakehouse.identity', $1, true)", json.dumps(facts))
        conn.execute(sql_file(__package__, "identity"))
        if env == "dev":
            conn.execute(
                "drop function if exists supabase_migrations.bakehouse_guard(),"
                " supabase_migrations.bakehouse_foreign() cascade"
            )
        else:
            history.ensure(conn)
            conn.execute(sql_file(__package__, "guard"))
