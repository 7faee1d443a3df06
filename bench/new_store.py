"""How long a stage call waits while create_store adds a partition.

    .venv/bin/python bench/new_store.py [seconds] [orders]

Four scanners move orders all the time, with a commit per call. First nothing else happens, then an
Admin makes a store every second.
"""

import json
import statistics
import sys
import time
from multiprocessing import Pool

import psycopg

import bakery
from bakehouse.database import Connection
from bench_server import migrated
from stages import OPEN, STAFF

PORT = 54495
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
TOTAL = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
CLIENTS = 4
ORDERS = 15_000  # for each scanner, more than it can move
FIRST = 3_000_000
ADMIN = "00000000-0000-4000-9000-0000000000ad"
LETTERS = "ACDEGHIJKLMNOPQRSTUVWXYZ"


def main() -> None:
    with migrated(PORT) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            bakery.load(conn, TOTAL, TOTAL // 20)
            conn.execute(OPEN, (STAFF, FIRST, FIRST + CLIENTS * ORDERS - 1))
            conn.execute(
                "insert into public.staff_shared (user_id, full_name, role, approved)"
                " values (%s, 'Bench Admin', 'Admin', true)",
                (ADMIN,),
            )
            conn.execute("vacuum analyze public.orders")
        with Pool(CLIENTS) as pool:
            begun = time.time()
            calls = pool.starmap_async(scan, [(dsn, n, begun) for n in range(CLIENTS)], 1)
            made = make_stores(dsn, begun + SECONDS)
            moves = [move for found in calls.get() for move in found]
    alone = [took for at, took in moves if at < begun + SECONDS]
    beside = [took for at, took in moves if at >= begun + SECONDS]
    p99 = statistics.quantiles(alone, n=100)[-1]
    print(f"p99 of a stage call, alone: {p99 * 1000:.2f} ms")
    report(f"{len(alone):,} stage calls, alone", alone, p99)
    report(f"{len(beside):,} beside {len(made)} new stores", beside, p99)
    report("create_store", made, p99)


def connect(dsn: str, account: str) -> Connection:
    claims = json.dumps({"role": "authenticated", "sub": account}, separators=(",", ":"))
    options = f"-c role=authenticated -c request.jwt.claims={claims}"
    conn: Connection = psycopg.connect(dsn, autocommit=True, options=options)
    conn.prepare_threshold = 0
    return conn


def scan(dsn: str, client: int, begun: float) -> list[tuple[float, float]]:
    """Moves orders until the end. Returns when each call ended, and how long it took."""
    moves = []
    with connect(dsn, STAFF) as conn:
        for number in range(FIRST + client * ORDERS, FIRST + (client + 1) * ORDERS):
            started = time.time()
            conn.execute("select public.complete_filling(%s)", (f"bannos-{number}",))
            ended = time.time()
            moves.append((ended, ended - started))
            if ended > begun + 2 * SECONDS:
                return moves
    raise RuntimeError("The scanner has no order left. Give it more orders.")


def make_stores(dsn: str, since: float) -> list[float]:
    """Makes a store every second, until the end. Returns how long each call took."""
    took: list[float] = []
    with connect(dsn, ADMIN) as conn:
        for letter in LETTERS[: SECONDS - 1]:
            time.sleep(max(0.0, since + len(took) + 0.5 - time.time()))
            started = time.time()
            conn.execute(
                "select public.create_store(%s, %s, %s, 'Australia/Sydney', 'AUD')",
                (f"shop_{letter.lower()}", f"Shop {letter}", letter),
            )
            took.append(time.time() - started)
    return took


def report(name: str, times: list[float], p99: float) -> None:
    print(
        f"{name:<36} median {statistics.median(times) * 1000:7.2f} ms  "
        f"longest {max(times) * 1000:7.2f} ms, x {max(times) / p99:.1f} of the p99 alone",
        flush=True,
    )


if __name__ == "__main__":
    main()
