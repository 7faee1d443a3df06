"""A scan finds the right cake, or refuses and gives the reason."""

import json
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from rows import make_order, make_staff, make_store, value


@pytest.fixture
def baker(db: Connection) -> UUID:
    """A baker who works in every store."""
    return make_staff(db)


def cake(db: Connection, order_id: str, **columns: str) -> str:
    """Adds an order with this id, and the number, suffix and human id that ingest derives."""
    store, number, *unit = order_id.split("-")
    digits = number.lstrip("BF")
    return make_order(
        db,
        store=store,
        id=order_id,
        shopify_order_number=int(digits) if int(digits) < 2**31 else None,
        suffix=unit[0] if unit else None,
        human_id="-".join([{"bannos": "B", "flourlane": "F"}[store] + digits, *unit]),
        **columns,
    )


def scan(db: Connection, account: UUID, text: str | None) -> str:
    with acting_as(db, "authenticated", account):
        found: str = value(db, "select id from public.get_order_for_scan(%s)", text)
    return found


def candidates(db: Connection, account: UUID, text: str) -> list[str]:
    with pytest.raises(psycopg.Error) as refusal, acting_as(db, "authenticated", account):
        db.execute("select public.get_order_for_scan(%s)", (text,))
    assert refusal.value.diag.message_hint == "AMBIGUOUS_SCAN"
    detail = json.loads(refusal.value.diag.message_detail or "")
    for candidate in detail["candidates"]:
        assert candidate.keys() == {"id", "product_title", "size", "stage"}
    return [candidate["id"] for candidate in detail["candidates"]]


@pytest.mark.parametrize(
    ("text", "order_id"),
    [
        ("#B18617", "bannos-18617"),
        ("#F18617", "flourlane-18617"),
        ("#b18617", "bannos-18617"),
        ("  #B18617\r\n", "bannos-18617"),
        ("bannos-18617", "bannos-18617"),
        ("flourlane-18617", "flourlane-18617"),
        ("BANNOS-18617", "bannos-18617"),
        ("flour-lane-18617", "flourlane-18617"),
        ("Flour-Lane-18617", "flourlane-18617"),
        ("18618", "bannos-18618"),
        ("B18617", "bannos-18617"),
        ("F18617", "flourlane-18617"),
        ("*B18617*", "bannos-18617"),
        ("#B18619-A", "bannos-18619-A"),
        ("B18619-b", "bannos-18619-B"),
        ("bannos-18619-A", "bannos-18619-A"),
        ("BANNOS-18619-aa", "bannos-18619-AA"),
        ("bannos-B55555", "bannos-B55555"),
        ("bannos-b55555", "bannos-B55555"),
        ("#B55555", "bannos-B55555"),
        ('{"id": "bannos-18619-B"}', "bannos-18619-B"),
        (' {"order_id": "flour-lane-18617", "v": 2} ', "flourlane-18617"),
        ('{"barcode": "#B18617"}', "bannos-18617"),
        ("https://shop.example/orders/bannos-18619-B", "bannos-18619-B"),
        ("https://shop.example/orders/bannos-18619-B/?from=docket#top", "bannos-18619-B"),
        ("https://shop.example/scan?v=2&id=bannos-18619-B&x=1", "bannos-18619-B"),
        ("https://shop.example/scan?barcode=%23B18617", "bannos-18617"),
        ("bannos-450789469123", "bannos-450789469123"),
        ("B450789469123", "bannos-450789469123"),
    ],
)
@pytest.mark.spec("vector-8")
def test_every_form_of_a_scan_finds_its_cake(
    db: Connection, baker: UUID, text: str, order_id: str
) -> None:
    for each in (
        *("bannos-18617", "flourlane-18617", "bannos-18618", "bannos-B55555"),
        *("bannos-18619-A", "bannos-18619-B", "bannos-18619-AA", "bannos-450789469123"),
    ):
        cake(db, each)

    assert scan(db, baker, text) == order_id


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "   ", "*", "#", "B", "-", "bannos", "bannos-", "cake", "Z18617"),
        *("rivals-18617", "bannos-F18617", "18617-", "#B18617-A-B", "12.5", "-18617", "٣٤٥"),
        *("9" * 21, "9" * 100_000, "{", '{"id": 7', '{"v": 1}', '{"id": "\\u0000"}', "[18617]"),
        *("https://", "https://shop.example", "ftp://shop.example/bannos-18617"),
        *("' or 1=1 --", "18617'; drop table orders; --", "bannos-18617%", "bannos-1861_"),
        "B18617\nB18618",
    ],
)
@pytest.mark.spec("vector-8")
def test_text_that_is_no_scan_is_bad_input(db: Connection, baker: UUID, text: str | None) -> None:
    cake(db, "bannos-18617")

    with raises_code("BAD_INPUT", "PT400"):
        scan(db, baker, text)


@pytest.mark.parametrize(
    "text", ["#B18617", "99999999999999999999", "bannos-18617-B", "B18618-A", "bannos-B18619"]
)
@pytest.mark.spec("vector-8")
def test_a_scan_without_a_matching_order_is_not_found(
    db: Connection, baker: UUID, text: str
) -> None:
    cake(db, "flourlane-18617")
    cake(db, "bannos-18618")

    with raises_code("NOT_FOUND", "PT404"):
        scan(db, baker, text)


@pytest.mark.parametrize("text", ["#B18617", "B18617", "*B18617*", "bannos-18617", "18617"])
@pytest.mark.spec("P1")
def test_the_number_of_a_split_order_is_ambiguous_and_lists_its_cakes(
    db: Connection, baker: UUID, text: str
) -> None:
    units = [cake(db, f"bannos-18617-{suffix}") for suffix in ("A", "B", "AA")]
    cake(db, "bannos-18617-C", cancelled_at="now")

    assert candidates(db, baker, text) == units


@pytest.mark.spec("P1")
def test_each_unit_is_found_by_its_own_id(db: Connection, baker: UUID) -> None:
    units = [cake(db, f"bannos-18617-{suffix}") for suffix in ("A", "B", "C")]

    assert [scan(db, baker, unit) for unit in units] == units


def test_the_label_of_a_first_single_cake_still_finds_that_cake(
    db: Connection, baker: UUID
) -> None:
    """The order has a second cake now, so only its number is ambiguous."""
    units = [cake(db, "bannos-18617"), cake(db, "bannos-18617-B")]

    assert scan(db, baker, "bannos-18617") == "bannos-18617"
    assert candidates(db, baker, "#B18617") == units


def test_a_number_of_both_stores_is_ambiguous_for_staff_of_both(
    db: Connection, baker: UUID
) -> None:
    orders = [cake(db, "bannos-18617"), cake(db, "flourlane-18617")]

    assert candidates(db, baker, "18617") == orders
    for order_id in orders:
        staff = make_staff(db, store=order_id.split("-")[0])
        assert scan(db, staff, "18617") == order_id


@pytest.mark.parametrize("text", ["#B18617", "b18617", "bannos-18617", '{"id": "bannos-18617"}'])
def test_a_scan_that_names_another_store_is_refused(db: Connection, text: str) -> None:
    cake(db, "bannos-18617")
    cake(db, "flourlane-18617")

    with raises_code("PERMISSION_DENIED", "PT403"):
        scan(db, make_staff(db, store="flourlane"), text)


def test_a_bare_number_of_another_store_alone_is_not_found(db: Connection) -> None:
    cake(db, "bannos-18617")

    with raises_code("NOT_FOUND", "PT404"):
        scan(db, make_staff(db, store="flourlane"), "18617")


def test_a_cancelled_cake_is_found_by_its_id_or_by_a_number_that_only_it_has(
    db: Connection, baker: UUID
) -> None:
    gone = cake(db, "bannos-18617-A", cancelled_at="now")
    other = cake(db, "bannos-18617-B")
    alone = cake(db, "bannos-18618", cancelled_at="now")

    assert scan(db, baker, "#B18617") == other
    assert scan(db, baker, gone) == gone
    assert scan(db, baker, "#B18617-A") == gone
    assert scan(db, baker, "#B18618") == alone


def test_orders_of_a_newly_added_store_can_be_scanned(db: Connection, baker: UUID) -> None:
    make_store(db, "crumbs", shop_domain="crumbs-and-co.myshopify.com")
    order_id = make_order(db, store="crumbs", id="crumbs-18617", shopify_order_number=18617)

    for text in ("#C18617", "crumbs-and-co-18617", "crumbs-18617", "18617"):
        assert scan(db, baker, text) == order_id


def test_a_scan_answers_what_the_scanner_shows_and_no_address(db: Connection, baker: UUID) -> None:
    order_id = cake(db, "bannos-18617-B", stage="Covering", filling_start_ts="now")

    with acting_as(db, "authenticated", baker):
        found = db.execute("select * from public.get_order_for_scan(%s)", (order_id,))
        row = dict(zip([column.name for column in found.description or ()], *found, strict=True))

    assert row | {"id": order_id, "stage": "Covering", "store": "bannos", "suffix": "B"} == row
    assert (row["priority"], row["shopify_order_number"]) == ("Low", 18617)
    assert row["filling_start_ts"] is not None
    assert row.keys() == {
        *("id", "shopify_order_number", "human_id", "suffix", "customer_name", "product_title"),
        *("size", "notes", "due_date", "delivery_method", "stage", "priority", "storage", "store"),
        *("filling_start_ts", "filling_complete_ts", "covering_start_ts", "covering_complete_ts"),
        *("decorating_start_ts", "decorating_complete_ts", "packing_start_ts"),
        *("packing_complete_ts", "cancelled_at"),
    }


@pytest.mark.spec("P19")
def test_a_scan_ignores_tables_of_the_caller(db: Connection, baker: UUID) -> None:
    cake(db, "bannos-18617", product_title="Ours")
    shadows: tuple[LiteralString, ...] = (
        "create temp table orders (store text, id text, product_title text)",
        "create temp table stores (code text, scan_letter text, shop_domain text)",
        "create temp table staff_shared (user_id uuid, role text)",
    )

    with acting_as(db, "authenticated", baker):
        for shadow in shadows:
            db.execute(shadow)
        db.execute("set local search_path = pg_temp, public")
        title = value(db, "select product_title from public.get_order_for_scan('#B18617')")

    assert title == "Ours"


def test_a_scan_reads_no_whole_table(db: Connection, baker: UUID) -> None:
    """Tries an id, a number with #, a unit and a plain number."""
    db.execute(
        "insert into public.orders (store, id, shopify_order_number, stage) "
        "select 'bannos', 'bannos-' || n, n, 'Complete' from generate_series(900001, 920000) as n"
    )
    db.execute("analyze public.orders")
    counters: LiteralString = (
        "select seq_scan from pg_stat_xact_user_tables where relname = 'orders_bannos'"
    )
    before = value(db, counters)

    found = [scan(db, baker, text) for text in ("bannos-900007", "#B900007", "900007") * 4]

    assert set(found) == {"bannos-900007"}
    assert value(db, counters) == before
