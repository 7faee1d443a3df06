"""One lock order holds for the whole system, as docs/architecture.md lists it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from bakehouse import database
from bakehouse.database import Connection
from bakehouse.rpc import reference
from bakehouse.rpc.reference import Example
from docs.dev_data import dev_database
from postgres import Server
from rows import value, values

ROOT = Path(__file__).parents[2]
CALLS = [one for path in ROOT.glob("docs/examples/*.sql") for one in reference.parse(path).examples]

WAITS: LiteralString = "select %s = any(pg_blocking_pids(%s))"
# rows for every call to lock: a stale priority, an old webhook, a list with a project
PREPARE = """
update public.orders set priority = 1;
insert into public.shopify_orders (store, gid)
values ('bannos', 'gid://shopify/Order/5800000018617');
insert into public.order_contacts (store, order_gid, payload)
values ('bannos', 'gid://shopify/Order/5800000018617', '{"id": 5800000018617}');
insert into public.webhook_deliveries (
  store, webhook_id, topic, status, last_error, body, received_at
)
values (
  'bannos', 'old', 'orders/create', 'dead', 'BAD_INPUT', 'no order', now() - interval '31 days'
);
insert into public.projects (name, status_entity_uuid)
values ('Old wedding', '00000000-0000-4000-8000-000000000132');
"""


@dataclass(frozen=True)
class Lock:
    """A step of the lock order: SQL to take the lock, and SQL to check that it is free."""

    take: str
    is_free: str


def rows(*tables: str) -> Lock:
    return Lock(
        ";".join(f"select from {table} for no key update" for table in tables),
        "select "
        + " and ".join(
            f"(select count(*) from {table}) = (select count(*) from"
            f" (select from {table} for no key update skip locked) as free)"
            for table in tables
        ),
    )


def advisory(key: str) -> Lock:
    return Lock(f"select pg_advisory_xact_lock({key})", f"select pg_try_advisory_xact_lock({key})")


STRUCTURE = "hashtextextended('public.project_assignments.child_project_uuid', 0)"


def projects(*tables: str) -> Lock:
    """Every writer of projects locks the project structure before any row."""
    held = rows(*tables)
    return Lock(f"select pg_advisory_xact_lock_shared({STRUCTURE});{held.take}", held.is_free)


LOCKS = {
    "webhooks": advisory("hashtext('bakehouse ingest')"),
    "deliveries": rows("public.webhook_deliveries"),
    "Shopify orders": rows("public.shopify_orders"),
    "orders": rows("public.orders"),
    "contacts": rows("public.order_contacts"),
    "stock": rows("public.inventory_items", "public.site_stock"),
    "tasks": rows("public.project_tasks"),
    "project structure": advisory(STRUCTURE),
    "projects": projects("public.projects"),
    "rows": projects("public.project_assignments", "public.project_statuses"),
    "lists": rows("public.entities", "public.entity_data"),
}


@pytest.fixture(scope="module")
def shop(server: Server, template: str) -> Iterator[str]:
    """The DSN of a database with the dev data, and with rows for every call to lock."""
    with dev_database(server, template) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(PREPARE.encode())
        yield dsn


@pytest.fixture(scope="module")
def writers(shop: str) -> list[Example]:
    """The calls that may lock a row."""
    with psycopg.connect(shop) as conn:
        names = values(conn, "select proname::text from pg_proc where provolatile = 'v'")
        tasks = values(conn, "select name from app.task_runs")
    return [
        *(Example(f"the task {task}", "", f"select app.run_task('{task}')") for task in tasks),
        *(call for call in CALLS if call.function in names),
    ]


def make(conn: Connection, call: Example) -> None:
    if call.role:
        api = call.role if call.role == "service_role" else "authenticated"
        database.act_as(conn, api, reference.ACCOUNTS[call.role])
    with suppress(psycopg.errors.QueryCanceled):
        conn.execute(call.sql.encode())


@pytest.mark.parametrize("step", LOCKS)
def test_a_call_that_waits_for_a_lock_holds_no_later_one(
    shop: str, writers: list[Example], step: str
) -> None:
    names = list(LOCKS)
    later = names[names.index(step) + 1 :]
    out_of_order = []

    with (
        psycopg.connect(shop) as holder,
        psycopg.connect(shop) as caller,
        psycopg.connect(shop, autocommit=True) as watcher,
        ThreadPoolExecutor() as pool,
    ):
        holder.execute(LOCKS[step].take.encode())
        for call in writers:
            made = pool.submit(make, caller, call)
            while wait([made], timeout=0.01).not_done:
                if value(watcher, WAITS, holder.info.backend_pid, caller.info.backend_pid):
                    out_of_order += [
                        f"{call.function} waits for {step} with {name} locked"
                        for name in later
                        if not value(watcher, LOCKS[name].is_free)
                    ]
                    caller.cancel_safe()
            made.result()
            caller.rollback()

    assert out_of_order == []
