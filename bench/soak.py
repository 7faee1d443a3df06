"""Ten thousand deliveries as from Shopify: repeated, late, out of order, with killed clients.

    .venv/bin/python bench/soak.py

Afterwards the books must balance. The bench prints the counts, and exits with 1 if one is wrong.
"""

import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from ctypes import c_int
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from multiprocessing.synchronize import Event
from typing import LiteralString

import psycopg

from bakehouse.server import cluster
from bench_server import migrated

PORT = 54497
DELIVERIES = 10_000
SENDERS = 4
WORKERS = 3
SECRET = "bench-secret-of-the-webhooks"
SKUS = [f"ITEM-{n}" for n in range(12)]
STOCK = 600  # too few for all orders, so that some orders wait
LEASE = "2 seconds"
UNFINISHED = (
    "select coalesce(sum(ready + running + scheduled), 0) from public.get_work_queue_stats()"
)
SHARE = {"duplicates": 0.25, "updates": 0.2, "cancellations": 0.1, "dead": 0.02}

Delivery = tuple[str, str, str]  # id, topic, body


def main() -> None:
    random.seed(7)
    deliveries = shuffled(plan())
    with migrated(PORT):
        prepare()
        started = time.perf_counter()
        kills, resent = run(deliveries)
        took = time.perf_counter() - started
        print(
            f"{len(deliveries):,} deliveries in {took:.0f} s, {resent} sent again; "
            f"{kills['sender']} senders and {kills['worker']} workers killed"
        )
        sys.exit(0 if balanced(deliveries) else 1)


# The deliveries


def plan() -> list[Delivery]:
    """Orders with their updates and cancellations, oldest first."""
    made: list[Delivery] = []
    number = 0
    while len(made) < DELIVERIES * (1 - SHARE["duplicates"]):
        number += 1
        if random.random() < SHARE["dead"]:
            made.append((f"d-{number}", "orders/create", json.dumps({"number": number})))
            continue
        content = order(number)
        made.append((f"c-{number}", "orders/create", json.dumps(content)))
        if random.random() < SHARE["updates"]:
            content |= {"note": "Side door", "updated_at": "2025-11-01T10:05:00+11:00"}
            made.append((f"u-{number}", "orders/updated", json.dumps(content)))
        if random.random() < SHARE["cancellations"]:
            content |= dict.fromkeys(["updated_at", "cancelled_at"], "2025-11-01T10:10:00+11:00")
            made.append((f"x-{number}", "orders/cancelled", json.dumps(content)))
    return made


def order(number: int) -> dict[str, object]:
    lines: list[dict[str, object]] = [
        {
            "id": number * 10,
            "title": "Birthday Cake",
            "quantity": random.randint(1, 2),
            "variant_title": "Medium / Vanilla",
        }
    ]
    for place, sku in enumerate(random.sample(SKUS, random.randint(0, 3)), 1):
        lines.append(
            {
                "id": number * 10 + place,
                "title": f"Candle {sku}",
                "quantity": random.randint(1, 3),
                "sku": sku,
            }
        )
    return {
        "id": number,
        "order_number": number,
        "current_total_price": "100.00",
        "updated_at": "2025-11-01T10:00:00+11:00",
        "note": "Ring the bell",
        "line_items": lines,
    }


def shuffled(made: list[Delivery]) -> list[Delivery]:
    """Adds duplicates, and moves each delivery by up to fifty places."""
    every = made + random.choices(made, k=DELIVERIES - len(made))
    places = {id(delivery): place for place, delivery in enumerate(made)}
    return sorted(every, key=lambda delivery: places[id(delivery)] + random.uniform(0, 50))


# The run


def prepare() -> None:
    with psycopg.connect(dsn(), autocommit=True) as conn:
        conn.execute("select app.store_shop_secret('bannos', 'webhook', %s)", (SECRET,))
        conn.execute(
            "insert into public.inventory_items (kind, sku, title, category) "
            "select 'accessory', sku, sku, 'candle' from unnest(%s::text[]) as sku",
            (SKUS,),
        )
        conn.execute(
            "select app.move_stock(id, %s, 'adjust', 'opening') from public.inventory_items",
            (STOCK,),
        )


def dsn() -> str:
    return cluster.dsn(PORT, "postgres")


def run(deliveries: list[Delivery]) -> tuple[dict[str, int], int]:
    """Senders share the deliveries, and workers push stock. Some of them are killed."""
    context = multiprocessing.get_context("fork")
    done = context.Event()
    # a RawValue has no lock that a killed process could keep
    reached = [RawValue(c_int) for _ in range(SENDERS)]
    kills, resent = {"sender": 0, "worker": 0}, 0

    def sender(n: int) -> BaseProcess:
        own = context.Process(target=send, args=(deliveries[n::SENDERS], reached[n]))
        own.start()
        return own

    def worker() -> BaseProcess:
        own = context.Process(target=push, args=(done,))
        own.start()
        return own

    senders = [sender(n) for n in range(SENDERS)]
    workers = [worker() for _ in range(WORKERS)]
    while any(own.exitcode != 0 for own in senders):
        time.sleep(random.uniform(0.2, 0.6))
        n = random.randrange(SENDERS)
        if kill(senders[n]):
            kills["sender"] += 1
        for n, own in enumerate(senders):
            if own.exitcode:  # the killed sender got no answer, so its last delivery is sent again
                resent += 1
                senders[n] = sender(n)
        n = random.randrange(WORKERS)
        if kill(workers[n]):
            kills["worker"] += 1
            workers[n] = worker()
    done.set()
    for own in workers:
        own.join()
    return kills, resent


def kill(process: BaseProcess) -> bool:
    """Sometimes kills the process. Returns whether it was killed."""
    if random.random() < 0.5 or process.pid is None or not process.is_alive():
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode != 0


def send(mine: list[Delivery], reached: c_int) -> None:
    with psycopg.connect(dsn(), autocommit=True) as conn:
        conn.execute("set role service_role")
        for webhook_id, topic, body in mine[reached.value :]:
            digest = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).digest()
            conn.execute(
                "select public.ingest_shopify_webhook('bannos.myshopify.com', %s, %s, %s, %s)",
                (topic, webhook_id, base64.b64encode(digest).decode(), body),
            )
            reached.value += 1


def push(done: Event) -> None:
    """Completes jobs as `bakehouse work` does, until all deliveries are sent and no job is left."""
    with psycopg.connect(dsn(), autocommit=True) as conn:
        conn.execute("set role service_role")
        while True:
            last = done.is_set()
            jobs = conn.execute(
                "select id, token from public.claim_work('{inventory_push}', 'soak', 5, %s)",
                (LEASE,),
            ).fetchall()
            time.sleep(random.uniform(0, 0.02))  # the time until a shop answers
            if jobs:
                conn.execute(
                    "select public.complete_work(%s, %s)", (jobs[0][1], [job[0] for job in jobs])
                )
            elif last and number(conn, UNFINISHED) == 0:
                return


# The books

CHECKS = {
    "orders with more or fewer cakes than ordered": """
        select count(*) from public.shopify_orders as head
        inner join public.order_contacts as contact
          on contact.store = head.store and contact.order_gid = head.gid
        where (
          select count(*) from public.orders as cake
          where cake.store = head.store and cake.shopify_order_gid = head.gid
        ) not in (
          (contact.payload #>> '{line_items,0,quantity}')::bigint,
          case when head.cancelled_at is null then -1 else 0 end
        )""",
    "unfinished jobs": "select count(*) from public.work_queue",
    "dead jobs": "select count(*) from public.work_dead",
}


def balanced(deliveries: list[Delivery]) -> bool:
    """Prints the counts. Returns whether each one is right."""
    distinct = {webhook_id: topic for webhook_id, topic, _ in deliveries}
    known = {json.loads(body).get("id") for _, _, body in deliveries} - {None}
    hopeless = {webhook_id for webhook_id in distinct if webhook_id.startswith("d-")}
    with psycopg.connect(cluster.superuser_dsn(PORT), autocommit=True) as conn:
        wrong = {name: number(conn, check) for name, check in CHECKS.items()}
        violations = conn.execute("select name, violations from app.audit_all()").fetchall()
        wrong |= {f"violations of the invariant {name}": int(count) for name, count in violations}
        for name, found, wanted in [
            ("deliveries on record", "select count(*) from public.webhook_deliveries", distinct),
            (
                "dead letters",
                "select count(*) from public.webhook_deliveries where status = 'dead'",
                hopeless,
            ),
            ("Shopify orders", "select count(*) from public.shopify_orders", known),
        ]:
            count = number(conn, found)
            print(f"{count:>7,} {name}, of {len(wanted):,}")
            wrong[f"{name} missing or too many"] = abs(count - len(wanted))
        came = number(conn, "select sum(attempts) from public.webhook_deliveries")
        print(f"{came:>7,} times one came, of {len(deliveries):,} and what was sent again")
        wrong["deliveries unaccounted for"] = max(len(deliveries) - came, 0)
        for name, found in [
            ("cakes", "select count(*) from public.orders"),
            ("of them open", "select count(*) from public.orders where is_open"),
            ("changes of stock", "select count(*) from public.inventory_txn"),
            ("shortages", "select count(*) from public.reservation_holds"),
            ("jobs done", "select count(*) from public.work_archive"),
            ("of them retried", "select count(*) from public.work_archive where retries > 0"),
        ]:
            print(f"{number(conn, found):>7,} {name}")
    for name, count in wrong.items():
        print(f"{count:>7,} {name}{'' if count == 0 else '  WRONG'}")
    return not any(wrong.values())


def number(conn: psycopg.Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    assert row
    return int(row[0])


if __name__ == "__main__":
    main()
