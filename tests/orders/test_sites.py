"""Sites: where stock lies, which site makes an order, and what a caller sees of them."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from bakehouse.database import Connection
from calls import acting_as, ask, call, raises_code
from orders.payloads import Payload
from orders.races import Call, meet, wait_for_waiting
from orders.test_deduct import make_recipe, track_inventory
from orders.test_ingest import created, deliver, ids, later, line, order, prepare
from orders.test_inventory import make_item, map_location
from orders.test_settling import (
    CAKE,
    Steps,
    candles,
    complete,
    edited,
    histories,
    item,
    manual,
    webhook,
    wrong,
)
from rows import make_staff, value, values

SITES = ("kitchen", "main", "shop")
RULES = [
    {"site": "shop"},
    {"site": "kitchen", "delivery_method": "delivery"},
    {"site": "main", "delivery_method": "manual"},
    {"site": "kitchen", "pickup_location": "Harbour Street"},
]


def open_sites(db: Connection) -> UUID:
    """Bannos gets three sites, and Flour Lane keeps main. Returns an Admin of Bannos."""
    admin = make_staff(db, role="Admin", store="bannos")
    for code in ("shop", "kitchen"):
        call(db, admin, "upsert_site", p_code=code, p_name=code.title())
    assert save(db, admin, RULES) == len(RULES)
    return admin


def save(db: Connection, account: UUID, rules: object, store: str = "bannos") -> Any:
    return call(db, account, "save_store_sites", p_store=store, p_sites=json.dumps(rules))


@pytest.fixture
def admin(db: Connection) -> UUID:
    return open_sites(db)


@pytest.fixture
def shop(db: Connection, admin: UUID) -> Connection:
    """Bannos with recipes: a birthday cake takes two boards. Each site has 20 boards."""
    prepare(db)
    furnish(db)
    return db


def furnish(db: Connection) -> None:
    track_inventory(db)
    board = make_item(db, "board", 20, "component")
    make_recipe(db, {board: 2}, product_title=CAKE)
    candle = make_item(db, "candle", 10)
    for site in ("shop", "kitchen"):
        stock_up(db, board, site, 20)
        stock_up(db, candle, site, 10)


def stock_up(db: Connection, item_id: UUID, site: str, quantity: int) -> None:
    db.execute("select app.move_stock(%s, %s, 'adjust', p_site => %s)", (item_id, quantity, site))


def stocks(db: Connection, sku: str = "board") -> dict[str, int]:
    found: dict[str, int] = value(
        db,
        "select jsonb_object_agg(site, on_hand::integer) from public.site_stock where item_id = %s",
        item(db, sku),
    )
    return found


def site_of(db: Connection, order_id: str) -> str:
    site: str = value(db, "select site from public.orders where id = %s", order_id)
    return site


def attributes(**pairs: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", " "), "value": text} for name, text in pairs.items()]


# Which sites a store has


def test_every_store_has_the_site_main_until_an_admin_names_others(db: Connection) -> None:
    admin = make_staff(db, role="Admin")
    db.execute(
        "insert into public.stores (code, name, scan_letter, time_zone, currency) "
        "values ('sugarbird', 'Sugarbird', 'S', 'UTC', 'AUD')"
    )

    with acting_as(db, "authenticated", admin):
        assert values(db, "select code from public.get_sites()") == ["main"]
        (rules,) = values(db, "select rules from public.get_sites()")

    assert [rule["store"] for rule in rules] == ["bannos", "flourlane", "sugarbird"]


def test_an_admin_replaces_the_sites_of_a_store(db: Connection, admin: UUID) -> None:
    with acting_as(db, "authenticated", admin):
        listed = db.execute(
            "select code, name, jsonb_array_length(rules) from public.get_sites('bannos')"
        ).fetchall()

    assert listed == [
        ("kitchen", "Kitchen", 2),
        ("main", "Main", 1),
        ("shop", "Shop", 1),
    ]
    assert save(db, admin, [{"site": "kitchen"}]) == 1
    assert values(db, "select app.sites_of('{bannos}')") == [["kitchen"]]


@pytest.mark.parametrize(
    "rules",
    [
        None,
        {},
        [],
        ["main"],
        [{"site": "nowhere"}],
        [{}],
        [{"site": "main", "delivery_method": "pickup"}],  # no default
        [{"site": "main"}, {"site": "shop"}],  # two defaults
        [
            {"site": "main"},
            {"site": "shop", "pickup_location": "Harbour"},
            {"site": "kitchen", "pickup_location": "HARBOUR"},
        ],
        [{"site": "main"}, {"site": "shop", "delivery_method": "drone"}],
        [{"site": "main"}, {"site": "shop", "pickup_location": "x" * 301}],
    ],
)
def test_rules_that_name_no_one_site_are_refused(
    db: Connection, admin: UUID, rules: object
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        save(db, admin, rules)

    assert values(db, "select app.sites_of('{bannos}')") == [["kitchen", "main", "shop"]]


def test_an_admin_cannot_take_a_site_of_another_store(db: Connection, admin: UUID) -> None:
    theirs = make_staff(db, role="Admin", store="flourlane")
    save(db, theirs, [{"site": "main"}], "flourlane")

    with raises_code("BAD_INPUT", "PT400"):
        save(db, theirs, [{"site": "kitchen"}], "flourlane")
    with raises_code("PERMISSION_DENIED", "PT403"):
        call(db, theirs, "upsert_site", p_code="kitchen", p_name="Mine")
    with raises_code("PERMISSION_DENIED", "PT403"):
        save(db, theirs, [{"site": "main"}], "bannos")
    both = make_staff(db, role="Admin")
    assert save(db, both, [{"site": "kitchen"}], "flourlane") == 1


def test_a_site_of_a_store_cannot_be_closed(db: Connection, admin: UUID) -> None:
    with raises_code("CONFLICT", "PT409"):
        call(db, admin, "upsert_site", p_code="kitchen", p_is_active=False)
    save(db, admin, [{"site": "shop"}])

    call(db, admin, "upsert_site", p_code="kitchen", p_is_active=False)

    with raises_code("BAD_INPUT", "PT400"):
        save(db, admin, [{"site": "kitchen"}])


@pytest.mark.parametrize("code", [None, "", "Main", "1st", "a b", "x" * 51])
def test_the_code_of_a_site_is_a_short_word(db: Connection, admin: UUID, code: object) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, admin, "upsert_site", p_code=code)


# Which site makes an order


@pytest.mark.parametrize(
    ("fields", "site"),
    [
        ({"note_attributes": attributes(Delivery_Method="pickup")}, "shop"),
        ({"note_attributes": attributes(Delivery_Method="delivery")}, "kitchen"),
        ({"note_attributes": [], "shipping_address": {"name": "Test"}}, "kitchen"),
        (
            {"note_attributes": attributes(Pickup_Location="harbour street ")},
            "kitchen",
        ),
        (
            {"note_attributes": [{"name": "Pickup-Location-Company", "value": "Harbour Street"}]},
            "kitchen",
        ),
        (
            {"note_attributes": [], "shipping_lines": [{"title": "Harbour Street"}]},
            "kitchen",
        ),
        ({"note_attributes": [], "shipping_lines": "nonsense"}, "shop"),
        ({"note_attributes": [], "shippingLine": {"title": "Harbour Street"}}, "kitchen"),
        (
            {"note_attributes": attributes(Pickup_Location="Elsewhere")},
            "shop",
        ),
    ],
)
def test_the_rules_of_the_store_choose_the_site_of_an_order(
    shop: Connection, fields: Payload, site: str
) -> None:
    payload = order(line(CAKE, 2), **fields)

    cakes = created(shop, payload)

    assert [site_of(shop, cake) for cake in cakes] == [site, site]
    assert values(shop, "select site from public.shopify_orders") == [site]
    assert stocks(shop) == {"main": 20, "shop": 20, "kitchen": 20} | {site: 16}
    assert wrong(shop) == []


def test_a_manual_order_has_a_rule_of_its_own(shop: Connection) -> None:
    order_id = manual(shop)

    assert site_of(shop, order_id) == "main"
    assert stocks(shop) == {"main": 18, "shop": 20, "kitchen": 20}


def test_an_order_keeps_its_site_when_shopify_or_the_rules_change(
    shop: Connection, admin: UUID
) -> None:
    payload = order(line(CAKE))
    created(shop, payload)
    save(shop, admin, [{"site": "kitchen"}])
    more = later(payload, note_attributes=attributes(Delivery_Method="delivery"))
    more["line_items"][0]["quantity"] = 2

    deliver(shop, "orders/updated", more)

    assert {site_of(shop, cake) for cake in ids(shop, payload)} == {"shop"}
    assert (stocks(shop)["shop"], wrong(shop)) == (16, [])


# Moving an order


def test_an_order_that_moves_takes_its_stock_with_it(shop: Connection) -> None:
    supervisor = make_staff(shop, role="Supervisor", store="bannos")
    payload = order(line(CAKE, 2), candles(3))
    cakes = created(shop, payload)

    answer = call(shop, supervisor, "set_order_site", p_order_id=cakes[1], p_site="kitchen")

    assert (answer["already_done"], answer["order_id"]) == (False, cakes[1])
    assert {site_of(shop, cake) for cake in cakes} == {"kitchen"}
    assert stocks(shop) == {"main": 20, "shop": 20, "kitchen": 16}
    assert stocks(shop, "candle") == {"main": 10, "shop": 10, "kitchen": 7}
    assert wrong(shop) == []
    assert (
        values(shop, "select meta -> 'new' from public.stage_events where event_type = 'edit'")
        == [{"site": "kitchen"}] * 2
    )
    again = call(shop, supervisor, "set_order_site", p_order_id=cakes[0], p_site="kitchen")
    assert again["already_done"] is True


def test_an_order_that_moves_to_an_empty_site_waits_there(shop: Connection) -> None:
    supervisor = make_staff(shop, role="Supervisor")
    shop.execute(
        "select app.move_stock(%s, -10, 'adjust', p_site => 'kitchen')", (item(shop, "candle"),)
    )
    (cake,) = created(shop, order(line(CAKE), candles(2)))
    (waiting,) = created(shop, order(line(CAKE), candles(9)))  # 8 are left

    call(shop, supervisor, "set_order_site", p_order_id=cake, p_site="kitchen")

    holds = "select site, quantity::integer from public.reservation_holds"
    assert shop.execute(holds).fetchall() == [("kitchen", 2)]  # the other got what came back
    assert values(shop, "select inventory_blocked from public.orders order by id") == [True, False]
    assert wrong(shop) == []
    call(shop, supervisor, "set_order_site", p_order_id=waiting, p_site="kitchen")
    call(shop, supervisor, "set_order_site", p_order_id=cake, p_site="shop")
    assert shop.execute(holds).fetchall() == [("kitchen", 9)]
    assert (stocks(shop, "candle")["shop"], wrong(shop)) == (8, [])


def test_an_order_keeps_its_site_once_a_cake_has_begun(shop: Connection) -> None:
    supervisor = make_staff(shop, role="Supervisor")
    cakes = created(shop, order(line(CAKE, 2)))
    call(shop, supervisor, "print_barcode", p_order_id=cakes[0])

    with raises_code("INVALID_STAGE", "PT409"):
        call(shop, supervisor, "set_order_site", p_order_id=cakes[1], p_site="kitchen")


@pytest.mark.parametrize("site", [None, "", "nowhere", "farm"])
def test_an_order_cannot_move_to_a_site_of_another_store(
    shop: Connection, site: str | None
) -> None:
    both = make_staff(shop, role="Admin")
    call(shop, both, "upsert_site", p_code="farm")
    save(shop, both, [{"site": "farm"}], "flourlane")
    (cake,) = created(shop, order(line(CAKE)))

    with raises_code("BAD_INPUT", "PT400") as refusal:
        call(shop, both, "set_order_site", p_order_id=cake, p_site=site)

    detail = json.loads(str(refusal.value.diag.message_detail))
    assert detail["sites"] == ["kitchen", "main", "shop"]
    assert (site_of(shop, cake), wrong(shop)) == ("shop", [])
    for order_id, code, state in (("bannos-0", "NOT_FOUND", "PT404"), (None, "BAD_INPUT", "PT400")):
        with raises_code(code, state):
            call(shop, both, "set_order_site", p_order_id=order_id, p_site="main")


def test_a_finished_order_keeps_its_stock_at_its_site(shop: Connection) -> None:
    payload = order(line(CAKE), candles(2))
    (cake,) = created(shop, payload)
    complete(shop, cake)

    deliver(shop, "orders/updated", edited(payload, 0, 0))

    assert (stocks(shop)["shop"], stocks(shop, "candle")["shop"], wrong(shop)) == (18, 8, [])


# What a caller sees, and where a caller counts

READS = [
    "get_inventory_status",
    "get_components",
    "get_low_stock_components",
    "get_accessories",
    "get_accessories_needing_sync",
    "get_cake_toppers",
]


@pytest.fixture
def counted(db: Connection, admin: UUID) -> Connection:
    """An item of each kind, with 1 in main, 2 in the shop and 4 in the kitchen."""
    for kind in ("component", "accessory", "topper"):
        made = make_item(db, kind, 1, kind, min_stock=100)
        stock_up(db, made, "shop", 2)
        stock_up(db, made, "kitchen", 4)
    make_item(db, "none", 0, min_stock=1)
    return db


def read(db: Connection, account: UUID, rpc: str, site: str | None) -> list[tuple[Any, ...]]:
    """Returns the stock and the site of each row."""
    stock = "stock" if rpc == "get_inventory_status" else "current_stock"
    query = psycopg.sql.SQL("select {}::integer, site from public.{}(p_site => %s)").format(
        psycopg.sql.Identifier(stock), psycopg.sql.Identifier(rpc)
    )
    with acting_as(db, "authenticated", account):
        return db.execute(query, (site,)).fetchall()


@pytest.mark.parametrize("rpc", READS)
def test_a_read_answers_the_total_of_the_sites_of_the_caller(counted: Connection, rpc: str) -> None:
    many = make_staff(counted, store="bannos")
    one = make_staff(counted, store="flourlane")
    listed = 0 if rpc == "get_accessories_needing_sync" else 7

    assert set(read(counted, many, rpc, None)) - {(0, None)} <= {(listed, None)} - {(0, None)}
    assert {site for _, site in read(counted, many, rpc, "shop")} == {"shop"}
    assert {site for _, site in read(counted, one, rpc, None)} == {"main"}
    if listed:
        assert (7, None) in read(counted, many, rpc, None)
        assert (2, "shop") in read(counted, many, rpc, "shop")
        assert (1, "main") in read(counted, one, rpc, None)
    for account, site in ((one, "shop"), (many, "nowhere")):
        with raises_code("BAD_INPUT", "PT400"):
            read(counted, account, rpc, site)


def test_the_column_ats_of_an_item_counts_the_sites_of_the_caller(counted: Connection) -> None:
    query = "select items.ats::integer from public.inventory_items as items where sku = 'topper'"

    for store, total in (("bannos", 7), ("flourlane", 1), (None, 7)):
        with acting_as(counted, "authenticated", make_staff(counted, store=store)):
            assert values(counted, query) == [total]
            assert len(values(counted, "select site from public.site_stock")) == (
                3 if store == "flourlane" else 9
            )


def test_the_ledger_and_the_shortages_name_their_site(shop: Connection) -> None:
    payload = order(line(CAKE), candles(30))
    created(shop, payload)
    many, one = make_staff(shop, store="bannos"), make_staff(shop, store="flourlane")
    with acting_as(shop, "authenticated", many):
        assert values(shop, "select site from public.get_shortages()") == ["shop"]
        assert values(shop, "select site from public.get_shortages(p_site => 'main')") == []
        taken = shop.execute(
            "select site, change_amount::integer, stock_after::integer "
            "from public.get_stock_transactions('components', p_limit => 1)"
        ).fetchall()
        assert values(
            shop, "select distinct site from public.get_stock_transactions(p_site => 'kitchen')"
        ) == ["kitchen"]
    with acting_as(shop, "authenticated", one):
        sites = values(shop, "select distinct site from public.get_stock_transactions()")

    assert taken == [("shop", -2, 18)]
    assert sites == ["main"]


WRITES = [
    "select public.adjust_component_stock(%s, 5, p_site => %s)",
    "select public.set_stock_buffer(%s, 5, %s)",
]


@pytest.mark.parametrize("query", WRITES)
def test_a_write_needs_a_site_where_the_caller_has_several(
    counted: Connection, admin: UUID, query: str
) -> None:
    board = item(counted, "component")
    theirs = make_staff(counted, role="Admin", store="flourlane")

    for account, site, sites in (
        (admin, None, ["kitchen", "main", "shop"]),
        (admin, "nowhere", ["kitchen", "main", "shop"]),
        (theirs, "shop", ["main"]),
    ):
        with raises_code("BAD_INPUT", "PT400") as refusal:
            ask(counted, account, query, board, site)
        assert json.loads(str(refusal.value.diag.message_detail))["sites"] == sites
    ask(counted, admin, query, board, "shop")
    ask(counted, theirs, query, board, None)

    changed = "select site from public.site_stock where item_id = %s and (on_hand, buffer) not in "
    assert sorted(values(counted, changed + "((1, 0), (2, 0), (4, 0))", board)) == ["main", "shop"]


# Transfers


def transfer(db: Connection, account: UUID, quantity: object, *sites: str | None) -> Any:
    source, target = sites
    return ask(
        db,
        account,
        "select public.transfer_stock(%s, %s, %s, %s, 'refill')",
        item(db, "candle"),
        source,
        target,
        quantity,
    )


def test_a_transfer_is_two_rows_with_one_reference(shop: Connection) -> None:
    supervisor = make_staff(shop, role="Supervisor", store="bannos")

    answer = transfer(shop, supervisor, 4, "shop", "kitchen")

    assert stocks(shop, "candle") == {"main": 10, "shop": 6, "kitchen": 14}
    assert (answer["from"], answer["to"]) == (
        {"site": "shop", "stock": 6},
        {"site": "kitchen", "stock": 14},
    )
    assert shop.execute(
        "select site, change_amount::integer, stock_before::integer, reason, actor_id "
        "from public.inventory_txn where kind = 'transfer' and reference = %s order by id",
        (answer["reference"],),
    ).fetchall() == [
        ("shop", -4, 10, "refill", supervisor),
        ("kitchen", 4, 10, "refill", supervisor),
    ]
    assert wrong(shop) == []


def test_a_transfer_fills_the_holds_where_it_arrives(shop: Connection) -> None:
    created(shop, order(line(CAKE), candles(13)))

    answer = transfer(shop, make_staff(shop, role="Supervisor"), 5, "main", "shop")

    assert answer["to"]["stock"] == 2
    assert values(shop, "select inventory_blocked from public.orders") == [False]
    assert wrong(shop) == []


@pytest.mark.parametrize(
    ("quantity", "source", "target", "code"),
    [
        (11, "shop", "kitchen", "CONFLICT"),
        (0, "shop", "kitchen", "BAD_INPUT"),
        (-1, "shop", "kitchen", "BAD_INPUT"),
        (None, "shop", "kitchen", "BAD_INPUT"),
        ("NaN", "shop", "kitchen", "BAD_INPUT"),
        ("Infinity", "shop", "kitchen", "BAD_INPUT"),
        (1, "shop", "shop", "BAD_INPUT"),
        (1, None, "shop", "BAD_INPUT"),
        (1, "shop", None, "BAD_INPUT"),
        (1, "shop", "farm", "BAD_INPUT"),
        (1, "farm", "shop", "BAD_INPUT"),
    ],
)
def test_a_transfer_that_is_refused_moves_nothing(
    shop: Connection, quantity: object, source: str | None, target: str | None, code: str
) -> None:
    both = make_staff(shop, role="Admin")
    call(shop, both, "upsert_site", p_code="farm")
    save(shop, both, [{"site": "farm"}], "flourlane")
    supervisor = make_staff(shop, role="Supervisor", store="bannos")

    with raises_code(code, "PT409" if code == "CONFLICT" else "PT400"):
        transfer(shop, supervisor, quantity, source, target)

    assert stocks(shop, "candle") == {"main": 10, "shop": 10, "kitchen": 10}
    assert values(shop, "select id from public.inventory_txn where kind = 'transfer'") == []


# The locations of the shops


def locate(db: Connection, account: UUID, site: object, location: object) -> Any:
    return call(
        db,
        account,
        "save_site_location",
        p_store="bannos",
        p_site=site,
        p_location_id=location,
    )


def test_each_location_is_told_the_stock_of_its_own_site(counted: Connection, admin: UUID) -> None:
    shop, kitchen = (f"gid://shopify/Location/{number}" for number in (11, 12))
    assert (locate(counted, admin, "shop", "11"), locate(counted, admin, "kitchen", kitchen)) == (
        shop,
        kitchen,
    )
    queued = values(counted, "select dedupe_key from public.work_queue order by 1")

    query = "select store, location_id, site, available from public.get_push_items('{accessory}')"
    with acting_as(counted, "service_role"):
        rows = counted.execute(query).fetchall()

    assert rows == [("bannos", kitchen, "kitchen", 4), ("bannos", shop, "shop", 2)]
    assert queued == ["accessory", "none", "topper"]
    assert locate(counted, admin, "shop", None) is None
    save(counted, admin, [{"site": "main"}])
    with acting_as(counted, "service_role"):
        assert counted.execute(query).fetchall() == []  # the store has no kitchen any more


@pytest.mark.parametrize(
    ("site", "location"),
    [
        ("shop", "gid://shopify/Order/1"),
        ("shop", "one"),
        ("shop", "0"),
        ("shop", "-1"),
        ("shop", "1 or 1=1"),
        ("nowhere", "1"),
        (None, "1"),
    ],
)
def test_a_location_id_must_be_one_of_shopify(
    db: Connection, admin: UUID, site: str | None, location: str
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        locate(db, admin, site, location)

    assert values(db, "select location_id from public.site_locations") == []


def test_a_location_shows_one_site(db: Connection, admin: UUID) -> None:
    locate(db, admin, "shop", "11")
    locate(db, admin, "shop", "11")

    with raises_code("CONFLICT", "PT409"):
        locate(db, admin, "kitchen", "11")


def test_a_connected_shop_without_a_location_is_an_alert(db: Connection, admin: UUID) -> None:
    alerts = "select store from public.get_alerts() where code = 'NO_LOCATION'"
    for store in ("bannos", "flourlane"):
        db.execute("select app.store_shop_secret(%s, 'token', 'token-0123456789')", (store,))
    with acting_as(db, "authenticated", admin):
        assert values(db, alerts) == ["bannos"]

    locate(db, admin, "shop", "11")

    with acting_as(db, "authenticated", admin):
        assert values(db, alerts) == []


def test_a_count_of_a_shop_corrects_the_stock_of_its_site(counted: Connection) -> None:
    counted.execute(
        "insert into app.clock (at) values (now() + interval '2 hours') "
        "on conflict (xid) do update set at = excluded.at"
    )
    counted.execute("delete from public.work_queue where true")
    map_location(counted, site="shop")
    counts = json.dumps([{"sku": "accessory", "available": 9}])
    with raises_code("BAD_INPUT", "PT400"):
        call(counted, None, "apply_reconcile", p_counts=counts)

    call(counted, None, "apply_reconcile", p_counts=counts, p_site="shop")

    assert stocks(counted, "accessory") == {"main": 1, "shop": 9, "kitchen": 4}


# Any history


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=histories(6, "order", "candles", "move", "transfer", "count", "done", "cancel"))
def test_any_history_of_moves_and_transfers_leaves_each_order_its_stock_at_its_site(
    shop: Connection, steps: Steps
) -> None:
    payloads: list[Payload] = []
    with shop.transaction(force_rollback=True):
        admin = make_staff(shop, role="Admin")
        counted = sum(stocks(shop, "candle").values())
        for minute, (step, which, amount) in enumerate(steps, start=10):
            if step == "order" or not payloads:
                payloads.append(order(line(CAKE), candles(amount)))
                deliver(shop, "orders/create", payloads[-1])
                continue
            if step == "count":
                stock_up(shop, item(shop, "candle"), SITES[which % 3], amount + 1)
                counted += amount + 1
                continue
            try:
                with shop.transaction():
                    change(shop, admin, payloads, (step, which, amount, minute))
            except psycopg.Error as refusal:
                if refusal.diag.message_hint not in ("CONFLICT", "INVALID_STAGE", "CANCELLED"):
                    raise
            assert wrong(shop) == []
        taken = value(
            shop,
            "select coalesce(sum(booked.taken), 0) from public.shopify_orders as heads "
            "cross join app.stock_booked(heads.store, heads.gid) as booked "
            "where booked.item_id = %s and booked.site = heads.site",
            item(shop, "candle"),
        )
        assert sum(stocks(shop, "candle").values()) + taken == counted


def change(
    db: Connection, admin: UUID, payloads: list[Payload], move: tuple[str, int, int, int]
) -> None:
    """Makes one change to an order, or to the stock of the sites."""
    step, which, amount, minute = move
    site, other = SITES[amount % 3], SITES[(amount + 1 + which % 2) % 3]
    payload = payloads[which % len(payloads)]
    (cake,) = ids(db, payload)
    if step == "transfer":
        transfer(db, admin, amount + 1, site, other)
    elif step == "move":
        call(db, admin, "set_order_site", p_order_id=cake, p_site=site)
    elif step == "done":
        complete(db, cake)
    elif step == "cancel":
        call(db, admin, "cancel_order", p_order_id=cake)
    else:
        payload = later(payload, minute)
        payload["line_items"][1] |= {"quantity": amount}
        payloads[which % len(payloads)] = payload
        deliver(db, "orders/updated", payload)


# At once


@pytest.fixture
def bakery(clone: str) -> Iterator[str]:
    with psycopg.connect(clone) as conn:
        prepare(conn)
        open_sites(conn)
        furnish(conn)
    yield clone
    with psycopg.connect(clone) as conn:
        conn.execute("select app.fill_holds()")
        assert wrong(conn) == []


def moving(db: Connection, source: str, target: str, quantity: int) -> Call:
    return Call(
        make_staff(db, role="Supervisor"),
        "select public.transfer_stock(%s, %s, %s, %s)",
        (item(db, "candle"), source, target, quantity),
    )


@pytest.mark.parametrize("transfer_first", [True, False])
def test_a_transfer_and_an_order_at_once_take_each_piece_once(
    bakery: str, transfer_first: bool
) -> None:
    arrival = webhook("orders/create", order(line(CAKE), candles(6)))
    with psycopg.connect(bakery) as conn:
        out = moving(conn, "shop", "kitchen", 4)

    meet(bakery, *((out, arrival) if transfer_first else (arrival, out)))

    with psycopg.connect(bakery) as conn:
        assert stocks(conn, "candle") == {"main": 10, "shop": 0, "kitchen": 14}


def test_two_transfers_the_other_way_round_do_not_deadlock(bakery: str) -> None:
    with psycopg.connect(bakery) as conn:
        there, back = moving(conn, "shop", "kitchen", 4), moving(conn, "kitchen", "shop", 3)

    meet(bakery, there, back)

    with psycopg.connect(bakery) as conn:
        assert stocks(conn, "candle") == {"main": 10, "shop": 9, "kitchen": 11}


@pytest.mark.parametrize("edit_first", [True, False])
def test_an_order_that_moves_while_it_is_edited_takes_what_the_edit_asks(
    bakery: str, edit_first: bool
) -> None:
    payload = order(line(CAKE), candles(1))
    with psycopg.connect(bakery) as conn:
        (cake,) = created(conn, payload)
        move = Call(
            make_staff(conn, role="Supervisor"),
            "select public.set_order_site(%s, 'kitchen')",
            (cake,),
        )
    more = later(payload)
    more["line_items"][1]["quantity"] = 5
    edit = webhook("orders/updated", more)

    meet(bakery, *((edit, move) if edit_first else (move, edit)))

    with psycopg.connect(bakery) as conn:
        assert stocks(conn, "candle") == {"main": 10, "shop": 10, "kitchen": 5}


def meets_a_writer_of_the_shop(dsn: str, work: Callable[[], object]) -> None:
    """Runs the work while a session holds the candles of the shop, and then moves some."""
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn) as keeper:
        candle = item(keeper, "candle")
        keeper.execute("select app.lock_stock(%s, 'shop')", (candle,))
        working = pool.submit(work)
        wait_for_waiting(keeper, 1)
        keeper.execute(
            "select app.move_stock(%s, 1, 'adjust', 'count', null, p_site => 'shop')", (candle,)
        )
        keeper.commit()
        working.result()


def test_an_order_that_moves_locks_both_sites_before_it_queues_a_push(bakery: str) -> None:
    with psycopg.connect(bakery) as conn:
        (cake,) = created(conn, order(line(CAKE), candles(1)))
        supervisor = make_staff(conn, role="Supervisor")
        call(conn, supervisor, "set_order_site", p_order_id=cake, p_site="kitchen")

    def move() -> None:
        with psycopg.connect(bakery) as conn:
            call(conn, supervisor, "set_order_site", p_order_id=cake, p_site="shop")

    meets_a_writer_of_the_shop(bakery, move)

    with psycopg.connect(bakery) as conn:
        assert stocks(conn, "candle") == {"main": 10, "shop": 10, "kitchen": 10}


def test_filling_all_holds_locks_the_sites_of_an_item_before_it_queues_a_push(bakery: str) -> None:
    with psycopg.connect(bakery) as conn:
        supervisor = make_staff(conn, role="Supervisor")
        for site in ("kitchen", "shop"):
            (cake,) = created(conn, order(line(CAKE), candles(12)))
            call(conn, supervisor, "set_order_site", p_order_id=cake, p_site=site)
        conn.execute("alter table public.inventory_txn disable trigger inventory_txn_fill_waiting")
        for site in ("kitchen", "shop"):
            conn.execute(
                "select app.move_stock(%s, 5, 'adjust', 'delivery', null, p_site => %s)",
                (item(conn, "candle"), site),
            )

    def fill() -> None:
        with psycopg.connect(bakery) as conn:
            conn.execute("select app.fill_holds()")

    meets_a_writer_of_the_shop(bakery, fill)

    with psycopg.connect(bakery) as conn:
        assert stocks(conn, "candle") == {"main": 10, "shop": 4, "kitchen": 3}


def test_a_mapped_location_locks_its_jobs_in_the_order_of_a_worker(bakery: str) -> None:
    with psycopg.connect(bakery) as conn:
        admin = make_staff(conn, role="Admin")
        for sku in ("z-last", "a-first"):  # the table has them in this order
            make_item(conn, sku)
            value(conn, "select app.enqueue('inventory_push', '{}', %s)", sku)
        with acting_as(conn, "service_role"):
            jobs = conn.execute(
                "select token, id from public.claim_work('{inventory_push}', 'worker')"
            ).fetchall()
    token, held = jobs[0][0], [job for _, job in jobs]

    def extend() -> Any:
        with psycopg.connect(bakery) as conn:
            return call(
                conn, None, "extend_work_lease", p_token=token, p_ids=held, p_lease="1 minute"
            )

    def map_it() -> Any:
        with psycopg.connect(bakery) as conn:
            return map_main(conn, admin)

    with ThreadPoolExecutor() as pool, psycopg.connect(bakery) as keeper:
        keeper.execute(
            "select from public.work_queue where dedupe_key = 'a-first' for no key update"
        )
        worker = pool.submit(extend)
        wait_for_waiting(keeper, 1)
        mapped = pool.submit(map_it)
        wait_for_waiting(keeper, 2)
        keeper.commit()
        assert worker.result() == len(held)
        assert mapped.result() == "gid://shopify/Location/7"


def map_main(db: Connection, admin: UUID) -> Any:
    return call(db, admin, "save_site_location", p_store="bannos", p_site="main", p_location_id="7")
