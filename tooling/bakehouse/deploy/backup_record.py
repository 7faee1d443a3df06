"""The record of `backup take`, kept in the database itself."""

from dataclasses import asdict, dataclass
from typing import Any

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from bakehouse.database import Connection, fetch, sql_file, table_exists, value
from bakehouse.migrations.catalog import Objects


@dataclass(frozen=True)
class Recorded:
    """A backup, with the facts about its database at that moment."""

    file: str
    taken_at: str
    bytes: int
    sha256: str
    server: int  # the major version
    role: str
    chain_head: str | None
    rows: dict[str, int]  # by table
    duration_ms: int
    drilled_at: str | None = None  # when it was last restored

    @property
    def facts(self) -> dict[str, Any]:
        """What the log says about this backup."""
        names = ("file", "taken_at", "bytes", "sha256", "duration_ms")
        return {name: getattr(self, name) for name in names}


def last(conn: Connection) -> Recorded | None:
    """Return the newest backup in the record."""
    if not table_exists(conn, "bakehouse.backups"):
        return None
    for file, facts, drilled_at in fetch(conn, tuple_row, sql_file(__package__, "last_backup")):
        return Recorded(file, **facts, drilled_at=drilled_at)
    return None


def objects_of(conn: Connection, file: str) -> dict[str, str]:
    """Return the objects of the database when this backup was taken."""
    found: dict[str, str] = value(
        conn, "select objects from bakehouse.backups where file = $1", file
    )
    return found


def add(conn: Connection, backup: Recorded, objects: Objects) -> None:
    facts = {k: v for k, v in asdict(backup).items() if k not in ("file", "drilled_at")}
    conn.execute(
        "insert into bakehouse.backups (file, facts, objects) values (%s, %s, %s)",
        (backup.file, Jsonb(facts), Jsonb(objects)),
    )
