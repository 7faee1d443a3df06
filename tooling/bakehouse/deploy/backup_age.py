"""Ask every backup source when its newest backup was taken."""

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.rows import class_row, dict_row

from bakehouse.database import Connection, fetch, sql_file
from bakehouse.deploy import dump
from bakehouse.deploy.environment import Settings
from bakehouse.errors import BakehouseError

_PATIENCE = 60  # seconds for another program to answer
_AHEAD = timedelta(minutes=5)  # how much two clocks may differ
_ANSWERS = {  # queries that read the JSON of a source
    source: sql_file(__package__, f"read_{source}")
    for source in ("backup_base", "pgbackrest", "supabase")
}


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
        _ask(conn, source, command)
        for source, command in (
            ("backup_base", settings.backup_base),
            ("pgbackrest", settings.backup_pgbackrest),
            ("supabase", settings.backup_supabase),
            ("probe", settings.backup_probe),
        )
    ]
    yield _archiver(conn, [base, *others[:1]])
    yield from (one for one in others if one != Backup(one.source))


def _ours(conn: Connection, folder: Path) -> Backup:
    source = "bakehouse backup take"
    last = dump.newest(conn)
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


def _ask(conn: Connection, source: str, command: tuple[str, ...]) -> Backup:
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
        taken_at, detail = _read(conn, source, done.stdout.strip())
        if taken_at.tzinfo is None:
            raise ValueError(f"{taken_at} has no time zone")
        if taken_at > datetime.now(UTC) + _AHEAD:
            raise ValueError(f"{_minute(taken_at)} is in the future")
    except subprocess.TimeoutExpired:
        return Backup(source, None, f"`{command[0]}` took more than {_PATIENCE} s")
    except OSError as error:
        return Backup(source, None, f"`{command[0]}`: {error.strerror}")
    except psycopg.DataError:
        return Backup(source, None, f"`{command[0]}` answered in an unknown form")
    except ValueError as error:
        return Backup(source, None, f"`{command[0]}`: {error}")
    return Backup(source, taken_at, "", detail)


def _read(conn: Connection, source: str, said: str) -> tuple[datetime, str]:
    """Read the answer of a source: JSON that it defines, a time, or the seconds since 1970."""
    query = _ANSWERS.get(source)
    if query and (source != "backup_base" or said.startswith("{")):
        [found] = fetch(conn, dict_row, query, said)
        if found["problem"] or found["taken_at"] is None:
            raise ValueError(found["problem"] or "the answer names no time")
        return found["taken_at"], found["detail"]
    if said.isdecimal():
        return datetime.fromtimestamp(int(said), UTC), "seconds since 1970"
    return datetime.fromisoformat(said), "as printed"


def age(taken_at: datetime) -> str:
    """Say for people how long ago a backup was taken."""
    minutes = max(0, round((datetime.now(UTC) - taken_at).total_seconds() / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
