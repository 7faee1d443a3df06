"""All RPCs of a domain at once, from eight sessions: every refusal is one that we list.

A deadlock is no listed refusal. BAKEHOUSE_STORM_SECONDS makes the storm longer than in `make test`,
and BAKEHOUSE_STORM_SEED makes another one.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
import pytest

from bakehouse import database
from bakehouse.database import Connection
from bakehouse.rpc import functions as rpcs
from bakehouse.rpc import reference
from bakehouse.rpc.functions import Function
from docs.dev_data import dev_database
from postgres import Server
from rows import make_order
from storm.arguments import Arguments, Caller, statement

SECONDS = float(os.environ.get("BAKEHOUSE_STORM_SECONDS", "8"))
SEED = int(os.environ.get("BAKEHOUSE_STORM_SEED", "1"))
SESSIONS = 8
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TICK = "app.run_task"

DOMAINS = {  # the chapters of the reference whose functions meet
    "orders and stock": ("stages", "edits", "reads", "inventory", "shopify"),
    "queue": ("queue", "inventory", "operations"),
    "projects": ("projects", "statuses", "subprojects", "catalog"),
    "catalog and settings": ("catalog", "settings", "staff", "statuses"),
}
PREPARE = """
insert into public.settings (store, key, value)
values ('bannos', 'inventory_tracking_enabled', 'true');
insert into public.sites (code, name) values ('kitchen', 'Kitchen');
insert into public.store_sites (store, site, delivery_method)
values ('bannos', 'kitchen', 'delivery');
insert into public.project_tasks (title, estimated_duration)
select 'Task ' || n, n from generate_series(1, 6) as n;
insert into public.projects (name, is_template)
select 'Project ' || n, n % 4 = 0 from generate_series(1, 8) as n;
insert into public.project_assignments (project_uuid, task_uuid, position)
select projects.uuid, tasks.uuid, 100 + row_number() over (order by tasks.uuid)
from public.projects as projects cross join public.project_tasks as tasks
where projects.name like 'Project %' and tasks.title like 'Task %';
insert into public.work_dead (
  id, topic, priority, payload, retries, max_retries, created_at
)
select 1000000 + n, 'reconcile', 5, '{}', 3, 3, now() from generate_series(1, 20) as n;
"""


@dataclass(frozen=True)
class Log:
    """What the calls of one session answered, by function."""

    answered: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)


def names(domain: str) -> set[str]:
    chapters = (reference.parse(EXAMPLES / f"{name}.sql") for name in DOMAINS[domain])
    return {function for chapter in chapters for function in chapter.functions}


def call(conn: Connection, function: Function, by_service: bool, arguments: Arguments) -> None:
    with conn.transaction():
        if by_service:
            database.act_as(conn, "service_role", "")
        else:
            database.act_as(conn, "authenticated", reference.ACCOUNTS["Admin"])
        conn.execute(*statement(function, arguments))


def by_service(function: Function, dice: Random) -> bool:
    return function.role == "service_role" or (
        function.role.endswith("service_role") and dice.random() < 0.5
    )


def session(
    dsn: str, seed: str, functions: list[Function], codes: set[tuple[str, str]], ends: float
) -> Log:
    """Makes a call of every function in random order, again and again until the end."""
    log, dice = Log(), Random(seed)
    with (
        psycopg.connect(dsn, autocommit=True) as reader,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        reader.execute("select setseed(%s)", (dice.random(),))
        conn.execute("set statement_timeout = '20s'")
        caller = Caller(reader, dice)
        first = True
        while first or time.monotonic() < ends:
            for function in dice.sample([*functions, None], len(functions) + 1):
                if not first and time.monotonic() >= ends:
                    break
                name = function.name if function else TICK
                arguments = caller.arguments(function) if function else {}
                try:
                    if function:
                        call(conn, function, by_service(function, dice), arguments)
                    else:
                        conn.execute(
                            "select app.run_task(due.name) from app.due_tasks() as due (name)"
                        )
                    log.answered[name] += 1
                except psycopg.Error as refusal:
                    if (refusal.diag.message_hint or "", refusal.sqlstate or "") not in codes:
                        log.broken[f"{name}: {refusal.sqlstate} {refusal}"] += 1
            first = False
    return log


@pytest.fixture
def shop(server: Server, template: str) -> Iterator[str]:
    """The DSN of a database with the dev data, and with rows for several sessions to meet at."""
    with dev_database(server, template) as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(PREPARE.encode())
            for store in ("bannos", "flourlane") * 6:
                make_order(conn, store=store)
        yield dsn


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_calls_at_once_are_answered_or_refused_with_a_listed_code(shop: str, domain: str) -> None:
    with psycopg.connect(shop) as conn:
        functions = [one for one in rpcs.load(conn) if one.name in names(domain)]
        codes = set(conn.execute("select code, sqlstate from app.error_codes").fetchall())
    ends = time.monotonic() + SECONDS

    with ThreadPoolExecutor(SESSIONS) as pool:
        logs = list(
            pool.map(
                lambda n: session(shop, f"{SEED} {n}", functions, codes, ends), range(SESSIONS)
            )
        )

    broken = sum((log.broken for log in logs), Counter[str]())
    answered = sum((log.answered for log in logs), Counter[str]())
    print(f"{domain}: {answered.total()} calls answered")
    assert broken == {}
    assert len(answered) > len(functions) * 0.9


def test_every_function_belongs_to_a_domain(shop: str) -> None:
    with psycopg.connect(shop) as conn:
        known = {one.name for one in rpcs.load(conn)}

    assert known == set().union(*map(names, DOMAINS))
