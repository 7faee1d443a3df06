"""The cost of a page: with 1,000,000 orders (50,000 open), compared with 10,000 orders.

    .venv/bin/python bench/reads.py [rounds] [orders]

The same calls run in turn on two databases of one server, as a member of staff with claims.
Then the bench prints the plans of the larger one.
"""

import json
import re
import statistics
import sys
import time
from typing import LiteralString

import psycopg

import bakery
from bakehouse.database import Connection
from bakehouse.server import cluster
from bench_server import migrated

PORT = 54495
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
MANY = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
FEW = 10_000
ADMIN = "00000000-0000-4000-8000-0000000000ff"
QUEUE: tuple[tuple[str, LiteralString], ...] = (
    ("no filter", ""),
    ("a store", "p_store => 'bannos'"),
    ("a stage", "p_stage => 'Decorating'"),
    ("an assignee", "p_assignee_id => '00000000-0000-4000-9000-000000000006'"),
    ("nobody assigned", "p_unassigned => true"),
    ("a storage", "p_storage => 'Store Fridge'"),
    ("priority High", "p_priority => 'High'"),
    ("priority Low", "p_priority => 'Low'"),
    ("a stage, nobody assigned", "p_stage => 'Filling', p_unassigned => true"),
    ("due this week", "p_date_from => current_date, p_date_to => current_date + 6"),
    ("due on one day", "p_date_from => current_date + 9, p_date_to => current_date + 9"),
    ("by due date", "p_sort_by => 'due_date', p_sort_order => 'ASC'"),
    ("backwards", "p_sort_order => 'ASC'"),
    ("search: one number", "p_search => '1049'"),
    ("search: one customer", "p_search => 'ava ashbury'"),
    ("search: 1 in 100", "p_search => 'ashbury'"),
    ("search: 1 in 40", "p_search => 'drip mud'"),
    ("search: every order", "p_search => 'cake'"),
    ("search: no order", "p_search => 'zebra'"),
    ("sorted by customer", "p_sort_by => 'customer_name', p_sort_order => 'ASC'"),
)
OTHERS: tuple[tuple[str, LiteralString], ...] = (
    ("get_queue_stats", "select * from public.get_queue_stats()"),
    ("get_unassigned_counts", "select * from public.get_unassigned_counts()"),
    ("get_staff_order_counts", "select * from public.get_staff_order_counts()"),
    ("get_order_for_scan", "select * from public.get_order_for_scan('#B104990')"),
    ("get_order_v2", "select * from public.get_order_v2('bannos-104990')"),
    ("get_complete", "select * from public.get_complete()"),
    ("find_order: one customer", "select * from public.find_order('ava ashbury')"),
    ("find_order: one number", "select * from public.find_order('104990')"),
)


def main() -> None:
    with migrated(PORT):
        with psycopg.connect(cluster.superuser_dsn(PORT, "template1"), autocommit=True) as conn:
            conn.execute("create database few template postgres")
        with connect("few") as few, connect("postgres") as many:
            bakery.load(few, FEW, FEW // 20)
            bakery.load(many, MANY, MANY // 20)
            for conn in (few, many):
                sign_in(conn)
            print(f"{'median, ms':<40}{FEW:>10,}{MANY:>12,}")
            for name, arguments in QUEUE:
                compare(
                    f"get_queue, {name}", few, many, f"select * from public.get_queue({arguments})"
                )
            for name, query in OTHERS:
                compare(name, few, many, query)
            deep(many)
        plans()


def connect(database: str) -> Connection:
    conn: Connection = psycopg.connect(cluster.dsn(PORT, database), autocommit=True)
    return conn


def sign_in(conn: Connection) -> None:
    conn.execute(
        "insert into public.staff_shared (user_id, full_name, role, approved) "
        "values (%s, 'Bench Admin', 'Admin', true) on conflict do nothing",
        (ADMIN,),
    )
    conn.execute(
        "select set_config('request.jwt.claims', %s, false)", (json.dumps({"sub": ADMIN}),)
    )
    conn.execute("set role authenticated")


def timed(conn: Connection, query: str) -> float:
    started = time.perf_counter()
    conn.execute(query.encode()).fetchall()
    return (time.perf_counter() - started) * 1000


def compare(name: str, few: Connection, many: Connection, query: str) -> None:
    times = [(timed(few, query), timed(many, query)) for _ in range(ROUNDS + 5)][5:]
    report(name, [few_ms for few_ms, _ in times], [many_ms for _, many_ms in times])


def deep(conn: Connection) -> None:
    """Reads page 1 and page 100 in turn, both by key."""
    key = ""
    for _ in range(99):
        arguments = f"p_after => '{key}'" if key else ""
        row = conn.execute(
            f"select page_key from public.get_queue({arguments}) offset 49".encode()
        ).fetchone()
        assert row
        key = str(row[0])
    first = "select * from public.get_queue()"
    hundredth = f"select * from public.get_queue(p_after => '{key}')"
    times = [(timed(conn, first), timed(conn, hundredth)) for _ in range(ROUNDS)]
    report("page 1, page 100", [one for one, _ in times], [other for _, other in times])


def report(name: str, base: list[float], times: list[float]) -> None:
    ratio = statistics.median(times) / statistics.median(base)
    p95 = statistics.quantiles(times, n=20)[-1]
    print(
        f"{name:<40}{statistics.median(base):10.2f}{statistics.median(times):12.2f}"
        f"   p95 {p95:7.2f}   x {ratio:.2f}",
        flush=True,
    )


def plans() -> None:
    """Prints the plan of the statement inside get_queue for each page."""
    with psycopg.connect(cluster.superuser_dsn(PORT), autocommit=True) as conn:
        said: list[str] = []
        conn.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        conn.execute(
            "load 'auto_explain'; set auto_explain.log_min_duration = 0; "
            "set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on; "
            "set auto_explain.log_timing = off; set client_min_messages = log"
        )
        sign_in(conn)
        for name, arguments in QUEUE:
            said.clear()
            conn.execute(f"select * from public.get_queue({arguments})".encode())
            plan = next(text for text in said if "with hits as" in text)
            print(f"\nget_queue, {name}")
            for line in re.findall(r"((?:Index|Bitmap|Seq|Sort|Merge Append)[^\n]*)", plan):
                if " on orders" in line or line.startswith(("Sort  ", "Merge")):
                    print("  ", re.sub(r"\(cost=.*?\) ", "", line))


if __name__ == "__main__":
    main()
