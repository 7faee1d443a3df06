"""What must hold between tables: each invariant names the row that breaks it."""

import json
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from audit import audit
from bakehouse.database import Connection
from calls import acting_as, call
from orders.payloads import Line, Order, rest
from orders.test_inventory import make_item
from orders.test_queue import claim, complete, enqueue, fail
from projects.callers import caller
from rows import make_staff, values

CANDLE, BALLOON = Line("Candle", sku="candle"), Line("Balloon", sku="balloon", quantity=2)
MOVES = (
    *("print_barcode", "complete_filling", "start_covering", "complete_covering"),
    *("start_decorating", "complete_decorating", "start_packing", "complete_packing"),
)


@pytest.fixture
def bakery(db: Connection) -> Connection:
    """Orders at every stage, stock with holds, jobs in every state, and nested projects."""
    take_orders(db)
    fill_queue(db)
    nest_projects(db)
    db.execute("set constraints all immediate")  # a break may alter a table
    return db


def take_orders(db: Connection) -> None:
    admin, baker = make_staff(db, role="Admin"), make_staff(db)
    make_item(db, "candle", 3)
    make_item(db, "balloon", 50)
    orders = {n: Order(n, (cakes(1 + n % 2), CANDLE, BALLOON)) for n in range(1, 8)}
    for order in orders.values():
        ingest(db, "create", order)
    ingest(db, "updated", Order(2, (cakes(3), CANDLE, BALLOON), note="Side door", total="90.00"))
    ingest(db, "updated", Order(5, (cakes(3), CANDLE, BALLOON)))  # waits for a candle
    ingest(db, "cancelled", replace(orders[3], cancelled_at="2025-11-01T10:10:00+11:00"))
    call(db, admin, "cancel_order", p_order_id="bannos-1-A")
    for order_id, moves in {"bannos-4": 8, "bannos-6": 8, "bannos-5-A": 3, "bannos-5-B": 1}.items():
        for action in MOVES[:moves]:
            call(db, baker, action, p_order_id=order_id)
    call(db, admin, "qc_return_to_decorating", p_order_id="bannos-4")
    call(db, admin, "mark_order_complete", p_order_id="bannos-7-A")
    call(db, admin, "update_order_priority", p_order_id="bannos-4", p_priority="High")
    call(db, admin, "assign_staff", p_order_id="bannos-4", p_staff_id=baker)


def cakes(quantity: int) -> Line:
    return Line("Gelato Cake", variant="Medium / Vanilla", quantity=quantity)


def ingest(db: Connection, topic: str, order: Order) -> None:
    db.execute(
        "select app.ingest_order('bannos', %s, %s)", (f"orders/{topic}", json.dumps(rest(order)))
    )


def fill_queue(db: Connection) -> None:
    for key in "abcde":
        enqueue(db, key, max_retries=0 if key == "a" else 3)
    enqueue(db, delay=timedelta(hours=1))
    fail(db, claim(db, 1))
    complete(db, claim(db, 1))
    fail(db, claim(db, 1))
    claim(db, 1)


def nest_projects(db: Connection) -> None:
    api = caller(db)
    root = api.project()
    child = api.inside(root)
    api("complete_assignment", api.row(root))
    api(
        "complete_assignment", api.row(child, estimated_duration=3, estimated_duration_unit="hours")
    )
    api.row(api.inside(child, "Petals"))
    done = api.project("Done")
    api("complete_assignment", api.row(done))


def test_nothing_is_named_where_all_holds(bakery: Connection) -> None:
    states = set(values(bakery, "select stage::text from public.orders"))

    assert states == {"Filling", "Covering", "Decorating", "Complete"}
    assert audit(bakery) == {}


LEDGER = "alter table public.inventory_txn disable trigger user; "
ROWS = "alter table public.project_assignments disable trigger user; "
CHANGE_ORDERS = "alter table public.orders disable trigger user; update public.orders set "
BREAKS = (
    (
        "order_events",
        "insert into public.stage_events (store, order_id, stage, event_type) "
        "select store, id, stage, 'create' from public.orders limit 1",
    ),
    (
        "order_events",
        "insert into public.orders (store, id) values ('bannos', 'bannos-900')",
    ),
    (
        "order_events",
        CHANGE_ORDERS + "cancelled_at = cancelled_at + interval '1 second' "
        "where cancelled_at is not null",
    ),
    ("order_keys", "update public.orders set queue_key = 'x' where id = 'bannos-4'"),
    ("order_keys", "update public.orders set priority = 1 where priority_override = 3"),
    ("order_keys", CHANGE_ORDERS + "due_date = '2026-01-01' where id = 'bannos-4'"),
    ("order_tally", "update app.order_tally set orders = orders + 1 where stage = 'Covering'"),
    ("order_tally", CHANGE_ORDERS + "storage = 'Freezer' where id = 'bannos-4'"),
    ("order_words", "delete from app.order_words where id = 'bannos-4'"),
    ("order_words", "insert into app.order_words values ('bannos', 'bannos-0', true, 'x')"),
    ("order_words", CHANGE_ORDERS + "product_title = 'Another' where id = 'bannos-4'"),
    (
        "order_words",
        "alter table public.order_contacts disable trigger user; "
        "update public.order_contacts set customer_name = 'Another'",
    ),
    ("settings", "insert into public.settings (key, value) values ('flavours', '[]')"),
    (
        "settings",
        "update app.setting_keys set store_defaults = '{\"bannos\": []}' where key = 'flavours'",
    ),
    ("shopify_orders", "update public.shopify_orders set cancelled_at = now()"),
    ("shopify_orders", "update public.orders set total_amount = 5"),
    (
        "shopify_orders",
        "insert into public.order_contacts (store, order_gid) values ('bannos', 'bannos-0')",
    ),
    ("shopify_orders", "update public.orders set accessories = '[1]'"),
    ("shopify_orders", CHANGE_ORDERS + "site = 'elsewhere' where shopify_order_gid is not null"),
    ("stock", "update public.site_stock set on_hand = on_hand + 1 where on_hand > 0"),
    ("stock", LEDGER + "delete from public.inventory_txn where kind = 'adjust'"),
    (
        "stock",
        LEDGER + "update public.inventory_txn set stock_before = stock_before + 1, "
        "stock_after = stock_after + 1 where kind = 'restock'",
    ),
    (
        "stock",
        "insert into public.inventory_txn (item_id, site, kind, change_amount, stock_before, "
        "stock_after, reference, actor_kind) select item_id, site, 'transfer', 1, on_hand, "
        "on_hand + 1, 'lone', 'system' from public.site_stock where on_hand > 0 limit 1",
    ),
    ("holds", "update public.site_stock set reserved = reserved + 1 where on_hand > 0"),
    ("holds", "update public.orders set inventory_blocked = not inventory_blocked"),
    ("holds", "delete from public.reservation_holds"),
    ("holds", CHANGE_ORDERS + "cancelled_at = now() where inventory_blocked"),
    ("returned_stock", LEDGER + "delete from public.inventory_txn where kind = 'restock'"),
    (
        "work",
        "insert into public.work_archive (id, created_at, finished_at, retries, topic, payload) "
        "select id, now(), now(), 0, topic, payload from public.work_queue limit 1",
    ),
    (
        "work",
        "insert into public.work_archive select * from public.work_archive",
    ),
    (
        "work",
        "insert into public.work_queue (id, topic, payload) "
        "select id, topic, payload from public.work_dead",
    ),
    ("work", "update public.work_queue set token = null"),
    ("work", "update public.work_queue set locked_by = null"),
    ("work", "update public.work_queue set lease_until = now()"),
    ("work", "update public.work_queue set again = true"),
    ("work", "update public.work_queue set next_retry_at = now()"),
    ("work", "update public.work_queue set retries = 9"),
    ("work", "update public.work_dead set max_retries = 9"),
    ("stages", "update public.orders set stage = 'Packing' where id = 'bannos-4'"),
    ("stages", "update public.orders set stage = 'Filling' where id = 'bannos-6'"),
    (
        "stages",
        "update public.orders set filling_complete_ts = filling_complete_ts - interval '1 second'",
    ),
    ("stages", "update public.orders set covering_complete_ts = null where id = 'bannos-4'"),
    ("stages", "update public.orders set decorating_start_ts = now() where id = 'bannos-4'"),
    ("stages", "update public.orders set filling_start_ts = now() where id = 'bannos-2'"),
    (
        "stages",
        "insert into public.stage_events (store, order_id, stage, event_type) "
        "values ('bannos', 'bannos-5-A', 'Filling', 'complete')",
    ),
    ("assignees", "update public.orders set assignee_id = null where id = 'bannos-4'"),
    (
        "assignees",
        "update public.orders set assignee_id = (select assignee_id from public.orders "
        "where id = 'bannos-4') where id in ('bannos-1-A', 'bannos-2')",
    ),
    ("project_sums", "update app.project_sums set progress = progress - 1 where progress > 0"),
    ("project_sums", "delete from app.project_sums"),
    ("project_sums", ROWS + "delete from public.project_assignments where status = 'done'"),
    ("project_completion", "update public.projects set completed_at = null"),
    ("project_completion", "update public.projects set completed_at = now()"),
    (
        "subprojects",
        ROWS + "update public.project_assignments set estimated_duration = 7 "
        "where child_project_uuid is not null",
    ),
    (
        "project_trees",
        ROWS + "update public.project_assignments as rows set task_uuid = null, "
        "child_project_uuid = (select uuid from public.projects where name = 'Wedding') "
        "where rows.project_uuid = (select uuid from public.projects where name = 'Petals')",
    ),
    (
        "project_statuses",
        "alter table public.project_statuses disable trigger user; "
        "insert into public.project_statuses (project_uuid, label, slug) "
        "select uuid, 'Baking', 'baking' from public.projects",
    ),
    (
        "project_trees",
        "alter table public.projects disable trigger user; "
        "update public.projects set is_template = true where name = 'Petals'",
    ),
)


@pytest.mark.parametrize(("name", "statements"), BREAKS)
def test_a_row_broken_by_hand_is_named(bakery: Connection, name: str, statements: str) -> None:
    for statement in statements.split("; "):
        changed = bakery.execute(statement.encode())

    assert changed.rowcount > 0
    assert name in audit(bakery)


def test_every_invariant_is_broken_by_a_case(db: Connection) -> None:
    assert set(values(db, "select name from app.invariants")) == {name for name, _ in BREAKS}


def test_an_invariant_needs_a_function(db: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException):
        db.execute("select app.register_invariant('stock', 'no_such_function')")


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_only_the_migration_role_looks(db: Connection, role: str) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, role, make_staff(db, role="Admin")),
    ):
        audit(db)
