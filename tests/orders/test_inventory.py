"""Stock: one ledger and one writer. Edits of the catalog change no stock."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, ask, raises_code
from orders.races import Call, meet
from rows import make_staff, value, values

ADJUST: dict[str, LiteralString] = {
    "component": "select public.adjust_component_stock(%s, %s, p_reason => 'correction')",
    "accessory": "select public.adjust_accessory_stock(%s, %s, p_reason => 'correction')",
    "topper": "select public.adjust_cake_topper_stock(%s, %s, p_reason => 'correction')",
}
# the functions that clients call, with the parameter names of the clients
CONTRACT = {
    "get_components": "p_category p_active_only p_search",
    "get_low_stock_components": "",
    "upsert_component": "p_id p_sku p_name p_description p_category p_min_stock p_unit p_is_active",
    "adjust_component_stock": "p_component_id p_change p_reason p_reference p_created_by",
    "delete_component": "p_id",
    "get_boms": "p_store p_active_only p_search",
    "upsert_bom": "p_id p_product_title p_store p_description p_is_active p_shopify_product_id",
    "save_bom_items": "p_bom_id p_items",
    "delete_bom": "p_id",
    "get_accessories": "p_category p_active_only",
    "get_accessories_needing_sync": "",
    "upsert_accessory": "p_id p_sku p_name p_category p_product_match p_min_stock p_is_active",
    "adjust_accessory_stock": "p_accessory_id p_change p_reason p_reference p_created_by",
    "soft_delete_accessory": "p_id",
    "soft_delete_cake_topper": "p_id",
    "get_cake_toppers": "p_active_only",
    "upsert_cake_topper": "p_id p_name_1 p_name_2 p_min_stock p_shopify_product_id_1 "
    "p_shopify_product_id_2 p_is_active",
    "adjust_cake_topper_stock": "p_topper_id p_change p_reason p_reference p_created_by",
    "get_stock_transactions": "p_table_name p_item_id p_limit",
    "get_accessory_keywords": "p_search p_is_active",
    "upsert_accessory_keyword": "p_keyword p_component_id p_id p_priority p_match_type p_is_active",
    "get_inventory_status": "p_search",
    "deduct_on_order_create": "p_order_gid p_payload",
}


def make_item(
    db: Connection, sku: str, stock: object = 0, kind: str = "accessory", **columns: object
) -> UUID:
    """Adds an item with this stock. Deletes the jobs that this has queued."""
    row: dict[str, object] = {"sku": sku, "kind": kind, "title": sku} | columns
    insert = psycopg.sql.SQL(
        "insert into public.inventory_items ({}) values ({}) returning id"
    ).format(
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
        psycopg.sql.SQL(", ").join([psycopg.sql.Placeholder()] * len(row)),
    )
    made = db.execute(insert, list(row.values())).fetchone()
    assert made is not None
    if stock:
        db.execute("select app.move_stock(%s, %s::numeric, 'adjust')", (made[0], str(stock)))
        db.execute("delete from public.work_queue where dedupe_key = %s", (sku,))
    return UUID(str(made[0]))


def stock(db: Connection, item_id: UUID) -> Any:
    return value(
        db, "select coalesce(sum(on_hand), 0) from public.site_stock where item_id = %s", item_id
    )


def map_location(db: Connection, store: str = "bannos", site: str = "main", number: int = 1) -> str:
    """Gives a site its location in the shop of a store. Returns the gid of the location."""
    location = f"gid://shopify/Location/{number}"
    db.execute(
        "insert into public.site_locations (store, site, location_id) values (%s, %s, %s)",
        (store, site, location),
    )
    return location


def set_buffer(db: Connection, item_id: UUID, buffer: int) -> None:
    """Keeps stock back. Deletes the jobs that this has queued."""
    db.execute("update public.site_stock set buffer = %s where item_id = %s", (buffer, item_id))
    db.execute("delete from public.work_queue where topic = 'inventory_push'")


def pushes(db: Connection) -> list[str]:
    return values(
        db, "select dedupe_key from public.work_queue where topic = 'inventory_push' order by 1"
    )


def items_that_differ_from_their_ledger(db: Connection) -> list[str]:
    return values(
        db,
        """
        select items.sku from public.inventory_items as items
        inner join public.site_stock as stock on stock.item_id = items.id
        left join public.inventory_txn as txn on (txn.item_id, txn.site) = (items.id, stock.site)
        group by items.id, stock.item_id, stock.site
        having stock.on_hand <> coalesce(sum(txn.change_amount), 0)
        """,
    )


def breaks_in_the_ledger(db: Connection) -> list[int]:
    """Returns ledger rows that do not continue from the previous row."""
    return values(
        db,
        """
        select id from (
          select id, stock_before, lag(stock_after, 1, 0) over (
            partition by item_id, site order by id
          )
          from public.inventory_txn
        ) as rows (id, stock_before, was) where stock_before <> was
        """,
    )


# The interface


@pytest.mark.parametrize("name", CONTRACT)
@pytest.mark.spec("P40")
def test_every_function_and_parameter_that_the_client_uses_exists(
    db: Connection, name: str
) -> None:
    inputs = values(
        db,
        "select arg from pg_proc as fun, unnest(fun.proargnames[:fun.pronargs]) "
        "with ordinality as args (arg, nr) "
        "where pronamespace = 'public'::regnamespace and proname = %s order by nr",
        name,
    )

    assert inputs[: len(CONTRACT[name].split())] == CONTRACT[name].split()
    assert value(
        db,
        "select pronargs - pronargdefaults <= %s from pg_proc "
        "where pronamespace = 'public'::regnamespace and proname = %s",
        len(CONTRACT[name].split()),
        name,
    )


READS: list[LiteralString] = [
    "select count(*) from public.get_components()",
    "select count(*) from public.get_low_stock_components()",
    "select count(*) from public.get_accessories()",
    "select count(*) from public.get_accessories_needing_sync()",
    "select count(*) from public.get_cake_toppers()",
    "select count(*) from public.get_boms()",
    "select count(*) from public.get_accessory_keywords()",
    "select count(*) from public.get_stock_transactions()",
    "select count(*) from public.get_inventory_status()",
    "select count(*) from public.get_shortages()",
    "select count(*) from public.inventory_items",
    "select count(*) from public.boms, public.bom_items, public.accessory_keywords",
]
STOCK: list[LiteralString] = [
    "select public.adjust_component_stock(%(component)s, 1)",
    "select public.adjust_accessory_stock(%(accessory)s, 1)",
    "select public.adjust_cake_topper_stock(%(topper)s, 1)",
]
CATALOGUE: list[LiteralString] = [
    "select public.upsert_component(p_sku => 'new', p_name => 'New')",
    "select public.upsert_accessory(p_sku => 'new', p_name => 'New')",
    "select public.upsert_cake_topper(p_name_1 => 'New')",
    "select public.delete_component(%(component)s)",
    "select public.soft_delete_accessory(%(accessory)s)",
    "select public.soft_delete_cake_topper(%(topper)s)",
    "select public.upsert_accessory_keyword('new', %(accessory)s)",
    "select public.upsert_bom(p_product_title => 'New')",
    "select public.save_bom_items(%(bom)s, '[]')",
    "select public.delete_bom(%(bom)s)",
    "select public.set_stock_buffer(%(accessory)s, 1)",
]
SERVICE: list[LiteralString] = [
    "select count(*) from public.get_push_items('{}')",
    "select public.apply_reconcile('[]')",
]


@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
@pytest.mark.parametrize(
    ("query", "lowest"),
    [(query, "Staff") for query in READS]
    + [(query, "Supervisor") for query in STOCK]
    + [(query, "Admin") for query in CATALOGUE],
)
def test_staff_read_supervisors_count_and_admins_edit(
    db: Connection, role: str, query: LiteralString, lowest: str
) -> None:
    ids = {kind: make_item(db, kind, kind=kind) for kind in ADJUST}
    ids["bom"] = value(db, "insert into public.boms (product_title) values ('Cake') returning id")
    account = make_staff(db, role=role)
    ranks = ["Staff", "Supervisor", "Admin"]

    if ranks.index(role) >= ranks.index(lowest):
        with acting_as(db, "authenticated", account):
            assert db.execute(query, ids).fetchone() is not None
    else:
        with (
            raises_code("PERMISSION_DENIED", "PT403"),
            acting_as(db, "authenticated", account),
        ):
            db.execute(query, ids)


@pytest.mark.parametrize("query", SERVICE)
def test_only_the_service_calls_the_functions_of_the_worker(
    db: Connection, admin: UUID, query: LiteralString
) -> None:
    with acting_as(db, "service_role"):
        assert db.execute(query).fetchone() is not None
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, "authenticated", admin),
    ):
        db.execute(query)


@pytest.mark.parametrize("table", ["inventory_items", "accessory_keywords", "boms"])
def test_a_stranger_sees_no_items(db: Connection, table: str) -> None:
    item = make_item(db, "candle")
    db.execute(
        "insert into public.accessory_keywords (keyword, component_id) values ('c', %s)", (item,)
    )
    db.execute("insert into public.boms (product_title) values ('Cake')")
    count = psycopg.sql.SQL("select count(*) from public.{}").format(psycopg.sql.Identifier(table))

    with acting_as(db, "authenticated", make_staff(db)):
        assert db.execute(count).fetchone() == (1,)
    with acting_as(db, "authenticated", uuid4()):
        assert db.execute(count).fetchone() == (0,)


# Stock


def test_an_adjustment_answers_with_the_column_names_of_its_kind(
    db: Connection, supervisor: UUID
) -> None:
    board = make_item(db, "board", 2, "component", title="Cake board")
    candle = make_item(db, "candle", 0, title="Candle")
    topper = make_item(db, "star", 1, "topper", title="Star Cake", alt_title="Moon Cake")

    assert ask(db, supervisor, ADJUST["component"], board, 3) == {
        "success": True,
        "component": "Cake board",
        "before": 2,
        "after": 5,
        "change": 3,
    }
    assert ask(db, supervisor, ADJUST["accessory"], candle, 3) == {
        "success": True,
        "accessory": "Candle",
        "before": 0,
        "after": 3,
        "change": 3,
        "needs_sync": True,
    }
    assert ask(db, supervisor, ADJUST["topper"], topper, -1) == {
        "success": True,
        "old_stock": 1,
        "new_stock": 0,
        "name_1": "Star Cake",
        "name_2": "Moon Cake",
    }


@pytest.mark.parametrize("kind", ADJUST)
@pytest.mark.spec("P35")
def test_stock_is_never_clamped_at_zero(db: Connection, supervisor: UUID, kind: str) -> None:
    item = make_item(db, "item", 2, kind)

    with raises_code("CONFLICT", "PT409"):
        ask(db, supervisor, ADJUST[kind], item, -3)

    assert stock(db, item) == 2
    assert items_that_differ_from_their_ledger(db) == []


@pytest.mark.spec("P35")
def test_a_fraction_of_a_unit_can_be_taken(db: Connection, supervisor: UUID) -> None:
    cream = make_item(db, "cream", "1", "component", uom="kg")

    ask(db, supervisor, ADJUST["component"], cream, Decimal("-0.4"))

    assert stock(db, cream) == Decimal("0.6")


@pytest.mark.parametrize(
    "change", [None, 0, Decimal("0.0001"), Decimal("NaN"), Decimal("Infinity"), Decimal("1e30")]
)
def test_a_change_of_stock_is_a_number_to_the_thousandth(
    db: Connection, supervisor: UUID, change: object
) -> None:
    item = make_item(db, "item", 2, "component")

    with raises_code("BAD_INPUT", "PT400"):
        ask(db, supervisor, ADJUST["component"], item, change)


def test_stock_above_the_limit_is_refused(db: Connection, supervisor: UUID) -> None:
    item = make_item(db, "item", 999999999, "component")

    with raises_code("CONFLICT", "PT409"):
        ask(db, supervisor, ADJUST["component"], item, 1)


@pytest.mark.parametrize("kind", ADJUST)
def test_an_item_of_another_kind_is_not_found(db: Connection, supervisor: UUID, kind: str) -> None:
    other = make_item(db, "item", 5, "topper" if kind == "component" else "component")

    for item in (other, uuid4(), None):
        with raises_code("NOT_FOUND", "PT404"):
            ask(db, supervisor, ADJUST[kind], item, 1)


@pytest.mark.spec("P29")
def test_every_change_is_in_the_one_ledger_with_its_actor(db: Connection, supervisor: UUID) -> None:
    items = {kind: make_item(db, kind, 1, kind) for kind in ADJUST}
    for kind, item in items.items():
        ask(db, supervisor, ADJUST[kind], item, 4)

    ledger = db.execute(
        "select item_id, kind, change_amount, stock_before, stock_after, reason, actor_id, "
        "actor_kind from public.inventory_txn where actor_id is not null order by id"
    ).fetchall()

    assert ledger == [
        (item, "adjust", 4, 1, 5, "correction", supervisor, "staff") for item in items.values()
    ]


def test_an_adjustment_in_the_name_of_another_account_is_refused(
    db: Connection, supervisor: UUID
) -> None:
    item = make_item(db, "board", 0, "component")
    adjust: LiteralString = "select public.adjust_component_stock(%s, 1, p_created_by => %s)"

    ask(db, supervisor, adjust, item, str(supervisor))
    with raises_code("PERMISSION_DENIED", "PT403"):
        ask(db, supervisor, adjust, item, str(uuid4()))

    assert stock(db, item) == 1


@pytest.mark.parametrize(
    "change",
    [
        "update public.inventory_txn set reason = 'other' where true",
        "delete from public.inventory_txn where true",
        "truncate public.inventory_txn",
    ],
)
def test_the_ledger_is_append_only(db: Connection, change: LiteralString) -> None:
    make_item(db, "candle", 1)

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(change)


def test_the_ledger_is_listed_newest_first(db: Connection, supervisor: UUID) -> None:
    board = make_item(db, "board", 1, "component", title="Board")
    candle = make_item(db, "candle", 1)
    ask(db, supervisor, ADJUST["component"], board, 2)
    listing: LiteralString = (
        "select array_agg(array[table_name, item_name, change_amount::text, stock_before::text, "
        "stock_after::text, reason, created_by]) from public.get_stock_transactions(%s, %s, %s)"
    )

    of_board = ask(db, supervisor, listing, None, board, None)

    assert of_board == [
        ["components", "Board", "2.000", "1.000", "3.000", "correction", "Test Supervisor"],
        ["components", "Board", "1.000", "0.000", "1.000", "adjust", "system"],
    ]
    assert ask(db, supervisor, listing, None, None, 1) == of_board[:1]
    assert [row[1] for row in ask(db, supervisor, listing, "accessories", None, 9)] == ["candle"]
    assert ask(db, supervisor, listing, "components", candle, 9) is None
    with raises_code("BAD_INPUT", "PT400"):
        ask(db, supervisor, listing, "staff_shared", None, 9)


@pytest.mark.spec("P35")
def test_two_calls_cannot_both_take_the_last_unit(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        item = make_item(conn, "board", 1, "component")
        one, two = make_staff(conn, role="Supervisor"), make_staff(conn, role="Supervisor")
    adjust = ADJUST["component"]

    with raises_code("CONFLICT", "PT409"):
        meet(clone, Call(one, adjust, (item, -1)), Call(two, adjust, (item, -1)))

    with psycopg.connect(clone) as conn:
        assert stock(conn, item) == 0
        assert items_that_differ_from_their_ledger(conn) == []


@pytest.mark.spec("P35")
def test_the_ledger_equals_the_stock_after_counts_at_once(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        items = [make_item(conn, f"candle-{nr}", 20) for nr in range(3)]
        account = make_staff(conn, role="Supervisor")

    def count(seed: int) -> tuple[int, int]:
        done = refused = 0
        with psycopg.connect(clone) as conn:
            for step in range(25):
                change = (-9, 4, -7, 5)[(seed + step) % 4]
                try:
                    ask(conn, account, ADJUST["accessory"], items[(seed * step) % 3], change)
                    done += 1
                except psycopg.Error as error:
                    refused += error.sqlstate == "PT409"
                conn.commit()
        return done, refused

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(count, range(8)))

    with psycopg.connect(clone) as conn:
        done, refused = (sum(column) for column in zip(*outcomes, strict=True))
        assert done + refused == 200
        assert refused > 0
        assert value(conn, "select count(*) from public.inventory_txn") == 3 + done
        assert items_that_differ_from_their_ledger(conn) == []
        assert breaks_in_the_ledger(conn) == []


def test_counts_at_once_each_answer_their_own_before_and_after(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        item = make_item(conn, "board", 0, "component")
        account = make_staff(conn, role="Supervisor")

    def count(_: int) -> list[tuple[int, int]]:
        with psycopg.connect(clone, autocommit=True) as conn:
            answers = [ask(conn, account, ADJUST["component"], item, 1) for _ in range(25)]
        return [(answer["before"], answer["after"]) for answer in answers]

    with ThreadPoolExecutor(8) as pool:
        told = [pair for pairs in pool.map(count, range(8)) for pair in pairs]

    assert sorted(told) == [(nr, nr + 1) for nr in range(200)]


def test_status_shows_stock_reserved_buffer_and_what_is_left(
    db: Connection, supervisor: UUID, admin: UUID
) -> None:
    item = make_item(db, "candle", 10, title="Candle", min_stock=11)
    make_item(db, "gone", 10, title="Gone", is_active=False)
    ask(db, admin, "select public.set_stock_buffer(%s, 2.5)", item)
    with acting_as(db, "authenticated", supervisor):
        rows = db.execute(
            "select sku, title, kind, stock, reserved, buffer, ats, min_stock, is_low_stock "
            "from public.get_inventory_status()"
        ).fetchall()

    assert rows == [
        ("candle", "Candle", "accessory", 10, 0, Decimal("2.5"), Decimal("7.5"), 11, True)
    ]


# Pushing to the shops


def test_moving_stock_asks_for_one_push_per_sku(
    db: Connection, supervisor: UUID, admin: UUID
) -> None:
    candle, balloon = make_item(db, "candle", 5), make_item(db, "balloon", 5)
    make_item(db, "board", 5, "component")
    assert pushes(db) == []

    for _ in range(3):
        ask(db, supervisor, ADJUST["accessory"], candle, 1)
    assert pushes(db) == ["candle"]
    ask(db, admin, "select public.set_stock_buffer(%s, 1)", balloon)

    assert pushes(db) == ["balloon", "candle"]
    assert values(db, "select payload from public.work_queue where dedupe_key = 'candle'") == [
        {"sku": "candle"}
    ]


def test_an_item_that_no_shop_sells_is_not_pushed(db: Connection, supervisor: UUID) -> None:
    board = make_item(db, "board", 5, "component")
    old = make_item(db, "old", 5, is_active=False)

    ask(db, supervisor, ADJUST["component"], board, 1)
    ask(db, supervisor, ADJUST["accessory"], old, 1)

    assert pushes(db) == []


def test_the_shops_are_told_whole_pieces_and_never_less_than_none(db: Connection) -> None:
    make_item(db, "candle", "2.5", shopify_variant_id="9")
    balloon = make_item(db, "balloon", 1)
    set_buffer(db, balloon, 3)
    location = map_location(db)
    make_item(db, "star", 4, "topper", shopify_product_id_2="77")
    make_item(db, "board", 5, "component")

    with acting_as(db, "service_role"):
        rows = db.execute(
            "select * from public.get_push_items('{candle,star,balloon,board,nothing}')"
        ).fetchall()

    assert rows == [
        ("balloon", 0, None, [], "bannos", location, "main"),
        ("candle", 2, "9", [], "bannos", location, "main"),
        ("star", 4, None, ["77"], "bannos", location, "main"),
    ]


def reconcile(db: Connection, *counts: tuple[str, object]) -> Any:
    listed = json.dumps([{"sku": sku, "available": available} for sku, available in counts])
    with acting_as(db, "service_role"):
        return value(db, "select public.apply_reconcile(%s)", listed)


def let_time_pass(db: Connection) -> None:
    """Sets the clock two hours ahead, so that all movements so far are older."""
    db.execute(
        "insert into app.clock (at) values (now() + interval '2 hours') "
        "on conflict (xid) do update set at = excluded.at"
    )


def test_reconciling_corrects_by_ledger_rows(db: Connection) -> None:
    more, less, same = (make_item(db, sku, 5) for sku in ("more", "less", "same"))
    for item in (more, less, same):
        set_buffer(db, item, 1)
    over = make_item(db, "over", 2)
    board = make_item(db, "board", 5, "component")
    let_time_pass(db)

    answer = reconcile(
        db, ("same", 4), ("more", 9), ("over", -3), ("less", 1), ("board", 1), ("nothing", 1)
    )

    assert answer == {
        "corrected": [
            {"sku": "less", "was": 4, "is": 1},
            {"sku": "more", "was": 4, "is": 9},
            {"sku": "over", "was": 2, "is": 0},
        ],
        "same": 1,
        "waiting": 0,
    }
    assert [stock(db, item) for item in (more, less, same, over, board)] == [10, 2, 5, 0, 5]
    assert db.execute(
        "select change_amount, reason, actor_kind from public.inventory_txn "
        "where kind = 'reconcile' order by change_amount"
    ).fetchall() == [
        (-3, "reconcile", "service"),
        (-2, "reconcile", "service"),
        (5, "reconcile", "service"),
    ]
    assert items_that_differ_from_their_ledger(db) == []


def test_reconciling_skips_changes_that_the_shops_do_not_know_yet(
    db: Connection, supervisor: UUID
) -> None:
    moved = make_item(db, "moved", 5)
    queued, dead = make_item(db, "queued", 4), make_item(db, "dead", 4)
    let_time_pass(db)
    ask(db, supervisor, ADJUST["accessory"], moved, 1)
    db.execute("delete from public.work_queue where dedupe_key = 'moved'")
    db.execute("""select app.enqueue('inventory_push', '{"sku": "queued"}', 'queued')""")
    db.execute(
        "insert into public.work_dead (id, topic, priority, payload, dedupe_key, retries, "
        "max_retries, created_at) values (1, 'inventory_push', 5, '{}', 'dead', 3, 3, now())"
    )

    answer = reconcile(db, ("moved", 1), ("queued", 1), ("dead", 1))

    assert answer == {"corrected": [], "same": 0, "waiting": 3}
    assert [stock(db, item) for item in (moved, queued, dead)] == [6, 4, 4]


@pytest.mark.parametrize(
    "counts",
    [
        None,
        "{}",
        "[1]",
        "[null]",
        '[{"sku": "a"}]',
        '[{"sku": 1, "available": 1}]',
        '[{"sku": "a", "available": "1"}]',
    ],
)
def test_invalid_counts_are_refused(db: Connection, counts: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"), acting_as(db, "service_role"):
        db.execute("select public.apply_reconcile(%s)", (counts,))


# The catalog


def columns(db: Connection, item_id: UUID) -> dict[str, Any]:
    row: dict[str, Any] = value(
        db, "select to_jsonb(items) from public.inventory_items as items where id = %s", item_id
    )
    return row


@pytest.mark.spec("P35")
def test_editing_an_item_never_changes_its_stock(db: Connection, admin: UUID) -> None:
    component = ask(
        db, admin, "select public.upsert_component(p_sku => 'board', p_name => 'Board')"
    )
    accessory = ask(
        db, admin, "select public.upsert_accessory(p_sku => 'candle', p_name => 'Candle')"
    )
    topper = ask(db, admin, "select public.upsert_cake_topper(p_name_1 => 'Star')")
    for item in (component, accessory, topper):
        assert stock(db, item) == 0
        db.execute("select app.move_stock(%s, 7, 'adjust')", (item,))

    ask(db, admin, "select public.upsert_component(%s, p_name => 'Board 2')", component)
    ask(db, admin, "select public.upsert_accessory(%s, p_name => 'Candle 2')", accessory)
    ask(db, admin, "select public.upsert_cake_topper(%s, p_name_1 => 'Star 2')", topper)

    for item, title in ((component, "Board 2"), (accessory, "Candle 2"), (topper, "Star 2")):
        assert (columns(db, item)["title"], stock(db, item)) == (title, 7)


def test_new_items_have_the_defaults_of_their_kind(db: Connection, admin: UUID) -> None:
    component = ask(db, admin, "select public.upsert_component(p_sku => ' a ', p_name => ' A ')")
    accessory = ask(db, admin, "select public.upsert_accessory(p_sku => 'b', p_name => 'B')")
    topper = ask(db, admin, "select public.upsert_cake_topper(p_name_1 => 'C')")

    def facts(item: UUID) -> tuple[object, ...]:
        row = columns(db, item)
        return tuple(row[key] for key in ("sku", "title", "category", "uom", "min_stock"))

    assert facts(component) == ("a", "A", "other", "each", 0)
    assert facts(accessory) == ("b", "B", "other", "each", 5)
    assert facts(topper) == (f"topper-{topper}", "C", "topper", "each", 5)


@pytest.mark.spec("P40")
def test_null_leaves_a_field_and_an_empty_text_clears_it(db: Connection, admin: UUID) -> None:
    item = ask(
        db,
        admin,
        "select public.upsert_component(p_sku => 'board', p_name => 'Board', p_min_stock => 4, "
        "p_description => 'Round', p_category => 'packaging', p_unit => 'pack')",
    )
    before = columns(db, item)

    ask(db, admin, "select public.upsert_component(%s)", item)
    assert columns(db, item) == before
    ask(
        db, admin, "select public.upsert_component(%s, p_description => '', p_min_stock => 0)", item
    )

    after = columns(db, item)
    assert (after["description"], after["min_stock"]) == (None, 0)
    assert (after["category"], after["uom"]) == ("packaging", "pack")


def test_an_empty_match_is_no_match_rather_than_every_line(db: Connection, admin: UUID) -> None:
    item = ask(
        db,
        admin,
        "select public.upsert_accessory(p_sku => 'c', p_name => 'C', p_product_match => ' ')",
    )

    assert columns(db, item)["product_match"] is None


BAD_ITEMS: list[LiteralString] = [
    "select public.upsert_component(p_sku => 'x')",
    "select public.upsert_component(p_name => 'x')",
    "select public.upsert_component(p_sku => '', p_name => 'x')",
    "select public.upsert_component(p_sku => 'x', p_name => ' ')",
    "select public.upsert_component(p_sku => repeat('x', 201), p_name => 'x')",
    "select public.upsert_component(p_sku => 'x', p_name => 'x', p_unit => '')",
    "select public.upsert_component(p_sku => 'x', p_name => 'x', p_min_stock => -1)",
    "select public.upsert_component(p_sku => 'x', p_name => 'x', p_min_stock => 'NaN')",
    "select public.upsert_component(p_sku => 'x', p_name => 'x', p_min_stock => 1e20)",
    "select public.upsert_accessory(p_sku => 'x', p_name => 'x', p_category => 'cake')",
    "select public.upsert_cake_topper()",
]


@pytest.mark.parametrize("query", BAD_ITEMS)
def test_an_invalid_item_is_refused(db: Connection, admin: UUID, query: LiteralString) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        ask(db, admin, query)


def test_a_sku_belongs_to_one_item_of_any_kind(db: Connection, admin: UUID) -> None:
    make_item(db, "candle")
    board = make_item(db, "board", 0, "component")

    with raises_code("CONFLICT", "PT409"):
        ask(db, admin, "select public.upsert_component(p_sku => 'candle', p_name => 'C')")
    with raises_code("CONFLICT", "PT409"):
        ask(db, admin, "select public.upsert_component(%s, p_sku => 'candle')", board)


UNKNOWN: list[LiteralString] = [
    "select public.upsert_component(%s)",
    "select public.upsert_accessory(%s)",
    "select public.upsert_cake_topper(%s)",
    "select public.delete_component(%s)",
    "select public.soft_delete_accessory(%s)",
    "select public.soft_delete_cake_topper(%s)",
    "select public.set_stock_buffer(%s, 1)",
    "select public.upsert_accessory_keyword('x', null, %s)",
    "select public.upsert_accessory_keyword('x', %s)",
    "select public.upsert_bom(%s)",
    "select public.save_bom_items(%s, '[]')",
    "select public.delete_bom(%s)",
]


@pytest.mark.parametrize("query", UNKNOWN)
def test_an_unknown_id_is_not_found(db: Connection, admin: UUID, query: LiteralString) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        ask(db, admin, query, uuid4())


def test_a_retired_item_leaves_the_lists_and_stays_in_the_ledger(
    db: Connection, admin: UUID
) -> None:
    retired: list[tuple[str, LiteralString, LiteralString]] = [
        (
            "component",
            "select public.delete_component(%s)",
            "select count(*) from public.get_components(p_active_only => %s)",
        ),
        (
            "accessory",
            "select public.soft_delete_accessory(%s)",
            "select count(*) from public.get_accessories(p_active_only => %s)",
        ),
        (
            "topper",
            "select public.soft_delete_cake_topper(%s)",
            "select count(*) from public.get_cake_toppers(p_active_only => %s)",
        ),
    ]
    for kind, retire, listing in retired:
        item = make_item(db, kind, 3, kind)

        assert ask(db, admin, retire, item) is True

        assert [ask(db, admin, listing, only) for only in (True, None, False)] == [0, 0, 1]
        assert (
            ask(db, admin, "select count(*) from public.get_stock_transactions(null, %s)", item)
            == 1
        )


def test_lists_mark_items_that_are_low(db: Connection, supervisor: UUID) -> None:
    for sku, on_hand in (("none", 0), ("few", 2), ("enough", 5)):
        make_item(db, f"a-{sku}", on_hand, min_stock=5)
        make_item(db, f"c-{sku}", on_hand, "component", min_stock=5)
        make_item(db, f"t-{sku}", on_hand, "topper", min_stock=5)

    with acting_as(db, "authenticated", supervisor):
        components = db.execute("select sku, is_low_stock from public.get_components()").fetchall()
        short = db.execute("select sku, shortage from public.get_low_stock_components()").fetchall()
        accessories = db.execute(
            "select sku, is_low_stock, is_out_of_stock from public.get_accessories()"
        ).fetchall()
        gone = values(db, "select sku from public.get_accessories_needing_sync()")
        toppers = db.execute(
            "select name_1, is_low_stock, is_out_of_stock from public.get_cake_toppers()"
        ).fetchall()

    assert components == [("c-enough", False), ("c-few", True), ("c-none", True)]
    assert short == [("c-none", 5), ("c-few", 3)]
    assert accessories == [
        ("a-enough", False, False),
        ("a-few", True, False),
        ("a-none", False, True),
    ]
    assert gone == ["a-none"]
    assert toppers == [("t-enough", False, False), ("t-few", True, False), ("t-none", False, True)]


@pytest.mark.parametrize(
    ("search", "found"), [("%", []), ("_", []), ("OARD", ["board"]), ("", ["board"])]
)
def test_a_search_takes_its_text_literally(
    db: Connection, supervisor: UUID, search: str, found: list[str]
) -> None:
    make_item(db, "board", 0, "component", title="Board")

    with acting_as(db, "authenticated", supervisor):
        assert values(db, "select sku from public.get_components(p_search => %s)", search) == found


def test_changes_of_items_are_audited(db: Connection, admin: UUID) -> None:
    item = ask(db, admin, "select public.upsert_component(p_sku => 'board', p_name => 'Board')")

    assert db.execute(
        "select actor_id, action, subject, meta from public.audit_log where subject = %s",
        (str(item),),
    ).fetchall() == [(admin, "save_component", str(item), {"sku": "board", "title": "Board"})]


# Keywords


def test_keywords_are_listed_in_the_order_they_are_tried(db: Connection, admin: UUID) -> None:
    candle = make_item(db, "candle", title="Candle")
    upsert: LiteralString = "select public.upsert_accessory_keyword(%s, %s, p_priority => %s)"
    for keyword, priority in (("gold", 0), ("gold candle", 0), ("can", 1)):
        ask(db, admin, upsert, keyword, candle, priority)
    changed = ask(db, admin, upsert, "wax", candle, 5)

    ask(
        db,
        admin,
        "select public.upsert_accessory_keyword(p_id => %s, p_is_active => false, p_priority => 0)",
        changed,
    )

    with acting_as(db, "authenticated", admin):
        assert values(db, "select keyword from public.get_accessory_keywords()") == [
            "can",
            "gold candle",
            "gold",
            "wax",
        ]
        assert values(db, "select keyword from public.get_accessory_keywords('WAX', false)") == [
            "wax"
        ]
        assert values(db, "select keyword from public.get_accessory_keywords(null, true)") == [
            "can",
            "gold candle",
            "gold",
        ]


@pytest.mark.spec("P50")
def test_a_keyword_belongs_to_one_item(db: Connection, admin: UUID) -> None:
    candle, balloon = make_item(db, "candle"), make_item(db, "balloon")
    upsert: LiteralString = "select public.upsert_accessory_keyword(%s, %s)"
    ask(db, admin, upsert, "Gold", candle)

    with raises_code("CONFLICT", "PT409"):
        ask(db, admin, upsert, "gold ", balloon)


@pytest.mark.parametrize(
    ("keyword", "match"), [("", "contains"), (None, "contains"), ("a", "like")]
)
def test_a_keyword_needs_letters_and_a_known_match_type(
    db: Connection, admin: UUID, keyword: str | None, match: str
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        ask(
            db,
            admin,
            "select public.upsert_accessory_keyword(%s, %s, p_match_type => %s)",
            keyword,
            make_item(db, "candle"),
            match,
        )


# Recipes


def save(db: Connection, account: UUID, bom: UUID, *items: dict[str, object]) -> Any:
    return ask(
        db,
        account,
        "select public.save_bom_items(%s, %s)",
        bom,
        json.dumps(items, default=str),
    )


def make_bom(db: Connection, account: UUID, title: str = "Cake", store: str = "both") -> UUID:
    bom: UUID = ask(
        db,
        account,
        "select public.upsert_bom(p_product_title => %s, p_store => %s)",
        title,
        store,
    )
    return bom


@pytest.mark.spec("P28")
def test_a_recipe_lists_its_parts_at_every_stage(db: Connection, admin: UUID) -> None:
    cream = make_item(db, "cream", 0, "component", title="Cream")
    bom = make_bom(db, admin)

    count = save(
        db,
        admin,
        bom,
        {"component_id": cream, "quantity_required": 0.4, "stage": "Covering"},
        {"component_id": cream, "quantity_required": 0.2, "stage": "Filling"},
        {"component_id": cream, "quantity_required": 1, "is_optional": True},
    )

    assert count == 3
    with acting_as(db, "authenticated", admin):
        parts = value(db, "select items from public.get_boms() where store = 'both'")
    assert [
        (
            part["component_name"],
            part["component_sku"],
            part["quantity_required"],
            part["stage"],
            part["is_optional"],
        )
        for part in parts
    ] == [
        ("Cream", "cream", 0.2, "Filling", False),
        ("Cream", "cream", 0.4, "Covering", False),
        ("Cream", "cream", 1, None, True),
    ]


def test_saving_a_recipe_replaces_all_of_it_or_nothing(db: Connection, admin: UUID) -> None:
    cream, board = (make_item(db, sku, 0, "component") for sku in ("cream", "board"))
    bom = make_bom(db, admin)
    save(db, admin, bom, {"component_id": cream, "quantity_required": 1})
    skus: LiteralString = (
        "select items.sku from public.bom_items as parts "
        "join public.inventory_items as items on items.id = parts.component_id"
    )

    bad_items: list[dict[str, object]] = [
        {"component_id": board, "quantity_required": 0},
        {"component_id": board, "quantity_required": -1},
        {"component_id": board, "quantity_required": "some"},
        {"component_id": board},
        {"component_id": "x", "quantity_required": 1},
        {"component_id": board, "quantity_required": 1, "stage": "Baking"},
        {"component_id": board, "quantity_required": 1e12},
    ]
    for bad in bad_items:
        with raises_code("BAD_INPUT", "PT400"):
            save(db, admin, bom, {"component_id": board, "quantity_required": 1}, bad)
    with raises_code("NOT_FOUND", "PT404"):
        save(db, admin, bom, {"component_id": uuid4(), "quantity_required": 1})
    for no_list in ("{}", "null", None):
        with raises_code("BAD_INPUT", "PT400"):
            ask(db, admin, "select public.save_bom_items(%s, %s)", bom, no_list)
    assert values(db, skus) == ["cream"]

    save(db, admin, bom, {"component_id": board, "quantity_required": 2})
    assert values(db, skus) == ["board"]


def test_two_saves_of_a_recipe_at_once_leave_one_of_them(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        admin = make_staff(conn, role="Admin")
        cream, board = (make_item(conn, sku, 0, "component") for sku in ("cream", "board"))
        bom = make_bom(conn, admin)
    query: LiteralString = "select public.save_bom_items(%s, %s)"

    def items(component: UUID) -> str:
        return json.dumps([{"component_id": str(component), "quantity_required": 1}])

    meet(clone, Call(admin, query, (bom, items(cream))), Call(admin, query, (bom, items(board))))

    with psycopg.connect(clone) as conn:
        assert values(conn, "select component_id from public.bom_items") == [board]


@pytest.mark.spec("P50")
def test_a_product_has_one_active_recipe_per_store(db: Connection, admin: UUID) -> None:
    bom = make_bom(db, admin, "Vanilla Cake")
    make_bom(db, admin, "Vanilla Cake", "bannos")

    for store in ("both", "bannos"):
        with raises_code("CONFLICT", "PT409"):
            make_bom(db, admin, "VANILLA cake", store)
    ask(db, admin, "select public.delete_bom(%s)", bom)
    make_bom(db, admin, "Vanilla cake")

    with acting_as(db, "authenticated", admin):
        assert db.execute("select store, product_title from public.get_boms()").fetchall() == [
            ("bannos", "Vanilla Cake"),
            ("both", "Vanilla cake"),
        ]


def test_a_recipe_of_one_store_is_hidden_from_the_other(db: Connection, admin: UUID) -> None:
    make_bom(db, admin, "Shared")
    bom = make_bom(db, admin, "Ours", "bannos")
    theirs = make_staff(db, role="Admin", store="flourlane")

    with acting_as(db, "authenticated", theirs):
        assert values(db, "select product_title from public.get_boms()") == ["Shared"]
        assert values(db, "select product_title from public.boms") == ["Shared"]
    with acting_as(db, "authenticated", make_staff(db, store="bannos")):
        assert values(db, "select product_title from public.get_boms('bannos')") == [
            "Ours",
            "Shared",
        ]
    attempts: list[LiteralString] = [
        "select public.upsert_bom(%s, 'Mine')",
        "select public.save_bom_items(%s, '[]')",
        "select public.delete_bom(%s)",
    ]
    for query in attempts:
        with raises_code("PERMISSION_DENIED", "PT403"):
            ask(db, theirs, query, bom)


@pytest.mark.spec("P40")
def test_editing_a_recipe_keeps_the_fields_that_are_not_named(db: Connection, admin: UUID) -> None:
    bom = ask(
        db,
        admin,
        "select public.upsert_bom(p_product_title => 'Cake', p_store => 'bannos', "
        "p_description => 'Round', p_shopify_product_id => '9', p_sku => 'C-1')",
    )
    row: LiteralString = (
        "select array[product_title, store, description, shopify_product_id, sku, "
        "is_active::text] from public.boms where id = %s"
    )

    ask(db, admin, "select public.upsert_bom(%s)", bom)
    assert value(db, row, bom) == ["Cake", "bannos", "Round", "9", "C-1", "true"]
    ask(
        db,
        admin,
        "select public.upsert_bom(%s, p_store => 'both', p_description => '', p_sku => '')",
        bom,
    )

    assert value(db, row, bom) == ["Cake", None, None, "9", None, "true"]


def test_a_component_that_a_recipe_needs_cannot_be_retired(db: Connection, admin: UUID) -> None:
    cream = make_item(db, "cream", 0, "component")
    bom = make_bom(db, admin)
    save(db, admin, bom, {"component_id": cream, "quantity_required": 1})

    with raises_code("CONFLICT", "PT409"):
        ask(db, admin, "select public.delete_component(%s)", cream)
    ask(db, admin, "select public.delete_bom(%s)", bom)

    assert ask(db, admin, "select public.delete_component(%s)", cream) is True
