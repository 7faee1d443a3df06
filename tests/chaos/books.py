"""What the callers know, and whether the database agrees."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString, TextIO

from bakehouse.database import Connection

# how often the database has what a call does; the callers never use a key twice
FOUND: dict[str, LiteralString] = {
    "order": "select id, count(*) from public.orders group by id",
    "cancel": """
        select 'bannos-' || (contacts.payload ->> 'order_number'), count(*)
        from public.shopify_orders as heads
        inner join public.order_contacts as contacts on contacts.order_gid = heads.gid
        where heads.cancelled_at is not null group by 1""",
    "move": """
        select format('%s %s %s', order_id, stage, event_type), count(*) from public.stage_events
        where event_type in ('print', 'start', 'complete') group by 1""",
    "edit": """
        select meta #>> '{new,notes}', count(*) from public.stage_events
        where event_type = 'edit' group by 1""",
    "stock": "select reference, count(*) from public.inventory_txn group by reference",
    "job": """
        select payload ->> 'key', count(*) from (
          select payload from public.work_queue
          union all select payload from public.work_dead
          union all select payload from public.work_archive
        ) as jobs group by 1""",
    "finish": "select payload ->> 'key', count(*) from public.work_archive group by 1",
    "project": "select name, count(*) from public.projects group by name",
    "row": """
        select tasks.title, count(*) from public.project_assignments as rows
        inner join public.project_tasks as tasks on tasks.uuid = rows.task_uuid
        where rows.status = 'done' group by tasks.title""",
}
# what a broken server may answer: connection, resources, intervention, system error, lock timeout
NO_CONNECTION = "no connection"
EXCUSED = ("08", "53", "57", "58", "55P03", "25006", "XX", NO_CONNECTION)


class Book:
    """A line for each question, and one for its answer, written at once."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def ask(self, kind: str, key: str) -> None:
        self.note("asked", kind, key)

    def note(self, state: str, kind: str, key: str, why: str = "") -> None:
        self.file.write(json.dumps([time.monotonic(), state, kind, key, why]) + "\n")


@dataclass
class Account:
    """All calls of all callers, compared with the database."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    asked: set[tuple[str, str]] = field(default_factory=set)
    states: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[str, str]] = field(default_factory=list)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    last: float = 0.0  # when the last answer came

    def unexpected(self) -> dict[str, int]:
        return {code: n for code, n in self.errors.items() if not code.startswith(EXCUSED)}

    def lines(self) -> Iterable[str]:
        kinds = Counter(kind for kind, _ in self.done if kind in FOUND)
        for kind, count in sorted(kinds.items()):
            lost, doubled = (
                sum(1 for found, _ in wrong if found == kind) for wrong in (self.lost, self.doubled)
            )
            yield f"  {kind:<8} {count:>6} acknowledged  {lost} lost  {doubled} doubled"
        for name, counts in (("refused", self.refusals), ("no answer", self.errors)):
            said = ", ".join(f"{code} {count}" for code, count in counts.most_common())
            yield f"  {name}: {said or 'never'}"


def settled(conn: Connection, books: Iterable[Path]) -> Account:
    """Reads the books and looks for each of their lines in the database."""
    account = Account()
    for path in books:
        for line in path.read_text().splitlines():
            at, state, kind, key, why = json.loads(line)
            account.states[state] += 1
            if state == "asked":
                account.asked.add((kind, key))
            elif state == "done":
                account.done[kind, key] += 1
                account.last = max(account.last, at)
            else:
                (account.refusals if state == "refused" else account.errors)[why] += 1
    for kind, query in FOUND.items():
        found = {key: int(str(count)) for key, count in conn.execute(query)}
        for one, key in account.done | Counter(account.asked):
            if one != kind:
                continue
            acknowledged = account.done[kind, key]
            if acknowledged and key not in found:
                account.lost.append((kind, key))
            if found.get(key, 0) > 1 or (kind == "finish" and acknowledged > 1):
                account.doubled.append((kind, key))
    return account


def answered_after(books: Iterable[Path], moment: float) -> int:
    """Counts the acknowledged calls since then."""
    count = 0
    for path in books:
        for line in path.read_text().splitlines():
            if line.endswith("]"):
                at, state, *_ = json.loads(line)
                count += state == "done" and at > moment
    return count
