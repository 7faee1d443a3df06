"""Webhooks of Shopify: signatures, orders, updates, dead letters, pauses and secrets."""

import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.database import Connection
from calls import acting_as, call, raises_code
from orders.payloads import sign
from postgres import MIGRATIONS, Server, migrate
from rows import make_order, make_staff, set_clock, value, values

SECRETS = {"bannos": "shpss_" + "b" * 32, "flourlane": "shpss_" + "f" * 32}
DOMAINS = {"bannos": "bannos.myshopify.com", "flourlane": "flour-lane.myshopify.com"}
TABLES = (
    "shopify_orders",
    "webhook_deliveries",
    "orders",
    "stage_events",
    "audit_log",
    "inventory_txn",
)
WRITTEN = "select " + " || ',' || ".join(f"(select count(*) from public.{t})" for t in TABLES)

_numbers = count(70001)

Payload = dict[str, Any]


def line(title: str, quantity: int = 1, **fields: object) -> Payload:
    number = next(_numbers)
    return {
        "id": number,
        "title": title,
        "quantity": quantity,
        "price": "60.00",
        "variant_title": "Medium / Vanilla",
        "properties": [],
    } | fields


def order(*lines: Payload, **fields: object) -> Payload:
    """An order as a REST webhook of Shopify sends it."""
    number = next(_numbers)
    return {
        "id": number * 1000,
        "admin_graphql_api_id": f"gid://shopify/Order/{number * 1000}",
        "order_number": number,
        "currency": "AUD",
        "current_total_price": "180.00",
        "customer": {"first_name": "Test", "last_name": "Customer"},
        "note": "Ring the bell",
        "note_attributes": [
            {"name": "Local Delivery Date and Time", "value": "2025-11-08 between 9 and 12"},
            {"name": "Delivery Method", "value": "pickup"},
        ],
        "updated_at": "2025-11-01T10:00:00+11:00",
        "line_items": list(lines or [line("Birthday Cake")]),
    } | fields


def later(payload: Payload, minutes: int = 5, **fields: object) -> Payload:
    """The same order after a change in Shopify some minutes later."""
    return (
        deepcopy(payload)
        | {"updated_at": f"2025-11-01T10:{minutes:02d}:00+11:00"}
        | deepcopy(fields)
    )


def cancelled(payload: Payload, minutes: int = 5) -> Payload:
    """The same order after its customer has cancelled it."""
    at = f"2025-11-01T10:{minutes:02d}:00+11:00"
    return later(payload, minutes, cancelled_at=at, cancel_reason="customer")


def ingest(
    db: Connection, domain: object, topic: object, webhook_id: object, mac: object, body: object
) -> Payload:
    """Calls the RPC as the Edge Function does."""
    with acting_as(db, "service_role"):
        answer: Payload = value(
            db,
            "select public.ingest_shopify_webhook(%s, %s, %s, %s, %s)",
            *(domain, topic, webhook_id, mac, body),
        )
    return answer


def deliver(
    db: Connection,
    topic: str,
    content: Payload | str,
    *,
    store: str = "bannos",
    webhook_id: str | None = None,
) -> Payload:
    body = content if isinstance(content, str) else json.dumps(content)
    signature = sign(body, SECRETS[store])
    return ingest(
        db, DOMAINS[store], topic, webhook_id or f"delivery-{next(_numbers)}", signature, body
    )


def created(db: Connection, payload: Payload, store: str = "bannos") -> list[str]:
    """Delivers a new order. Returns the ids of its cakes."""
    assert deliver(db, "orders/create", payload, store=store)["outcome"] == "created"
    return ids(db, payload)


def ids(db: Connection, payload: Payload) -> list[str]:
    return values(
        db,
        "select id from public.orders where shopify_order_gid = %s order by length(id), id",
        payload["admin_graphql_api_id"],
    )


def row(db: Connection, order_id: str) -> Payload:
    found: Payload = value(
        db,
        "select to_jsonb(o) || jsonb_build_object('customer_name', public.customer_name(o)) "
        "from public.orders as o where id = %s",
        order_id,
    )
    return found


def events(db: Connection, order_id: str) -> list[str]:
    return values(
        db,
        "select event_type::text from public.stage_events where order_id = %s order by id",
        order_id,
    )


def moves(db: Connection, sku: str) -> list[float]:
    """Returns the ledger of an item, without its opening stock."""
    return [
        float(change)
        for change in values(
            db,
            "select txn.change_amount from public.inventory_txn as txn "
            "inner join public.inventory_items as item on item.id = txn.item_id "
            "where item.sku = %s order by txn.id offset 1",
            sku,
        )
    ]


def stocked(db: Connection, sku: str) -> None:
    """An accessory with a stock of ten."""
    admin = make_staff(db, role="Admin")
    with acting_as(db, "authenticated", admin):
        item = value(db, "select public.upsert_accessory(null, %s, %s, 'candle')", sku, sku)
        db.execute("select public.adjust_accessory_stock(%s, 10, 'restock')", (item,))


def prepare(db: Connection) -> None:
    admin = make_staff(db, role="Admin")
    with acting_as(db, "authenticated", admin):
        for store, secret in SECRETS.items():
            db.execute("select public.set_webhook_secret(%s, %s)", (store, secret))


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A database in which both stores have a webhook secret."""
    prepare(db)
    return db


# Signatures


def forged(genuine_body: str, **changes: object) -> tuple[object, ...]:
    genuine = {
        "domain": DOMAINS["bannos"],
        "topic": "orders/create",
        "webhook_id": "delivery-1",
        "hmac": sign(genuine_body, SECRETS["bannos"]),
        "body": genuine_body,
    }
    return tuple((genuine | changes).values())


BODY = json.dumps(order())


@pytest.mark.parametrize(
    "delivery",
    [
        forged(BODY, hmac=sign(BODY, "shpss_" + "x" * 32)),
        forged(BODY, hmac=sign(BODY, SECRETS["flourlane"])),
        forged(BODY, domain=DOMAINS["flourlane"]),
        forged(BODY, body=BODY.replace("Birthday", "Birthdax")),
        forged(BODY, body=BODY + " "),
        forged(BODY, body=""),
        forged(BODY, body=None),
        forged(BODY, hmac=None),
        forged(BODY, hmac=""),
        forged(BODY, hmac="=" * 44),
        forged(BODY, hmac=sign(BODY, SECRETS["bannos"]).swapcase()),
        forged(BODY, hmac=sign(BODY, SECRETS["bannos"]) + " "),
        forged(BODY, topic=None),
        forged(BODY, topic=""),
        forged(BODY, webhook_id=None),
        forged(BODY, webhook_id=""),
        forged(BODY, domain=None),
        forged(BODY, domain="nobody.myshopify.com"),
        forged(BODY, domain="bannos"),
    ],
    ids=[
        "a wrong secret",
        "the secret of the other store",
        "the domain of the other store",
        "one byte changed",
        "one byte more",
        "an empty body",
        "no body",
        "no signature",
        "an empty signature",
        "a signature that is none",
        "a signature in other case",
        "a signature with a blank",
        "no topic",
        "an empty topic",
        "no delivery id",
        "an empty delivery id",
        "no shop",
        "an unknown shop",
        "the store for the shop",
    ],
)
@pytest.mark.spec("vector-4")
def test_a_delivery_with_a_bad_signature_writes_nothing(
    shop: Connection, delivery: tuple[object, ...]
) -> None:
    before = value(shop, WRITTEN)

    with raises_code("BAD_SIGNATURE", "PT401"):
        ingest(shop, *delivery)

    assert value(shop, WRITTEN) == before


def test_a_delivery_of_a_shop_without_a_secret_is_rejected(db: Connection) -> None:
    with raises_code("BAD_SIGNATURE", "PT401"):
        ingest(db, *forged(BODY, hmac=sign(BODY, "")))


@pytest.mark.spec("P20")
def test_a_forged_delivery_does_not_block_the_id_of_a_real_one(shop: Connection) -> None:
    payload = order()
    with raises_code("BAD_SIGNATURE", "PT401"):
        ingest(shop, DOMAINS["bannos"], "orders/create", "delivery-1", "junk", json.dumps(payload))

    answer = deliver(shop, "orders/create", payload, webhook_id="delivery-1")

    assert (answer["status"], answer["outcome"]) == ("ok", "created")


def test_the_signature_covers_the_raw_bytes(shop: Connection) -> None:
    body = '{ "id" : 5,\r\n\t"note": "caf\\u00e9 é 🎂", "line_items": [] }'

    assert deliver(shop, "orders/create", body)["outcome"] == "created"


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.spec("P12")
def test_only_the_service_role_delivers_webhooks(shop: Connection, role: str) -> None:
    admin = make_staff(shop, role="Admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(shop, role, admin):
        shop.execute("select public.ingest_shopify_webhook(%s, %s, %s, %s, %s)", forged(BODY))


# New orders


@pytest.mark.spec("vector-1", "P43")
def test_a_webhook_becomes_cakes_with_an_event_each(shop: Connection) -> None:
    payload = order(line("Birthday Cake", 2), line("Torte Cake"), line("Sparkler Candle"))
    number = payload["order_number"]

    cakes = created(shop, payload)

    assert cakes == [f"bannos-{number}-{suffix}" for suffix in "ABC"]
    rows = [row(shop, cake) for cake in cakes]
    assert [cake["human_id"] for cake in rows] == [f"B{number}-{suffix}" for suffix in "ABC"]
    assert [float(cake["total_amount"]) for cake in rows] == [180, 0, 0]
    assert [len(cake["accessories"]) for cake in rows] == [1, 0, 0]
    assert {
        (cake["stage"], cake["due_date"], cake["notes"], cake["created_by"]) for cake in rows
    } == {("Filling", "2025-11-08", "Ring the bell", None)}
    assert [events(shop, cake) for cake in cakes] == [["create"]] * 3


def test_the_shop_domain_decides_the_store_and_not_the_payload(shop: Connection) -> None:
    payload = order(store="bannos", shop_domain=DOMAINS["bannos"])

    assert created(shop, payload, "flourlane") == [f"flourlane-{payload['order_number']}"]
    assert row(shop, ids(shop, payload)[0])["human_id"] == f"F{payload['order_number']}"


def test_an_order_without_a_number_uses_its_shopify_id(shop: Connection) -> None:
    payload = order(order_number=None)

    assert created(shop, payload) == [f"bannos-{payload['id']}"]


def test_the_same_shopify_id_in_two_stores_is_two_orders(shop: Connection) -> None:
    payload = order()

    created(shop, payload)
    deliver(shop, "orders/create", payload, store="flourlane")

    assert len(ids(shop, payload)) == 2


@pytest.mark.parametrize("lines", [[], [line("Sparkler Candle")]], ids=["empty", "accessories"])
def test_an_order_without_cakes_is_stored_but_makes_no_cake(
    shop: Connection, lines: list[Payload]
) -> None:
    payload = order(line_items=lines)

    assert created(shop, payload) == []


def test_an_order_from_the_counter_is_not_open(shop: Connection) -> None:
    (cake,) = created(shop, order(source_name="pos"))

    assert (row(shop, cake)["is_pos"], row(shop, cake)["is_open"]) == (True, False)


def test_listeners_get_the_order_id_and_no_customer_data(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn, psycopg.connect(clone) as ear:
        prepare(conn)
        ear.execute("listen bakehouse")
        ear.commit()
        payload = order()
        created(conn, payload)
        (heard,) = ear.notifies(timeout=5, stop_after=1)

    assert json.loads(heard.payload) == {
        "topic": "orders",
        "payload": {
            "store": "bannos",
            "gid": payload["admin_graphql_api_id"],
            "outcome": "created",
        },
    }


# Repeats


@pytest.mark.spec("vector-2")
def test_a_delivery_that_is_repeated_changes_nothing(shop: Connection) -> None:
    stocked(shop, "CANDLE-2")
    payload = order(line("Cake"), line("Sparkler Candle", 3, sku="CANDLE-2"))

    answers = [
        deliver(shop, "orders/create", payload, webhook_id=delivery)
        for delivery in ("first", "first", "second")
    ]

    assert [(a["status"], a.get("outcome")) for a in answers] == [
        ("ok", "created"),
        ("duplicate", None),
        ("ok", "unchanged"),
    ]
    assert len(ids(shop, payload)) == 1
    assert moves(shop, "CANDLE-2") == [-3]
    assert values(shop, "select attempts from public.webhook_deliveries order by id") == [2, 1]


@pytest.mark.parametrize("same_id", [True, False], ids=["one delivery id", "ids of their own"])
@pytest.mark.spec("vector-2")
def test_twenty_deliveries_at_once_make_one_set_of_rows(clone: str, same_id: bool) -> None:
    payload = order(line("Cake", 2), line("Sparkler Candle", 3, sku="CANDLE-20"))
    with psycopg.connect(clone, autocommit=True) as conn:
        prepare(conn)
        stocked(conn, "CANDLE-20")
        start = threading.Barrier(20)

        def one(n: int) -> Payload:
            with psycopg.connect(clone, autocommit=True) as own:
                start.wait(30)
                webhook_id = "same" if same_id else f"own-{n}"
                return deliver(own, "orders/create", payload, webhook_id=webhook_id)

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(one, range(20)))

        assert {answer["status"] for answer in answers} <= {"ok", "duplicate"}
        assert [answer.get("outcome") for answer in answers].count("created") == 1
        assert len(ids(conn, payload)) == 2
        assert moves(conn, "CANDLE-20") == [-3]
        assert [events(conn, cake) for cake in ids(conn, payload)] == [["create"]] * 2
        assert value(conn, "select sum(attempts) from public.webhook_deliveries") == 20


def in_production(db: Connection, order_id: str, **columns: object) -> Payload:
    """A cake that staff have worked on and edited."""
    staff = make_staff(db)
    changes = {
        "stage": "Decorating",
        "filling_start_ts": "2025-11-02 08:00Z",
        "notes": "Staff know better",
        "storage": "Store Fridge",
        "priority_override": 3,
        "assignee_id": staff,
    } | columns
    for column, changed in changes.items():
        db.execute(
            psycopg.sql.SQL("update public.orders set {} = %s where id = %s").format(
                psycopg.sql.Identifier(column)
            ),
            (changed, order_id),
        )
    return row(db, order_id)


@pytest.mark.parametrize("topic", ["orders/create", "orders/updated"])
@pytest.mark.spec("vector-3", "P2")
def test_a_replay_leaves_a_cake_in_production_untouched(shop: Connection, topic: str) -> None:
    payload = order()
    (cake,) = created(shop, payload)
    before = in_production(shop, cake)

    answer = deliver(shop, topic, payload)

    assert answer["outcome"] == "unchanged"
    assert row(shop, cake) == before
    assert events(shop, cake) == ["create"]


@pytest.mark.spec("P3")
def test_one_order_has_one_header_whichever_id_names_it(shop: Connection) -> None:
    payload = order()
    created(shop, payload)

    deliver(shop, "orders/create", payload | {"admin_graphql_api_id": None})

    assert len(ids(shop, payload)) == 1


@pytest.mark.spec("P3")
def test_a_cake_belongs_to_a_known_order(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        make_order(conn, shopify_order_gid="gid://shopify/Order/404")

        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            conn.commit()


# Updates


def test_an_update_changes_a_cake_that_is_not_started(shop: Connection) -> None:
    set_clock(shop, "2025-11-01 00:00Z")
    payload = order(line("Cake", properties=[{"name": "Writing", "value": "Happy"}]))
    (cake,) = created(shop, payload)
    changed = later(payload, note="Side door", current_total_price="200.00")
    changed["note_attributes"][0]["value"] = "2025-11-02 between 9 and 12"
    changed["line_items"][0]["properties"][0]["value"] = "Happy 40th"

    answer = deliver(shop, "orders/updated", changed)

    after = row(shop, cake)
    assert answer["outcome"] == "updated"
    assert (after["notes"], after["due_date"], after["cake_writing"], after["priority"]) == (
        "Side door",
        "2025-11-02",
        "Happy 40th",
        3,
    )
    assert float(after["total_amount"]) == 200
    assert after["needs_attention"] is None
    (meta,) = values(shop, "select meta from public.stage_events where event_type = 'edit'")
    assert (meta["old"]["notes"], meta["new"]["notes"]) == ("Ring the bell", "Side door")
    assert set(meta["new"]) == {
        "notes", "due_date", "due_date_text", "cake_writing", "total_amount"
    }  # fmt: skip


@pytest.mark.spec("P2")
def test_an_update_never_changes_production_columns(shop: Connection) -> None:
    payload = order()
    (cake,) = created(shop, payload)
    before = in_production(shop, cake)
    changed = later(payload, customer={"first_name": "Other", "last_name": "Customer"})

    deliver(shop, "orders/updated", changed)

    after = row(shop, cake)
    assert {column for column in after if after[column] != before[column]} == {
        "customer_name",
        "needs_attention",
    }
    assert after["needs_attention"] == "Shopify changed customer name"


def test_a_line_that_comes_back_is_served_by_its_complete_cake(shop: Connection) -> None:
    payload = order(line("Birthday Cake") | {"current_quantity": 1})
    (cake,) = created(shop, payload)
    call(shop, make_staff(shop, role="Admin"), "mark_order_complete", p_order_id=cake)

    for minutes, quantity in ((1, 0), (2, 1), (3, 1)):
        payload = later(payload, minutes, note=f"Change {minutes}")
        payload["line_items"][0]["current_quantity"] = quantity
        deliver(shop, "orders/updated", payload)

        assert ids(shop, payload) == [cake]

    payload = later(payload, 4)
    payload["line_items"][0] |= {"quantity": 2, "current_quantity": 2}
    deliver(shop, "orders/updated", payload)

    assert ids(shop, payload) == [cake, f"{cake}-B"]
    assert row(shop, f"{cake}-B")["cancelled_at"] is None


@pytest.mark.spec("P2")
def test_a_text_changed_by_staff_and_by_shopify_keeps_the_words_of_staff(shop: Connection) -> None:
    payload = order()
    (cake,) = created(shop, payload)
    in_production(shop, cake)

    deliver(shop, "orders/updated", later(payload, note="Side door"))
    deliver(shop, "orders/updated", later(payload, 10, note="Back door"))

    after = row(shop, cake)
    assert (after["notes"], after["needs_attention"]) == (
        "Staff know better",
        "Shopify changed notes",
    )


def test_a_later_due_date_clears_the_request_for_attention(shop: Connection) -> None:
    payload = order(note_attributes=[])
    (cake,) = created(shop, payload)
    doubt = row(shop, cake)["needs_attention"]

    deliver(
        shop,
        "orders/updated",
        later(payload, note_attributes=[{"name": "Pickup Date", "value": "2025-11-08"}]),
    )

    assert doubt == "No due date"
    assert (row(shop, cake)["due_date"], row(shop, cake)["needs_attention"]) == ("2025-11-08", None)


def test_an_update_older_than_the_last_one_is_ignored(shop: Connection) -> None:
    payload = order()
    (cake,) = created(shop, payload)
    deliver(shop, "orders/updated", later(payload, 20, note="Newest"))

    answer = deliver(shop, "orders/updated", later(payload, 10, note="Older"))

    assert (answer["outcome"], row(shop, cake)["notes"]) == ("unchanged", "Newest")


def test_an_update_that_arrives_first_creates_the_order(shop: Connection) -> None:
    payload = order()

    outcomes = [
        deliver(shop, "orders/updated", later(payload, note="Newest"))["outcome"],
        deliver(shop, "orders/create", payload)["outcome"],
    ]

    (cake,) = ids(shop, payload)
    assert (outcomes, row(shop, cake)["notes"]) == (["created", "unchanged"], "Newest")


@pytest.mark.spec("P3", "P42")
def test_a_second_cake_gets_the_next_suffix_and_ids_stay(shop: Connection) -> None:
    payload = order()
    (first,) = created(shop, payload)

    deliver(
        shop,
        "orders/updated",
        later(payload, line_items=[line("Torte Cake"), *payload["line_items"]]),
    )

    assert ids(shop, payload) == [first, f"{first}-B"]
    assert row(shop, f"{first}-B")["product_title"] == "Torte Cake"
    assert events(shop, f"{first}-B") == ["create"]
    assert float(row(shop, f"{first}-B")["total_amount"]) == 0


def test_a_removed_cake_is_cancelled_and_its_accessories_move_to_the_next(shop: Connection) -> None:
    first, second = line("Birthday Cake"), line("Torte Cake")
    payload = order(first, second, line("Sparkler Candle"))
    cake_a, cake_b = created(shop, payload)

    deliver(
        shop,
        "orders/updated",
        later(payload, line_items=[first | {"current_quantity": 0}, *payload["line_items"][1:]]),
    )

    rows = [row(shop, cake) for cake in (cake_a, cake_b)]
    assert [cake["cancelled_at"] is None for cake in rows] == [False, True]
    assert [float(cake["total_amount"]) for cake in rows] == [0, 180]
    assert [len(cake["accessories"]) for cake in rows] == [0, 1]
    assert events(shop, cake_a) == ["create", "cancel"]


def test_of_equal_cakes_the_least_advanced_one_is_removed(shop: Connection) -> None:
    payload = order(line("Birthday Cake", 3))
    cakes = created(shop, payload)
    shop.execute("update public.orders set stage = 'Packing' where id = %s", (cakes[2],))
    shop.execute("update public.orders set stage = 'Complete' where id = %s", (cakes[1],))

    deliver(
        shop,
        "orders/updated",
        later(payload, line_items=[payload["line_items"][0] | {"current_quantity": 1}]),
    )

    assert [row(shop, cake)["cancelled_at"] is None for cake in cakes] == [False, True, False]


def test_a_cake_that_staff_cancelled_does_not_come_back(shop: Connection) -> None:
    payload = order(line("Birthday Cake", 2))
    cakes = created(shop, payload)
    shop.execute("update public.orders set cancelled_at = now() where id = %s", (cakes[1],))

    deliver(shop, "orders/updated", later(payload, note="Side door"))

    assert ids(shop, payload) == cakes
    assert [row(shop, cake)["notes"] for cake in cakes] == ["Side door", "Ring the bell"]


def test_an_update_leaves_a_complete_cake_unchanged(shop: Connection) -> None:
    payload = order()
    (cake,) = created(shop, payload)
    before = in_production(shop, cake, stage="Complete")

    deliver(shop, "orders/updated", later(payload, note="Side door"))

    assert row(shop, cake) == before


# Cancellations


@pytest.mark.spec("vector-11")
def test_cancelling_stops_the_work_and_returns_stock_once(shop: Connection) -> None:
    stocked(shop, "CANDLE-11")
    payload = order(line("Cake", 2), line("Sparkler Candle", 3, sku="CANDLE-11"))
    cakes = created(shop, payload)
    assigned = in_production(shop, cakes[0])

    outcomes = [
        deliver(shop, "orders/cancelled", cancelled(payload, minutes))["outcome"]
        for minutes in (5, 6)
    ]

    after = row(shop, cakes[0])
    assert outcomes == ["cancelled", "unchanged"]
    assert moves(shop, "CANDLE-11") == [-3, 3]
    assert [events(shop, cake) for cake in cakes] == [["create", "cancel"]] * 2
    assert (after["stage"], after["assignee_id"], after["is_open"]) == ("Decorating", None, False)
    assert after["cancel_reason"] == "Cancelled in Shopify: customer"
    (meta,) = values(
        shop,
        "select meta from public.stage_events where event_type = 'cancel' and order_id = %s",
        cakes[0],
    )
    assert meta["assignee_id"] == assigned["assignee_id"]


@pytest.mark.spec("vector-11")
def test_cancelling_keeps_a_complete_cake_and_its_stock(shop: Connection) -> None:
    stocked(shop, "CANDLE-12")
    payload = order(line("Cake", 2), line("Sparkler Candle", 3, sku="CANDLE-12"))
    cakes = created(shop, payload)
    shop.execute("update public.orders set stage = 'Complete' where id = %s", (cakes[0],))

    deliver(shop, "orders/cancelled", cancelled(payload))

    assert [row(shop, cake)["cancelled_at"] is None for cake in cakes] == [True, False]
    assert moves(shop, "CANDLE-12") == [-3]


def test_a_cancellation_that_arrives_first_keeps_the_order_cancelled(shop: Connection) -> None:
    payload = order()

    outcomes = [
        deliver(shop, topic, content)["outcome"]
        for topic, content in [
            ("orders/cancelled", cancelled(payload, 20)),
            ("orders/create", payload),
            ("orders/updated", later(payload, 30)),
        ]
    ]

    assert outcomes == ["cancelled", "unchanged", "unchanged"]
    assert ids(shop, payload) == []


def test_an_update_with_a_cancellation_cancels_the_order(shop: Connection) -> None:
    payload = order()
    (cake,) = created(shop, payload)

    deliver(shop, "orders/updated", cancelled(payload))

    assert events(shop, cake) == ["create", "cancel"]


def test_an_order_that_arrives_cancelled_gets_no_cakes(shop: Connection) -> None:
    payload = cancelled(order())

    outcomes = [
        deliver(shop, topic, payload)["outcome"] for topic in ("orders/create", "orders/updated")
    ]

    assert outcomes == ["cancelled", "unchanged"]
    assert ids(shop, payload) == []


def test_another_webhook_that_is_sent_again_as_a_cancellation_cancels_nothing(
    shop: Connection,
) -> None:
    stocked(shop, "CANDLE-13")
    payload = order(line("Cake"), line("Sparkler Candle", 3, sku="CANDLE-13"))
    (cake,) = created(shop, payload)
    before = row(shop, cake)

    answers = [
        deliver(shop, "orders/cancelled", content) for content in (payload, later(payload), order())
    ]

    assert {(one["status"], one["error"]) for one in answers} == {("dead_letter", "BAD_INPUT")}
    assert row(shop, cake) == before
    assert moves(shop, "CANDLE-13") == [-3]
    assert deliver(shop, "orders/cancelled", cancelled(payload))["outcome"] == "cancelled"


# Deliveries that can never be applied


HOPELESS: dict[str, tuple[str, str]] = {
    "truncated": ("orders/create", json.dumps(order())[:-20]),
    "not JSON": ("orders/create", "not JSON"),
    "a NUL character": ("orders/create", json.dumps(order(note="secret\0note"))),
    "a number too large": ("orders/create", '{"id": 1e999999}'),
    "nested nonsense": ("orders/create", "[" * 100_000),
    "a list": ("orders/create", "[]"),
    "null": ("orders/create", "null"),
    "no order": ("orders/create", "{}"),
    "a negative quantity": ("orders/create", json.dumps(order(line("secret Cake", -1)))),
    "a price in words": ("orders/create", json.dumps(order(line("Cake", price="secret")))),
    "a million cakes": ("orders/create", json.dumps(order(line("secret Cake", 10_000)))),
    "an unknown topic": ("orders/paid", json.dumps(order(note="secret"))),
    "a topic in other case": ("Orders/Create", json.dumps(order(note="secret"))),
}


@pytest.mark.parametrize("case", HOPELESS)
@pytest.mark.spec("P37")
def test_a_delivery_that_can_never_apply_becomes_a_dead_letter(shop: Connection, case: str) -> None:
    topic, body = HOPELESS[case]
    before = value(shop, WRITTEN)

    answer = deliver(shop, topic, body, webhook_id="hopeless")

    letter = shop.execute(
        "select status, attempts, last_error, body, reason from public.webhook_deliveries "
        "where webhook_id = 'hopeless'"
    ).fetchone()
    assert letter is not None
    assert (answer["status"], answer["error"]) == ("dead_letter", "BAD_INPUT")
    assert letter[:4] == ("dead", 1, "BAD_INPUT", body)
    assert "secret" not in str(letter[4])
    shop.execute("delete from public.webhook_deliveries where webhook_id = 'hopeless'")
    assert value(shop, WRITTEN) == before


def test_an_order_of_five_megabytes_is_accepted(shop: Connection) -> None:
    payload = order(note="x" * 5_000_000)

    (cake,) = created(shop, payload)

    assert len(row(shop, cake)["notes"]) == 5_000
    assert (
        value(
            shop,
            "select length(payload ->> 'note') from public.order_contacts where order_gid = %s",
            row(shop, cake)["shopify_order_gid"],
        )
        == 5_000_000
    )


@pytest.mark.spec("P37")
def test_a_number_in_use_makes_a_dead_letter_until_it_is_free(shop: Connection) -> None:
    payload = order(line("Cake", 2))
    taken = make_order(shop, id=f"bannos-{payload['order_number']}-B", suffix="B")

    answer = deliver(shop, "orders/create", payload)

    assert (answer["status"], answer["error"]) == ("dead_letter", "CONFLICT")
    assert ids(shop, payload) == []
    shop.execute("delete from public.orders where id = %s", (taken,))
    assert replay(shop, make_staff(shop, role="Admin"), answer["delivery_id"]) == {
        "status": "ok",
        "delivery_id": answer["delivery_id"],
        "outcome": "created",
        "error": None,
    }
    assert len(ids(shop, payload)) == 2


def replay(db: Connection, account: UUID, delivery: object) -> Payload:
    with acting_as(db, "authenticated", account):
        answer: Payload = value(db, "select public.replay_webhook_delivery(%s)", delivery)
    return answer


@pytest.mark.spec("P20")
def test_a_dead_letter_that_arrives_again_is_tried_again(shop: Connection) -> None:
    payload = order()
    taken = make_order(shop, id=f"bannos-{payload['order_number']}")
    deliver(shop, "orders/create", payload, webhook_id="again")
    shop.execute("delete from public.orders where id = %s", (taken,))

    answer = deliver(shop, "orders/create", payload, webhook_id="again")

    assert answer["outcome"] == "created"
    assert values(
        shop, "select (status, attempts, body is null)::text from public.webhook_deliveries"
    ) == ["(ok,2,t)"]


@pytest.mark.spec("P37")
def test_a_temporary_failure_leaves_nothing_so_that_shopify_retries(
    shop: Connection,
) -> None:
    payload = order()
    before = value(shop, WRITTEN)
    shop.execute("set local role bakehouse_owner")
    shop.execute(
        "alter table public.stage_events add constraint broken check (order_id = '') not valid"
    )
    shop.execute("reset role")

    with pytest.raises(psycopg.errors.CheckViolation):
        deliver(shop, "orders/create", payload, webhook_id="first")

    assert value(shop, WRITTEN) == before
    shop.execute("alter table public.stage_events drop constraint broken")
    assert deliver(shop, "orders/create", payload, webhook_id="first")["outcome"] == "created"


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fields=st.dictionaries(
        st.sampled_from(sorted(order())),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    ),
    topic=st.sampled_from(["orders/create", "orders/updated", "orders/cancelled"]),
)
@pytest.mark.slow
def test_any_content_is_applied_or_becomes_a_dead_letter(
    shop: Connection, fields: Payload, topic: str
) -> None:
    answer = deliver(shop, topic, order() | fields)

    assert answer["status"] in ("ok", "dead_letter")


# Dead letters, for Admins


@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
@pytest.mark.parametrize(
    "query", ["public.get_webhook_deliveries()", "public.replay_webhook_delivery(1)"]
)
def test_only_admins_see_deliveries(shop: Connection, role: str, query: str) -> None:
    account = make_staff(shop, role=role)

    with raises_code("PERMISSION_DENIED", "PT403"), acting_as(shop, "authenticated", account):
        shop.execute(f"select {query}".encode())


def test_an_admin_sees_and_replays_the_deliveries_of_their_stores_only(shop: Connection) -> None:
    here, there = (
        deliver(shop, "orders/create", "{}", store=store)["delivery_id"] for store in SECRETS
    )
    admin = make_staff(shop, role="Admin", store="bannos")

    with acting_as(shop, "authenticated", admin):
        seen = shop.execute(
            "select id, status, last_error, can_replay from public.get_webhook_deliveries()"
        ).fetchall()

    assert seen == [(here, "dead", "BAD_INPUT", True)]
    assert replay(shop, admin, here)["status"] == "dead_letter"
    with raises_code("NOT_FOUND", "PT404"):
        replay(shop, admin, there)
    audited = values(shop, "select subject from public.audit_log where actor_id = %s", admin)
    assert audited == [str(here)]


def test_deliveries_are_paged_from_the_newest(shop: Connection) -> None:
    sent = [deliver(shop, "orders/create", order())["delivery_id"] for _ in range(5)]
    deliver(shop, "orders/create", "{}")

    with acting_as(shop, "service_role"):
        page = values(
            shop,
            "select id from public.get_webhook_deliveries(p_status => 'ok', p_limit => 2, "
            "p_before => %s)",
            sent[3],
        )

    assert page == [sent[2], sent[1]]


def test_replaying_a_delivery_that_is_not_dead_changes_nothing(shop: Connection) -> None:
    delivery = deliver(shop, "orders/create", order())["delivery_id"]
    before = value(shop, WRITTEN)

    assert replay(shop, make_staff(shop, role="Admin"), delivery)["status"] == "duplicate"
    assert value(shop, WRITTEN) == before


@pytest.mark.spec("P48")
def test_bodies_are_purged_after_thirty_days_and_deliveries_after_ninety(
    shop: Connection,
) -> None:
    for days in (1, 31, 91):
        dead = deliver(shop, "orders/create", "{}", webhook_id=f"{days} days old")
        shop.execute(
            "update public.webhook_deliveries set received_at = app.now() - %s * interval '1 day' "
            "where id = %s",
            (days, dead["delivery_id"]),
        )

    purged = value(shop, "select app.purge_deliveries()")

    left = shop.execute(
        "select webhook_id, body is null, id from public.webhook_deliveries order by id"
    ).fetchall()
    assert purged == 1
    assert [kept[:2] for kept in left] == [("1 days old", False), ("31 days old", True)]
    with raises_code("CONFLICT", "PT409"):
        replay(shop, make_staff(shop, role="Admin"), left[1][2])


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize(
    "table",
    [
        "public.shopify_orders",
        "public.webhook_deliveries",
        "private.shop_tokens",
        "app.ingest_pause",
    ],
)
def test_no_api_role_reads_the_body_of_a_delivery(shop: Connection, role: str, table: str) -> None:
    admin = make_staff(shop, role="Admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(shop, role, admin):
        shop.execute(f"select from {table}".encode())


# Pausing webhooks


def test_a_pause_tells_shopify_to_retry(shop: Connection) -> None:
    payload = order()
    shop.execute("select app.pause_ingest(null, 'a release')")
    with raises_code("PAUSED", "PT503"):
        deliver(shop, "orders/create", payload)

    shop.execute("select app.resume_ingest()")

    assert deliver(shop, "orders/create", payload)["outcome"] == "created"
    audited = values(shop, "select action from public.audit_log order by id desc limit 2")
    assert audited == ["resume_ingest", "pause_ingest"]


def test_a_pause_ends_by_itself(shop: Connection) -> None:
    set_clock(shop, "2025-11-01 10:00Z")
    shop.execute("select app.pause_ingest('2025-11-01 10:05Z', 'a release')")
    during = value(shop, "select app.is_ingest_paused()")
    set_clock(shop, "2025-11-01 10:05Z")

    assert (during, value(shop, "select app.is_ingest_paused()")) == (True, False)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize("function", ["pause_ingest(null, 'x')", "resume_ingest()"])
def test_no_api_role_can_pause_or_resume_webhooks(
    shop: Connection, role: str, function: str
) -> None:
    admin = make_staff(shop, role="Admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(shop, role, admin):
        shop.execute(f"select app.{function}".encode())


def wait_until_blocked(dsn: str, waiting: Connection) -> None:
    deadline = time.monotonic() + 10
    with psycopg.connect(dsn, autocommit=True) as watch:
        while not value(watch, "select pg_blocking_pids(%s) <> '{}'", waiting.info.backend_pid):
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.01)


def test_pausing_waits_for_the_deliveries_under_way(clone: str) -> None:
    with psycopg.connect(clone) as webhook, psycopg.connect(clone, autocommit=True) as release:
        prepare(webhook)
        webhook.commit()
        deliver(webhook, "orders/create", order())
        with ThreadPoolExecutor(1) as pool:
            pausing = pool.submit(release.execute, "select app.pause_ingest(null, 'a release')")
            wait_until_blocked(clone, release)
            webhook.commit()
            pausing.result(10)

        with raises_code("PAUSED", "PT503"):
            deliver(webhook, "orders/create", order())


# Secrets


@pytest.mark.spec("P25")
def test_a_secret_can_be_stored_and_never_read(shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")
    token = "shpat_" + "t" * 32

    with acting_as(shop, "authenticated", admin):
        shop.execute("select public.set_shop_token('bannos', %s)", (token,))

    assert value(shop, "select app.shop_secret('bannos', 'token')") == token
    assert value(shop, "select app.shop_secret('bannos', 'webhook')") == SECRETS["bannos"]
    assert value(shop, "select app.shop_secret('flourlane', 'token')") is None
    log = value(shop, "select string_agg(audit_log::text, '') from public.audit_log")
    assert "set_shop_secret" in log
    assert not any(secret in log for secret in [token, *SECRETS.values()])


@pytest.mark.parametrize("function", ["set_shop_token", "set_webhook_secret"])
@pytest.mark.parametrize(
    "secret", [None, "", "too-short-secret", "with a blank inside it!", "x" * 501]
)
@pytest.mark.spec("P25")
def test_an_invalid_secret_does_not_replace_the_stored_one(
    shop: Connection, function: str, secret: str | None
) -> None:
    admin = make_staff(shop, role="Admin")

    with raises_code("BAD_INPUT", "PT400"), acting_as(shop, "authenticated", admin):
        shop.execute(f"select public.{function}('bannos', %s)".encode(), (secret,))

    assert value(shop, "select app.shop_secret('bannos', 'webhook')") == SECRETS["bannos"]


def test_a_refused_secret_is_not_in_the_refusal(shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")

    with pytest.raises(psycopg.Error) as refusal, acting_as(shop, "authenticated", admin):
        shop.execute("select public.set_shop_token('bannos', 'hunter 2')")

    diag = refusal.value.diag
    assert "hunter" not in f"{diag.message_primary}{diag.message_detail}{diag.context}"


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.spec("P12")
def test_no_api_role_can_read_a_secret(shop: Connection, role: str) -> None:
    admin = make_staff(shop, role="Admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(shop, role, admin):
        shop.execute("select app.shop_secret('bannos', 'webhook')")


@pytest.mark.parametrize("function", ["set_shop_token", "set_webhook_secret"])
@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
def test_only_admins_store_secrets(shop: Connection, function: str, role: str) -> None:
    account = make_staff(shop, role=role)

    with raises_code("PERMISSION_DENIED", "PT403"), acting_as(shop, "authenticated", account):
        shop.execute(f"select public.{function}('bannos', %s)".encode(), ("s" * 32,))


@pytest.mark.parametrize("function", ["set_shop_token", "set_webhook_secret"])
@pytest.mark.spec("vector-14")
def test_a_secret_needs_an_existing_store(shop: Connection, function: str) -> None:
    admin = make_staff(shop, role="Admin")

    with raises_code("BAD_INPUT", "PT400"), acting_as(shop, "authenticated", admin):
        shop.execute(f"select public.{function}(null, %s)".encode(), ("s" * 32,))


@pytest.mark.spec("P44")
def test_no_migration_names_an_endpoint_or_empties_a_table() -> None:
    harmful = re.compile(
        r"https?://|\btruncate\s+(table\s+)?(only\s+)?\w+\.|^delete from",
        re.IGNORECASE | re.MULTILINE,
    )

    found = {path.name: harmful.findall(path.read_text()) for path in MIGRATIONS.glob("*.sql")}

    assert len(found) > 8
    assert not any(found.values())


VAULT = """
create schema vault;
create table vault.secrets (
  id uuid primary key default gen_random_uuid(), name text unique, secret text
);
create function vault._crypto_aead_det_decrypt(
  message bytea, additional bytea, key_id bigint, context bytea, nonce bytea
) returns bytea language sql as 'select message';
create function vault._plain(p text) returns text language sql as $$
  select convert_from(
    vault._crypto_aead_det_decrypt(decode(p, 'hex'), null, null, null, null), 'UTF8'
  ) $$;
create view vault.decrypted_secrets as
select id, name, convert_from(
  vault._crypto_aead_det_decrypt(decode(secret, 'hex'), null, null, null, null), 'UTF8'
) as decrypted_secret from vault.secrets;
create function vault.create_secret(
  new_secret text, new_name text default null, new_description text default '',
  new_key_id uuid default null
) returns uuid language sql security definer as $$
  insert into vault.secrets (name, secret)
  values (new_name, encode(convert_to(new_secret, 'UTF8'), 'hex')) returning id $$;
create function vault.update_secret(
  secret_id uuid, new_secret text default null, new_name text default null,
  new_description text default null, new_key_id uuid default null
) returns void language sql security definer as $$
  update vault.secrets set secret = encode(convert_to(new_secret, 'UTF8'), 'hex')
  where id = secret_id $$;
revoke all on all functions in schema vault from public;
"""


@pytest.fixture
def vaulted(server: Server, blank: str) -> Iterator[Connection]:
    """A database with Supabase's Vault, and with the rights that the platform grants on it."""
    database = str(psycopg.conninfo.conninfo_to_dict(blank)["dbname"])
    with psycopg.connect(server.superuser_dsn(database), autocommit=True) as platform:
        platform.execute(VAULT)
        for grant in (
            "usage on schema vault",
            "select on vault.decrypted_secrets",
            "execute on function vault.create_secret, vault.update_secret, "
            "vault._crypto_aead_det_decrypt",
        ):
            platform.execute(
                psycopg.sql.SQL("grant {} to {} with grant option").format(
                    psycopg.sql.SQL(grant), psycopg.sql.Identifier(server.migration_role)
                )
            )
    migrate(blank)
    migrate(blank)
    with psycopg.connect(blank, autocommit=True) as conn, conn.transaction(force_rollback=True):
        yield conn


def test_secrets_are_kept_in_the_vault_where_there_is_one(vaulted: Connection) -> None:
    prepare(vaulted)
    prepare(vaulted)  # replaces the secrets

    assert created(vaulted, order()) != []
    assert value(vaulted, "select count(*) from private.shop_tokens") == 0
    assert values(vaulted, "select name from vault.decrypted_secrets order by name") == [
        "bakehouse_bannos_webhook",
        "bakehouse_flourlane_webhook",
    ]


# The Edge Function

FUNCTION = Path(__file__).parents[2] / "supabase" / "functions" / "shopify-webhook" / "index.ts"
KEY = "the service key"
DENO = """
import http from "node:http";
globalThis.Deno = {
  env: { get: (name) => process.env[name] },
  serve: (handler) => {
    const server = http.createServer(async (incoming, outgoing) => {
      const chunks = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = chunks.length ? Buffer.concat(chunks) : undefined;
      const { method, headers } = incoming;
      const answer = await handler(new Request("http://edge/", { method, headers, body }));
      outgoing.writeHead(answer.status, Object.fromEntries(answer.headers)).end();
    });
    server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  },
};
await import(process.argv[2]);
"""


class Api(BaseHTTPRequestHandler):
    """As much of PostgREST as the function needs: calls an RPC, and answers refusals as JSON."""

    dsn: str

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}" or self.headers["apikey"] != KEY:
            return self.answer(401, {"code": "PGRST301", "hint": None})
        assert self.path == "/rest/v1/rpc/ingest_shopify_webhook"
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            try:
                with acting_as(conn, "service_role"):
                    row = conn.execute(
                        "select public.ingest_shopify_webhook("
                        "p_shop_domain => %(p_shop_domain)s, p_topic => %(p_topic)s, "
                        "p_webhook_id => %(p_webhook_id)s, p_hmac => %(p_hmac)s, "
                        "p_body => %(p_body)s)",
                        body,
                    ).fetchone()
            except psycopg.Error as error:
                status = int(str(error.sqlstate).removeprefix("PT"))
                return self.answer(
                    status, {"code": error.sqlstate, "hint": error.diag.message_hint}
                )
        assert row
        return self.answer(200, row[0])

    def answer(self, status: int, content: Payload) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def edge_function(folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """Runs the function in Node, with only its types removed. Yields the port."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node to run the function")
    (folder / "deno.mjs").write_text(DENO)
    shutil.copy(FUNCTION, folder / "index.mjs")
    process = subprocess.Popen(
        ["node", "deno.mjs", "./index.mjs"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
def api(clone: str) -> Iterator[dict[str, str]]:
    """The environment of the function, with an API on the database of this test."""
    with psycopg.connect(clone, autocommit=True) as conn:
        prepare(conn)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnApi", (Api,), {"dsn": clone}))
    threading.Thread(target=server.serve_forever).start()
    yield {
        "SUPABASE_URL": f"http://127.0.0.1:{server.server_port}",
        "SUPABASE_SERVICE_ROLE_KEY": KEY,
    }
    server.shutdown()
    server.server_close()


def send(port: int, body: str, method: str = "POST", **changes: str) -> tuple[int, str | None]:
    """Returns the status and the Allow header."""
    headers = {
        "X-Shopify-Shop-Domain": DOMAINS["bannos"],
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Webhook-Id": "over-http",
        "X-Shopify-Hmac-Sha256": sign(body, SECRETS["bannos"]),
    } | changes
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, "/", body.encode() if method == "POST" else None, headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers["Allow"]


def test_the_edge_function_delivers_and_answers_with_the_right_status(
    clone: str, api: dict[str, str], tmp_path: Path
) -> None:
    payload = order(note="caf\u00e9 🎂")
    body = json.dumps(payload, ensure_ascii=False, indent=2)

    with edge_function(tmp_path, api) as port, psycopg.connect(clone, autocommit=True) as conn:
        assert send(port, body, "GET") == (405, "POST")
        assert send(port, body, **{"X-Shopify-Hmac-Sha256": sign(body, "x" * 20)}) == (401, None)
        conn.execute("select app.pause_ingest(null, 'a release')")
        assert send(port, body) == (503, None)
        conn.execute("select app.resume_ingest()")
        assert value(conn, "select count(*) from public.webhook_deliveries") == 0
        assert [send(port, body), send(port, body)] == [(200, None)] * 2

        assert [row(conn, cake)["notes"] for cake in ids(conn, payload)] == [payload["note"]]
        assert values(conn, "select attempts from public.webhook_deliveries") == [2]


def test_the_edge_function_passes_the_signed_bytes_unchanged(
    clone: str, api: dict[str, str], tmp_path: Path
) -> None:
    body = "\ufeff" + BODY  # The byte order mark is signed, but it makes the text invalid JSON.

    with edge_function(tmp_path, api) as port, psycopg.connect(clone) as conn:
        assert send(port, body) == (200, None)

        assert values(conn, "select body from public.webhook_deliveries") == [body]


@pytest.mark.parametrize(
    "broken",
    [{"SUPABASE_SERVICE_ROLE_KEY": "another key"}, {"SUPABASE_URL": "http://127.0.0.1:9"}],
    ids=["a key that is refused", "an API that is down"],
)
def test_a_fault_of_ours_makes_shopify_send_again(
    api: dict[str, str], tmp_path: Path, broken: dict[str, str]
) -> None:
    with edge_function(tmp_path, api | broken) as port:
        assert send(port, BODY) == (503, None)
