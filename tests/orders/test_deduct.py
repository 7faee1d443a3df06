"""Orders and stock: items taken, shortages, and items returned."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from orders.test_inventory import (
    breaks_in_the_ledger,
    items_that_differ_from_their_ledger,
    make_item,
    map_location,
    pushes,
    set_buffer,
    stock,
)
from rows import make_order, make_staff, set_clock, value, values

GID = "gid://shopify/Order/1"
CAKE: dict[str, object] = {"title": "Vanilla Cake", "kind": "cake"}
CANDLE: dict[str, object] = {"title": "Gold Candle", "kind": "accessory", "sku": "candle"}


def arrive(db: Connection, gid: str = GID, *, store: str = "bannos", units: int = 1) -> list[str]:
    """Adds the rows that ingest writes for an order, but deducts no stock."""
    db.execute(
        "insert into public.shopify_orders (store, gid) values (%s, %s) on conflict do nothing",
        (store, gid),
    )
    number = gid.rpartition("/")[2]
    suffixes = [None] if units == 1 else [chr(ord("A") + unit) for unit in range(units)]
    return [
        make_order(
            db,
            store=store,
            id="-".join(filter(None, (store, number, suffix))),
            shopify_order_gid=gid,
            suffix=suffix,
        )
        for suffix in suffixes
    ]


def deduct(db: Connection, *lines: dict[str, object], gid: str = GID, store: str = "bannos") -> Any:
    """Gives the order these lines and settles its stock. An order without its cakes gets them."""
    listed: list[dict[str, Any]] = [
        {"quantity": 1, "ordered": 10**6, "restocked": 0} | line for line in lines
    ]
    cakes = sum(line["quantity"] for line in listed if line.get("kind") == "cake")
    known = value(
        db,
        "select count(*) from public.orders where store = %s and shopify_order_gid = %s",
        store,
        gid,
    )
    if cakes and not known:
        arrive(db, gid, store=store, units=cakes)
    elif known and not cakes:  # the cakes have a line too
        listed.append({"kind": "cake", "quantity": known, "ordered": known, "restocked": 0})
    db.execute(
        "insert into public.shopify_orders (store, gid, lines) values (%s, %s, %s) "
        "on conflict (store, gid) do update set lines = excluded.lines",
        (store, gid, json.dumps(listed, default=str)),
    )
    done = value(db, "select app.settle_order(%s, %s)", store, gid)
    return {
        "deducted": done["taken"],
        "shortages": done["held"],
        "already_done": done["is_repeated"],
    }


def restock(db: Connection, gid: str = GID, store: str = "bannos") -> int:
    """Settles again. Returns how many items came back or are no longer held."""
    done = value(db, "select app.settle_order(%s, %s)", store, gid)
    return len(done["returned"]) + len(done["released"])


def cancel(db: Connection, gid: str = GID, store: str = "bannos") -> int:
    """Cancels as ingest does: first the order and its units, locked in order, then their stock."""
    db.execute(
        "update public.shopify_orders set cancelled_at = now() where store = %s and gid = %s",
        (store, gid),
    )
    db.execute(
        "select from public.orders where store = %s and shopify_order_gid = %s "
        "order by id for no key update",
        (store, gid),
    )
    db.execute(
        "update public.orders set cancelled_at = now() "
        "where store = %s and shopify_order_gid = %s and stage <> 'Complete'",
        (store, gid),
    )
    return restock(db, gid, store)


def deducted(answer: Any) -> dict[str, str]:
    return {row["sku"]: row["matched_by"] for row in answer["deducted"]}


def shortages(answer: Any) -> dict[str, int]:
    return {row["sku"]: row["quantity"] for row in answer["shortages"]}


def add(db: Connection, item: UUID, change: int) -> None:
    db.execute("select app.move_stock(%s, %s, 'adjust')", (item, change))


def blocked(db: Connection, gid: str = GID) -> list[bool]:
    return values(
        db,
        "select inventory_blocked from public.orders where shopify_order_gid = %s order by id",
        gid,
    )


def shortage_events(db: Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        "select order_id, ok, meta from public.stage_events "
        "where event_type = 'shortage' order by id"
    ).fetchall()


def reserved_beyond_holds(db: Connection) -> list[str]:
    return values(
        db,
        """
        select stock.site from public.site_stock as stock
        left join public.reservation_holds as holds
          on (holds.item_id, holds.site) = (stock.item_id, stock.site)
        group by stock.item_id, stock.site
        having stock.reserved <> coalesce(sum(holds.quantity), 0)
        """,
    )


def track_inventory(db: Connection, store: str = "bannos") -> None:
    db.execute(
        "insert into public.settings (store, key, value) "
        "values (%s, 'inventory_tracking_enabled', 'true')",
        (store,),
    )


def make_recipe(db: Connection, parts: dict[UUID, object], **columns: object) -> UUID:
    row: dict[str, object] = {"product_title": "Vanilla Cake"} | columns
    insert = psycopg.sql.SQL("insert into public.boms ({}) values ({}) returning id").format(
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
        psycopg.sql.SQL(", ").join([psycopg.sql.Placeholder()] * len(row)),
    )
    made = db.execute(insert, list(row.values())).fetchone()
    assert made is not None
    for item, quantity in parts.items():
        db.execute(
            "insert into public.bom_items (bom_id, component_id, quantity_required) "
            "values (%s, %s, %s)",
            (made[0], item, quantity),
        )
    return UUID(str(made[0]))


# Matching lines to items


@pytest.mark.spec("P36")
def test_an_item_is_found_by_sku_then_variant_then_keyword_and_the_ledger_names_the_way(
    db: Connection,
) -> None:
    make_item(db, "by-sku", 5)
    make_item(db, "by-variant", 5, shopify_variant_id="77")
    make_item(db, "by-keyword", 5, product_match="gold candle")
    line: dict[str, object] = {"title": "Gold Candle", "kind": "accessory"}
    cases: list[tuple[dict[str, object], str, str]] = [
        ({"sku": "by-sku", "variant_id": 77}, "by-sku", "sku"),
        ({"sku": "unknown", "variant_id": 77}, "by-variant", "variant"),
        ({"sku": None, "variant_id": 78}, "by-keyword", "keyword"),
    ]

    for nr, (more, sku, how) in enumerate(cases):
        gid = f"gid://shopify/Order/{nr}"
        assert deducted(deduct(db, line | more, gid=gid)) == {sku: how}
        assert values(
            db, "select matched_by from public.inventory_txn where order_gid = %s", gid
        ) == [how]


@pytest.mark.parametrize(
    ("line", "sku"),
    [
        ({"title": "Gold Candle"}, "long"),  # the longest keyword
        ({"title": "Candle"}, "short"),
        ({"title": "Candlestick"}, "first"),  # priority counts more than length
        ({"title": "Balloon", "variant_title": "Large / Number 7"}, "variant"),
        ({"title": "Balloon", "variant_title": "Large + Number 7"}, "variant"),
        ({"title": "Balloon", "variant_title": "Number 7"}, "variant"),
        ({"title": "Balloon", "variant_title": "Number 7 / Large"}, None),
        ({"title": "50% off"}, "percent"),
        ({"title": "50 off"}, None),  # % is no wildcard
        ({"title": "a_b"}, "underscore"),
        ({"title": "axb"}, None),  # _ is no wildcard
        ({"title": "Exactly"}, "exact"),
        ({"title": "Exactly so"}, None),
        ({"title": "Start here"}, "start"),
        ({"title": "Restart"}, None),
        ({"title": "The end"}, "end"),
        ({"title": "Endless"}, None),
        ({"title": None}, None),
        ({}, None),
    ],
    ids=str,
)
@pytest.mark.spec("P36", "P50")
def test_keywords_choose_one_item_in_any_order(
    db: Connection, line: dict[str, object], sku: str | None
) -> None:
    words: list[tuple[str, str, str, int]] = [
        ("short", "candle", "contains", 0),
        ("long", "Gold Candle", "contains", 0),
        ("first", "stick", "contains", 3),
        ("variant", "balloon number", "contains", 0),
        ("percent", "50%", "contains", 0),
        ("underscore", "a_b", "contains", 0),
        ("exact", "exactly", "exact", 0),
        ("start", "start", "starts_with", 0),
        ("end", "end", "ends_with", 0),
    ]
    random.shuffle(words)
    for item, keyword, how, priority in words:
        db.execute(
            "insert into public.accessory_keywords (component_id, keyword, match_type, priority) "
            "values (%s, %s, %s, %s)",
            (make_item(db, item, 5), keyword, how, priority),
        )

    assert deducted(deduct(db, line | {"kind": "accessory"})) == ({sku: "keyword"} if sku else {})


@pytest.mark.spec("P50")
def test_a_tie_of_keywords_goes_to_the_first_sku(db: Connection) -> None:
    for sku in ("b", "a", "c"):
        make_item(db, sku, 5, product_match="candle")

    assert deducted(deduct(db, {"title": "Candle", "kind": "accessory"})) == {"a": "keyword"}


def test_words_do_not_make_a_cake_an_accessory(db: Connection) -> None:
    make_item(db, "balloon", 5, product_match="balloon")

    assert deducted(deduct(db, {"title": "Balloon Cake", "kind": "cake"})) == {}


def test_a_retired_item_is_not_matched(db: Connection) -> None:
    make_item(db, "candle", 5, is_active=False, product_match="gold candle", shopify_variant_id="7")

    assert deducted(deduct(db, CANDLE | {"variant_id": 7})) == {}


@pytest.mark.parametrize(
    ("line", "sku", "how"),
    [
        ({"title": "Other", "product_id": 11}, "star", "product"),
        ({"title": "Other", "product_id": "12"}, "star", "product"),
        ({"title": "star cake"}, "star", "name"),
        ({"title": " Moon Cake "}, "star", "name"),
        ({"title": "Sun Cake", "product_id": 12}, "star", "product"),
    ],
    ids=str,
)
def test_a_topper_is_taken_for_the_cake_it_is_named_after(
    db: Connection, line: dict[str, object], sku: str, how: str
) -> None:
    make_item(db, "sun", 5, "topper", title="Sun Cake")
    make_item(
        db,
        "star",
        5,
        "topper",
        title="Star Cake",
        alt_title="Moon Cake",
        shopify_product_id_1="11",
        shopify_product_id_2="12",
    )

    assert deducted(deduct(db, line | {"kind": "cake"})) == {sku: how}


# Taking


def test_an_order_takes_the_items_of_its_lines(db: Connection) -> None:
    candle, balloon = make_item(db, "candle", 10), make_item(db, "balloon", 10)

    answer = deduct(
        db, CANDLE | {"quantity": 2}, CANDLE | {"quantity": 3}, {"sku": "balloon"}, {"sku": "none"}
    )

    assert answer == {
        "deducted": [
            {"sku": "balloon", "quantity": 1, "matched_by": "sku"},
            {"sku": "candle", "quantity": 5, "matched_by": "sku"},
        ],
        "shortages": [],
        "already_done": False,
    }
    assert (stock(db, candle), stock(db, balloon)) == (5, 9)
    assert pushes(db) == ["balloon", "candle"]
    assert db.execute(
        "select kind, change_amount, store, order_gid, reason from public.inventory_txn "
        "where item_id = %s order by id desc limit 1",
        (candle,),
    ).fetchone() == ("deduct", -5, "bannos", GID, "order_create")


def test_the_same_order_again_takes_nothing(db: Connection) -> None:
    candle, star = make_item(db, "candle", 10), make_item(db, "star", 0)
    arrive(db)
    lines: list[dict[str, object]] = [CANDLE, {"sku": "star"}]
    deduct(db, *lines)

    answer = deduct(db, *lines)

    assert answer == {"deducted": [], "shortages": [], "already_done": True}
    assert (stock(db, candle), stock(db, star)) == (9, 0)
    assert len(shortage_events(db)) == 1


def test_the_same_number_in_another_store_is_another_order(db: Connection) -> None:
    candle = make_item(db, "candle", 10)

    deduct(db, CANDLE)
    deduct(db, CANDLE, store="flourlane")

    assert stock(db, candle) == 8


def test_lines_with_quantity_zero_take_nothing(db: Connection) -> None:
    candle = make_item(db, "candle", 10)

    deduct(db, CANDLE | {"quantity": 0}, CANDLE | {"quantity": -2}, CANDLE | {"quantity": None})

    assert stock(db, candle) == 10


def test_an_absurd_quantity_is_refused_before_anything_is_taken(db: Connection) -> None:
    candle, balloon = make_item(db, "candle", 10), make_item(db, "balloon", 10)

    with raises_code("BAD_INPUT", "PT400"), db.transaction():
        deduct(db, {"sku": "balloon"}, CANDLE | {"quantity": 10**12})

    assert (stock(db, candle), stock(db, balloon)) == (10, 10)


@pytest.mark.spec("vector-2")
def test_twenty_deductions_at_once_take_once(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        candle, balloon = make_item(conn, "candle", 50), make_item(conn, "balloon", 0)
        arrive(conn, units=2)

    def deliver(_: int) -> bool:
        with psycopg.connect(clone) as conn:
            answer = deduct(conn, CANDLE, {"sku": "balloon", "quantity": 2})
        return bool(answer["already_done"])

    with ThreadPoolExecutor(20) as pool:
        repeats = list(pool.map(deliver, range(20)))

    with psycopg.connect(clone) as conn:
        assert repeats.count(False) == 1
        assert (stock(conn, candle), stock(conn, balloon)) == (49, 0)
        assert len(shortage_events(conn)) == 1
        assert items_that_differ_from_their_ledger(conn) == []
        assert reserved_beyond_holds(conn) == []


# Shortage


@pytest.mark.spec("P6", "vector-15")
def test_an_empty_topper_does_not_stop_the_accessory(db: Connection) -> None:
    topper = make_item(db, "star", 0, "topper", title="Star Cake")
    candle = make_item(db, "candle", 10)
    first, second = arrive(db, units=2)

    answer = deduct(db, {"title": "Star Cake", "kind": "cake", "quantity": 2}, CANDLE)

    assert deducted(answer) == {"candle": "sku"}
    assert shortages(answer) == {"star": 2}
    assert (stock(db, topper), stock(db, candle)) == (0, 9)
    assert blocked(db) == [True, True]
    missing = {"sku": "star", "quantity": 2, "matched_by": "name", "available": 0}
    assert shortage_events(db) == [(first, False, {"items": [missing]})]
    assert second != first
    assert values(
        db, "select stage::text from public.orders where shopify_order_gid = %s", GID
    ) == [
        "Filling",
        "Filling",
    ]


@pytest.mark.spec("P35")
def test_a_shortage_takes_nothing_and_holds_stock_for_the_order(db: Connection) -> None:
    candle = make_item(db, "candle", 2)
    arrive(db)

    answer = deduct(db, CANDLE | {"quantity": 3})

    assert answer["shortages"][0]["available"] == 2
    assert stock(db, candle) == 2
    assert db.execute("select reserved, ats from public.site_stock").fetchone() == (3, -1)
    assert pushes(db) == ["candle"]
    map_location(db)
    with acting_as(db, "service_role"):
        assert values(db, "select available from public.get_push_items('{candle}')") == [0]


def test_a_new_order_cannot_take_stock_that_another_one_waits_for(db: Connection) -> None:
    make_item(db, "candle", 2)
    deduct(db, CANDLE | {"quantity": 3}, gid="gid://shopify/Order/1")

    answer = deduct(db, CANDLE, gid="gid://shopify/Order/2")

    assert shortages(answer) == {"candle": 1}


def test_the_buffer_serves_orders_that_are_already_waiting(db: Connection) -> None:
    candle = make_item(db, "candle", 2)
    set_buffer(db, candle, 2)

    assert deducted(deduct(db, CANDLE)) == {"candle": "sku"}
    assert stock(db, candle) == 1


def test_new_stock_goes_to_the_order_that_waits_longest(db: Connection) -> None:
    candle = make_item(db, "candle", 0)
    for nr, quantity in enumerate((3, 1), start=1):
        set_clock(db, f"2026-01-0{nr} 00:00Z")
        gid = f"gid://shopify/Order/{nr}"
        arrive(db, gid)
        deduct(db, CANDLE | {"quantity": quantity}, gid=gid)

    add(db, candle, 2)  # enough for the second order, but the first has waited longer
    assert stock(db, candle) == 2
    add(db, candle, 1)
    assert (blocked(db), blocked(db, "gid://shopify/Order/2")) == ([False], [True])
    add(db, candle, 5)

    assert blocked(db, "gid://shopify/Order/2") == [False]
    assert stock(db, candle) == 4
    assert [(order, ok) for order, ok, _ in shortage_events(db)] == [
        ("bannos-1", False),
        ("bannos-2", False),
        ("bannos-1", True),
        ("bannos-2", True),
    ]
    assert reserved_beyond_holds(db) == items_that_differ_from_their_ledger(db) == []


def test_a_cake_added_to_an_order_that_waits_is_flagged_too(db: Connection) -> None:
    make_item(db, "candle", 0)
    arrive(db)
    deduct(db, CANDLE)
    make_order(db, id="bannos-1-B", shopify_order_gid=GID, suffix="B")

    deduct(db, CANDLE)

    assert blocked(db) == [True, True]


def test_an_order_stays_blocked_until_it_has_everything(db: Connection) -> None:
    candle, balloon = make_item(db, "candle", 0), make_item(db, "balloon", 0)
    arrive(db)
    deduct(db, CANDLE, {"sku": "balloon"})

    add(db, candle, 1)
    assert blocked(db) == [True]
    add(db, balloon, 1)

    assert blocked(db) == [False]


def test_an_order_without_cakes_waits_too(db: Connection) -> None:
    candle = make_item(db, "candle", 0)
    db.execute(
        "insert into public.shopify_orders (store, gid) values ('bannos', %s)",
        (GID,),
    )
    deduct(db, CANDLE)
    with acting_as(db, "authenticated", make_staff(db)):
        row = db.execute(
            "select store, order_gid, order_id, sku, quantity from public.get_shortages()"
        ).fetchone()

    assert row == ("bannos", GID, None, "candle", 1)
    assert shortage_events(db) == []
    add(db, candle, 1)
    assert stock(db, candle) == 0


def test_shortages_are_listed_to_the_staff_of_the_store(db: Connection) -> None:
    make_item(db, "candle", 0)
    arrive(db, units=2)
    deduct(db, CANDLE)
    here, there = make_staff(db, store="bannos"), make_staff(db, store="flourlane")

    with acting_as(db, "authenticated", here):
        assert values(db, "select order_id from public.get_shortages()") == ["bannos-1-A"]
        assert values(db, "select order_id from public.get_shortages('bannos')") == ["bannos-1-A"]
        assert values(db, "select inventory_blocked from public.orders") == [True, True]
    with acting_as(db, "authenticated", there):
        assert values(db, "select order_id from public.get_shortages()") == []
    with raises_code("PERMISSION_DENIED", "PT403"), acting_as(db, "authenticated", there):
        db.execute("select public.get_shortages('bannos')")


def test_counting_stock_does_not_wait_for_a_locked_order(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        candle = make_item(conn, "candle", 0)
        arrive(conn)
        deduct(conn, CANDLE)

    with psycopg.connect(clone) as worker, psycopg.connect(clone) as counter:
        worker.execute(
            "update public.orders set notes = 'at work' where shopify_order_gid = %s", (GID,)
        )
        counter.execute("set lock_timeout = '2s'")
        add(counter, candle, 1)
        counter.commit()
        assert blocked(counter) == [True]
        worker.commit()

        assert value(counter, "select app.fill_holds()") == 1
        assert blocked(counter) == [False]
        assert value(counter, "select app.fill_holds()") == 0


# Recipes


@pytest.mark.spec("P24")
def test_a_cake_takes_components_where_the_store_tracks_them(db: Connection) -> None:
    cream, board = make_item(db, "cream", 10, "component"), make_item(db, "board", 10, "component")
    make_recipe(db, {cream: "0.4", board: 1})
    track_inventory(db, "flourlane")

    assert deducted(deduct(db, CAKE)) == {}
    answer = deduct(db, CAKE | {"quantity": 3}, store="flourlane")

    assert deducted(answer) == {"board": "recipe", "cream": "recipe"}
    assert (stock(db, cream), stock(db, board)) == (Decimal("8.8"), 7)


@pytest.mark.parametrize(
    ("line", "recipe"),
    [
        ({"title": "Plain", "sku": "CAKE-1", "product_id": 5}, "sku"),
        ({"title": "Plain", "sku": "CAKE-2", "product_id": 5}, "product"),
        ({"title": " PLAIN "}, "ours"),
        ({"title": "Plain"}, "ours"),
        ({"title": "Shared"}, "shared"),
        ({"title": "Plain Cake"}, None),  # a part of the title is no match
        ({"title": "Pl%"}, None),
        ({"title": "Old"}, None),
        ({"title": "Theirs"}, None),
        ({"title": ""}, None),
        ({"title": None}, None),
    ],
    ids=str,
)
@pytest.mark.spec("P50")
def test_a_line_follows_one_recipe(
    db: Connection, line: dict[str, object], recipe: str | None
) -> None:
    track_inventory(db)
    recipes: dict[str, dict[str, object]] = {
        "sku": {"product_title": "A", "sku": "CAKE-1"},
        "product": {"product_title": "B", "shopify_product_id": "5"},
        "plain": {"product_title": "Plain"},
        "ours": {"product_title": "plain", "store": "bannos"},
        "shared": {"product_title": "Shared"},
        "theirs": {"product_title": "Theirs", "store": "flourlane"},
        "old": {"product_title": "Old", "is_active": False},
    }
    for name, columns in recipes.items():
        make_recipe(db, {make_item(db, name, 5, "component"): 1}, **columns)

    answer = deduct(db, line | {"kind": "cake"})

    assert deducted(answer) == ({recipe: "recipe"} if recipe else {})


def test_an_optional_component_is_left_out_when_short(db: Connection) -> None:
    track_inventory(db)
    cream, berries = (
        make_item(db, "cream", 0, "component"),
        make_item(db, "berries", 0, "component"),
    )
    make_recipe(db, {cream: 1, berries: 1})
    db.execute("update public.bom_items set is_optional = true where component_id = %s", (berries,))
    arrive(db)

    assert shortages(deduct(db, CAKE)) == {"cream": 1}
    add(db, berries, 5)

    assert stock(db, berries) == 5


def test_an_item_that_two_lines_need_is_taken_once_for_both(db: Connection) -> None:
    track_inventory(db)
    candle = make_item(db, "candle", 10)
    make_recipe(db, {candle: 2})

    assert deduct(db, CAKE, CANDLE)["deducted"] == [
        {"sku": "candle", "quantity": 3, "matched_by": "recipe"}
    ]


# Returning stock


@pytest.mark.spec("vector-11")
def test_a_cancelled_order_returns_stock_once(db: Connection) -> None:
    candle, star = make_item(db, "candle", 10), make_item(db, "star", 1)
    arrive(db, units=2)
    deduct(db, CANDLE | {"quantity": 4}, {"sku": "star", "quantity": 2})
    db.execute("delete from public.work_queue where true")

    assert cancel(db) == 2
    assert restock(db) == 0

    assert (stock(db, candle), stock(db, star)) == (10, 1)
    assert blocked(db) == [False, False]
    assert values(db, "select item_id from public.reservation_holds") == []
    assert pushes(db) == ["candle", "star"]
    assert values(
        db, "select kind from public.inventory_txn where order_gid = %s order by id", GID
    ) == [
        "deduct",
        "restock",
    ]
    assert reserved_beyond_holds(db) == items_that_differ_from_their_ledger(db) == []


def test_an_order_with_a_complete_cake_keeps_its_stock_and_drops_its_holds(
    db: Connection,
) -> None:
    used, short = make_item(db, "USED", stock=3), make_item(db, "SHORT", stock=0)
    cakes = arrive(db, units=2)
    deduct(db, {"sku": "USED"}, {"sku": "SHORT"})
    db.execute("update public.orders set stage = 'Complete' where id = %s", (cakes[0],))

    cancel(db)

    assert (stock(db, used), stock(db, short)) == (2, 0)
    assert values(db, "select item_id from public.reservation_holds") == []
    assert reserved_beyond_holds(db) == []


def test_an_order_that_took_nothing_returns_nothing(db: Connection) -> None:
    make_item(db, "candle", 10)

    assert restock(db) == 0
    assert items_that_differ_from_their_ledger(db) == []


def test_a_redelivery_after_the_cancellation_takes_nothing(db: Connection) -> None:
    candle, star = make_item(db, "candle", 10), make_item(db, "star", 0)
    arrive(db)
    deduct(db, CANDLE, {"sku": "star"})
    cancel(db)

    deduct(db, CANDLE, {"sku": "star"})

    assert (stock(db, candle), blocked(db)) == (10, [False])
    assert reserved_beyond_holds(db) == []
    assert values(db, "select reserved from public.site_stock where item_id = %s", star) == [0]


def test_an_order_cancelled_before_it_took_anything_takes_nothing(db: Connection) -> None:
    candle = make_item(db, "candle", 10)
    arrive(db)
    cancel(db)

    deduct(db, CANDLE)

    assert stock(db, candle) == 10


def test_returned_stock_goes_to_waiting_orders(db: Connection) -> None:
    candle = make_item(db, "candle", 3)
    for nr, quantity in ((1, 2), (2, 3), (3, 1)):
        set_clock(db, f"2026-01-0{nr} 00:00Z")
        arrive(db, f"gid://shopify/Order/{nr}")
        deduct(db, CANDLE | {"quantity": quantity}, gid=f"gid://shopify/Order/{nr}")
    assert stock(db, candle) == 1

    cancel(db, "gid://shopify/Order/2")  # returns no stock, but frees the third order
    assert (stock(db, candle), blocked(db, "gid://shopify/Order/3")) == (0, [False])
    cancel(db, "gid://shopify/Order/1")

    assert stock(db, candle) == 2
    assert reserved_beyond_holds(db) == items_that_differ_from_their_ledger(db) == []


@pytest.mark.spec("P7", "P36")
def test_random_changes_at_once_leave_ledger_stock_and_holds_in_agreement(
    clone: str,
) -> None:
    """Orders, cancellations, counts and ticks over the same few items, in random order."""
    skus = [f"item-{nr}" for nr in range(5)]
    with psycopg.connect(clone) as conn:
        items = [make_item(conn, sku, 6) for sku in skus]
        for nr in range(60):
            arrive(conn, f"gid://shopify/Order/{nr}", units=nr % 3 + 1)

    def work(worker: int) -> int:
        dice = random.Random(worker)
        with psycopg.connect(clone) as conn:
            conn.execute("set statement_timeout = '30s'")
            for _ in range(60):
                gid = f"gid://shopify/Order/{dice.randrange(60)}"
                step = dice.random()
                if step < 0.5:
                    chosen = dice.sample(skus, 3)
                    deduct(
                        conn,
                        *({"sku": sku, "quantity": dice.randint(1, 3)} for sku in chosen),
                        gid=gid,
                    )
                elif step < 0.75:
                    cancel(conn, gid)
                elif step < 0.95:
                    add(conn, dice.choice(items), dice.randint(1, 3))
                else:
                    conn.execute("select app.fill_holds()")
                conn.commit()
        return worker

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))

    with psycopg.connect(clone) as conn:
        conn.execute("select app.fill_holds()")
        assert items_that_differ_from_their_ledger(conn) == []
        assert breaks_in_the_ledger(conn) == []
        assert reserved_beyond_holds(conn) == []
        assert (
            values(
                conn,
                """
            select orders.id from public.orders as orders
            where orders.inventory_blocked <> exists (
              select from public.reservation_holds as holds
              where holds.store = orders.store and holds.order_gid = orders.shopify_order_gid
            )
            """,
            )
            == []
        )
        assert (
            values(
                conn,
                """
            select order_gid from public.inventory_txn as txn
            inner join public.orders as orders on orders.shopify_order_gid = txn.order_gid
            where orders.cancelled_at is not null
            group by order_gid, item_id, orders.id having sum(change_amount) <> 0
            """,
            )
            == []
        )
        assert value(conn, "select count(*) from public.inventory_txn where kind = 'restock'") > 0
        assert shortage_events(conn) != []


# Calls of the service


def payload(gid: str = GID, sku: str = "candle") -> str:
    return json.dumps(
        {
            "id": 1,
            "admin_graphql_api_id": gid,
            "order_number": 1,
            "line_items": [{"id": 5, "title": "Gold Candle", "sku": sku, "quantity": 2}],
        }
    )


def call_deduct(db: Connection, gid: str | None, body: str | None) -> Any:
    with acting_as(db, "service_role"):
        return value(db, "select public.deduct_on_order_create(%s, %s)", gid, body)


@pytest.mark.spec("P37b")
def test_deduct_on_order_create_takes_what_the_lines_need_once(db: Connection) -> None:
    candle = make_item(db, "candle", 10)
    db.execute(
        "insert into public.shopify_orders (store, gid) values ('flourlane', %s)",
        (GID,),
    )
    db.execute(
        "update public.shopify_orders set lines = app.shopify_order(%s) -> 'lines'", (payload(),)
    )

    assert call_deduct(db, GID, payload())["deducted"] == [
        {"sku": "candle", "quantity": 2, "matched_by": "sku"}
    ]
    assert call_deduct(db, GID, payload())["already_done"] is True

    assert stock(db, candle) == 8
    assert db.execute(
        "select store, order_gid, actor_kind from public.inventory_txn order by id desc limit 1"
    ).fetchone() == ("flourlane", GID, "service")


def test_deduct_on_order_create_takes_nothing_for_a_cancelled_order(db: Connection) -> None:
    candle = make_item(db, "candle", 10)
    db.execute(
        "insert into public.shopify_orders (store, gid, cancelled_at) values ('bannos', %s, now())",
        (GID,),
    )

    assert call_deduct(db, GID, payload())["deducted"] == []
    assert stock(db, candle) == 10


def test_deduct_on_order_create_refuses_the_payload_of_another_order(db: Connection) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        call_deduct(db, GID, payload())
    arrive(db)
    for gid, body in ((GID, payload("gid://shopify/Order/2")), (None, payload()), (GID, "[]")):
        with raises_code("BAD_INPUT", "PT400"):
            call_deduct(db, gid, body)
    arrive(db, store="flourlane")
    with raises_code("CONFLICT", "PT409"):
        call_deduct(db, GID, payload())


@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
def test_only_the_service_calls_deduct_on_order_create(db: Connection, role: str) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, "authenticated", make_staff(db, role=role)),
    ):
        db.execute("select public.deduct_on_order_create(%s, %s)", (GID, payload()))
