"""Names are clean: no invisible characters at their ends, NFC, on one line, never empty."""

from typing import Any
from uuid import UUID

import pytest

from bakehouse.database import Connection
from calls import call, raises_code
from projects.callers import switch
from rows import make_order, make_staff, value

EDGES = "\u200b\u00a0\ufeff \u200f\u2003\u202e\u0007"  # without width, no-break, BOM, RTL, bell


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        (f"{EDGES}Ana{EDGES}", "Ana"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("Ana\u0085Banana\u202e", "Ana Banana"),
        ("Ana\r\n\tBanana", "Ana   Banana"),
        ("\U0001f469\u200d\U0001f373 Ana", "\U0001f469\u200d\U0001f373 Ana"),  # a joined emoji
        ("A  B", "A  B"),
        (EDGES, None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_is_cleaned(db: Connection, given: str | None, clean: str | None) -> None:
    assert value(db, "select app.clean_name(%s)", given) == clean


def test_a_text_keeps_its_lines(db: Connection) -> None:
    assert value(db, "select app.clean_text(%s)", f"{EDGES}a\n\tb\u0301{EDGES}") == "a\n\tb\u0301"


def stored(db: Connection, admin: UUID, kind: str, name: str) -> Any:
    """Stores a name through an RPC. Returns what the table holds."""
    order = make_order(db)
    match kind:
        case "staff":
            call(db, admin, "update_staff_member", p_user_id=admin, p_full_name=name)
            return value(db, "select full_name from public.staff_shared where user_id = %s", admin)
        case "item":
            made = call(db, admin, "upsert_component", p_sku="S-1", p_name=name)
            return value(db, "select title from public.inventory_items where id = %s", made)
        case "recipe":
            made = call(db, admin, "upsert_bom", p_product_title=name)
            return value(db, "select product_title from public.boms where id = %s", made)
        case "order":
            call(db, admin, "update_order_core", p_order_id=order, p_customer_name=name)
            return value(
                db, "select customer_name from public.order_contacts where order_gid = %s", order
            )
        case "task":
            return call(db, admin, "create_task", p_title=name)["title"]
        case "list":
            switch(db, "true")
            return call(db, admin, "create_entity", p_name="glazes", p_display_name=name)[
                "display_name"
            ]
    return call(db, admin, "create_project", p_name=name)["name"]


KINDS = ["staff", "item", "recipe", "order", "task", "list", "project"]


@pytest.fixture
def admin(db: Connection) -> UUID:
    return make_staff(db, role="Admin")


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_stored_clean(db: Connection, admin: UUID, kind: str) -> None:
    assert stored(db, admin, kind, f"{EDGES}Cafe\u0301\u0007Noir{EDGES}") == "Caf\u00e9 Noir"


@pytest.mark.parametrize("kind", KINDS)
def test_an_invisible_name_is_refused(db: Connection, admin: UUID, kind: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        stored(db, admin, kind, EDGES)
