"""The smoke walk: take an order from webhook to box, and try every call that must be refused.

The walk runs in one transaction, in a store of its own, and is rolled back. Only sequences move on.
It locks no rows but its own.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from bakehouse.database import Connection, act_as, sql_file
from bakehouse.migrations.files import Migration
from bakehouse.rpc import functions as rpc
from bakehouse.rpc.functions import Function

_SECRET = "the-secret-of-the-smoke-walk"
_BODY = json.dumps(
    {
        "id": 1,
        "order_number": 1,
        "customer": {"first_name": "Smoke", "last_name": "Walk"},
        "line_items": [
            {"id": 1, "title": "Smoke Cake", "variant_title": "Small / Vanilla", "quantity": 1}
        ],
    }
)
_SIGNATURE = hmac.new(_SECRET.encode(), _BODY.encode(), hashlib.sha256).digest()
_FACTS = {"secret": _SECRET, "body": _BODY, "hmac": base64.b64encode(_SIGNATURE).decode()}

_ACCOUNTS = {
    "Staff": "00000000-0000-4000-8000-00000000f001",
    "Supervisor": "00000000-0000-4000-8000-00000000f002",
    "Admin": "00000000-0000-4000-8000-00000000f003",
    "a stranger": "00000000-0000-4000-8000-00000000f004",
}


@dataclass(frozen=True)
class Step:
    """One call and its expected answer: a value, or the SQLSTATE of the refusal."""

    name: str
    role: str  # the role of the caller, or empty for the migration role
    query: LiteralString
    expected: str


@dataclass(frozen=True)
class Outcome:
    name: str
    role: str
    ok: bool
    duration_ms: float
    detail: str  # why it failed or was skipped

    @property
    def left_out(self) -> bool:
        return self.ok and self.detail != ""


_MINE: LiteralString = "select count(*) from public.orders where id = 'smoke-0'"
_STEAL: LiteralString = "update public.orders set notes = 'x' where id = 'smoke-0'"
_FORGE: LiteralString = (
    "insert into public.stage_events (store, order_id, stage, event_type)"
    " values ('smoke', 'smoke-0', 'Packing', 'complete')"
)

TABLES = (
    Step("no order is read", "anon", _MINE, "42501"),
    Step("no order is written", "anon", _STEAL, "42501"),
    Step("no order is seen", "a stranger", _MINE, "0"),
    Step("an order of the store is seen", "Staff", _MINE, "1"),
    Step("no table is written", "Staff", _STEAL, "42501"),
    Step("no event is forged", "Staff", _FORGE, "42501"),
    Step("no table is written", "service_role", _STEAL, "42501"),
    Step("no event is rewritten", "", "delete from public.stage_events", "PT409"),
)


def _moved(action: LiteralString, stage: str) -> Step:
    query: LiteralString = f"select public.{action}('smoke-1') ->> 'stage'"
    return Step(f"{action} -> {stage}", "Staff", query, stage)


_SECRET_SET: LiteralString = "select public.set_webhook_secret('smoke', %(secret)s)"
_POLICIES: LiteralString = (
    "select public.set_setting('smoke', 'photo_required_stages', '[]')"
    " and public.set_setting('smoke', 'active_shift_required', 'false')"
)
_INGEST: LiteralString = (
    "select concat_ws(' ', said ->> 'status', said ->> 'outcome')"
    " from public.ingest_shopify_webhook("
    "'smoke.invalid', 'orders/create', 'smoke', %(hmac)s, %(body)s) as said"
)
_QUEUE: LiteralString = "select string_agg(id || ' ' || stage, ',') from public.get_queue('smoke')"
_UNASSIGNED: LiteralString = (
    "select string_agg(stage || ' ' || count, ',') from public.get_unassigned_counts('smoke')"
    " where count > 0"
)
_ASSIGN: LiteralString = (
    "select public.assign_staff('smoke-1', 'smoke', '00000000-0000-4000-8000-00000000f001')"
    " ->> 'already_done'"
)
_PRINT: LiteralString = "select public.print_barcode('smoke', 'smoke-1') ->> 'barcode_content'"
_SCAN: LiteralString = "select id from public.get_order_for_scan('smoke-1')"
_AGAIN: LiteralString = "select public.complete_filling('smoke-1') ->> 'already_done'"
_COMPLETE: LiteralString = "select string_agg(id, ',') from public.get_complete('smoke')"

WALK = (
    Step("the secret of the shop is set", "Admin", _SECRET_SET, ""),
    Step("its own policies ask for no photo and no shift", "Admin", _POLICIES, "True"),
    Step("a signed order comes in", "service_role", _INGEST, "ok created"),
    Step("it comes in again", "service_role", _INGEST, "duplicate"),
    Step("the queue has it", "Staff", _QUEUE, "smoke-1 Filling"),
    Step("it counts as unassigned", "Staff", _UNASSIGNED, "Filling 1"),
    Step("it is assigned", "Supervisor", _ASSIGN, "false"),
    Step("it counts as unassigned no more", "Staff", _UNASSIGNED, "None"),
    Step("its barcode is printed", "Staff", _PRINT, "smoke-1"),
    Step("its barcode is scanned", "Staff", _SCAN, "smoke-1"),
    Step("it cannot be packed yet", "Staff", "select public.complete_packing('smoke-1')", "PT409"),
    _moved("complete_filling", "Covering"),
    Step("complete_filling again is already done", "Staff", _AGAIN, "true"),
    _moved("start_covering", "Covering"),
    _moved("complete_covering", "Decorating"),
    _moved("start_decorating", "Decorating"),
    Step("the queue has it further on", "Staff", _QUEUE, "smoke-1 Decorating"),
    Step("it counts as unassigned again", "Staff", _UNASSIGNED, "Decorating 1"),
    _moved("complete_decorating", "Packing"),
    _moved("start_packing", "Packing"),
    _moved("complete_packing", "Complete"),
    Step("the queue is empty", "Staff", _QUEUE, "None"),
    Step("the complete orders have it", "Staff", _COMPLETE, "smoke-1"),
)


def applies_to(files: Iterable[Migration]) -> bool:
    """Check if these migrations create the tables that the walk needs."""
    return any(file.name == "M0_orders" for file in files)


def walk(conn: Connection) -> Iterator[Outcome]:
    """Run every step, then roll everything back."""
    conn.execute("begin")
    try:
        conn.execute(sql_file(__package__, "smoke_store"))
        for step in TABLES:
            yield _take(conn, step)
        functions = rpc.load(conn)
        called = {name for step in WALK for name in re.findall(r"public\.(\w+)\(", step.query)}
        if absent := sorted(called - {function.name for function in functions}):
            yield Outcome("walk an order", "", True, 0, f"left out: there is no {absent[0]} here")
        else:
            for step in WALK:
                yield _take(conn, step)
        for role in ("anon", "a stranger"):
            yield _refused(conn, functions, role)
    except psycopg.Error as error:
        yield Outcome("prepare", "", False, 0, str(error).splitlines()[0])
    finally:
        conn.execute("rollback")


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """List the failed steps, each with its reason."""
    return [f"{one.name}: {one.detail}" for one in outcomes if not one.ok]


def _take(conn: Connection, step: Step) -> Outcome:
    started = time.perf_counter()
    try:
        with conn.transaction():
            act_as(conn, _session(step.role), _ACCOUNTS.get(step.role, ""))
            answer = conn.execute(step.query, _FACTS)
            found = str((answer.fetchone() or ("",))[0]) if answer.description else "done"
    except psycopg.Error as error:
        found = error.sqlstate or "no answer"
    duration = (time.perf_counter() - started) * 1000
    ok = found == step.expected
    detail = "" if ok else f"expected {step.expected}, got {found}"
    return Outcome(step.name, step.role, ok, duration, detail)


def _session(role: str) -> str:
    return "authenticated" if role in _ACCOUNTS else role or "none"


def _refused(conn: Connection, functions: Sequence[Function], role: str) -> Outcome:
    """Call every function that this role may not call. Each call must be refused."""
    started = time.perf_counter()
    api = _session(role)
    closed = [one for one in functions if api == "anon" or not one.lets_in(api, rpc.EVERYBODY)]
    answers = rpc.answers(conn, closed, api, _ACCOUNTS.get(role, ""))
    wrong = [
        f"{one.name} answers {answers[one.signature]}"
        for one in closed
        if not one.kept_out(api, answers[one.signature])
    ]
    duration = (time.perf_counter() - started) * 1000
    return Outcome(f"{len(closed)} calls refused", role, not wrong, duration, ", ".join(wrong))


def junit(outcomes: Sequence[Outcome]) -> bytes:
    """Write the walk as test results in JUnit XML, for CI."""
    import xml.etree.ElementTree as ET  # imported here: other commands start faster without it

    suite = ET.Element(
        "testsuite",
        name="bakehouse smoke",
        tests=str(len(outcomes)),
        failures=str(sum(not one.ok for one in outcomes)),
        errors="0",
        skipped=str(sum(one.left_out for one in outcomes)),
        time=f"{sum(one.duration_ms for one in outcomes) / 1000:.3f}",
    )
    for one in outcomes:
        name = f"{one.role}: {one.name}" if one.role else one.name
        seconds = f"{one.duration_ms / 1000:.3f}"
        case = ET.SubElement(suite, "testcase", classname="smoke", name=name, time=seconds)
        if one.detail:
            ET.SubElement(case, "skipped" if one.ok else "failure", message=one.detail)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    page: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return page
