"""The record of `backup take`, kept in the database itself."""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from bakehouse.database import Connection, fetch, table_exists, value
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


def last(conn: Connection) -> Recorded | None:
    """Return the newest backup in the record."""
    if not table_exists(conn, "bakehouse.backups"):
        return None
    query = b"select file, facts from bakehouse.backups order by number desc limit 1"
    known = {field.name for field in fields(Recorded)}
    for file, facts in fetch(conn, tuple_row, query):
        return Recorded(file, **{name: fact for name, fact in facts.items() if name in known})
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


def add_drill(conn: Connection, file: str, duration_ms: int) -> None:
    """Record that the backup was restored and tested now."""
    facts = {"drilled_at": datetime.now(UTC).isoformat(), "drill_ms": duration_ms}
    conn.execute(
        "update bakehouse.backups set facts = facts || %s where file = %s", (Jsonb(facts), file)
    )
