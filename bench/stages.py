"""The cost of a stage RPC, compared with a bare statement that makes no checks.

    .venv/bin/python bench/stages.py [rounds] [orders]

A million orders, 50,000 of them open. Both sides run in turn on one durable server, prepared, with
a commit per call. One caller comes first, then eight at once (pgbench).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from typing import LiteralString

import psycopg

import bakery
from bakehouse.database import Connection
from bakehouse.server.binaries import find_binaries
from bench_server import migrated

PORT = 54497
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
TOTAL = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
CALLS = 400  # calls of one caller per round and side
CLIENTS = 8
EACH = 250  # calls per round, side and client
OURS = ROUNDS * 2 * (CALLS + CLIENTS * EACH)  # the orders that the bench moves
FIRST = 3_000_000
STAFF = "00000000-0000-4000-9000-000000000000"

OPEN: LiteralString = """
with contacts as (
  insert into public.order_contacts (store, order_gid, customer_name)
  select 'bannos', 'bannos-' || n, 'Bench Customer'
  from generate_series(%(first)s::integer, %(last)s::integer) as n
)
insert into public.orders (
  store, id, shopify_order_number, human_id, product_title, size, flavour,
  delivery_method, due_date, assignee_id, filling_start_ts
)
select
  'bannos', 'bannos-' || n, n, 'B' || n, 'Birthday Cake', 'Medium', 'Vanilla',
  'pickup', current_date + mod(n, 20), %(staff)s, now()
from generate_series(%(first)s::integer, %(last)s::integer) as n
"""
BARE: LiteralString = """
with moved as (
  update public.orders
  set stage = 'Covering', filling_complete_ts = coalesce(filling_complete_ts, now()),
    assignee_id = null, updated_by = '00000000-0000-4000-9000-000000000000'
  where store = 'bannos' and id = {} and stage = 'Filling' and cancelled_at is null
  returning store, id
)
insert into public.stage_events (store, order_id, stage, event_type, at_ts, staff_id)
select store, id, 'Filling', 'complete', now(), '00000000-0000-4000-9000-000000000000' from moved
"""
RPC: LiteralString = "select public.complete_filling({})"
SIDES: tuple[tuple[str, LiteralString, str], ...] = (
    ("the bare statement", BARE, "bakehouse_owner"),
    ("complete_filling", RPC, "authenticated"),
)
CLAIMS = json.dumps({"role": "authenticated", "sub": STAFF}, separators=(",", ":"))


def main() -> None:
    with migrated(PORT) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            bakery.load(conn, TOTAL - OURS, max(TOTAL // 20 - OURS, 0))
            conn.execute(OPEN, {"staff": STAFF, "first": FIRST, "last": FIRST + OURS - 1})
            conn.execute("vacuum analyze public.orders")
        numbers = count(FIRST)
        alone(dsn, numbers)
        together(dsn, numbers)
        with psycopg.connect(dsn) as conn:
            moved = conn.execute(
                "select count(*) from public.stage_events where event_type = 'complete'"
            ).fetchone()
            assert moved == (OURS,), f"{moved} of {OURS} orders moved"


def connect(dsn: str, role: str) -> Connection:
    conn: Connection = psycopg.connect(dsn, autocommit=True, options=options(role))
    conn.prepare_threshold = 0
    return conn


def options(role: str) -> str:
    return f"-c role={role} -c request.jwt.claims={CLAIMS}"


def alone(dsn: str, numbers: "count[int]") -> None:
    times: dict[str, list[float]] = {}
    conns = [connect(dsn, role) for _, _, role in SIDES]
    for _ in range(ROUNDS * CALLS):
        for (name, statement, _), conn in zip(SIDES, conns, strict=True):
            times.setdefault(name, []).append(call(conn, statement, next(numbers)))
    for conn in conns:
        conn.close()
    base = times[SIDES[0][0]]
    for name, took in times.items():
        middle = statistics.median(took)
        print(
            f"{name:<28} {middle * 1000:7.3f} ms  "
            f"({statistics.quantiles(took, n=20)[-1] * 1000:.3f} p95)  "
            f"x {middle / statistics.median(base):.2f}",
            flush=True,
        )


def call(conn: Connection, statement: LiteralString, number: int) -> float:
    query: LiteralString = statement.format("%s")
    started = time.perf_counter()
    conn.execute(query, (f"bannos-{number}",))
    return time.perf_counter() - started


def together(dsn: str, numbers: "count[int]") -> None:
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, statement, role in SIDES:
            first = next(numbers)
            for _ in range(CLIENTS * EACH - 1):
                next(numbers)
            rates.setdefault(name, []).append(pgbench(dsn, statement, role, first))
    for name, seen in rates.items():
        pairs = zip(seen, rates[SIDES[0][0]], strict=True)
        ratio = statistics.median(rate / base for rate, base in pairs)
        middle = statistics.median(seen)
        print(f"{name:<28} {middle:7,.0f} a second, {CLIENTS} clients  x {ratio:.2f}", flush=True)


def pgbench(dsn: str, statement: LiteralString, role: str, first: int) -> float:
    """Returns transactions per second. Each client moves its own orders."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set i :i + 1\n\\set n {first - 1} + :client_id * {EACH} + :i\n")
        script.write(" ".join(statement.format("'bannos-' || :n").split()) + ";\n")
        script.flush()
        ran = subprocess.run(
            [
                *(find_binaries().tool("pgbench"), "--no-vacuum", "--protocol=prepared"),
                *("--define=i=0", f"--client={CLIENTS}", "--jobs=2", f"--transactions={EACH}"),
                *("--file", script.name, dsn),
            ],
            env=os.environ | {"PGOPTIONS": options(role)},
            check=True,
            capture_output=True,
            text=True,
        )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("tps")]
    return float(lines[0].split()[2])


if __name__ == "__main__":
    main()
