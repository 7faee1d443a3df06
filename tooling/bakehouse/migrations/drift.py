"""What changed without a file: the difference between the baseline and what is there."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from bakehouse.database import Connection, fetch, sql_file, table_exists
from bakehouse.migrations import catalog, sqltext
from bakehouse.migrations.catalog import Objects

_DRIFT = sql_file(__package__, "drift")
_CHANGES = ("added", "changed", "gone")


@dataclass(frozen=True)
class Difference:
    name: str
    change: str  # one of _CHANGES
    hash: str | None  # None if the object is gone
    until: date | None
    ownable: bool  # whether a DBA may change it without a file
    recorded_sql: str  # the statement of the object on record, if known
    recorded: str  # the definition on record
    state: str  # open, accepted, expired or changed since
    reason: str
    accepted_by: str

    def __str__(self) -> str:
        note = f" ({self.state}, until {self.until}: {self.reason})" if self.until else ""
        return f"{self.name}{note}"


def find(conn: Connection, objects: Objects) -> list[Difference]:
    """List what differs from the baseline. Returns nothing before the first run."""
    if not table_exists(conn, "bakehouse.accepted_drift"):
        return []
    return fetch(conn, class_row(Difference), _DRIFT, Jsonb(objects))


def by_change(found: Iterable[Difference]) -> dict[str, list[Difference]]:
    """Group what closes the gate by the kind of change. Leaves out accepted drift."""
    closing = [one for one in found if one.state != "accepted"]
    return {word: [one for one in closing if one.change == word] for word in _CHANGES}


def sql_of(conn: Connection, found: Iterable[Difference]) -> dict[str, str]:
    """Return the SQL of each difference: what is gone, what is added, or how it changed."""
    texts = catalog.texts(conn)
    told = {}
    for one in found:
        _, definition, statement = texts.get(one.name, ("", "", None))
        was, now = one.recorded_sql or one.recorded, statement or definition
        if was == now:  # such as a disabled trigger, whose statement is the same
            was, now = one.recorded, definition
        lines = (now or was).splitlines()
        if was and now:
            lines = sqltext.diff(was, now)[2:]
        told[one.name] = "\n".join(lines)
    return told
