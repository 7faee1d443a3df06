"""A dump: read its file with the programs of Postgres, and compare it with the record."""

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from bakehouse.database import Connection, fetch, sql_file, table_exists
from bakehouse.deploy import environment
from bakehouse.errors import BakehouseError
from bakehouse.migrations.catalog import Objects
from bakehouse.server.binaries import Binaries, installed_binaries

# pg_dump writes the time of the machine without its zone, and pg_restore reads it that way
CLOCK: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC"}
_MARK = ("--schema-only", "--schema=supabase_migrations", "--function=bakehouse_identity()")
_PLACE = ("system_identifier", "database_oid")
_SECOND = timedelta(seconds=1)  # the header has whole seconds


@dataclass(frozen=True)
class Recorded:
    """A dump on record, with the facts about its database at that moment."""

    file: str
    taken_at: str
    bytes: int
    sha256: str
    server: int  # the major version
    role: str
    chain_head: str | None
    rows: dict[str, int]  # by table
    duration_ms: int
    objects: Objects
    drilled_at: str | None = None  # when it was last restored

    @property
    def facts(self) -> dict[str, Any]:
        """What the log says about this backup."""
        names = ("file", "taken_at", "bytes", "sha256", "duration_ms")
        return {name: getattr(self, name) for name in names}


def newest(conn: Connection) -> Recorded | None:
    """Return the newest backup on record."""
    if not table_exists(conn, "bakehouse.backups"):
        return None
    found = fetch(conn, class_row(Recorded), sql_file(__package__, "last_backup"))
    return found[0] if found else None


def record(conn: Connection, made: Recorded) -> None:
    apart = ("file", "objects", "drilled_at")
    facts = {name: fact for name, fact in asdict(made).items() if name not in apart}
    conn.execute(
        "insert into bakehouse.backups (file, facts, objects) values (%s, %s, %s)",
        (made.file, Jsonb(facts), Jsonb(made.objects)),
    )


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


def run(
    binaries: Binaries, program: str, *arguments: str, dsn: str = "", failed: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a program of Postgres, on a database if one is given. No argument holds a password.

    Raises an error if the program fails and `failed` says what that means.
    """
    place = conninfo_to_dict(dsn)
    password = str(place.pop("password", None) or os.environ.get("PGPASSWORD", ""))
    target = [f"--dbname={make_conninfo('', **place)}", "--no-password"] if dsn else []
    done = subprocess.run(
        [binaries.tool(program), *target, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PGPASSWORD": password, **CLOCK},
        close_fds=False,  # for the lock of the folder of backups
    )
    if failed and done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise BakehouseError("backup", f"{failed}: {said[0]}", *said[1:2])
    return done


def read(binaries: Binaries, file: Path, *options: str) -> str:
    """Return what pg_restore prints about the dump. Raises an error if it cannot be read."""
    failed = "the dump cannot be restored"
    return run(binaries, "pg_restore", *options, str(file), failed=failed).stdout


def header(binaries: Binaries, file: Path) -> tuple[str, datetime]:
    """Return the name of the dumped database, and when the dump began."""
    listed = read(binaries, file, "--list")
    found = re.search(r"created at (\S+ \S+) UTC\n;\s+dbname: (.*)", listed)
    if not found:
        raise BakehouseError("backup", "the dump cannot be restored: its header has no time")
    return found[2], datetime.fromisoformat(f"{found[1]}Z")


def refutation(conn: Connection, file: Path, last: Recorded) -> str:
    """Return why the file is not the backup on record, or '' if it is. Reads the whole file."""
    if not file.is_file():
        return "is missing"
    if file.stat().st_size != last.bytes:
        return f"no longer has the {last.bytes} bytes on record"
    binaries = binaries_for(last.server)
    database, created_at = header(binaries, file)
    if database != conn.info.dbname:
        return f"is a dump of the database {database}"
    mark, here = read(binaries, file, *_MARK, "--file=-"), environment.identity(conn)
    # the first match, because the earlier marks of the database follow
    inside = [re.findall(rf'"{key}": "?(\d+)', mark)[:1] for key in _PLACE]
    if not here or here.copied or inside != [[str(getattr(here, key))] for key in _PLACE]:
        return "is a dump of another database or server: its mark is not the mark of this one"
    begun = datetime.fromisoformat(last.taken_at)
    ended = begun + timedelta(milliseconds=last.duration_ms)
    if not begun - _SECOND <= created_at <= ended + _SECOND:
        return f"was made at {created_at:%F %R} UTC, and not when the record says"
    return "" if sha256(file) == last.sha256 else "was changed: its checksum differs"
