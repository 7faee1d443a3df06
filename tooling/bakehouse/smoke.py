"""The smoke walk: the least that must hold after a migration, in a transaction rolled back."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from bakehouse.database import Connection

_STAFF = "00000000-0000-4000-8000-00000000f001"
_STRANGER = "00000000-0000-4000-8000-00000000f002"
_ORDER = "bannos-smoke"

_PREPARE: LiteralString = """
insert into public.staff_shared (user_id, full_name, role, store, is_active, approved)
values ('00000000-0000-4000-8000-00000000f001', 'Smoke walk', 'Staff', 'bannos', true, true);
insert into public.orders (store, id) values ('bannos', 'bannos-smoke');
insert into public.stage_events (store, order_id, stage, event_type)
values ('bannos', 'bannos-smoke', 'Filling', 'create');
"""


@dataclass(frozen=True)
class Step:
    """One call and what must come of it: a value, or the SQLSTATE of the refusal."""

    name: str
    role: str | None  # None is the role that migrates
    user_id: str
    query: LiteralString
    expected: str


@dataclass(frozen=True)
class Outcome:
    name: str
    ok: bool
    duration_ms: float
    detail: str


_MINE: LiteralString = "select count(*) from public.orders where id = 'bannos-smoke'"
_STEAL: LiteralString = "update public.orders set notes = 'x' where id = 'bannos-smoke'"
_FORGE: LiteralString = (
    "insert into public.stage_events (store, order_id, stage, event_type)"
    " values ('bannos', 'bannos-smoke', 'Packing', 'complete')"
)

STEPS = (
    Step("anon reads no order", "anon", "", _MINE, "42501"),
    Step("anon writes no order", "anon", "", _STEAL, "42501"),
    Step("a stranger who signed in sees nothing", "authenticated", _STRANGER, _MINE, "0"),
    Step("staff see an order of their store", "authenticated", _STAFF, _MINE, "1"),
    Step("staff write no table", "authenticated", _STAFF, _STEAL, "42501"),
    Step("staff forge no event", "authenticated", _STAFF, _FORGE, "42501"),
    Step("service_role writes no table", "service_role", "", _STEAL, "42501"),
    Step("an event cannot be rewritten", None, "", "delete from public.stage_events", "PT409"),
)


def walk(conn: Connection) -> Iterator[Outcome]:
    """Take every step; nothing stays behind."""
    conn.execute("begin")
    try:
        conn.execute(_PREPARE)
        for step in STEPS:
            yield _take(conn, step)
    except psycopg.Error as error:
        yield Outcome("prepare an order", False, 0, str(error).splitlines()[0])
    finally:
        conn.execute("rollback")


def _take(conn: Connection, step: Step) -> Outcome:
    started = time.perf_counter()
    try:
        with conn.transaction(force_rollback=True):
            claims = f'{{"sub": "{step.user_id}", "role": "{step.role}"}}'
            conn.execute(
                "select set_config('request.jwt.claims', %s, true),"
                " case when %s::text is not null then set_config('role', %s, true) end",
                (claims, step.role, step.role),
            )
            row = conn.execute(step.query)
            found = str((row.fetchone() or ("",))[0]) if row.description else "done"
    except psycopg.Error as error:
        found = error.sqlstate or "no answer"
    duration = (time.perf_counter() - started) * 1000
    ok = found == step.expected
    return Outcome(step.name, ok, duration, "" if ok else f"expected {step.expected}, got {found}")
