"""What identifies a customer is in order_contacts, and nowhere else."""

from uuid import UUID

import psycopg
import pytest

from audit import audit
from bakehouse.database import Connection
from calls import acting_as, call
from orders.payloads import Payload
from orders.races import Call, meet
from orders.test_ingest import (
    cancelled,
    created,
    deliver,
    later,
    line,
    order,
    prepare,
    row,
)
from rows import make_order, make_staff, value, values

PERSON = {
    "name": "Zebedee Quill",
    "email": "zebedee@quill.example",
    "phone": "+61 499 123 987",
    "street": "77 Whistledown Lane",
    "sender": "Aunt Ottoline",
    "wish": "call Zebedee's mother",
}


def personal(**fields: object) -> Payload:
    """An order of two cakes that says all of PERSON."""
    cake = line("Birthday Cake", quantity=2) | {
        "properties": [
            {"name": "Recipient", "value": PERSON["wish"]},
            {"name": "Writing", "value": "Happy Birthday"},
        ],
        "destination_location": {"address1": PERSON["street"]},
    }
    address = {"name": PERSON["name"], "address1": PERSON["street"], "phone": PERSON["phone"]}
    made = order(cake, line("Gold Candle", quantity=1)) | {
        "email": PERSON["email"],
        "phone": PERSON["phone"],
        "customer": {"id": 77001, "first_name": "Zebedee", "last_name": "Quill"},
        "shipping_address": address,
    }
    made["note_attributes"].append({"name": "Gift Sender Name", "value": PERSON["sender"]})
    return made | fields


def places(db: Connection) -> dict[str, list[str]]:
    """Returns the tables in which a row names the person, with what they name."""
    tables = values(
        db,
        "select tables.oid::regclass::text from pg_class as tables "
        "where tables.relkind in ('r', 'p') and not tables.relispartition "
        "and tables.relnamespace::regnamespace::text in ('public', 'app', 'private', 'bakehouse')",
    )
    found = {}
    for table in tables:
        rows = db.execute(f"select lower(rows::text) from {table} as rows".encode()).fetchall()
        text = " ".join(str(row) for (row,) in rows)
        if named := [about for about, known in PERSON.items() if known.lower() in text]:
            found[table] = named
    return found


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A database in which both stores have a webhook secret."""
    prepare(db)
    return db


def two_cakes(db: Connection, name: str = "Ada Byron") -> tuple[str, str]:
    """Adds an order of two cakes. Returns their ids."""
    payload = order(line("Birthday Cake", quantity=2), customer={"name": name})
    first, second = created(db, payload)
    return first, second


def search(db: Connection, account: UUID, text: str) -> list[str]:
    with acting_as(db, "authenticated", account):
        return sorted(values(db, "select id from public.find_order(%s)", text))


def rename(db: Connection, account: UUID, order_id: str, name: str) -> None:
    call(db, account, "update_order_core", p_order_id=order_id, p_customer_name=name)


def test_a_customer_is_named_in_the_contacts_alone(shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")
    payload = personal()
    first, second = created(shop, payload)
    deliver(shop, "orders/updated", later(payload, note="Side door"))
    call(shop, admin, "print_barcode", p_order_id=first)
    rename(shop, admin, first, "Zebedee Quill the Third")
    changed = later(payload, 9)
    changed["shipping_address"]["name"] = "Zebedee Quill Junior"
    deliver(shop, "orders/updated", changed)
    call(shop, admin, "cancel_order", p_order_id=second)
    call(
        shop, admin, "create_manual_order", p_store="bannos", p_order_number="B77",
        p_customer_name=PERSON["name"], p_product_title="Drip Cake",
    )  # fmt: skip

    assert places(shop) == {"order_contacts": list(PERSON), "app.order_words": ["name"]}

    shop.execute("delete from public.order_contacts where true")

    assert places(shop) == {}
    assert audit(shop) == {}


def test_the_contact_has_what_the_order_says_of_the_customer(shop: Connection) -> None:
    created(shop, personal())

    (contact,) = values(
        shop,
        "select to_jsonb(contacts) - '{store,order_gid,payload}'::text[] "
        "from public.order_contacts as contacts",
    )

    assert contact == {
        "customer_id": 77001,
        "customer_name": PERSON["name"],
        "email": PERSON["email"],
        "phone": PERSON["phone"],
        "gift_sender": PERSON["sender"],
        "address": {
            "name": PERSON["name"], "address1": PERSON["street"], "phone": PERSON["phone"]
        },
    }  # fmt: skip


def test_the_cakes_of_an_order_have_one_customer(shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")
    first, second = two_cakes(shop)

    rename(shop, admin, second, "Ada King")

    assert [row(shop, cake)["customer_name"] for cake in (first, second)] == ["Ada King"] * 2
    assert search(shop, admin, "ada king") == [first, second]
    assert search(shop, admin, "byron") == []
    assert audit(shop) == {}


def test_shopify_does_not_change_a_name_that_staff_changed(shop: Connection) -> None:
    payload = order(line("Birthday Cake", quantity=2), customer={"name": "Ada Byron"})
    first, second = created(shop, payload)
    rename(shop, make_staff(shop, role="Admin"), first, "Ada King")

    deliver(shop, "orders/updated", later(payload, customer={"name": "A. Byron"}))

    assert [row(shop, cake)["customer_name"] for cake in (first, second)] == ["Ada King"] * 2
    assert [row(shop, cake)["needs_attention"] for cake in (first, second)] == [
        "Shopify changed customer name"
    ] * 2


def test_shopify_changes_the_name_of_a_complete_order(shop: Connection) -> None:
    payload = order(customer={"name": "Ada Byron"})
    (cake,) = created(shop, payload)
    call(shop, make_staff(shop, role="Admin"), "mark_order_complete", p_order_id=cake)

    answer = deliver(shop, "orders/updated", later(payload, customer={"name": "Ada King"}))

    assert answer["outcome"] == "updated"
    assert row(shop, cake)["customer_name"] == "Ada King"


def test_an_order_without_its_contact_goes_on(shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")
    payload = personal()
    cakes = created(shop, payload)

    shop.execute("delete from public.order_contacts where true")

    assert search(shop, admin, "birthday") == cakes
    assert call(shop, admin, "print_barcode", p_order_id=cakes[0])["customer_name"] is None
    assert deliver(shop, "orders/updated", later(payload, note="Side"))["outcome"] == "unchanged"
    assert deliver(shop, "orders/updated", cancelled(payload, 9))["outcome"] == "cancelled"
    assert values(shop, "select order_gid from public.order_contacts") == []
    assert audit(shop) == {}


def test_staff_read_names_of_their_store_as_a_column_of_orders(db: Connection) -> None:
    here = make_order(db, customer_name="Ada Byron")
    there = make_order(db, store="flourlane", customer_name="Secret Customer")
    member = make_staff(db, store="bannos")

    with acting_as(db, "authenticated", member):
        seen = db.execute("select id, orders.customer_name from public.orders").fetchall()
        forged = value(
            db,
            "select public.customer_name(jsonb_populate_record(null::public.orders, %s))",
            psycopg.types.json.Jsonb({"store": "flourlane", "id": there}),
        )

    assert seen == [(here, "Ada Byron")]
    assert forged is None


@pytest.mark.parametrize("column", ["email", "phone", "gift_sender", "address", "payload", "*"])
def test_nobody_reads_more_than_a_name_directly(db: Connection, column: str) -> None:
    admin = make_staff(db, role="Admin")

    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, "authenticated", admin),
    ):
        db.execute(f"select {column} from public.order_contacts".encode())


@pytest.mark.parametrize("renamed_first", [True, False])
def test_a_rename_and_the_last_stage_of_another_cake_meet(clone: str, renamed_first: bool) -> None:
    with psycopg.connect(clone) as db:
        prepare(db)
        admin = make_staff(db, role="Admin")
        first, second = two_cakes(db)
    calls = [
        Call(
            admin,
            "select public.update_order_core(%s, p_customer_name => 'Ada King')",
            (first,),
        ),
        Call(admin, "select public.mark_order_complete(%s)", (second,)),
    ]

    meet(clone, *(calls if renamed_first else reversed(calls)))

    with psycopg.connect(clone) as db:
        assert search(db, admin, "ada king") == [first, second]
        assert audit(db) == {}
