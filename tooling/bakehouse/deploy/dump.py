"""Read a dump file with the programs of Postgres: its hash, its header, and its origin."""

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bakehouse.errors import BakehouseError
from bakehouse.server.binaries import Binaries, installed_binaries

# pg_dump writes the time of the machine without its zone, and pg_restore reads it that way
CLOCK: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC"}
_MARK = ("--schema-only", "--schema=supabase_migrations", "--function=bakehouse_identity()")


@dataclass(frozen=True)
class Header:
    """What an archive says about itself."""

    database: str
    created_at: datetime
    has_rows: bool


def binaries_for(major: int) -> Binaries:
    """Return the oldest binaries that can dump or restore this major: older ones cannot."""
    able = [one for one in installed_binaries() if one.version >= major]
    if not able:
        raise BakehouseError(
            "binaries",
            f"the database is Postgres {major}, but the programs on this machine are older",
            f"pg_dump and pg_restore cannot read a later major: install Postgres {major}.",
        )
    return min(able, key=lambda binaries: binaries.version)


def sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read(binaries: Binaries, file: Path, *options: str) -> str:
    """Return what pg_restore prints about the dump. Raises an error if it cannot be read."""
    done = subprocess.run(
        [binaries.tool("pg_restore"), *options, str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, **CLOCK},
    )
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[0]
        raise BakehouseError("backup", f"the dump cannot be restored: {said}")
    return done.stdout


def header(binaries: Binaries, file: Path) -> Header:
    listed = read(binaries, file, "--list")
    found = re.search(r"created at (\S+ \S+) UTC\n;\s+dbname: (.*)", listed)
    if not found:
        raise BakehouseError("backup", "the dump cannot be restored: its header has no time")
    created_at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    return Header(found[2], created_at, " TABLE DATA " in listed)


def origin(binaries: Binaries, file: Path) -> tuple[str, int] | None:
    """Return the system identifier and the OID of the dumped database, from the mark inside."""
    mark = read(binaries, file, *_MARK, "--file=-")
    found = [re.search(rf'"{key}": "?(\d+)', mark) for key in ("system_identifier", "database_oid")]
    return (found[0][1], int(found[1][1])) if found[0] and found[1] else None
