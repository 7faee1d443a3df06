"""Ask every backup source when its newest backup was taken."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg.rows import class_row

from bakehouse.database import Connection, fetch, sql_file, value
from bakehouse.deploy import backup_record, dump
from bakehouse.deploy.environment import Settings
from bakehouse.errors import BakehouseError

_PATIENCE = 60  # seconds for another program to answer
_AHEAD = timedelta(minutes=5)  # how much two clocks may differ


@dataclass(frozen=True)
class Backup:
    """What one source says: the time of its newest backup, or why it has none."""

    source: str
    taken_at: datetime | None = None
    problem: str = ""
    detail: str = ""


def newest(found: Iterable[Backup]) -> Backup:
    """Return the source with the newest backup."""
    found = list(found)
    dated = [(one.taken_at, one) for one in found if one.taken_at]
    if dated:
        return max(dated, key=lambda pair: pair[0])[1]
    return Backup("none", problem="; ".join(f"{one.source}: {one.problem}" for one in found))


def sources(conn: Connection, settings: Settings, root: Path) -> Iterator[Backup]:
    """Ask the record of `backup take`, the archiver, and every command in bakehouse.toml."""
    yield _ours(conn, root / settings.backup_folder)
    base, *others = [
        _ask(conn, source, command, read)
        for source, command, read in (
            ("backup_base", settings.backup_base, _base),
            ("pgbackrest", settings.backup_pgbackrest, _pgbackrest),
            ("supabase", settings.backup_supabase, _supabase),
            ("probe", settings.backup_probe, _probe),
        )
    ]
    yield _archiver(conn, [base, *others[:1]])
    yield from (one for one in others if one != Backup(one.source))


def _ours(conn: Connection, folder: Path) -> Backup:
    source = "bakehouse backup take"
    last = backup_record.last(conn)
    if last is None:
        return Backup(source, None, "no backup is on record")
    path = folder / last.file
    try:
        why = dump.refutation(conn, path, last)
    except (BakehouseError, OSError) as error:
        why = f"cannot be read: {error}"
    if why:
        return Backup(source, None, f"{path} {why}")
    drilled = f", restored on {last.drilled_at[:10]}" if last.drilled_at else ""
    return Backup(source, datetime.fromisoformat(last.taken_at), "", f"{path}{drilled}")


def _archiver(conn: Connection, bases: list[Backup]) -> Backup:
    """Ask the archiver. WAL restores nothing without a base backup."""
    [said] = fetch(conn, class_row(Backup), sql_file(__package__, "archiver"))
    base = newest(bases)
    if said.taken_at is None or base.taken_at is None:
        asked = "; ".join(one.problem for one in (said, *bases) if one.problem)
        return Backup(said.source, None, asked or "no base backup is known: set backup_base")
    on = f", to replay on the base backup of {_minute(base.taken_at)}"
    return replace(said, detail=said.detail + on)


_Read = Callable[[str, Connection], tuple[datetime, str]]


def _ask(conn: Connection, source: str, command: tuple[str, ...], read: _Read) -> Backup:
    """Ask a command for the newest backup. A failure gives a backup with a reason and no time."""
    if not command:
        return Backup(source)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ValueError(f"exit {done.returncode}: {said[-1] if said else 'no reason given'}")
        taken_at, detail = read(done.stdout, conn)
        if taken_at.tzinfo is None:
            raise ValueError(f"{taken_at} has no time zone")
        if taken_at > datetime.now(UTC) + _AHEAD:
            raise ValueError(f"{_minute(taken_at)} is in the future")
    except subprocess.TimeoutExpired:
        return Backup(source, None, f"`{command[0]}` took more than {_PATIENCE} s")
    except OSError as error:
        return Backup(source, None, f"`{command[0]}`: {error.strerror}")
    except (KeyError, TypeError, AttributeError):
        return Backup(source, None, f"`{command[0]}` answered in an unknown form")
    except ValueError as error:  # invalid JSON and times raise this too
        return Backup(source, None, f"`{command[0]}`: {error}")
    return Backup(source, taken_at, "", detail)


def _pgbackrest(said: str, conn: Connection) -> tuple[datetime, str]:
    here = value(conn, "select system_identifier from pg_control_system()")
    reasons = []
    backups = []
    for stanza in json.loads(said):
        ids = {one["id"] for one in stanza["db"] if one["system-id"] == here}
        if stanza["status"]["code"]:
            reasons.append(f"{stanza['name']}: {stanza['status']['message']}")
        elif not ids:
            reasons.append(f"{stanza['name']} is of another server than this one")
        backups += [
            (datetime.fromtimestamp(one["timestamp"]["stop"], UTC), stanza["name"], one["label"])
            for one in stanza["backup"]
            if one["database"]["id"] in ids
            and not one.get("error")
            and not stanza["status"]["code"]
        ]
    if not backups:
        raise ValueError("; ".join(reasons) or "no stanza has a backup")
    taken_at, stanza, label = max(backups)
    return taken_at, f"backup {label} of stanza {stanza}"


def _base(said: str, conn: Connection) -> tuple[datetime, str]:
    """Read a time, or the manifest of pg_basebackup, which names its server from Postgres 17 on."""
    if not said.startswith("{"):
        return _probe(said, conn)
    manifest = json.loads(said)
    here = value(conn, "select system_identifier from pg_control_system()")
    if manifest.get("System-Identifier", here) != here:
        raise ValueError("the base backup is of another server than this one")
    times = [one["Last-Modified"] for one in manifest["Files"]]
    return datetime.strptime(max(times), "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC), "manifest"


def _supabase(said: str, _: Connection) -> tuple[datetime, str]:
    facts = json.loads(said)
    backups = [
        (datetime.fromisoformat(one["inserted_at"]), "daily backup")
        for one in facts["backups"]
        if one["status"] == "COMPLETED"
    ]
    latest = facts.get("physical_backup_data", {}).get("latest_physical_backup_date_unix")
    if facts["pitr_enabled"] and latest:
        backups.append((datetime.fromtimestamp(latest, UTC), "point in time"))
    if not backups:
        raise ValueError("the project has no completed backup")
    return max(backups)


def _probe(said: str, _: Connection) -> tuple[datetime, str]:
    text = said.strip()
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC), "seconds since 1970"
    return datetime.fromisoformat(text), "as printed"


def age(taken_at: datetime) -> str:
    """Say for people how long ago a backup was taken."""
    minutes = max(0, round((datetime.now(UTC) - taken_at).total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
