"""Converts Shopify payloads to orders: each rule, and random payloads."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.database import Connection
from calls import raises_code
from orders import payloads
from orders.payloads import Line, Order, Payload, graphql, rest
from rows import value

CAKE = Line("Gelato Cake", variant="Medium / Vanilla")
EXAMPLES = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def normalise(db: Connection, payload: object) -> dict[str, Any]:
    order: dict[str, Any] = value(db, "select app.shopify_order(%s)", json.dumps(payload))
    return order


def cake(db: Connection, line: Line) -> dict[str, Any]:
    """The only unit of an order with one line."""
    (unit,) = normalise(db, rest(Order(lines=(line,))))["units"]
    return dict(unit)


def without_items(order: dict[str, Any]) -> dict[str, Any]:
    units = [{k: v for k, v in unit.items() if k != "item"} for unit in order["units"]]
    return order | {"units": units}


def insert_units(db: Connection, order: dict[str, Any]) -> int:
    """Inserts the units as rows. Returns their number."""
    return db.execute(
        """
        insert into public.orders (
          store, id, shopify_order_id, shopify_order_gid, shopify_order_number, suffix,
          product_title, flavour, size, notes, cake_writing, delivery_method, currency,
          total_amount, order_json, accessories, due_date, due_date_text,
          needs_attention, is_pos
        )
        select
          'bannos',
          concat_ws('-', 'bannos', coalesce(header.order_number, header.shopify_order_id), suffix),
          header.shopify_order_id, header.gid, header.order_number, suffix,
          product_title, flavour, size, header.notes, cake_writing,
          header.delivery_method, header.currency, unit.total_amount, item, accessories,
          header.due_date, header.due_date_text, header.needs_attention ->> 0, header.is_pos
        from jsonb_to_record(%s) as header (
          shopify_order_id bigint, gid text, order_number integer, notes text,
          delivery_method text, currency text, total_amount numeric(12, 2),
          due_date date, due_date_text text, needs_attention jsonb, is_pos boolean,
          updated_at timestamptz, units jsonb
        )
        cross join lateral jsonb_to_recordset(header.units) as unit (
          suffix text, product_title text, flavour text, size text, cake_writing text,
          accessories jsonb, total_amount numeric(12, 2), item jsonb
        )
        """,
        (json.dumps(order),),
    ).rowcount


# Complete payloads


@pytest.mark.parametrize("order", payloads.GOLDEN, ids=lambda order: order.number)
@pytest.mark.spec("P37d")
def test_rest_and_graphql_give_the_same_order(db: Connection, order: Order) -> None:
    from_rest, from_graphql = normalise(db, rest(order)), normalise(db, graphql(order))

    assert without_items(from_rest) == without_items(from_graphql)


@pytest.mark.parametrize("order", payloads.GOLDEN, ids=lambda order: order.number)
def test_the_units_fit_the_table(db: Connection, order: Order) -> None:
    normalised = normalise(db, rest(order))

    assert insert_units(db, normalised) == len(normalised["units"])


def test_a_payload_with_every_field_becomes_the_expected_order(db: Connection) -> None:
    line = {
        "line_id": 2451700,
        "title": "Gelato Cake",
        "variant_title": "Medium / Vanilla",
        "sku": "CAKE-M",
        "variant_id": 3451700,
        "product_id": 4451700,
        "quantity": 1,
        "ordered": 1,
        "restocked": 0,
        "price": 60,
        "kind": "cake",
    }

    assert normalise(db, rest(payloads.SINGLE)) == {
        "gid": "gid://shopify/Order/5800000024517",
        "shopify_order_id": 5800000024517,
        "order_number": 24517,
        "customer_name": "Test Recipient",
        "contact": {
            "customer_id": 9,
            "email": None,
            "phone": None,
            "gift_sender": None,
            "address": {"name": "Test Recipient", "city": "Sydney"},
        },
        "currency": "AUD",
        "total_amount": 180,
        "due_date": "2025-09-16",
        "due_date_text": "2025-09-16 between 10:00 AM and 1:00 PM",
        "delivery_method": "delivery",
        "pickup_location": None,
        "notes": "Nut free • Ring twice",
        "is_pos": False,
        "cancelled": False,
        "updated_at": "2025-09-01T02:15:00.000000Z",
        "needs_attention": [],
        "units": [
            {
                "suffix": None,
                "product_title": "Gelato Cake",
                "flavour": "Mango, Vanilla, Choc",
                "size": "Medium",
                "cake_writing": "Happy Birthday / 40",
                "accessories": [],
                "total_amount": 180,
                "item": line,
            }
        ],
        "lines": [line],
    }


@pytest.mark.spec("vector-1")
def test_two_cakes_of_quantity_2_and_1_with_extras_are_a_b_and_c(db: Connection) -> None:
    order = normalise(db, rest(payloads.SPLIT))

    units = order["units"]
    assert [(unit["suffix"], unit["product_title"]) for unit in units] == [
        ("A", "Gelato Cake"),
        ("B", "Gelato Cake"),
        ("C", "Vegan Cake"),
    ]
    assert [unit["total_amount"] for unit in units] == [180, 0, 0]
    assert [unit["accessories"] for unit in units] == [
        [
            {"title": "Candle", "quantity": 1, "price": 5, "variant_title": "Number / 4"},
            {"title": "Balloon", "quantity": 1, "price": 5, "variant_title": None},
        ],
        [],
        [],
    ]
    assert normalise(db, rest(payloads.SPLIT)) == order


@pytest.mark.parametrize(
    ("attributes", "tags", "due", "reasons"),
    [
        ({"Local Delivery Date and Time": "2025-09-16 between 9 and 5"}, (), "2025-09-16", []),
        ({"Local Delivery Date and Time": "Sat 8 Nov 2025 Between 9"}, (), "2025-11-08", []),
        ({"Local Delivery Date and Time": "08/12/2025"}, (), "2025-12-08", []),
        ({}, ("VIP", "DEL:2025-09-16"), "2025-09-16", []),
        ({}, ("Fri 14 Nov 2025",), "2025-11-14", []),
        ({"Local Delivery Date and Time": "soon, please"}, (), None, ["Due date unclear"]),
        ({}, (), None, ["No due date"]),
    ],
)
@pytest.mark.parametrize("shape", [rest, graphql])
@pytest.mark.spec("vector-5")
def test_the_due_date_comes_from_attributes_and_tags_or_needs_attention(
    db: Connection,
    shape: Any,
    attributes: dict[str, str],
    tags: tuple[str, ...],
    due: str | None,
    reasons: list[str],
) -> None:
    order = normalise(db, shape(Order(attributes=attributes, tags=tags)))

    assert (order["due_date"], order["needs_attention"]) == (due, reasons)


@pytest.mark.spec("vector-6")
def test_hidden_properties_are_not_flavours(db: Connection) -> None:
    properties = {
        "_gelato flavours_raw": "Lemon",
        "Gelato Flavours": "Mango\nVanilla/Choc",
        "gwp gelato flavour": "Mint",
        "Gelato flavour_origin": "Italy",
        "gelato flavour_RAW": "Lemon",
        "Gelato flavour _LocalDeliveryID": "7",
    }

    assert cake(db, replace(CAKE, properties=properties))["flavour"] == "Mango, Vanilla, Choc"


@pytest.mark.spec("vector-7")
def test_the_variant_says_size_and_flavour(db: Connection) -> None:
    unit = cake(db, Line("Gelato Cake", variant="Medium / Vanilla"))

    assert (unit["size"], unit["flavour"]) == ("Medium", "Vanilla")


# Due dates


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ("2025-09-16", "2025-09-16"),
        ("2025-09-16BETWEEN 9 and 5", "2025-09-16"),
        (" 8/12/2025, ", "2025-12-08"),
        ("Saturday, 8th November 2025", "2025-11-08"),
        ("Sat  8 Nov 2025", "2025-11-08"),
        ("1 jan 2026", "2026-01-01"),
        ("29/02/2028", "2028-02-29"),
        ("DEL:2025-09-16", "2025-09-16"),
        ("Pickup: Fri 14 Nov 2025", "2025-11-14"),
        ("12/25/2025", None),  # the day comes before the month
        ("29/02/2026", None),
        ("31 Feb 2026", None),
        ("2025-13-01", None),
        ("2025-00-10", None),
        ("0/1/2025", None),
        ("Sun 8 Nov 2025", None),  # that day was a Saturday
        ("not 8 Nov 2025", None),
        ("by Sat 8 Nov 2025", None),
        ("8 Nob 2025", None),
        ("8 Nov 25", None),
        ("1999-09-16", None),
        ("2025-09-16T23:30:00Z", None),  # already the next day in the store
        ("2025-09-16 or 2025-09-17", None),
        ("between 2025-09-16 and 2025-09-17", None),
        ("20251108", None),
        ("DEL:", None),
        ("", None),
        (None, None),
    ],
)
def test_a_due_date_is_read_or_stays_empty(
    db: Connection, said: str | None, due: str | None
) -> None:
    assert value(db, "select app.shopify_due_date(%s)::text", said) == due


@EXAMPLES
@given(day=st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_every_day_is_read_in_every_form(db: Connection, day: date) -> None:
    forms = ["%Y-%m-%d", "%d/%m/%Y", "%a %d %b %Y", "%A, %d %B %Y", "DEL:%Y-%m-%d"]

    for form in forms:
        assert value(db, "select app.shopify_due_date(%s)", day.strftime(form)) == day


@EXAMPLES
@given(said=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_no_text_about_a_due_date_raises(db: Connection, said: str) -> None:
    day = value(db, "select app.shopify_due_date(%s)", said)

    assert day is None or str(day.year) in said


@pytest.mark.parametrize(
    ("attributes", "tags", "due", "words"),
    [
        (  # the attribute for due dates has priority
            {"Delivery Date": "2025-09-18", "Local Delivery Date and Time": "2025-09-16"},
            ("DEL:2025-09-17",),
            "2025-09-16",
            "2025-09-16",
        ),
        ({"pickup date": "17/09/2025"}, ("DEL:2025-09-16",), "2025-09-17", "17/09/2025"),
        ({"Pick up date": "?"}, ("DEL:2025-09-16",), "2025-09-16", "DEL:2025-09-16"),
        ({}, ("2025-09-18", "pickup:2025-09-17"), "2025-09-17", "pickup:2025-09-17"),
        ({}, ("DEL:soon",), None, "DEL:soon"),
        ({}, ("8 cakes", "VIP"), None, None),
        (  # two different dates give no due date
            {},
            ("DEL:2025-09-16", "DEL:2025-09-17"),
            None,
            "DEL:2025-09-16; DEL:2025-09-17",
        ),
    ],
)
@pytest.mark.spec("P50")
def test_the_first_source_with_exactly_one_date_wins(
    db: Connection,
    attributes: dict[str, str],
    tags: tuple[str, ...],
    due: str | None,
    words: str | None,
) -> None:
    order = normalise(db, rest(Order(attributes=attributes, tags=tags)))

    assert (order["due_date"], order["due_date_text"]) == (due, words)


@pytest.mark.parametrize("zone", ["UTC", "Australia/Sydney", "America/Los_Angeles"])
@pytest.mark.spec("P39")
def test_no_session_setting_changes_a_date_or_a_time(db: Connection, zone: str) -> None:
    db.execute("select set_config('timezone', %s, true)", (zone,))
    db.execute("set local datestyle = 'SQL, MDY'")

    order = normalise(db, rest(Order(tags=("Mon 8 Dec 2025",))))

    assert order["due_date"] == "2025-12-08"
    assert order["updated_at"] == "2025-09-01T02:15:00.000000Z"


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2025-09-01T12:15:00.5+10:00", "2025-09-01T02:15:00.500000Z"),
        ("2025-02-31T12:15:00Z", None),
        ("2025-09-01T24:15:00Z", None),
        ("2025-09-01T12:15:00+99:00", None),
        ("2025-09-01T12:15:00", None),
        ("yesterday", None),
        ("infinity", None),
        (17, None),
    ],
)
def test_a_timestamp_is_exact_or_null(db: Connection, said: object, moment: str | None) -> None:
    assert normalise(db, rest(Order()) | {"updated_at": said})["updated_at"] == moment


# Units


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Gelato Cake", "cake"),
        ("CUPCAKES (12)", "cake"),
        ("Cake for pickup", "cake"),
        ("Cake Topper", "accessory"),
        ("Cake picks", "accessory"),
        ("cake pick gold", "accessory"),
        ("Number Candle", "accessory"),
        ("Foil Balloons", "accessory"),
        ("Cake decorations", "accessory"),
        ("Gelato Tub", "other"),
        ("", "other"),
    ],
)
def test_the_title_decides_between_cake_and_accessory(
    db: Connection, title: str, kind: str
) -> None:
    (line,) = normalise(db, rest(Order(lines=(Line(title),))))["lines"]

    assert line["kind"] == kind


def test_a_gift_card_is_never_baked(db: Connection) -> None:
    order = normalise(db, rest(Order(lines=(Line("Cake Gift Card", gift_card=True),))))

    assert order["units"] == []
    assert order["lines"][0]["kind"] == "other"


@pytest.mark.parametrize("lines", [(), (Line("Candle"), Line("Gelato Tub"))])
def test_an_order_without_cakes_has_nothing_to_make_but_keeps_its_lines(
    db: Connection, lines: tuple[Line, ...]
) -> None:
    order = normalise(db, rest(Order(lines=lines)))

    assert order["units"] == []
    assert [line["title"] for line in order["lines"]] == [line.title for line in lines]


def test_other_products_stay_in_the_lines(db: Connection) -> None:
    order = normalise(db, rest(Order(lines=(Line("Gelato Tub", 2), CAKE))))

    assert [(line["title"], line["kind"]) for line in order["lines"]] == [
        ("Gelato Tub", "other"),
        ("Gelato Cake", "cake"),
    ]
    assert order["units"][0]["accessories"] == []


def test_a_line_removed_by_an_edit_makes_no_cake(db: Connection) -> None:
    order = normalise(db, rest(payloads.EDITED))

    assert [(unit["suffix"], unit["accessories"]) for unit in order["units"]] == [(None, [])]
    assert [line["quantity"] for line in order["lines"]] == [1, 0]


@pytest.mark.parametrize(
    ("variant", "size", "flavour"),
    [
        ("Medium / Vanilla", "Medium", "Vanilla"),
        ("Small Tall / Choc / Extra", "Small Tall", "Choc"),
        ("Large + Pistachio", "Large", "Pistachio"),  # the till writes +
        ("Gift Size", "Gift Size", None),
        ("Choc/Vanilla", "Choc/Vanilla", None),
        ("Default Title", None, None),
        (" / Vanilla", "/ Vanilla", None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_first_part_of_a_variant_is_the_size(
    db: Connection, variant: str | None, size: str | None, flavour: str | None
) -> None:
    unit = cake(db, Line("Gelato Cake", variant=variant))

    assert (unit["size"], unit["flavour"]) == (size, flavour)


def test_a_cake_without_a_flavour_needs_attention(db: Connection) -> None:
    order = normalise(db, rest(Order(lines=(Line("Gelato Cake"),), tags=("DEL:2025-09-16",))))

    assert order["needs_attention"] == ["No flavour"]


def test_the_text_on_the_cake_stays_out_of_flavour_and_notes(db: Connection) -> None:
    properties = {"Writing on cake": "Happy\nBirthday", "WRITING colour": "red", "Message": "x"}

    order = normalise(db, rest(Order(lines=(replace(CAKE, properties=properties),), note="Hi")))

    unit = order["units"][0]
    assert unit["cake_writing"] == "Happy\nBirthday / red"
    assert (unit["flavour"], order["notes"]) == ("Vanilla", "Hi")


@pytest.mark.parametrize(
    "properties",
    [
        [{"name": "Gelato Flavours", "value": "Mango"}],
        [{"key": "gelato flavours ", "value": "Mango"}],
        [{"first": "Gelato Flavours", "last": "Mango"}],
        [["Gelato Flavours", "Mango"]],
        {"Gelato Flavours": "Mango"},
        [None, 7, "x", [], {}, ["Gelato Flavours", " , / "], ["Gelato Flavours", "Mango"]],
    ],
)
def test_properties_are_read_in_every_shape(db: Connection, properties: object) -> None:
    payload = rest(Order(lines=(CAKE,)))
    payload["line_items"][0]["properties"] = properties

    assert normalise(db, payload)["units"][0]["flavour"] == "Mango"


def test_a_text_is_cut_to_what_its_column_holds(db: Connection) -> None:
    long = "é " * 10_000
    line = replace(CAKE, title=f"Cake {long}", variant=f"{long} / {long}")
    payload = rest(Order(lines=(replace(line, properties={"Writing": long}),)))
    payload |= {"note": long, "tags": f"DEL: {long}", "shipping_address": {"name": long}}

    order = normalise(db, payload)

    assert insert_units(db, order) == 1
    assert (len(order["customer_name"]), len(order["notes"])) == (200, 5000)
    assert len(order["units"][0]["product_title"]) == 300


def test_control_characters_do_not_reach_a_label(db: Connection) -> None:
    unit = cake(
        db, replace(CAKE, title="\x07Gelato\u00a0Cake\x1b ", properties={"Writing": "\r\n"})
    )

    assert (unit["product_title"], unit["cake_writing"]) == ("Gelato Cake", None)


def test_suffixes_count_like_spreadsheet_columns(db: Connection) -> None:
    found = value(
        db,
        "select array_agg(app.shopify_suffix(unit)) from unnest('{0,1,2,26,27,52,53,702,703}'"
        "::integer[]) as unit",
    )

    assert found == [None, "A", "B", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_an_order_of_200_cakes_is_split_and_one_more_is_refused(db: Connection) -> None:
    units = normalise(db, rest(Order(lines=(replace(CAKE, quantity=199), CAKE))))["units"]

    assert len({unit["suffix"] for unit in units}) == 200
    assert units[-1]["suffix"] == "GR"
    with raises_code("BAD_INPUT", "PT400"), db.transaction():
        normalise(db, rest(Order(lines=(replace(CAKE, quantity=199), replace(CAKE, quantity=2)))))


def test_cakes_with_huge_properties_are_not_multiplied(db: Connection) -> None:
    line = replace(CAKE, quantity=200, properties={"Photo": "x" * 1_000_000})

    units = normalise(db, rest(Order(lines=(line,))))["units"]

    assert len(units) == 200
    assert len(json.dumps(units)) < 200_000


# Customer, delivery, money


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"shipping_address": {"name": " Recipient "}, "customer": {"name": "X"}}, "Recipient"),
        ({"shipping_address": {"name": ""}, "customer": {"name": "Buyer"}}, "Buyer"),
        ({"customer": {"first_name": "Test ", "last_name": " Customer"}}, "Test Customer"),
        ({"customer": {"firstName": None, "lastName": "Customer"}}, "Customer"),
        ({"customer": {"first_name": "", "last_name": " "}}, "Customer"),
        ({"customer": None}, "Customer"),
        ({"customer": "nobody"}, "Customer"),
    ],
)
def test_the_name_is_the_recipient_or_else_the_customer(
    db: Connection, part: Payload, name: str
) -> None:
    assert normalise(db, rest(Order()) | part)["customer_name"] == name


@pytest.mark.parametrize(
    ("said", "recipient", "method"),
    [
        ("Local Delivery", None, "delivery"),
        ("In-store Pickup", "Test Recipient", "pickup"),
        ("pick up", "Test Recipient", "pickup"),
        ("Pick-Up or delivery point", "Test Recipient", "pickup"),
        ("courier", "Test Recipient", "delivery"),
        (None, "Test Recipient", "delivery"),
        (None, None, "pickup"),
    ],
)
def test_pickup_and_delivery_are_told_apart(
    db: Connection, said: str | None, recipient: str | None, method: str
) -> None:
    attributes = {"delivery METHOD": said} if said else {}

    order = normalise(db, rest(Order(attributes=attributes, recipient=recipient)))

    assert order["delivery_method"] == method


def test_attributes_are_read_from_the_order_and_from_its_lines(db: Connection) -> None:
    payload = rest(Order()) | {
        "note_attributes": [],
        "attributes": {"Delivery Instructions": "Ring twice", "Delivery Method": "Pickup"},
        "customAttributes": [{"key": "Pickup date", "value": "2025-09-16"}],
    }

    order = normalise(db, payload)

    assert (order["notes"], order["delivery_method"]) == ("Ring twice", "pickup")
    assert order["due_date"] == "2025-09-16"


@pytest.mark.parametrize("shape", [rest, graphql])
def test_money_is_in_the_currency_of_the_shop(db: Connection, shape: Any) -> None:
    order = Order(total="180.00", presentment=("USD", "120.00"))

    normalised = normalise(db, shape(order))

    assert (normalised["currency"], normalised["total_amount"]) == ("AUD", 180)


@pytest.mark.parametrize("shape", [rest, graphql])
def test_the_current_total_wins_over_the_original_one(db: Connection, shape: Any) -> None:
    order = normalise(db, shape(Order(total="180.00", current_total="120.50")))

    assert order["total_amount"] == 120.5


@pytest.mark.parametrize(
    ("part", "money"),
    [
        ({"currency": None, "total_price": 99.5}, ("AUD", 99.5)),
        ({"currency": "nzd", "total_price": "99.5"}, ("NZD", 99.5)),
        ({"total_price": None}, ("AUD", None)),
        ({"total_price": ""}, ("AUD", None)),
        ({"total_price": "0.004"}, ("AUD", 0)),
        ({"presentment_currency": "USD", "currency": None, "total_price": "9"}, ("AUD", 9)),
    ],
)
def test_missing_money_is_null(
    db: Connection, part: Payload, money: tuple[str, float | None]
) -> None:
    payload = rest(Order()) | {"current_total_price": None} | part

    order = normalise(db, payload)

    assert (order["currency"], order["total_amount"]) == money
    assert order["units"][0]["total_amount"] == money[1]


def test_an_order_from_the_counter_is_marked_and_needs_no_attention(db: Connection) -> None:
    order = normalise(db, rest(replace(payloads.COUNTER, lines=(Line("Gelato Cake"),))))

    assert (order["is_pos"], order["needs_attention"]) == (True, [])
    assert len(order["units"]) == 1


def test_a_cancelled_order_keeps_its_cancellation(db: Connection) -> None:
    assert normalise(db, rest(payloads.EDITED))["cancelled"] is True
    assert normalise(db, rest(payloads.SINGLE))["cancelled"] is False


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ({"admin_graphql_api_id": "gid://shopify/Order/7", "id": 8}, 7),
        ({"id": 7}, 7),
        ({"id": "7"}, 7),
        ({"id": "gid://shopify/Order/7"}, 7),
        ({"id": "gid://shopify/Draft/7", "legacyResourceId": "8"}, 8),
        ({"id": 2**63 - 1}, 2**63 - 1),
    ],
)
@pytest.mark.spec("P3")
def test_an_order_has_one_id_whatever_its_shape(db: Connection, ids: Payload, found: int) -> None:
    order = normalise(db, ids)

    assert (order["shopify_order_id"], order["gid"]) == (found, f"gid://shopify/Order/{found}")


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ({"order_number": 24517, "name": "#B1"}, 24517),
        ({"order_number": "24517"}, 24517),
        ({"name": "#B24517"}, 24517),
        ({"name": "24517"}, 24517),
        ({"name": "#B24517-EU"}, None),
        ({"name": "#B99999999999"}, None),
        ({"order_number": 0}, None),
        ({}, None),
    ],
)
def test_the_order_number_is_read_or_stays_empty(
    db: Connection, part: Payload, number: int | None
) -> None:
    assert normalise(db, {"id": 7} | part)["order_number"] == number


@pytest.mark.spec("P37d")
def test_the_id_of_a_product_is_never_used_as_a_variant(db: Connection) -> None:
    line = {"title": "Cake", "quantity": 1, "variant_id": "gid://shopify/Product/7"}

    order = normalise(db, {"id": 7, "line_items": [line]})

    assert order["lines"][0]["variant_id"] is None


# Refusals


def bad_payloads() -> Iterator[Any]:
    good = rest(Order())
    parts: list[tuple[str, Payload]] = [
        ("no id", {"id": None, "admin_graphql_api_id": None}),
        ("id too large", {"id": 2**63, "admin_graphql_api_id": None}),
        ("id with a fraction", {"id": 1.5, "admin_graphql_api_id": ""}),
        ("a number that is text", {"order_number": "SECRET"}),
        ("a number too large", {"order_number": 2**31}),
        ("a number below nothing", {"order_number": -1}),
        ("a total that is text", {"current_total_price": "SECRET"}),
        ("a total below nothing", {"current_total_price": "-1"}),
        ("a total too large", {"current_total_price": "1e30"}),
        ("a total beyond the column", {"current_total_price": 10**10}),
        ("a total that is a list", {"current_total_price": [1]}),
        ("no currency we know", {"currency": "SECRET"}),
        ("lines that are text", {"line_items": "SECRET"}),
        ("lines in an object", {"line_items": {"SECRET": 1}}),
        ("too many lines", {"line_items": [{"quantity": 1}] * 1001}),
        ("one page of lines", {"line_items": {"nodes": [], "pageInfo": {"hasNextPage": True}}}),
        ("edges that are null", {"line_items": {"edges": None, "nodes": []}}),
        ("an edge without a node", {"line_items": {"edges": [{"SECRET": 1}]}}),
        ("attributes that are text", {"note_attributes": "SECRET"}),
        ("tags that are a number", {"tags": 5}),
    ]
    for name, part in parts:
        yield pytest.param(good | part, id=name)
    line = good["line_items"][0]
    parts = [
        ("no quantity", {"quantity": None, "current_quantity": None}),
        ("a negative quantity", {"current_quantity": -1}),
        ("half a cake", {"current_quantity": 0.5}),
        ("a billion cakes", {"current_quantity": 10**9}),
        ("a quantity that is text", {"current_quantity": "SECRET"}),
        ("a price that is text", {"price": "SECRET"}),
        ("a price too large", {"price": 10**10}),
        ("a price without digits", {"price": "."}),
        ("a price that is not finite", {"price": "NaN"}),
        ("properties that are text", {"properties": "SECRET"}),
    ]
    for name, part in parts:
        yield pytest.param(good | {"line_items": [line | part]}, id=name)
    for nonsense in [None, True, 5, "SECRET", [], {}, [good], {"order": good}]:
        yield pytest.param(nonsense, id=f"nonsense: {str(nonsense)[:12]}")


@pytest.mark.parametrize("payload", list(bad_payloads()))
@pytest.mark.spec("P37")
def test_an_invalid_order_is_refused_without_repeating_it(db: Connection, payload: object) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        normalise(db, payload)

    diag = refusal.value.diag
    assert (diag.message_hint, diag.sqlstate) == ("BAD_INPUT", "PT400")
    assert "SECRET" not in f"{diag.message_primary} {diag.message_detail} {diag.context}"


def test_no_payload_is_no_order(db: Connection) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        db.execute("select app.shopify_order(null)")


def test_a_tag_called_edges_is_an_ordinary_tag(db: Connection) -> None:
    order = normalise(db, graphql(Order(tags=("edges", "DEL:2025-09-16"))))

    assert order["due_date"] == "2025-09-16"


# Arbitrary payloads

KEYS = sorted(
    {
        key
        for shape in (rest, graphql)
        for part in (shape(payloads.SINGLE), shape(payloads.SINGLE).get("line_items", [{}])[0])
        for key in part
    }
    | {"edges", "node", "nodes", "name", "key", "value", "first", "last", "attributes"}
)
TEXT = st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), max_size=30
) | st.sampled_from(
    ["", " ", "-1", "1e9", "99999999999999999999", "31/02/2025", "gid://shopify/Order/0", "pos"]
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALAR.filter(lambda scalar: scalar not in (float("inf"), float("-inf"))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | TEXT, inner, max_size=6)
    ),
    max_leaves=25,
)


def accepted(db: Connection, payload: object) -> bool:
    """Returns whether a payload is accepted. A refusal must be BAD_INPUT."""
    with db.transaction(force_rollback=True):
        try:
            with db.transaction():
                order = normalise(db, payload)
        except psycopg.Error as refusal:
            if (refusal.diag.message_hint, refusal.sqlstate) == ("BAD_INPUT", "PT400"):
                return False
            raise
        assert insert_units(db, order) == len(order["units"])
        amounts = [unit["total_amount"] for unit in order["units"]]
        assert amounts == [order["total_amount"], *[0] * len(amounts)][: len(amounts)]
        cakes = [line["quantity"] for line in order["lines"] if line["kind"] == "cake"]
        assert sum(cakes) == len(amounts)
        return True


@EXAMPLES
@given(payload=JSON)
def test_arbitrary_json_becomes_a_valid_order_or_bad_input(db: Connection, payload: Any) -> None:
    accepted(db, payload)
    if isinstance(payload, dict):
        accepted(db, payload | {"id": 7})


def places(payload: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every object and list in a payload, with each key or index."""
    keys: Any = range(len(payload)) if isinstance(payload, list) else payload
    if isinstance(payload, dict | list):
        for key in list(keys):
            yield payload, key
            yield from places(payload[key])


@EXAMPLES
@given(data=st.data())
def test_a_payload_changed_anywhere_becomes_a_valid_order_or_bad_input(
    db: Connection, data: st.DataObject
) -> None:
    shape = data.draw(st.sampled_from([rest, graphql]))
    payload = copy.deepcopy(shape(data.draw(st.sampled_from(payloads.GOLDEN))))
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(list(places(payload))))
        change = data.draw(st.sampled_from(["delete", "replace", "nest", "list"]))
        if change == "delete":
            del container[key]
        elif change == "replace":
            container[key] = data.draw(JSON)
        else:
            container[key] = {"node": container[key]} if change == "nest" else [container[key]]
        if not payload:
            break

    accepted(db, payload)


def test_the_generated_payloads_meet_both_outcomes(db: Connection) -> None:
    assert accepted(db, rest(payloads.SPLIT)) is True
    assert accepted(db, {}) is False


@pytest.mark.parametrize("huge", ["[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_deep_nesting_is_refused(db: Connection, huge: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        db.execute("select app.shopify_order(%s)", (huge,))


def test_five_megabytes_are_read_within_seconds(db: Connection) -> None:
    order = Order(lines=tuple(Line("Candle", properties={"a": "x" * 5000}) for _ in range(1000)))
    db.execute("set local statement_timeout = '5s'")

    assert len(normalise(db, rest(order))["lines"]) == 1000
