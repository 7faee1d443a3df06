"""The environment of a database, as marked in the database. A copied mark does not count."""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

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
    host: tuple[str, ...] = ()  # every host through which clients connect
    database: str = ""
    secrets: tuple[str, ...] = ()  # variables, or secrets of a shop: store/webhook, store/token
    backup_probe: tuple[str, ...] = ()  # a command that prints the time of the newest backup
    backup_pgbackrest: tuple[str, ...] = ()  # such as pgbackrest info --output=json
    backup_supabase: tuple[str, ...] = ()  # such as supabase backups list --output=json
    backup_folder: str = "backups"  # where `bakehouse backup take` writes dumps
    backup_hours: float = 24
    rehearsal_hours: float = 24
    rehearsal_seconds: float = 60  # the limit of a statement in `migrate plan`
    promotion_days: float = 7
    pause_minutes: float = 15
    transaction_seconds: float = 60
    large_rows: int = 100_000
    drill_days: float = 30
    backup_base: tuple[str, ...] = ()  # a command that prints a time or a backup_manifest
    signers: tuple[str, ...] = ()  # lines as in allowed_signers of ssh, or "hmac"


@dataclass(frozen=True)
class Identity:
    """The mark of a database, and whether this is the database that was marked."""

    env: str
    marked_by: str
    marked_at: str
    system_identifier: str
    database_oid: int
    copied: bool
    here: bool = True  # marked in this database, of which a physical copy and a standby say so too
    why: str = ""  # how a copy differs from the mark
    now: dict[str, Any] = field(default_factory=dict)  # the same facts of the database itself
    timeline: int = 0
    addresses: list[str] = field(default_factory=list)  # host:port, as clients connect
    reason: str = ""
    who: dict[str, str | None] = field(default_factory=dict)
    earlier: list[dict[str, Any]] = field(default_factory=list)  # the marks before this one

    @property
    def name(self) -> str:
        return "copy" if self.copied else self.env

    def changes(self, env: str, addresses: Collection[str]) -> bool:
        """Check if a mark of staging or prod would change. A restored dump has none of its own.

        No addresses: they stay as they are.
        """
        new = self.copied or (addresses and set(addresses) != set(self.addresses))
        return self.env != "dev" and (self.env != env or bool(self.here and new))

    @property
    def began(self) -> datetime:
        """When this database became this environment. Marks before that are of another database."""
        marks = [vars(self), *reversed(self.earlier)]
        keys = ("env", "system_identifier", "database_oid")
        own = takewhile(lambda one: all(one[key] == marks[0][key] for key in keys), marks)
        return datetime.fromisoformat(list(own)[-1]["marked_at"])


_COMPARE = sql_file(__package__, "compare_mark")


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
    if key == "host" and isinstance(given, str):
        given = [given]
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
    return Identity(**said, **_compared(conn, said)) if said else None


def address_of(conn: Connection) -> str:
    """Return host:port, as this client connects. The host of a socket is its folder."""
    return f"{conn.info.host}:{conn.info.port}"


def _compared(conn: Connection, mark: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value(conn, _COMPARE, json.dumps(mark), address_of(conn))
    return found


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
    mark = _mark_of(conn)
    marks = [mark, *mark.get("earlier", [])] if mark else []
    return any(one["env"] == "prod" and _compared(conn, one)["here"] for one in marks)


def mismatch(identity: Identity | None, settings: Settings, host: str, database: str) -> str:
    """Return why this is not the database of the environment, or '' if it is."""
    if identity is None:
        return "this database is not marked"
    if identity.copied:
        return identity.why
    if identity.env != settings.name:
        return f"this database is {identity.env}, not {settings.name}"
    return _misplaced(settings, host, database)


def _misplaced(settings: Settings, host: str, database: str) -> str:
    for what, actual, expected in (
        ("host", host, settings.host),
        ("database", database, (settings.database,) if settings.database else ()),
    ):
        if expected and actual not in expected:
            return f"its {what} is {actual}, and bakehouse.toml expects {' or '.join(expected)}"
    return ""


def require(conn: Connection, settings: Settings, purpose: str) -> None:
    """Refuse to write to a database that is not of this environment."""
    found = identity(conn)
    why = mismatch(found, settings, conn.info.host, conn.info.dbname)
    if not why:
        return
    hint = f"If it really is {settings.name}, mark it: `bakehouse env mark {settings.name}`."
    if found and found.copied and found.here:
        hint = (
            f"If this is {found.env} and no copy, put that on record: `bakehouse env mark"
            f" {found.env} --address {address_of(conn)} --confirm NAME --reason WHY`."
            " Name each other address that still holds too: --address."
        )
    elif found and not found.copied:
        hint = f"If you mean this database, name it: --env {found.env}."
    raise BakehouseError(
        "identity", f"`{purpose}` is for {settings.name}, and {why}", f"Nothing was run. {hint}"
    )


def mark(
    conn: Connection,
    settings: Settings,
    reason: str = "",
    who: Mapping[str, str | None] | None = None,
    addresses: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Write the name and the addresses of the environment into the database.

    The address of this connection is always among them. Without others, those on record hold.
    Outside dev, guard its history. Returns the earlier marks.
    """
    env = settings.name
    place = _misplaced(settings, conn.info.host, conn.info.dbname)
    if place:
        raise BakehouseError("identity", f"this is not {env}: {place}", "Nothing was marked.")
    before = _mark_of(conn)
    found = _compared(conn, before)
    earlier = [*before.pop("earlier", []), before] if before else []
    known = before.get("addresses", []) if found["here"] and before["env"] == env else []
    facts = found["now"] | {"env": env, "reason": reason, "who": dict(who or {})}
    facts |= {"addresses": list(dict.fromkeys([*(addresses or known), address_of(conn)]))}
    facts |= {"earlier": earlier}
    moved = bool(before) and not found["here"]
    with conn.transaction(), history.surrounding(conn, moved=moved):
        value(conn, "select set_config('bakehouse.identity', $1, true)", json.dumps(facts))
        conn.execute(sql_file(__package__, "identity"))
        history.ensure(conn)
        if env == "dev":
            conn.execute(
                "drop function if exists supabase_migrations.bakehouse_guard(),"
                " supabase_migrations.bakehouse_foreign() cascade"
            )
        else:
            conn.execute(sql_file(__package__, "guard"))
    return earlier
