"""When the newest backup was taken, and who says so."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bakehouse import history
from bakehouse.database import Connection
from bakehouse.environment import Settings

_PATIENCE = 60  # seconds for another program to say when it took its last backup
_AHEAD = timedelta(minutes=5)  # how far clocks may differ


@dataclass(frozen=True)
class Backup:
    """What one source says: when its newest backup was taken, or why there is none to count."""

    source: str
    taken_at: datetime | None = None
    problem: str = ""
    detail: str = ""


def newest(found: Iterable[Backup]) -> Backup:
    """The source to believe: the one whose backup is the newest."""
    found = list(found)
    dated = [(one.taken_at, one) for one in found if one.taken_at]
    if dated:
        return max(dated, key=lambda pair: pair[0])[1]
    return Backup("none", problem="; ".join(f"{one.source}: {one.problem}" for one in found))


def sources(conn: Connection, settings: Settings, root: Path) -> Iterator[Backup]:
    """What each source says that bakehouse.toml names; the first two need no setting."""
    yield _ours(conn, root / settings.backup_folder)
    yield _archiver(conn)
    for source, command, read in (
        ("pgbackrest", settings.backup_pgbackrest, _pgbackrest),
        ("supabase", settings.backup_supabase, _supabase),
        ("probe", settings.backup_probe, _probe),
    ):
        if command:
            yield _ask(conn, source, command, read)


def _ours(conn: Connection, folder: Path) -> Backup:
    source = "bakehouse backup take"
    row = last(conn)
    if row is None:
        return Backup(source, None, "none is on record")
    name, facts = row
    path = folder / name
    if not path.is_file():
        return Backup(source, None, f"{path} is gone")
    if path.stat().st_size != facts["bytes"]:
        return Backup(source, None, f"{path} is not of the {facts['bytes']} bytes it had")
    drilled = f", restored on {facts['drilled_at'][:10]}" if "drilled_at" in facts else ""
    return Backup(source, datetime.fromisoformat(facts["taken_at"]), "", f"{path}{drilled}")


def last(conn: Connection) -> tuple[str, dict[str, Any]] | None:
    """The file and the facts of the newest backup of our own."""
    if not history.exists(conn, "bakehouse.backups"):
        return None
    row = conn.execute(
        "select file, facts from bakehouse.backups order by number desc limit 1"
    ).fetchone()
    return (str(row[0]), dict(row[1])) if row and isinstance(row[1], dict) else None


def _archiver(conn: Connection) -> Backup:
    source = "pg_stat_archiver"
    row = conn.execute(
        "select last_archived_time, last_failed_time, last_archived_wal, last_failed_wal,"
        " current_setting('archive_mode') <> 'off',"
        " current_setting('archive_command') ~ '^\\s*((/\\S*/)?true|:|exit 0)?\\s*$'"
        " and coalesce(current_setting('archive_library', true), '') = ''"
        " from pg_stat_archiver"
    ).fetchone()
    assert row
    archived, failed, wal, failed_wal, on, idle = row
    if not on:
        return Backup(source, None, "archive_mode is off")
    if idle:
        return Backup(source, None, "archive_command keeps nothing")
    if not isinstance(archived, datetime):
        return Backup(source, None, "no WAL has been archived")
    if isinstance(failed, datetime) and failed > archived:
        return Backup(source, None, f"archiving {failed_wal} failed, last at {_minute(failed)}")
    return Backup(source, archived, "", f"WAL up to {wal}, for a base backup to go on from")


_Read = Callable[[str, Connection], tuple[datetime, str]]


def _ask(conn: Connection, source: str, command: tuple[str, ...], read: _Read) -> Backup:
    """Run a command and read its answer; whatever is wrong with it is the reason for no backup."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ValueError(f"exit {done.returncode}: {said[-1] if said else 'it said nothing'}")
        taken_at, detail = read(done.stdout, conn)
        if taken_at.tzinfo is None:
            raise ValueError(f"{taken_at} has no time zone")
        if taken_at > datetime.now(UTC) + _AHEAD:
            raise ValueError(f"{_minute(taken_at)} is yet to come")
    except subprocess.TimeoutExpired:
        return Backup(source, None, f"`{command[0]}` took more than {_PATIENCE} s")
    except OSError as error:
        return Backup(source, None, f"`{command[0]}`: {error.strerror}")
    except (KeyError, TypeError, AttributeError):
        return Backup(source, None, f"`{command[0]}` answered in a form that is not known")
    except ValueError as error:  # JSON and times that cannot be read are among these
        return Backup(source, None, f"`{command[0]}`: {error}")
    return Backup(source, taken_at, "", detail)


def _pgbackrest(said: str, conn: Connection) -> tuple[datetime, str]:
    row = conn.execute("select system_identifier from pg_control_system()").fetchone()
    here = row and row[0]
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
    return datetime.fromisoformat(text), "as it says"


def age(taken_at: datetime) -> str:
    """How long ago, for people."""
    minutes = max(0, round((datetime.now(UTC) - taken_at).total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
