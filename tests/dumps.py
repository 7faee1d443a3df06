"""Backups on disk, and what time and forgers do to them."""

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from bakehouse.deploy import dump


def age(url: str, file: Path, hours: float, record: bool = True) -> None:
    """Makes a dump that much older, by the clock inside. The record follows, unless it must not."""
    with psycopg.connect(url, autocommit=True) as conn:
        binaries = dump.binaries_for(conn.info.server_version // 10000)
        _, made = dump.header(binaries, file)
        then = made - timedelta(hours=hours)
        content = file.read_bytes()
        assert content.count(_clock(made)) == 1
        file.write_bytes(content.replace(_clock(made), _clock(then)))
        amend(conn, file, {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
        if record:
            amend(conn, file, {"taken_at": then.astimezone(UTC).isoformat()})


def amend(
    conn: "psycopg.Connection[tuple[object, ...]]", file: Path, facts: dict[str, object]
) -> None:
    """Changes what is on record about a backup, as only a forger would."""
    conn.execute(
        "update bakehouse.backups set facts = facts || %s where file = %s",
        (Jsonb(facts), file.name),
    )


def _clock(at: datetime) -> bytes:
    """The time as the header of an archive has it: six numbers, each with a byte for its sign."""
    parts = (at.second, at.minute, at.hour, at.day, at.month - 1, at.year - 1900)
    return b"".join(struct.pack("<bi", 0, part) for part in parts)
