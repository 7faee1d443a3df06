"""An account of one store learns nothing about the other store, and changes nothing there.

In this database every order, recipe, delivery, job and member of staff belongs to Flour Lane. So
each id that a call names is an id of Flour Lane, or of something that the stores share.
"""

import re
from pathlib import Path
from random import Random
from uuid import UUID

import psycopg
import pytest

from bakehouse.database import Connection
from bakehouse.rpc import functions as rpcs
from bakehouse.rpc import reference
from bakehouse.rpc.functions import Function
from calls import acting_as
from orders.test_inventory import make_item
from rows import make_order, make_staff, value, values
from storm.arguments import Arguments, Caller, statement

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
IDS = re.compile(r"p_(?:store|order_ids?|barcode|scan) text|p_\w+ (?:uuid|bigint)")
MINE, OTHER = "bannos", "flourlane"
SECRET = re.compile(r"flourlane-\d|gid://shopify/(?:Order|Location/77)|Secret", re.IGNORECASE)
REFUSED = ("NOT_FOUND", "PERMISSION_DENIED")

# Projects have no store yet. The catalog that they choose from is shared.
PROJECTS = ("projects", "statuses", "subprojects", "catalog")
SHARED = {  # functions that may answer, and why
    "adjust_accessory_stock": "both stores use the site main",
    "adjust_cake_topper_stock": "both stores use the site main",
    "adjust_component_stock": "both stores use the site main",
    "delete_component": "the stores share the catalog of items",
    "get_stock_transactions": "both stores use the site main",
    "set_stock_buffer": "both stores use the site main",
    "soft_delete_accessory": "the stores share the catalog of items",
    "soft_delete_cake_topper": "the stores share the catalog of items",
    "transfer_stock": "the stores share the catalog of items, and a site is refused with BAD_INPUT",
    "upsert_accessory": "the stores share the catalog of items",
    "upsert_accessory_keyword": "the stores share the catalog of items",
    "upsert_cake_topper": "the stores share the catalog of items",
    "upsert_component": "the stores share the catalog of items",
    "assign_staff_bulk": "skips an order of another store like one that does not exist",
    "bulk_assign": "skips an order of another store like one that does not exist",
    "requeue_dead_work": "skips a job of another store like one that does not exist",
    "get_dead_work": "an id of another store pages the jobs of the caller",
    "get_queue": "an assignee filters the orders of the caller",
}
# everything that belongs to the other store
STATE = """
select jsonb_build_array(
  (select jsonb_agg(orders order by orders.id) from public.orders
   where orders.store = 'flourlane'),
  (select jsonb_agg(staff order by staff.user_id) from public.staff_shared as staff
   where staff.store = 'flourlane'),
  (select jsonb_agg(boms order by boms.id) from public.boms where boms.store = 'flourlane'),
  (select jsonb_agg(parts order by parts.id) from public.bom_items as parts),
  (select jsonb_agg(sent order by sent.id) from public.webhook_deliveries as sent),
  (select jsonb_agg(dead order by dead.id) from public.work_dead as dead),
  (select jsonb_agg(runs order by runs.id) from public.sync_runs as runs
   where runs.store = 'flourlane'),
  (select jsonb_agg(rules order by rules.id) from public.store_sites as rules
   where rules.store = 'flourlane'),
  (select jsonb_agg(places order by places.site) from public.site_locations as places
   where places.store = 'flourlane'),
  (select jsonb_agg(set_values) from public.settings as set_values where store = 'flourlane')
)
"""
PREPARE = """
insert into public.boms (product_title, store) values ('Secret Cake', 'flourlane');
insert into public.bom_items (bom_id, component_id, quantity_required)
select boms.id, items.id, 1 from public.boms, public.inventory_items as items
where items.kind = 'component';
insert into public.webhook_deliveries (store, webhook_id, topic, status, last_error, reason, body)
values ('flourlane', 'secret', 'orders/create', 'dead', 'BAD_INPUT', 'Secret', '{}');
insert into public.work_dead (id, topic, priority, payload, retries, max_retries, created_at)
values (7000001, 'reconcile', 5, '{"store": "flourlane", "note": "Secret"}', 3, 3, now());
insert into public.sync_runs (store, sync_type, status, completed_at, error_message)
values ('flourlane', 'sync_orders', 'error', now(), 'Secret');
insert into public.settings (store, key, value)
values ('flourlane', 'flavours', '["Secret"]');
insert into public.site_locations (store, site, location_id)
values ('flourlane', 'main', 'gid://shopify/Location/77');
"""


@pytest.fixture
def other_store(db: Connection) -> Connection:
    parts = [make_item(db, kind, 5, kind) for kind in ("component", "accessory", "topper")]
    db.execute(PREPARE)
    db.execute(
        "insert into public.shopify_orders (store, gid) "
        "values ('flourlane', 'gid://shopify/Order/77')"
    )
    for gid in ("gid://shopify/Order/77", None):
        make_order(db, store=OTHER, customer_name="Secret Customer", shopify_order_gid=gid)
    for part in parts:
        db.execute(
            "select app.move_stock(%s, -1, 'deduct', 'order_create', null, 'flourlane',"
            " 'gid://shopify/Order/77')",
            (part,),
        )
    for role in ("Staff", "Supervisor"):
        baker = make_staff(db, role=role, store=OTHER)
        db.execute(
            "update public.staff_shared set full_name = 'Secret Baker' where user_id = %s",
            (baker,),
        )
    return db


def functions(db: Connection) -> list[Function]:
    chapters = (reference.parse(EXAMPLES / f"{name}.sql") for name in PROJECTS)
    exempt = {function for chapter in chapters for function in chapter.functions}
    return [
        one
        for one in rpcs.load(db)
        if one.name not in exempt
        and one.role != "service_role"
        and any(IDS.match(parameter) for parameter in one.parameters)
    ]


def answer(db: Connection, account: UUID, function: Function, arguments: Arguments) -> str:
    """Returns the symbol of a refusal, or what the caller learned or changed, or nothing."""
    before = value(db, STATE)
    with db.transaction(force_rollback=True):
        try:
            with acting_as(db, "authenticated", account):
                told = str(db.execute(*statement(function, arguments)).fetchall())
            symbol = "changed the other store" if value(db, STATE) != before else ""
        except psycopg.Error as refusal:
            told = f"{refusal.diag.message_primary} {refusal.diag.message_detail}"
            symbol = refusal.diag.message_hint or str(refusal.sqlstate)
    sent = str([one for _, one in arguments.values()])
    learned = set(SECRET.findall(told)) - set(SECRET.findall(sent))
    return f"told {sorted(learned)}: {told}" if learned else symbol


@pytest.mark.slow
@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
def test_the_rows_of_another_store_are_out_of_reach(other_store: Connection, role: str) -> None:
    account = make_staff(other_store, role=role, store=MINE)
    offenders = []
    for function in functions(other_store):
        if not function.lets_in("authenticated", role):
            continue
        caller = Caller(other_store, Random(function.name))
        answers = {
            answer(other_store, account, function, caller.arguments(function, **given))
            for given in ({"p_store": OTHER}, {"p_store": OTHER}, {}, {}, {"p_store": MINE})
        }
        offenders += [
            f"{function.name}: {one}"
            for one in answers
            if one not in (*REFUSED, "BAD_INPUT", "CONFLICT", "")
        ]
        if not answers & set(REFUSED) and function.name not in SHARED:
            offenders.append(f"{function.name} refused nothing: {answers}")

    assert "\n".join(offenders) == ""


def test_an_admin_sees_and_requeues_the_dead_jobs_of_their_store_and_of_no_store(
    other_store: Connection,
) -> None:
    other_store.execute(
        "insert into public.work_dead "
        "(id, topic, priority, payload, retries, max_retries, created_at) "
        "select 7000001 + n, 'bake', 5, payload, 3, 3, now() "
        "from (values (1, '{}'::jsonb), (2, '{\"store\": \"bannos\"}')) as jobs (n, payload)"
    )
    admin = make_staff(other_store, role="Admin", store=MINE)

    with acting_as(other_store, "authenticated", admin):
        seen = values(other_store, "select id from public.get_dead_work()")
        requeued = value(
            other_store, "select public.requeue_dead_work('{7000001, 7000002, 7000003}')"
        )

    assert (seen, requeued) == ([7000003, 7000002], 2)
    assert values(other_store, "select id from public.work_dead") == [7000001]


def test_a_part_of_another_stores_recipe_stays_and_its_recipe_is_not_named(
    other_store: Connection,
) -> None:
    admin = make_staff(other_store, role="Admin", store=MINE)
    part = value(other_store, "select id from public.inventory_items where kind = 'component'")

    with (
        pytest.raises(psycopg.Error) as refusal,
        acting_as(other_store, "authenticated", admin),
    ):
        other_store.execute("select public.delete_component(%s)", (part,))

    assert refusal.value.diag.message_hint == "CONFLICT"
    assert "Secret" not in f"{refusal.value} {refusal.value.diag.message_detail}"


def test_the_ledger_names_no_order_of_another_store(other_store: Connection) -> None:
    query = "select reference from public.get_stock_transactions() where change_amount < 0"

    told = []
    for store in (MINE, OTHER):
        with acting_as(other_store, "authenticated", make_staff(other_store, store=store)):
            told.append(set(values(other_store, query)))

    assert told == [{None}, {"gid://shopify/Order/77"}]
