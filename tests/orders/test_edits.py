"""Edits that move no stage: assignment, fields, manual orders, cancellation."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.database import Connection
from calls import call, raises_code
from orders.payloads import sign
from orders.races import Call, held_up, meet
from orders.test_deduct import arrive, deduct
from orders.test_ingest import (
    DOMAINS,
    SECRETS,
    cancelled,
    created,
    deliver,
    events,
    later,
    line,
    moves,
    order,
    prepare,
    row,
)
from orders.test_ingest import stocked as stock_accessory
from orders.test_inventory import make_item, stock
from rows import make_order, make_staff, set_clock, value

STAFF, SUPERVISOR, ADMIN = range(3)
ROLES = ("Staff", "Supervisor", "Admin")
TEXTS = {
    "customer_name": 200,
    "product_title": 200,
    "flavour": 200,
    "size": 100,
    "notes": 5000,
    "cake_writing": 500,
}
HOSTILE = '\'; delete from public.orders; -- \\ %s $$ {"a": 1} \U0001f370'

# Each function on one order, the lowest role that may call it, and valid arguments
ON_ONE_ORDER: list[tuple[str, int, Mapping[str, object]]] = [
    ("assign_staff", SUPERVISOR, {"p_staff_id": "<baker>"}),
    ("unassign_staff", SUPERVISOR, {}),
    ("set_storage", STAFF, {"p_storage": "Store Fridge"}),
    ("update_order_notes", SUPERVISOR, {"p_notes": "Ring the bell"}),
    ("update_order_priority", SUPERVISOR, {"p_priority": "High"}),
    ("update_order_due_date", SUPERVISOR, {"p_due_date": date(2025, 11, 8)}),
    ("update_order_core", SUPERVISOR, {"p_flavour": "Mango"}),
    ("cancel_order", ADMIN, {"p_reason": "Changed their mind"}),
]
one_order = pytest.mark.parametrize(
    ("function", "lowest", "said"), ON_ONE_ORDER, ids=[name for name, _, _ in ON_ONE_ORDER]
)


def on(order_id: str, said: Mapping[str, object], baker: UUID) -> dict[str, object]:
    return {"p_order_id": order_id} | {
        name: baker if content == "<baker>" else content for name, content in said.items()
    }


def metas(db: Connection, order_id: str, event_type: str = "edit") -> list[Any]:
    return [
        meta
        for (meta,) in db.execute(
            "select meta from public.stage_events where order_id = %s and event_type = %s "
            "order by id",
            (order_id, event_type),
        )
    ]


# Every function


@one_order
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.spec("P14", "vector-13")
def test_each_call_asks_for_its_role_and_for_the_store(
    db: Connection, baker: UUID, function: str, lowest: int, said: Mapping[str, object], role: str
) -> None:
    order_id = make_order(db, assignee_id=make_staff(db, store="bannos"))
    before = row(db, order_id)
    here, elsewhere = (make_staff(db, role=role, store=store) for store in ("bannos", "flourlane"))

    with raises_code("PERMISSION_DENIED", "PT403"):
        call(db, elsewhere, function, **on(order_id, said, baker))

    assert row(db, order_id) == before
    if ROLES.index(role) < lowest:
        with raises_code("PERMISSION_DENIED", "PT403"):
            call(db, here, function, **on(order_id, said, baker))
        assert (row(db, order_id), events(db, order_id)) == (before, [])
    else:
        answer = call(db, here, function, **on(order_id, said, baker))
        assert answer == {
            "order_id": order_id, "store": "bannos", "stage": "Filling", "already_done": False
        }  # fmt: skip
        assert row(db, order_id)["updated_by"] == str(here)
        assert len(events(db, order_id)) == 1


@one_order
def test_a_repeat_answers_already_done_and_writes_nothing(
    db: Connection,
    baker: UUID,
    admin: UUID,
    function: str,
    lowest: int,
    said: Mapping[str, object],
) -> None:
    order_id = make_order(db, assignee_id=make_staff(db, store="bannos"))
    call(db, admin, function, **on(order_id, said, baker))
    before, happened = row(db, order_id), events(db, order_id)

    answer = call(db, admin, function, **on(order_id, said, baker))

    assert answer["already_done"]
    assert (row(db, order_id), events(db, order_id)) == (before, happened)


@one_order
@pytest.mark.parametrize(
    ("order_id", "store", "code", "sqlstate"),
    [
        (None, None, "BAD_INPUT", "PT400"),
        (None, "bannos", "BAD_INPUT", "PT400"),
        ("", None, "BAD_INPUT", "PT400"),
        (" ", None, "BAD_INPUT", "PT400"),
        ("nowhere-1", None, "BAD_INPUT", "PT400"),
        ("bannos-1", "flourlane", "BAD_INPUT", "PT400"),
        ("bannos-1", None, "NOT_FOUND", "PT404"),
        ("bannos-1", "bannos", "NOT_FOUND", "PT404"),
        ("BANNOS-1", None, "BAD_INPUT", "PT400"),
        (f"bannos-{HOSTILE}", None, "NOT_FOUND", "PT404"),
        ("bannos-" + "9" * 100_000, None, "NOT_FOUND", "PT404"),
    ],
    ids=lambda given: str(given)[:20],
)
@pytest.mark.spec("vector-14")
def test_a_missing_order_is_refused(
    db: Connection,
    baker: UUID,
    admin: UUID,
    function: str,
    lowest: int,
    said: Mapping[str, object],
    order_id: str | None,
    store: str | None,
    code: str,
    sqlstate: str,
) -> None:
    with raises_code(code, sqlstate):
        call(db, admin, function, **on("", said, baker) | {"p_order_id": order_id}, p_store=store)


@one_order
def test_a_cancelled_order_refuses_every_edit(
    db: Connection,
    baker: UUID,
    admin: UUID,
    function: str,
    lowest: int,
    said: Mapping[str, object],
) -> None:
    order_id = make_order(db, cancelled_at="2025-11-01")
    before = row(db, order_id)

    if function == "cancel_order":
        assert call(db, admin, function, p_order_id=order_id)["already_done"]
    else:
        with raises_code("CANCELLED", "PT409"):
            call(db, admin, function, **on(order_id, said, baker))

    assert (row(db, order_id), events(db, order_id)) == (before, [])


@one_order
@pytest.mark.spec("P19")
def test_edits_ignore_tables_of_the_caller(
    db: Connection,
    baker: UUID,
    admin: UUID,
    function: str,
    lowest: int,
    said: Mapping[str, object],
) -> None:
    order_id = make_order(db, assignee_id=make_staff(db, store="bannos"))
    db.execute(
        "create temp table orders as select * from public.orders; "
        "create temp table stage_events as select * from public.stage_events; "
        "grant all on pg_temp.orders, pg_temp.stage_events to public"
    )

    call(db, admin, function, **on(order_id, said, baker))

    assert len(events(db, order_id)) == 1
    assert value(db, "select count(*) from pg_temp.stage_events") == 0


# Assignment


def test_assigning_an_order_records_the_previous_assignee(
    db: Connection, supervisor: UUID, baker: UUID
) -> None:
    other = make_staff(db)
    order_id = make_order(db, stage="Decorating")

    call(db, supervisor, "assign_staff", p_order_id=order_id, p_staff_id=baker)
    answer = call(
        db, supervisor, "assign_staff", p_order_id=order_id, p_staff_id=other, p_note=" Is quicker "
    )

    assert answer["stage"] == row(db, order_id)["stage"] == "Decorating"
    assert row(db, order_id)["assignee_id"] == str(other)
    assert metas(db, order_id, "assign") == [
        {"assigned_to": str(baker), "assigned_from": None, "note": None},
        {"assigned_to": str(other), "assigned_from": str(baker), "note": "Is quicker"},
    ]


def test_unassigning_an_order_clears_its_assignee(
    db: Connection, supervisor: UUID, baker: UUID
) -> None:
    order_id = make_order(db, assignee_id=baker)

    call(db, supervisor, "unassign_staff", p_order_id=order_id)

    assert row(db, order_id)["assignee_id"] is None
    assert metas(db, order_id, "unassign")[0]["assigned_from"] == str(baker)


@pytest.mark.parametrize(
    "who", [{"is_active": False}, {"approved": False}, {"store": "flourlane"}, None]
)
@pytest.mark.spec("P17")
def test_only_active_approved_staff_of_the_store_can_be_assigned(
    db: Connection, supervisor: UUID, who: dict[str, Any] | None
) -> None:
    staff_id = make_staff(db, **who) if who else uuid4()
    order_id = make_order(db)

    with raises_code("NOT_FOUND", "PT404"):
        call(db, supervisor, "assign_staff", p_order_id=order_id, p_staff_id=staff_id)
    with raises_code("NOT_FOUND", "PT404"):
        call(db, supervisor, "assign_staff_bulk", p_order_ids=[order_id], p_staff_id=staff_id)

    assert (row(db, order_id)["assignee_id"], events(db, order_id)) == (None, [])


@pytest.mark.spec("vector-14")
def test_an_order_cannot_be_assigned_to_null(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(db, assignee_id=make_staff(db))

    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "assign_staff", p_order_id=order_id)
    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "assign_staff_bulk", p_order_ids=[order_id])

    assert row(db, order_id)["assignee_id"] is not None


@pytest.mark.parametrize("columns", [{"stage": "Complete"}, {"is_pos": True}], ids=str)
@pytest.mark.parametrize("function", ["assign_staff", "unassign_staff"])
def test_a_finished_order_keeps_its_assignee(
    db: Connection, supervisor: UUID, baker: UUID, function: str, columns: dict[str, Any]
) -> None:
    order_id = make_order(db, assignee_id=make_staff(db), **columns)
    given = {"p_staff_id": baker} if function == "assign_staff" else {}

    with raises_code("INVALID_STAGE", "PT409"):
        call(db, supervisor, function, p_order_id=order_id, **given)


def test_bulk_assignment_skips_orders_that_cannot_be_assigned(
    db: Connection, supervisor: UUID
) -> None:
    staff_id = make_staff(db)
    given = [make_order(db), make_order(db, assignee_id=make_staff(db), stage="Packing")]
    left = [
        make_order(db, store="flourlane"),
        make_order(db, stage="Complete"),
        make_order(db, cancelled_at="2025-11-01"),
        make_order(db, is_pos=True),
    ]
    theirs = make_order(db, assignee_id=staff_id)
    ids = [*left, *given, *given, theirs, "bannos-1", "", None, HOSTILE]

    answer = call(
        db,
        supervisor,
        "bulk_assign",
        p_store="bannos",
        p_order_ids=ids,
        p_staff_id=staff_id,
    )

    assert answer == 2
    assert {row(db, order_id)["assignee_id"] for order_id in given} == {str(staff_id)}
    assert {row(db, order_id)["assignee_id"] for order_id in left} == {None}
    assert [events(db, order_id) for order_id in (*given, theirs)] == [["assign"], ["assign"], []]


def test_bulk_assignment_without_a_store_covers_the_stores_of_the_caller(
    db: Connection, baker: UUID
) -> None:
    everywhere, here = make_staff(db, role="Supervisor"), make_staff(db, role="Supervisor")
    db.execute("update public.staff_shared set store = 'bannos' where user_id = %s", (here,))
    both = [make_order(db), make_order(db, store="flourlane")]

    with raises_code("NOT_FOUND", "PT404"):  # the baker works only in the first store
        call(db, everywhere, "assign_staff_bulk", p_order_ids=both, p_staff_id=baker)
    nobody_yet = [row(db, order_id)["assignee_id"] for order_id in both]
    of_one_store = call(db, here, "assign_staff_bulk", p_order_ids=both, p_staff_id=baker)
    of_both = call(db, everywhere, "assign_staff_bulk", p_order_ids=both, p_staff_id=everywhere)

    assert (nobody_yet, of_one_store, of_both) == ([None, None], 1, 2)


@pytest.mark.parametrize("ids", [None, [], ["bannos-1"] * 101], ids=["null", "none", "101"])
def test_bulk_assignment_takes_1_to_100_orders(
    db: Connection, supervisor: UUID, baker: UUID, ids: list[str] | None
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "assign_staff_bulk", p_order_ids=ids, p_staff_id=baker)


@pytest.mark.parametrize("function", ["assign_staff_bulk", "bulk_assign"])
@pytest.mark.spec("P14")
def test_staff_cannot_assign_in_bulk(db: Connection, baker: UUID, function: str) -> None:
    order_id = make_order(db)

    with raises_code("PERMISSION_DENIED", "PT403"):
        call(db, baker, function, p_order_ids=[order_id], p_staff_id=baker)


# Fields


@pytest.mark.parametrize("stage", ["Packing", "Complete"])
def test_the_storage_of_an_order_can_be_set_and_cleared_at_any_stage(
    db: Connection, baker: UUID, stage: str
) -> None:
    order_id = make_order(db, stage=stage)

    call(db, baker, "set_storage", p_order_id=order_id, p_storage="Kitchen Coolroom")
    stands = row(db, order_id)["storage"]
    call(db, baker, "set_storage", p_order_id=order_id, p_storage="")

    assert (stands, row(db, order_id)["storage"]) == ("Kitchen Coolroom", None)
    assert metas(db, order_id)[1] == {
        "source": "staff", "old": {"storage": "Kitchen Coolroom"}, "new": {"storage": None}
    }  # fmt: skip


@pytest.mark.parametrize("storage", ["Display Case", "store fridge", "Under the bed", HOSTILE])
@pytest.mark.spec("P34")
def test_a_location_of_another_store_is_refused(db: Connection, baker: UUID, storage: str) -> None:
    order_id = make_order(db)

    with raises_code("BAD_INPUT", "PT400"):
        call(db, baker, "set_storage", p_order_id=order_id, p_storage=storage)


def test_a_location_that_was_removed_does_not_stop_other_edits(
    db: Connection, supervisor: UUID
) -> None:
    order_id = make_order(db, storage="The old fridge")

    call(db, supervisor, "update_order_notes", p_order_id=order_id, p_notes="Ring the bell")

    assert row(db, order_id)["storage"] == "The old fridge"


@pytest.mark.parametrize("blank", [None, "", " \n"])
@pytest.mark.spec("P40")
def test_notes_can_be_emptied(db: Connection, supervisor: UUID, blank: str | None) -> None:
    order_id = make_order(db, notes="Ring the bell")

    call(db, supervisor, "update_order_notes", p_order_id=order_id, p_notes=blank)

    assert row(db, order_id)["notes"] is None
    assert metas(db, order_id)[0]["old"] == {"notes": "Ring the bell"}


@pytest.mark.parametrize(
    ("said", "rank"), [("High", 3), ("medium", 2), (" LOW ", 1), (None, 2), ("", 2)]
)
def test_a_priority_is_set_by_hand_or_follows_the_due_date(
    db: Connection, supervisor: UUID, said: str | None, rank: int
) -> None:
    set_clock(db, "2025-11-05 12:00 Australia/Sydney")
    order_id = make_order(db, due_date="2025-11-08", priority_override=None if said else 1)

    call(db, supervisor, "update_order_priority", p_order_id=order_id, p_priority=said)

    assert row(db, order_id)["priority"] == rank


@pytest.mark.parametrize("said", ["Urgent", "3", "hi", HOSTILE])
@pytest.mark.spec("P27")
def test_an_unknown_priority_is_refused(db: Connection, supervisor: UUID, said: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "update_order_priority", p_order_id=make_order(db), p_priority=said)


def test_a_new_due_date_changes_the_priority_unless_it_was_set_by_hand(
    db: Connection, supervisor: UUID
) -> None:
    set_clock(db, "2025-11-05 00:30 Australia/Sydney")
    free = make_order(db, due_date="2025-12-24")
    fixed = make_order(db, due_date="2025-12-24", priority_override=2)

    for order_id in (free, fixed):
        call(
            db,
            supervisor,
            "update_order_due_date",
            p_order_id=order_id,
            p_due_date=date(2025, 11, 6),
        )

    assert [row(db, order_id)["priority"] for order_id in (free, fixed)] == [3, 2]


@pytest.mark.parametrize("due", ["infinity", "-infinity", "1999-12-31", "2100-01-01", "0001-01-01"])
def test_a_due_date_is_a_day_of_this_century(db: Connection, supervisor: UUID, due: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "update_order_due_date", p_order_id=make_order(db), p_due_date=due)


def test_several_fields_change_at_once_and_the_rest_stays(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(db, notes="Ring the bell", flavour="Mango", delivery_method="pickup")
    before = row(db, order_id)

    call(
        db,
        supervisor,
        "update_order_core",
        p_order_id=order_id,
        p_store="bannos",
        p_customer_name="  Other Customer\x07 ",
        p_size="Large Tall",
        p_flavour="Mango",
        p_item_qty=2,
        p_delivery_method="Delivery",
        p_storage="Store Freezer",
    )

    after = row(db, order_id)
    changed = {
        "customer_name": "Other Customer",
        "size": "Large Tall",
        "item_qty": 2,
        "delivery_method": "delivery",
        "storage": "Store Freezer",
    }
    assert {name: after[name] for name in after if after[name] != before[name]} == changed | {
        "size_rank": 7, "updated_by": str(supervisor),
        "queue_key": before["queue_key"].replace(" 4 ", " 7 "),
    }  # fmt: skip
    del changed["customer_name"]  # an event names no person
    assert metas(db, order_id) == [
        {
            "source": "staff",
            "old": {name: before[name] for name in changed},
            "new": changed,
            "contact": ["customer_name"],
        }
    ]


@pytest.mark.spec("P40")
def test_a_field_is_cleared_only_by_naming_it(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(
        db, notes="a", flavour="b", cake_writing="c", storage="Store Fridge", due_date="2025-11-08"
    )

    call(
        db,
        supervisor,
        "update_order_core",
        p_order_id=order_id,
        p_cake_writing="d",
        p_clear=["notes", "storage", "size"],
    )

    after = row(db, order_id)
    assert [after[name] for name in ("notes", "storage", "size")] == [None] * 3
    assert (after["flavour"], after["cake_writing"], after["due_date"]) == ("b", "d", "2025-11-08")


@pytest.mark.parametrize(
    "said",
    [
        {"p_clear": ["stage"]},
        {"p_clear": ["assignee_id"]},
        {"p_clear": ["notes", None]},
        {"p_clear": [HOSTILE]},
        {"p_clear": ["notes"], "p_notes": "Ring the bell"},
        {"p_clear": ["notes"], "p_notes": ""},
        {"p_clear": ["customer_name"]},
        {"p_clear": ["product_title"]},
        {"p_clear": ["item_qty"]},
        {"p_clear": ["delivery_method"]},
        {"p_customer_name": " "},
        {"p_product_title": ""},
        {"p_delivery_method": "pigeon"},
        {"p_delivery_method": ""},
        {"p_item_qty": 0},
        {"p_item_qty": -1},
        {"p_item_qty": 1001},
        {"p_storage": "Display Case"},
        {"p_due_date": "infinity"},
        *({f"p_{field}": "x" * (most + 1)} for field, most in TEXTS.items()),
        {"p_notes": "x" * 1_000_000},
    ],
    ids=lambda said: str(said)[:60],
)
def test_an_invalid_edit_changes_nothing(
    db: Connection, supervisor: UUID, said: dict[str, Any]
) -> None:
    order_id = make_order(db, notes="a", delivery_method="pickup")
    before = row(db, order_id)

    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "update_order_core", **{"p_order_id": order_id, "p_size": "L"} | said)

    assert (row(db, order_id), events(db, order_id)) == (before, [])


@pytest.mark.parametrize("clear", [None, []])
def test_an_edit_without_changes_answers_already_done(
    db: Connection, supervisor: UUID, clear: list[str] | None
) -> None:
    answer = call(db, supervisor, "update_order_core", p_order_id=make_order(db), p_clear=clear)

    assert answer["already_done"]


@pytest.mark.spec("vector-14")
def test_sql_in_a_text_stays_text(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(db)

    call(
        db,
        supervisor,
        "update_order_core",
        p_order_id=order_id,
        **{f"p_{field}": HOSTILE for field in TEXTS},
    )

    after = row(db, order_id)
    assert {after[field] for field in TEXTS} == {HOSTILE}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
@pytest.mark.spec("vector-14")
def test_any_text_is_stored_or_refused(db: Connection, text: str) -> None:
    admin, order_id = make_staff(db, role="Admin"), make_order(db)
    inputs = [
        *(("update_order_core", f"p_{field}") for field in TEXTS),
        ("update_order_core", "p_delivery_method"),
        ("update_order_priority", "p_priority"),
        ("set_storage", "p_storage"),
        ("set_storage", "p_store"),
        ("set_storage", "p_order_id"),
        ("cancel_order", "p_reason"),
    ]
    refusals = set()

    for function, name in inputs:
        try:
            call(db, admin, function, **{"p_order_id": order_id, name: text})
        except psycopg.Error as refusal:
            refusals.add(refusal.sqlstate)

    assert refusals <= {"PT400", "PT404"}


def test_texts_have_their_limits_in_characters(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(db)
    texts = {f"p_{field}": "ü" * length for field, length in TEXTS.items()}

    call(db, supervisor, "update_order_core", p_order_id=order_id, **texts)

    assert [len(row(db, order_id)[field]) for field in TEXTS] == list(TEXTS.values())


# Attention


@pytest.mark.parametrize("doubt", ["No due date", "Due date unclear"])
def test_a_due_date_clears_only_its_own_attention_reason(
    db: Connection, supervisor: UUID, doubt: str
) -> None:
    order_id = make_order(db, needs_attention=f"{doubt}; No flavour; Shopify changed notes, size")

    call(db, supervisor, "update_order_due_date", p_order_id=order_id, p_due_date=date(2025, 11, 8))

    assert row(db, order_id)["needs_attention"] == "No flavour; Shopify changed notes, size"
    assert set(metas(db, order_id)[0]["new"]) == {"due_date", "needs_attention"}


def test_clearing_due_date_and_flavour_asks_for_attention_again(
    db: Connection, supervisor: UUID
) -> None:
    order_id = make_order(db, due_date="2025-11-08", flavour="Mango", needs_attention="Look")

    call(db, supervisor, "update_order_due_date", p_order_id=order_id)
    call(db, supervisor, "update_order_core", p_order_id=order_id, p_clear=["flavour"])
    doubts = row(db, order_id)["needs_attention"]
    call(db, supervisor, "update_order_core", p_order_id=order_id, p_flavour="Vanilla")

    assert doubts == "Look; No due date; No flavour"
    assert row(db, order_id)["needs_attention"] == "Look; No due date"


def test_attention_that_was_cleared_stays_cleared(db: Connection, supervisor: UUID) -> None:
    order_id = make_order(db, needs_attention="Shopify changed notes; No due date")

    call(db, supervisor, "update_order_core", p_order_id=order_id, p_clear=["needs_attention"])
    call(db, supervisor, "update_order_notes", p_order_id=order_id, p_notes="Ring the bell")

    assert row(db, order_id)["needs_attention"] is None


@pytest.mark.spec("P2")
def test_a_due_date_set_by_staff_survives_an_update_from_shopify(
    db: Connection, supervisor: UUID
) -> None:
    prepare(db)
    cake = line("Cake", variant_title="Medium")
    payload = order(cake, note_attributes=[])
    (order_id,) = created(db, payload)
    doubts = row(db, order_id)["needs_attention"]

    call(db, supervisor, "update_order_due_date", p_order_id=order_id, p_due_date=date(2025, 11, 8))
    named = [cake | {"variant_title": "Medium / Mango"}]
    deliver(db, "orders/updated", later(payload, line_items=named))

    after = row(db, order_id)
    assert doubts == "No due date; No flavour"
    assert (after["due_date"], after["flavour"]) == ("2025-11-08", "Mango")
    assert after["needs_attention"] is None


# Manual orders

MANUAL: dict[str, Any] = {
    "p_store": "bannos",
    "p_order_number": "B55555",
    "p_customer_name": "Test Customer",
    "p_product_title": "Birthday Cake",
    "p_size": "Medium",
    "p_flavour": "Mango",
    "p_due_date": date(2025, 11, 8),
    "p_writing_on_cake": "Happy 40th",
    "p_image_url": "https://cdn.example.com/cake.png?v=1",
    "p_notes": "Ring the bell",
}


@pytest.mark.spec("P23")
def test_a_manual_order_is_an_order_like_any_other(db: Connection, supervisor: UUID) -> None:
    set_clock(db, "2025-11-05 12:00 Australia/Sydney")

    order_id = call(db, supervisor, "create_manual_order", **MANUAL | {"p_order_number": " b55555"})

    made = row(db, order_id)
    assert order_id == "bannos-B55555"
    assert (made["shopify_order_number"], made["human_id"], made["suffix"]) == (
        55555, "B55555", None
    )  # fmt: skip
    assert (made["stage"], made["priority"], made["item_qty"], made["delivery_method"]) == (
        "Filling", 2, 1, "manual"
    )  # fmt: skip
    assert (made["cake_writing"], made["product_image"], made["currency"]) == (
        "Happy 40th", "https://cdn.example.com/cake.png?v=1", "AUD"
    )  # fmt: skip
    assert (made["created_by"], made["needs_attention"]) == (str(supervisor), None)
    assert metas(db, order_id, "create") == [{"source": "manual"}]


def test_a_manual_order_without_date_and_flavour_needs_attention(
    db: Connection, supervisor: UUID
) -> None:
    order_id = call(
        db,
        supervisor,
        "create_manual_order",
        p_store="flourlane",
        p_order_number="F7",
        p_customer_name="Test Customer",
        p_product_title="Birthday Cake",
    )

    assert order_id == "flourlane-F7"
    assert row(db, order_id)["needs_attention"] == "No due date; No flavour"


@pytest.mark.parametrize(
    "said",
    [
        {"p_store": None},
        {"p_store": ""},
        {"p_store": "nowhere"},
        *(
            {"p_order_number": number}
            for number in (
                None, "", "B", "55555", "F55555", "BB1", "B0", "B007", "B1234567890", "#B1", "B1-A",
                "B1 2", "B\u0661", "B" + "1" * 100_000, HOSTILE,
            )
        ),
        {"p_customer_name": None},
        {"p_customer_name": " "},
        {"p_product_title": None},
        {"p_product_title": "x" * 201},
        {"p_due_date": "infinity"},
        {"p_notes": "x" * 5001},
        *(
            {"p_image_url": url}
            for url in (
                "http://cdn.example.com/a.png", "javascript:alert(1)", "//cdn.example.com/a.png",
                "https://", "https://a b", 'https://a"onload=', "https://" + "a" * 2000,
            )
        ),
    ],
    ids=lambda said: str(said)[:60],
)  # fmt: skip
def test_an_invalid_manual_order_is_refused(
    db: Connection, supervisor: UUID, said: dict[str, Any]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, supervisor, "create_manual_order", **MANUAL | said)

    assert value(db, "select count(*) from public.orders") == 0


@pytest.mark.parametrize("taken", ["bannos-B55555", "bannos-55555", "bannos-55555-B"])
def test_a_number_in_use_in_the_store_is_refused(
    db: Connection, supervisor: UUID, taken: str
) -> None:
    make_order(db, id=taken, shopify_order_number=55555)

    with raises_code("CONFLICT", "PT409"):
        call(db, supervisor, "create_manual_order", **MANUAL)


def test_two_stores_may_use_the_same_number(db: Connection, supervisor: UUID) -> None:
    make_order(db, store="flourlane", id="flourlane-55555", shopify_order_number=55555)

    assert call(db, supervisor, "create_manual_order", **MANUAL) == "bannos-B55555"


@pytest.mark.spec("P14")
def test_only_supervisors_of_the_store_add_manual_orders(db: Connection) -> None:
    for role, store in (("Staff", "bannos"), ("Supervisor", "flourlane")):
        with raises_code("PERMISSION_DENIED", "PT403"):
            call(db, make_staff(db, role=role, store=store), "create_manual_order", **MANUAL)


# Cancellation


@pytest.mark.parametrize("stage", ["Filling", "Covering", "Decorating", "Packing"])
@pytest.mark.spec("P10")
def test_cancelling_keeps_the_stage(db: Connection, admin: UUID, baker: UUID, stage: str) -> None:
    order_id = make_order(db, stage=stage, assignee_id=baker)

    answer = call(db, admin, "cancel_order", p_order_id=order_id, p_reason=" Changed their mind ")

    after = row(db, order_id)
    assert answer["stage"] == after["stage"] == stage
    assert (after["assignee_id"], after["is_open"]) == (None, False)
    assert (after["cancelled_by"], after["cancel_reason"]) == (str(admin), "Changed their mind")
    assert metas(db, order_id, "cancel") == [
        {"source": "staff", "reason": "Changed their mind", "assignee_id": str(baker)}
    ]


@pytest.mark.spec("vector-11")
def test_a_complete_order_cannot_be_cancelled(db: Connection, admin: UUID) -> None:
    order_id = make_order(db, stage="Complete")

    with raises_code("INVALID_STAGE", "PT409"):
        call(db, admin, "cancel_order", p_order_id=order_id)

    assert row(db, order_id)["cancelled_at"] is None


@pytest.mark.spec("vector-11")
def test_cancelling_the_last_cake_returns_stock_and_drops_its_holds_once(
    db: Connection, admin: UUID
) -> None:
    board, candle = make_item(db, "board", 5), make_item(db, "candle", 0)
    first, second = arrive(db, units=2)
    deduct(db, {"title": "a", "sku": "board"}, {"title": "b", "sku": "candle"})
    held = value(db, "select count(*) from public.reservation_holds")

    call(db, admin, "cancel_order", p_order_id=second)
    after_one = stock(db, board)
    call(db, admin, "cancel_order", p_order_id=first)
    call(db, admin, "cancel_order", p_order_id=first)
    call(db, admin, "cancel_order", p_order_id=second)

    assert (held, after_one, stock(db, board), stock(db, candle)) == (1, 4, 5, 0)
    assert value(db, "select count(*) from public.reservation_holds") == 0
    assert [row(db, order_id)["inventory_blocked"] for order_id in (first, second)] == [False] * 2


def test_an_order_with_a_complete_cake_keeps_its_stock_and_drops_its_holds(
    db: Connection, admin: UUID
) -> None:
    board, candle = make_item(db, "board", 5), make_item(db, "candle", 0)
    made, left = arrive(db, units=2)
    deduct(db, {"title": "a", "sku": "board"}, {"title": "b", "sku": "candle"})
    db.execute("update public.orders set stage = 'Complete' where id = %s", (made,))

    call(db, admin, "cancel_order", p_order_id=left)

    assert (stock(db, board), stock(db, candle)) == (4, 0)
    assert value(db, "select count(*) from public.reservation_holds") == 0


def test_cancelling_a_cake_moves_accessories_and_total_to_the_next(
    db: Connection, admin: UUID
) -> None:
    prepare(db)
    cakes = created(db, order(line("Birthday Cake", 2), line("Sparkler Candle")))

    call(db, admin, "cancel_order", p_order_id=cakes[0])

    rows = [row(db, cake) for cake in cakes]
    assert [float(cake["total_amount"]) for cake in rows] == [0, 180]
    assert [len(cake["accessories"]) for cake in rows] == [0, 1]


def test_shopify_can_cancel_the_remaining_cakes_and_stock_returns_once(
    db: Connection, admin: UUID
) -> None:
    prepare(db)
    stock_accessory(db, "CANDLE-11")
    payload = order(line("Birthday Cake", 2), line("Sparkler Candle", sku="CANDLE-11"))
    cakes = created(db, payload)

    call(db, admin, "cancel_order", p_order_id=cakes[0])
    deliver(db, "orders/cancelled", cancelled(payload))
    answer = call(db, admin, "cancel_order", p_order_id=cakes[1])

    assert answer["already_done"]
    assert moves(db, "CANDLE-11") == [-1, 1]
    assert [events(db, cake)[-1] for cake in cakes] == ["cancel", "cancel"]


def test_cancelling_a_manual_order_cancels_no_other(db: Connection, admin: UUID) -> None:
    ids = [
        call(db, admin, "create_manual_order", **MANUAL | {"p_order_number": number})
        for number in ("B1", "B2")
    ]

    call(db, admin, "cancel_order", p_order_id=ids[0])

    assert [row(db, order_id)["is_open"] for order_id in ids] == [False, True]


def test_a_reason_that_is_too_long_is_refused(db: Connection, admin: UUID) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        call(db, admin, "cancel_order", p_order_id=make_order(db), p_reason="x" * 501)


def test_edits_are_announced_with_ids_only(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        admin, order_id = make_staff(conn, role="Admin"), make_order(conn)
        said = {"p_notes": "Ring the bell"}
        calls = [("update_order_notes", said), ("unassign_staff", {}), ("cancel_order", {})]
        conn.execute("listen bakehouse")

        for function, given in calls:
            call(conn, admin, function, p_order_id=order_id, **given)

        heard = [json.loads(note.payload) for note in conn.notifies(timeout=5, stop_after=2)]
    assert heard == [
        {
            "topic": "orders",
            "payload": {
                "store": "bannos", "order_id": order_id, "event": event, "stage": "Filling"
            },
        }
        for event in ("edit", "cancel")
    ]  # fmt: skip


# Races

ASSIGN: LiteralString = "select public.assign_staff(%s, p_staff_id => %s)"
BULK: LiteralString = "select public.assign_staff_bulk(%s, p_staff_id => %s)"
CANCEL: LiteralString = "select public.cancel_order(%s)"
DUE: LiteralString = "select public.update_order_due_date(%s, p_due_date => '2025-11-08')"
COMPLETE: LiteralString = "select public.complete_packing(%s)"
REFRESH: LiteralString = "select app.refresh_priorities('bannos')"
INGEST: LiteralString = "select public.ingest_shopify_webhook(%s, %s, %s, %s, %s)"


@pytest.fixture
def people(clone: str) -> tuple[UUID, UUID]:
    """Two Admins in a database of this test alone."""
    with psycopg.connect(clone) as conn:
        return make_staff(conn, role="Admin"), make_staff(conn, role="Admin")


@pytest.mark.spec("P8")
def test_the_second_of_two_assignments_at_once_wins(clone: str, people: tuple[UUID, UUID]) -> None:
    one, two = people
    with psycopg.connect(clone) as conn:
        order_id = make_order(conn)

    meet(clone, Call(one, ASSIGN, (order_id, one)), Call(two, ASSIGN, (order_id, two)))

    with psycopg.connect(clone) as conn:
        changes = metas(conn, order_id, "assign")
    assert [(change["assigned_from"], change["assigned_to"]) for change in changes] == [
        (None, str(one)),
        (str(one), str(two)),
    ]


@pytest.mark.spec("P8")
def test_two_equal_assignments_at_once_record_one_event(
    clone: str, people: tuple[UUID, UUID]
) -> None:
    one, two = people
    with psycopg.connect(clone) as conn:
        order_id = make_order(conn)

    meet(clone, Call(one, ASSIGN, (order_id, one)), Call(two, BULK, ([order_id], one)))

    with psycopg.connect(clone) as conn:
        assert events(conn, order_id) == ["assign"]


@pytest.mark.spec("P8")
def test_two_cancellations_at_once_cancel_once(clone: str, people: tuple[UUID, UUID]) -> None:
    with psycopg.connect(clone) as conn:
        board = make_item(conn, "board", 5)
        (order_id,) = arrive(conn)
        deduct(conn, {"title": "a", "sku": "board"})

    meet(clone, *(Call(account, CANCEL, (order_id,)) for account in people))

    with psycopg.connect(clone) as conn:
        assert (events(conn, order_id), stock(conn, board)) == (["cancel"], 5)


@pytest.mark.parametrize(
    ("first", "second", "happened"),
    [(CANCEL, DUE, ["cancel"]), (DUE, CANCEL, ["edit", "cancel"])],
    ids=["cancelled first", "edited first"],
)
@pytest.mark.spec("P8")
def test_an_edit_and_a_cancellation_at_once_happen_one_after_the_other(
    clone: str,
    people: tuple[UUID, UUID],
    first: LiteralString,
    second: LiteralString,
    happened: list[str],
) -> None:
    with psycopg.connect(clone) as conn:
        order_id = make_order(conn)
    calls = [
        Call(account, query, (order_id,))
        for account, query in zip(people, (first, second), strict=True)
    ]

    if first is CANCEL:
        with raises_code("CANCELLED", "PT409"):
            meet(clone, *calls)
    else:
        meet(clone, *calls)

    with psycopg.connect(clone) as conn:
        assert events(conn, order_id) == happened


@pytest.mark.parametrize(
    ("first", "second", "code", "happened"),
    [
        (CANCEL, COMPLETE, "CANCELLED", "cancel"),
        (COMPLETE, CANCEL, "INVALID_STAGE", "complete"),
    ],
    ids=["cancelled first", "packed first"],
)
@pytest.mark.spec("P10")
def test_of_packing_and_cancelling_at_once_only_one_happens(
    clone: str,
    people: tuple[UUID, UUID],
    first: LiteralString,
    second: LiteralString,
    code: str,
    happened: str,
) -> None:
    with psycopg.connect(clone) as conn:
        order_id = make_order(conn, stage="Packing")

    with raises_code(code, "PT409"):
        meet(
            clone,
            *(
                Call(account, query, (order_id,))
                for account, query in zip(people, (first, second), strict=True)
            ),
        )

    with psycopg.connect(clone) as conn:
        assert events(conn, order_id) == [happened]


def take_one_off(conn: Connection) -> tuple[list[str], Call]:
    """An order of two cakes, and an update that removes the second."""
    prepare(conn)
    first, second = line("Birthday Cake"), line("Torte Cake")
    payload = order(first, second)
    cakes = created(conn, payload)
    body = json.dumps(later(payload, line_items=[first, second | {"current_quantity": 0}]))
    signature = sign(body, SECRETS["bannos"])
    delivery = (DOMAINS["bannos"], "orders/updated", "update", signature, body)
    return cakes, Call(None, INGEST, delivery, role="service_role")


def test_an_update_from_shopify_waits_for_a_cancellation_and_respects_it(
    clone: str, people: tuple[UUID, UUID]
) -> None:
    admin, _ = people
    with psycopg.connect(clone) as conn:
        (first, second), update = take_one_off(conn)

    meet(clone, Call(admin, CANCEL, (first,)), update)

    with psycopg.connect(clone) as conn:
        assert [events(conn, cake) for cake in (first, second)] == [["create", "cancel"]] * 2


def test_calls_that_lock_several_orders_lock_them_by_id(
    clone: str, people: tuple[UUID, UUID]
) -> None:
    one, two = people
    with psycopg.connect(clone) as conn:
        (first, second), update = take_one_off(conn)
        conn.execute("update public.orders set priority = 1")

    for waiting in (
        Call(None, REFRESH, role="bakehouse_owner"),
        Call(two, BULK, ([second, first], two)),
        update,
        Call(two, CANCEL, (second,)),
    ):
        with held_up(clone, Call(one, ASSIGN, (first, one)), waiting) as conn:
            # deadlocks if the call has locked the second order before the first
            conn.execute(
                "select from public.orders where id = %s for no key update nowait", (second,)
            )
