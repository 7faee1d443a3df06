"""Plausible arguments for every RPC: rows that exist, and values that its parameters may have."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.rpc.functions import Function
from orders.payloads import sign
from orders.test_ingest import DOMAINS

Arguments = dict[str, tuple[str, Any]]  # the type and the value of each parameter

SECRET = "dev-only-webhook-secret"  # of the dev data
SKUS = ("dev-gold-candle", "dev-cake-board", "storm-1", "storm-2")
STORES = ("bannos", "flourlane")
SITES = ("main", "kitchen")

# A query gives one row for these parameters. A name before the dot limits it to one function. The
# first query whose parameters a function takes is used.
ROWS = {
    "p_order_id p_store": "select id, store from public.orders order by random()",
    "p_order_id p_template_uuid": """
        select orders.id, templates.uuid from public.orders, public.projects as templates
        where templates.is_template order by random()
    """,
    "p_order_id": "select id from public.orders order by random()",
    "p_barcode": "select id from public.orders order by random()",
    "p_scan": "select id from public.orders order by random()",
    "p_order_ids p_store": """
        select array_agg(id), store from (
          select id, store from public.orders order by random() limit 8
        ) as chosen group by store order by random()
    """,
    "p_order_ids": "select array(select id from public.orders order by random() limit 8)",
    "p_order_gid p_payload": """
        select order_gid, payload from public.order_contacts
        where payload is not null order by random()
    """,
    "p_run_id": "select id from public.sync_runs order by random()",
    "replay_webhook_delivery.p_id": """
        select id from public.webhook_deliveries where status = 'dead' order by random()
    """,
    "delete_bom.p_id": "select id from public.boms order by random()",
    "upsert_bom.p_id": "select id from public.boms order by random()",
    "upsert_accessory_keyword.p_id": "select id from public.accessory_keywords order by random()",
    "p_bom_id p_items": """
        select boms.id, jsonb_agg(jsonb_build_object(
          'component_id', parts.id, 'quantity_required', 1, 'stage', 'Packing'
        )) from public.boms, (
          select id from public.inventory_items where kind = 'component' order by random() limit 2
        ) as parts
        group by boms.id order by random()
    """,
    "p_component_id p_change": """
        select id, (random() * 20 - 5)::integer from public.inventory_items
        where kind = 'component' order by random()
    """,
    "p_accessory_id p_change": """
        select id, (random() * 20 - 5)::integer from public.inventory_items
        where kind = 'accessory' order by random()
    """,
    "p_topper_id p_change": """
        select id, (random() * 20 - 5)::integer from public.inventory_items
        where kind = 'topper' order by random()
    """,
    "upsert_accessory_keyword.p_component_id": """
        select id from public.inventory_items where kind = 'accessory' order by random()
    """,
    "p_item_id": "select id from public.inventory_items order by random()",
    "delete_component.p_id": """
        select id from public.inventory_items where kind = 'component' and random() < 0.2
    """,
    "soft_delete_accessory.p_id": """
        select id from public.inventory_items where kind = 'accessory' and random() < 0.2
    """,
    "soft_delete_cake_topper.p_id": """
        select id from public.inventory_items where kind = 'topper' order by random()
    """,
    "p_token p_ids": """
        select token, array_agg(id) from public.work_queue
        where token is not null group by token order by random()
    """,
    "requeue_dead_work.p_ids": """
        select array(select id from public.work_dead order by random() limit 5)
    """,
    "p_user_id": """
        select user_id from public.staff_shared where role <> 'Admin' order by random()
    """,
    "p_staff_id": "select user_id from public.staff_shared order by random()",
    "p_assignee_id": "select user_id from public.staff_shared order by random()",
    "p_key p_value": """
        select key, case jsonb_typeof(default_value)
          when 'boolean' then to_jsonb(random() < 0.8) else default_value
        end from app.setting_keys order by random()
    """,
    "p_key": "select key from app.setting_keys where key <> 'entities_enabled' order by random()",
    "p_row_uuid p_depends_on_uuid": """
        select one.uuid, other.uuid from public.project_assignments as one
        inner join public.project_assignments as other
          on other.project_uuid = one.project_uuid and other.uuid <> one.uuid
        order by random()
    """,
    "p_row_uuid p_before_uuid": """
        select one.uuid, other.uuid from public.project_assignments as one
        inner join public.project_assignments as other using (project_uuid) order by random()
    """,
    "detach_subproject.p_row_uuid": """
        select uuid from public.project_assignments
        where child_project_uuid is not null order by random()
    """,
    "p_row_uuid": "select uuid from public.project_assignments order by random()",
    "p_project_uuid p_uuids": """
        select project_uuid, array_agg(uuid order by random()) from public.project_assignments
        group by project_uuid order by random()
    """,
    "p_project_uuid p_child_project_uuid": """
        select one.uuid, other.uuid from public.projects as one
        inner join public.projects as other using (is_template) order by random()
    """,
    "p_project_uuid p_status_uuid": """
        select project_uuid, uuid from public.project_statuses order by random()
    """,
    "p_project_uuid p_slug": """
        select projects.uuid, statuses.slug from public.projects, (
          select slug from public.project_statuses union select slug from public.entity_data
        ) as statuses order by random()
    """,
    "p_project_uuid p_task_uuid": """
        select projects.uuid, tasks.uuid
        from public.projects, public.project_tasks as tasks order by random()
    """,
    "p_project_uuid": "select uuid from public.projects order by random()",
    "p_template_uuid": "select uuid from public.projects where is_template order by random()",
    "p_project_uuids": "select array(select uuid from public.projects order by random() limit 9)",
    "p_status_uuid": "select uuid from public.project_statuses order by random()",
    "p_entity_uuid p_uuids": """
        select entity_uuid, array_agg(uuid order by random()) from public.entity_data
        group by entity_uuid order by random()
    """,
    "p_entity_uuid": "select uuid from public.entities order by random()",
    "p_record_uuid": "select uuid from public.entity_data order by random()",
    "p_task_uuid p_depends_on_task_uuid": """
        select one.uuid, other.uuid from public.project_tasks as one, public.project_tasks as other
        where one.uuid <> other.uuid order by random()
    """,
    "p_task_uuid": "select uuid from public.project_tasks order by random()",
    "p_excluded": "select array(select uuid from public.project_tasks order by random() limit 2)",
} | {
    f"{function}.p_uuids": f"select array(select uuid from public.{table} order by random())"
    for functions, table in (
        ("reorder_projects reorder_projects_by", "projects"),
        ("reorder_tasks reorder_tasks_by", "project_tasks"),
        ("reorder_entities", "entities"),
    )
    for function in functions.split()
}

VALUES: dict[str, tuple[Any, ...]] = {
    "p_store": STORES,
    "upsert_bom.p_store": ("both", *STORES),
    "p_language": ("en", "es-ES"),
    "p_search": ("cake", "1000", "wedding"),
    "p_limit": (1, 20, 500),
    "p_offset": (0, 10),
    "p_sku": SKUS,
    "p_skus": (SKUS,),
    "p_quantity": (1,),
    "p_buffer": (0, 2),
    "p_site": SITES,
    "p_from": SITES,
    "p_to": SITES[::-1],
    "p_code": ("storm_1", "storm_2"),
    "p_sites": ([{"site": "main"}, {"site": "kitchen", "delivery_method": "delivery"}],),
    "p_location_id": ("1", "2"),
    "p_counts": ([{"sku": "dev-gold-candle", "available": 48}],),
    "p_topics": (("inventory_push", "reconcile"), ("reconcile", "shopify_sync", "inventory_push")),
    "p_topic": ("inventory_push", "reconcile"),
    "p_worker": ("worker-1", "worker-2"),
    "p_lease": ("1 second", "2 minutes"),
    "p_delay": ("0", "1 second"),
    "p_dedupe_key": ("one", "two", "three"),
    "enqueue_work.p_payload": ({"sku": "dev-gold-candle"},),
    "p_payloads": ([Jsonb({"sku": one}) for one in ("one", "two", "three")],),
    "p_dedupe_keys": (["one", "two", "three"], ["three", "one", "two"]),
    "p_max_retries": (0, 3),
    "p_error": ("The shop did not answer.",),
    "p_status": ("success", "error"),
    "list_entities.p_status": ("draft", "published", "archived", "trashed"),
    "list_entity_data.p_status": ("draft", "published", "archived", "trashed"),
    "list_projects.p_status": ("all", "running", "setup", "completed"),
    "count_projects.p_status": ("all", "running", "setup", "completed"),
    "get_webhook_deliveries.p_status": ("ok", "dead"),
    "p_archived": ("false", "true", "all"),
    "p_strategy": ("name_asc", "name_desc", "created_asc", "created_desc", "reverse"),
    "p_progress": (0, 40, 100),
    "p_priority": (1, 5, 9),
    "update_order_priority.p_priority": ("High", "Medium", "Low"),
    "get_queue.p_priority": ("High", "Medium", "Low"),
    "p_stage": ("Filling", "Covering", "Decorating", "Packing"),
    "p_storage": ("Store Fridge", "Kitchen Coolroom"),
    "p_customer_name": ("Storm Customer",),
    "p_product_title": ("Birthday Cake", "Unicorn Cake"),
    "p_size": ("Medium", "Large"),
    "p_due_date": ("2030-12-24", "2030-12-25"),
    "p_delivery_method": ("pickup", "delivery"),
    "p_clear": (["notes"], ["storage"]),
    "p_role": ("Staff", "Supervisor"),
    "p_is_active": (True,),
    "p_approved": (True,),
    "p_category": ("candle", "packaging"),
    "p_unit": ("kg", "each"),
    "p_email": (None,),
    "p_match_type": ("contains", "exact"),
    "p_keyword": ("gold candle", "board", "sparkler"),
    "p_title": ("Tasting", "Sketch"),
    "p_label": ("Baked", "Boxed"),
    "p_name": ("Wedding", "Birthday"),
    "create_entity.p_name": ("storm_a", "storm_b", "storm_c"),
    "p_display_name": ("Storm list",),
    "p_name_1": ("Dinosaur", "Unicorn"),
    "p_use": (True, False),
    "p_start": ("2030-01-01T09:00Z",),
    "p_hours": (1, 40),
    "p_density": ("cozy", "compact"),
    "p_flavours": (["Vanilla"], ["Vanilla", "Mango"]),
    "p_locations": (["Store Fridge"], ["Store Fridge", "Kitchen Coolroom"]),
    "p_settings": ({},),
    "set_printing_settings.p_settings": ({"copies": 2}, {"copies": 1}),
    "set_due_date_settings.p_settings": ({"defaultDue": "today"}, {"defaultDue": "+2 days"}),
    "p_secret": (SECRET,),
    "p_token": ("shpat_" + "0" * 32,),
    "p_sync_type": ("sync_orders", "sync_products"),
    "p_reason": ("restock", "The customer rang"),
    "p_attrs": ({}, {"translations": {}}),
    "create_project.p_attrs": ({}, {"is_template": True}, {"counts_weekends": True}),
    "update_project.p_attrs": (
        {"counts_weekends": True}, {"counts_weekends": False}, {"description": "Three tiers"},
    ),
    "update_project_with_statuses.p_attrs": ({"name": "Wedding"}, {"description": "Two tiers"}),
    "update_task.p_attrs": ({"estimated_duration": 2}, {"estimated_duration": 3}, {"title": "Tea"}),
    "update_assignment.p_attrs": (
        {"estimated_duration": 2, "estimated_duration_unit": "days"}, {"estimated_duration": None},
    ),
    "update_entity.p_attrs": ({"description": "One"}, {"display_name": "Other list"}),
    "update_entity_data.p_attrs": ({"title": "Iced"}, {"slug": "iced"}, {"status": "archived"}),
    "update_project_status_row.p_attrs": ({"label": "Iced"}, {"slug": "iced"}, {"slug": "baked"}),
    "p_templates": (False, True),
}  # fmt: skip


@dataclass(frozen=True)
class Caller:
    """Chooses the arguments of calls, from the rows that a connection of the owner reads."""

    reader: Connection
    dice: Random

    def arguments(self, function: Function, **given: Any) -> Arguments:
        """Returns a type and a value for each parameter. Defaults stay, now and then."""
        declared = dict(_declared(one) for one in function.parameters)
        chosen = {name: value for name, value in given.items() if name in declared}
        chosen |= MAKERS[function.name](self.dice) if function.name in MAKERS else {}
        for key, query in ROWS.items():
            owner, _, names = key.rpartition(".")
            parameters = names.split()
            if owner in ("", function.name) and all(
                one in declared and one not in chosen for one in parameters
            ):
                found = self.reader.execute(f"{query} limit 1".encode()).fetchone()
                chosen |= dict(zip(parameters, found or [None] * len(parameters), strict=True))
        for name, (kind, has_default) in declared.items():
            if name not in chosen:
                if has_default and self.dice.random() < 0.5:
                    continue
                known = VALUES.get(f"{function.name}.{name}") or VALUES.get(name)
                if known is None and has_default:
                    continue
                assert known, f"no values for {name} {kind} of {function.name}"
                chosen[name] = self.dice.choice(known)
            elif chosen[name] is None and has_default:
                del chosen[name]
        return {
            name: (declared[name][0], _adapted(declared[name][0], chosen[name])) for name in chosen
        }


def statement(function: Function, arguments: Arguments) -> tuple[sql.Composed, list[Any]]:
    """Returns the query that calls a function, and its parameters."""
    query = sql.SQL("select public.{}({})").format(
        sql.Identifier(function.name),
        sql.SQL(", ").join(
            sql.SQL("{} => %s::").format(sql.Identifier(name)) + sql.SQL(kind)
            for name, (kind, _) in arguments.items()
        ),
    )
    return query, [value for _, value in arguments.values()]


def _declared(parameter: str) -> tuple[str, tuple[str, bool]]:
    declaration, _, default = parameter.partition(" default ")
    name, _, kind = declaration.partition(" ")
    return name, (kind, bool(default))


def _adapted(kind: str, value: Any) -> Any:
    if kind == "jsonb":
        return None if value is None else Jsonb(value)
    if kind == "uuid" and value is None:
        return UUID(int=0)
    return list(value) if isinstance(value, tuple) else value


def _payload(dice: Random) -> dict[str, Any]:
    number = dice.randint(30001, 30040)
    return {
        "id": 5_900_000_000_000 + number,
        "order_number": number,
        "updated_at": f"2030-01-01T10:{dice.randint(0, 59):02d}:00Z",
        "cancelled_at": "2030-01-01T12:00:00Z" if dice.random() < 0.2 else None,
        "line_items": [
            {"id": number * 10, "title": "Birthday Cake", "quantity": dice.randint(1, 3)},
            *(
                {"id": number * 10 + at, "title": f"Candle {sku}", "sku": sku, "quantity": 1}
                for at, sku in enumerate(dice.sample(SKUS, dice.randint(0, 3)), 1)
            ),
        ],
    }


def _webhook(dice: Random) -> dict[str, Any]:
    content = _payload(dice)
    body = json.dumps(content)
    topics = ["orders/create", "orders/updated", "orders/cancelled"]
    return {
        "p_shop_domain": DOMAINS["bannos"],
        "p_topic": dice.choice(topics),
        "p_webhook_id": f"storm-{dice.randint(1, 400)}",
        "p_hmac": sign(body, SECRET),
        "p_body": body,
    }


def _store(dice: Random) -> dict[str, Any]:
    letter = dice.choice("ACDEGH")  # some calls meet
    return {
        "p_code": f"storm_{letter.lower()}",
        "p_name": f"Storm {letter}",
        "p_scan_letter": letter,
        "p_time_zone": "Australia/Sydney",
        "p_currency": "AUD",
    }


MAKERS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "ingest_shopify_webhook": _webhook,
    "import_shopify_order": lambda dice: {"p_store": "bannos", "p_payload": _payload(dice)},
    "create_manual_order": lambda dice: {"p_order_number": f"B{dice.randint(50000, 59999)}"},
    "create_store": _store,
    "find_order": lambda dice: {"p_search": f"#B{dice.randint(10001, 10003)}"},
}
