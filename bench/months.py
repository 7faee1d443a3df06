"""Events and ledger by month: which months a read touches, and the cost beside plain tables.

    .venv/bin/python bench/months.py OLD [rounds]

OLD is a clone of a commit from before the months. Both sides have the same rows of 36 months, on a
durable server each. Their calls run in turn, and the ratio of a round is that of its medians.
"""

import base64
import hashlib
import hmac
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import LiteralString

import ingest
from bakehouse.database import Connection
from bench_server import migrated

OLD = Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
PORTS = (54493, 54494)
MONTHS = 36
HISTORY = 100_000  # orders of these months, with three events and a ledger row each
CALLS = 200  # calls per round and side
WARM_UP = 50
STAFF = "00000000-0000-4000-9000-000000000000"
FILL = (
    """
    insert into public.staff_shared (user_id, full_name, role, store, approved)
    values ('00000000-0000-4000-9000-000000000000', 'Bench', 'Admin', null, true)
    """,
    """
    insert into public.orders (
      store, id, shopify_order_number, human_id, product_title, size, stage, due_date,
      packing_complete_ts, created_at
    )
    select
      'bannos', 'bannos-' || 10000000 + n, 10000000 + n, 'B' || n, 'Birthday Cake', 'Medium',
      'Complete', current_date, now(),
      now() - interval '1 month' * {months} * (1 - n / {orders}::float)
    from generate_series(1, {orders}) as n
    """,
    """
    insert into public.stage_events (store, order_id, stage, event_type, at_ts, staff_id)
    select
      orders.store, orders.id, 'Filling', kinds.kind::public.event_type, orders.created_at,
      '00000000-0000-4000-9000-000000000000'
    from public.orders as orders
    cross join (values ('create'), ('print'), ('complete')) as kinds (kind)
    order by orders.created_at
    """,
    """
    insert into public.inventory_txn (
      item_id, site, kind, change_amount, stock_before, stock_after, store, order_gid, actor_kind,
      at_ts
    )
    select
      items.id, 'main', 'deduct', -1, 1000001 - n, 1000000 - n, 'bannos', 'bannos-' || 10000000 + n,
      'service', now() - interval '1 month' * {months} * (1 - n / {orders}::float)
    from generate_series(1, {orders}) as n
    cross join public.inventory_items as items
    """,
    "update public.site_stock set on_hand = on_hand - {orders} where true",
    """
    insert into public.orders (
      store, id, shopify_order_number, human_id, product_title, size, due_date
    )
    select 'bannos', 'bannos-' || n, n, 'B' || n, 'Birthday Cake', 'Medium',
      current_date + mod(n, 20)
    from generate_series(1, {open}) as n
    """,
    "vacuum analyze",
)
READS: tuple[tuple[str, LiteralString], ...] = (
    ("complete_filling, repeated", "select public.complete_filling('bannos-1')"),
    ("qc_return, repeated", "select public.qc_return_to_decorating('bannos-2')"),
    ("get_order_history", "select public.get_order_history('bannos-1')"),
    ("resettle_order", "select public.resettle_order('bannos-1')"),
)
SCANNED: LiteralString = """
    select relname from pg_stat_xact_user_tables
    where seq_scan + coalesce(idx_scan, 0) > 0 and relname ~ '_[0-9]{4}_[0-9]{2}$'
    order by relname
"""
Call = Callable[[Connection, int], None]


def main() -> None:
    with migrated(PORTS[0]) as new, migrated(PORTS[1], OLD) as old:
        sides = [prepared(new), prepared(old)]
        show_months(sides[0])
        compare("complete_filling", "authenticated", sides, complete_filling)
        compare("signed webhook, two cakes", "service_role", sides, webhook)


def prepared(dsn: str) -> Connection:
    conn = ingest.prepared(dsn)
    conn.execute("reset role")
    facts = {"months": MONTHS, "orders": HISTORY, "open": WARM_UP + ROUNDS * CALLS + 2}
    if conn.execute("select to_regclass('app.monthly_tables') is null").fetchone() == (False,):
        conn.execute(
            "select app.add_months(name, now() - interval '1 month' * %s, now())"
            " from app.monthly_tables",
            (MONTHS,),
        )
    for statement in FILL:
        conn.execute(statement.format(**facts).encode())
    conn.prepare_threshold = 0
    return conn


def become(conn: Connection, role: str) -> None:
    claims = {"role": role} | ({"sub": STAFF} if role == "authenticated" else {})
    conn.execute(
        "select set_config('request.jwt.claims', %s, false), set_config('role', %s, false)",
        (json.dumps(claims), role),
    )


def show_months(conn: Connection) -> None:
    """Prints the months that reads of open orders scan."""
    become(conn, "authenticated")
    for number, actions in ((1, ["filling"]), (2, ["filling", "covering", "decorating"])):
        for action in actions:
            query: LiteralString = "select public.complete_{}(%s)"
            conn.execute(query.format(action).encode(), (f"bannos-{number}",))
    conn.execute("select public.qc_return_to_decorating('bannos-2')")
    for name, query in READS:
        conn.execute("reset role")
        conn.execute("select pg_stat_force_next_flush()")
        with conn.transaction():
            become(conn, "authenticated")
            conn.execute(query)
            conn.execute("reset role")
            found = [str(month) for (month,) in conn.execute(SCANNED)]
        print(f"{name:<27} reads {', '.join(found) or 'no month'}", flush=True)


def complete_filling(conn: Connection, number: int) -> None:
    conn.execute("select public.complete_filling(%s)", (f"bannos-{number + 2}",))


def webhook(conn: Connection, number: int) -> None:
    body = ingest.order(5_000_000 + number)
    digest = hmac.new(ingest.SECRET.encode(), body.encode(), hashlib.sha256).digest()
    ingest.webhook(conn, number, base64.b64encode(digest).decode(), body)


def compare(name: str, role: str, sides: list[Connection], call: Call) -> None:
    """Prints the ratio of the first side to the second: the median of the rounds, and all."""
    for conn in sides:
        become(conn, role)
    ratios = []
    numbers = count(1)
    for calls in (WARM_UP, *[CALLS] * ROUNDS):
        times: list[list[float]] = [[] for _ in sides]
        for number in (next(numbers) for _ in range(calls)):
            for conn, took in list(zip(sides, times, strict=True))[:: (-1) ** number]:
                started = time.perf_counter()
                call(conn, number)
                took.append(time.perf_counter() - started)
        ratios.append(statistics.median(times[0]) / statistics.median(times[1]))
    rounds = " ".join(f"{ratio:.2f}" for ratio in ratios[1:])
    print(f"{name:<27} x {statistics.median(ratios[1:]):.2f}  ({rounds})", flush=True)


if __name__ == "__main__":
    main()
