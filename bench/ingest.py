"""The cost of a webhook: a signed order of two cakes, compared with an insert of its payload.

    .venv/bin/python bench/ingest.py

Both sides run in turn on the same durable server, so that the ratios hold on a noisy machine.
Then both run again with a million orders.
"""

import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable

import psycopg

from bakehouse.server import cluster
from bench_server import migrated

PORT = 54496
ROUNDS = 400
WARM_UP = 50
ORDERS = 1_000_000
SECRET = "bench-secret-of-the-webhooks"


def main() -> None:
    with migrated(PORT) as dsn, prepared(dsn) as conn:
        plain, small = measure(conn, 1)
        report("plain insert of the payload", plain)
        report("signed webhook, no orders yet", small, plain)
        fill(conn)
        plain, large = measure(conn, 2_000_001)
        report("plain insert of the payload", plain)
        report(f"signed webhook, {ORDERS:,} orders", large, plain)
        growth = statistics.median(large) / statistics.median(small)
        print(f"{ORDERS:,} orders against none: x {growth:.2f}")


def prepared(dsn: str) -> psycopg.Connection:
    """A migrated server with a secret, an accessory in stock and a table for the plain insert."""
    conn = psycopg.connect(dsn, autocommit=True)
    conn.execute("create table public.plain (id bigint generated always as identity, body jsonb)")
    conn.execute("grant insert on public.plain to service_role")
    conn.execute("select app.store_shop_secret('bannos', 'webhook', %s)", (SECRET,))
    conn.execute(
        "insert into public.inventory_items (kind, sku, title, category) "
        "values ('accessory', 'CANDLE', 'Candle', 'candle')"
    )
    conn.execute(
        "select app.move_stock(id, 1000000, 'adjust', 'bench') from public.inventory_items"
    )
    conn.execute("set role service_role")
    return conn


def order(number: int) -> str:
    line = {"variant_title": "Medium / Vanilla", "price": "60.00", "product_id": 7, "variant_id": 8}
    address = {"name": "Bench Customer", "address1": "1 Bench Street", "city": "Sydney"}
    return json.dumps(
        {
            "id": number,
            "admin_graphql_api_id": f"gid://shopify/Order/{number}",
            "order_number": number,
            "name": f"#B{number}",
            "currency": "AUD",
            "current_total_price": "130.00",
            "updated_at": "2025-11-01T10:00:00+11:00",
            "note": "Ring the bell",
            "customer": {"first_name": "Bench", "last_name": "Customer"},
            "shipping_address": address,
            "billing_address": address,
            "tags": "online, delivery",
            "note_attributes": [
                {"name": "Local Delivery Date and Time", "value": "2025-11-08 between 9 and 12"},
                {"name": "Delivery Method", "value": "delivery"},
            ],
            "line_items": [
                line
                | {
                    "id": number * 10,
                    "title": "Birthday Cake",
                    "quantity": 2,
                    "properties": [{"name": "Writing", "value": "Happy 40th"}],
                },
                line | {"id": number * 10 + 1, "title": "Candle", "quantity": 1, "sku": "CANDLE"},
            ],
        }
    )


def measure(conn: psycopg.Connection, start: int) -> tuple[list[float], list[float]]:
    plain, ours = [], []
    for number in range(start, start + WARM_UP + ROUNDS):
        body = order(number)
        digest = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        plain.append(timed(insert, conn, body))
        ours.append(timed(webhook, conn, number, signature, body))
    return plain[WARM_UP:], ours[WARM_UP:]


def insert(conn: psycopg.Connection, body: str) -> None:
    conn.execute("insert into public.plain (body) values (%s)", (body,))


def webhook(conn: psycopg.Connection, number: int, signature: str, body: str) -> None:
    answer = conn.execute(
        "select public.ingest_shopify_webhook('bannos.myshopify.com', 'orders/create', %s, %s, %s)",
        (f"delivery-{number}", signature, body),
    ).fetchone()
    assert answer
    assert answer[0]["outcome"] == "created", answer


def fill(conn: psycopg.Connection) -> None:
    """Adds a million orders of one cake each. Most of them are complete."""
    conn.execute("reset role")
    conn.execute(
        "insert into public.shopify_orders (store, gid, remote_updated_at) "
        "select 'bannos', 'gid://shopify/Order/' || n, now() "
        "from generate_series(1000000, 999999 + %s) as n",
        (ORDERS,),
    )
    conn.execute(
        "insert into public.order_contacts (store, order_gid, customer_name, payload) "
        "select 'bannos', 'gid://shopify/Order/' || n, 'Bench Customer', '{}' "
        "from generate_series(1000000, 999999 + %s) as n",
        (ORDERS,),
    )
    conn.execute(
        """
        insert into public.orders (
          store, id, shopify_order_gid, shopify_order_number, human_id, product_title, size,
          stage, due_date
        )
        select 'bannos', 'bannos-' || n, 'gid://shopify/Order/' || n, n, 'B' || n,
          'Birthday Cake', 'Medium',
          case when mod(n, 20) = 0 then 'Filling' else 'Complete' end::public.stage_type,
          current_date + mod(n, 60)
        from generate_series(1000000, 999999 + %s) as n
        """,
        (ORDERS,),
    )
    conn.execute("vacuum analyze public.orders, public.shopify_orders, public.order_contacts")
    with psycopg.connect(cluster.superuser_dsn(PORT), autocommit=True) as superuser:
        superuser.execute("checkpoint")
    conn.execute("set role service_role")


def timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def report(name: str, times: list[float], base: list[float] | None = None) -> None:
    middle = statistics.median(times) * 1000
    high = statistics.quantiles(times, n=20)[-1] * 1000
    ratio = f"x {statistics.median(times) / statistics.median(base):.2f}" if base else ""
    print(f"{name:<35} median {middle:6.2f} ms  p95 {high:6.2f} ms  {ratio}")


if __name__ == "__main__":
    main()
