"""Settings: defaults, one shape per key, no leak between stores, no secrets."""

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.database import Connection
from calls import acting_as, ask, raises_code
from orders.races import Call, meet
from rows import make_staff, value, values

LOCATIONS = [
    "Store Fridge",
    "Store Freezer",
    "Kitchen Coolroom",
    "Kitchen Freezer",
    "Basement Coolroom",
]
DUE_DATES = {
    "defaultDue": "+1 day",
    "allowedDays": [True] * 6 + [False],
    "blackoutDates": [],
}
READERS = [
    "get_settings(%s)",
    "get_setting(%s, 'flavours')",
    "get_printing_settings(%s)",
    "get_monitor_density(%s)",
    "get_flavours(%s)",
    "get_storage_locations(%s)",
    "get_due_date_settings(%s)",
]
WRITERS = [
    "set_setting(%s, 'monitor.autoRefresh', '60')",
    "reset_setting(%s, 'monitor.autoRefresh')",
    """set_printing_settings(%s, '{"copies": 2}')""",
    "set_monitor_density(%s, 'compact')",
    "set_flavours(%s, '{Mango}')",
    "set_storage_locations(%s, '{Shelf}')",
    """set_due_date_settings(%s, '{"defaultDue": "today"}')""",
]
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
ONE_CONNECTION = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def answer(db: Connection, account: UUID, function: str, *arguments: object) -> Any:
    """Returns the answer of a function to an account."""
    return ask(db, account, f"select public.{function}", *arguments)


def get(db: Connection, account: UUID, key: str, store: str = "bannos") -> Any:
    return answer(db, account, "get_setting(%s, %s)", store, key)


def put(db: Connection, account: UUID, key: str, setting: object, store: str = "bannos") -> Any:
    return answer(db, account, "set_setting(%s, %s, %s)", store, key, json.dumps(setting))


def audited(db: Connection) -> list[Any]:
    return values(
        db,
        "select jsonb_build_array(actor_id, action, store, subject, meta) "
        "from public.audit_log order by id",
    )


# Defaults


@pytest.mark.parametrize(
    ("function", "bannos", "flourlane"),
    [
        ("get_storage_locations(%s)", LOCATIONS, [*LOCATIONS, "Display Case"]),
        ("get_monitor_density(%s)", "cozy", "cozy"),
        ("get_due_date_settings(%s)", DUE_DATES, DUE_DATES),
        ("get_setting(%s, 'inventory_tracking_enabled')", False, False),
        ("get_setting(%s, 'active_shift_required')", False, False),
        ("get_setting(%s, 'photo_required_stages')", [], []),
        ("get_setting(%s, 'monitor.autoRefresh')", 30, 30),
    ],
)
@pytest.mark.spec("P34")
def test_a_setting_that_was_never_set_has_its_default(
    db: Connection, function: str, bannos: object, flourlane: object
) -> None:
    baker = make_staff(db)

    assert [answer(db, baker, function, store) for store in ("bannos", "flourlane")] == [
        bannos,
        flourlane,
    ]


@pytest.mark.spec("P34")
def test_each_store_has_its_own_default_flavours(db: Connection) -> None:
    baker = make_staff(db)

    numbers = [
        len(answer(db, baker, "get_flavours(%s)", store)) for store in ("bannos", "flourlane")
    ]

    assert numbers == [6, 8]


def test_a_default_can_be_set_as_it_is_for_every_key_and_store(db: Connection, admin: UUID) -> None:
    db.execute(
        "insert into public.stores (code, name, scan_letter, time_zone, currency) "
        "values ('ovenside', 'Ovenside', 'O', 'UTC', 'NZD')"
    )
    keys = values(db, "select key from app.setting_keys")
    assert len(keys) >= 11

    for store in ("bannos", "flourlane", "ovenside", "global"):
        for key in keys:
            default = get(db, admin, key, store)
            put(db, admin, key, default, store)
            assert get(db, admin, key, store) == default


def test_a_store_without_its_own_defaults_has_the_global_ones(db: Connection) -> None:
    db.execute(
        "insert into public.stores (code, name, scan_letter, time_zone, currency) "
        "values ('ovenside', 'Ovenside', 'O', 'UTC', 'NZD')"
    )

    assert answer(db, make_staff(db), "get_storage_locations('ovenside')") == LOCATIONS


def test_partly_set_printing_settings_are_completed_with_defaults(
    db: Connection, admin: UUID
) -> None:
    answer(
        db, admin, """set_printing_settings('bannos', '{"copies": 2, "printer_name": "Back"}')"""
    )

    read = answer(db, admin, "get_printing_settings('bannos')")

    assert read == {
        "printer_name": "Back",
        "paper_size": "A4",
        "orientation": "portrait",
        "auto_print": False,
        "print_barcodes": True,
        "print_labels": True,
        "ticketSize": "80mm",
        "copies": 2,
        "barcodePrefix": "",
    }


# Shapes


GOOD: list[tuple[str, object]] = [
    ("flavours", ["Mango"]),
    ("flavours", ["x" * 100] * 100),
    ("storage_locations", ["Shelf 1", "Tür"]),
    ("printing_settings", {}),
    ("printing_settings", {"orientation": "landscape", "ticketSize": "58mm", "copies": 3}),
    ("printing_settings", {"auto_print": True, "barcodePrefix": "B", "paper_size": "A5"}),
    ("dueDates.defaultDue", "today"),
    ("dueDates.defaultDue", "+1 day"),
    ("dueDates.defaultDue", "+99 days"),
    ("dueDates.allowedDays", [False] * 6 + [True]),
    ("dueDates.blackoutDates", ["2028-02-29", "2025-12-25"]),
    ("monitor.density", "compact"),
    ("monitor.autoRefresh", 15),
    ("inventory_tracking_enabled", True),
    ("photo_required_stages", ["Packing", "Decorating"]),
    ("active_shift_required", True),
]
BAD: list[tuple[str, object]] = [
    ("flavours", []),
    ("flavours", {}),
    ("flavours", "Mango"),
    ("flavours", [""]),
    ("flavours", ["  "]),
    ("flavours", ["Mango "]),
    ("flavours", ["Mango\nVanilla"]),
    ("flavours", ["Mango", None]),
    ("flavours", [["Mango"]]),
    ("flavours", [1]),
    ("flavours", ["x" * 101]),
    ("flavours", ["x"] * 101),
    ("storage_locations", []),
    ("storage_locations", [None]),
    ("printing_settings", []),
    ("printing_settings", "A4"),
    ("printing_settings", {"copies": 4}),
    ("printing_settings", {"copies": "1"}),
    ("printing_settings", {"copies": [1]}),
    ("printing_settings", {"ticketSize": "90mm"}),
    ("printing_settings", {"orientation": None}),
    ("printing_settings", {"auto_print": "yes"}),
    ("printing_settings", {"printer_name": "x" * 101}),
    ("printing_settings", {"shopifyToken": "shpat"}),
    ("dueDates.defaultDue", "tomorrow"),
    ("dueDates.defaultDue", "+0 days"),
    ("dueDates.defaultDue", "+100 days"),
    ("dueDates.defaultDue", ["today"]),
    ("dueDates.allowedDays", [True] * 6),
    ("dueDates.allowedDays", [False] * 7),
    ("dueDates.allowedDays", [True] * 6 + ["true"]),
    ("dueDates.allowedDays", [True] * 6 + [None]),
    ("dueDates.blackoutDates", "2025-12-25"),
    ("dueDates.blackoutDates", ["2025-02-30"]),
    ("dueDates.blackoutDates", ["25/12/2025"]),
    ("dueDates.blackoutDates", ["0000-01-01"]),
    ("dueDates.blackoutDates", ["2025-12-25T00:00"]),
    ("dueDates.blackoutDates", [20251225]),
    ("monitor.density", "normal"),
    ("monitor.density", ["cozy"]),
    ("monitor.density", 7),
    ("monitor.autoRefresh", 0),
    ("monitor.autoRefresh", [15]),
    ("inventory_tracking_enabled", "yes"),
    ("inventory_tracking_enabled", 1),
    ("inventory_tracking_enabled", [True]),
    ("photo_required_stages", ["Complete"]),
    ("photo_required_stages", "Packing"),
    ("photo_required_stages", [None]),
]


@pytest.mark.parametrize(("key", "setting"), GOOD, ids=str)
def test_a_valid_value_is_stored_unchanged(
    db: Connection, admin: UUID, key: str, setting: object
) -> None:
    assert put(db, admin, key, setting) is True

    read = get(db, admin, key)
    if isinstance(setting, dict):  # the other fields have defaults
        read = {name: read[name] for name in setting}
    assert read == setting


@pytest.mark.parametrize(("key", "setting"), GOOD, ids=str)
@pytest.mark.spec("P34")
def test_a_value_that_arrives_as_json_text_is_unwrapped(
    db: Connection, admin: UUID, key: str, setting: object
) -> None:
    put(db, admin, key, setting)
    plain = get(db, admin, key)
    answer(db, admin, "reset_setting('bannos', %s)", key)

    put(db, admin, key, json.dumps(setting))

    assert get(db, admin, key) == plain


@pytest.mark.parametrize(("key", "setting"), [*BAD, *((key, None) for key, _ in GOOD)], ids=str)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_an_invalid_value_is_refused(
    db: Connection, admin: UUID, key: str, setting: object, wrapped: bool
) -> None:
    before = get(db, admin, key)

    with raises_code("BAD_INPUT", "PT400"):
        put(db, admin, key, json.dumps(setting) if wrapped else setting)

    assert (get(db, admin, key), audited(db)) == (before, [])


@pytest.mark.parametrize(
    "function",
    [
        "set_setting('bannos', 'flavours', null)",
        "set_flavours('bannos', null)",
        "set_flavours('bannos', '{}')",
        "set_flavours('bannos', '{{a, b}, {c, d}}')",
        "set_storage_locations('bannos', null)",
        "set_printing_settings('bannos', null)",
        "set_monitor_density('bannos', null)",
        "set_due_date_settings('bannos', null)",
        "set_due_date_settings('bannos', '[]')",
        """set_due_date_settings('bannos', '{"nope": 1}')""",
    ],
)
@pytest.mark.spec("P40")
def test_null_and_empty_values_are_refused(db: Connection, admin: UUID, function: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        answer(db, admin, function)

    assert audited(db) == []


@ONE_CONNECTION
@given(
    setting=st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT,
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXT, inner, max_size=8),
        max_leaves=20,
    )
    | st.sampled_from(["[" * 100_000, "1e999999", '"\\u0000"', '{"a": "\\ud800"}', "nul", ""])
)
@pytest.mark.slow
def test_any_value_is_accepted_or_refused_as_bad_input(db: Connection, setting: object) -> None:
    hints = set()
    for key in values(db, "select key from app.setting_keys"):
        try:
            with db.transaction():
                db.execute("select app.check_setting(%s, %s)", (key, json.dumps(setting)))
        except psycopg.Error as error:
            hints.add(error.diag.message_hint)

    assert hints == {"BAD_INPUT"}  # no value fits all shapes


@pytest.mark.parametrize("key", ["shopifyToken", "shopify_last_sync", "Flavours", "", None])
@pytest.mark.parametrize(
    "function",
    [
        "get_setting('bannos', %s)",
        """set_setting('bannos', %s, '"shpat_0123456789abcdef0123"')""",
        "reset_setting('bannos', %s)",
    ],
)
@pytest.mark.spec("P12", "P25")
def test_secrets_and_unknown_keys_are_no_settings(
    db: Connection, admin: UUID, function: str, key: str | None
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        answer(db, admin, function, key)

    assert value(db, "select count(*) from public.settings") == 0


def test_a_refusal_does_not_repeat_the_value(db: Connection, admin: UUID) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        put(db, admin, "shopifyToken", "shpat_0123456789")

    diag = refusal.value.diag
    assert "shpat" not in f"{diag.message_primary} {diag.message_detail} {diag.context}"


# Stores


@pytest.mark.parametrize(("key", "setting"), GOOD, ids=str)
@pytest.mark.spec("P34")
def test_no_setting_leaks_to_the_other_store(
    db: Connection, admin: UUID, key: str, setting: object
) -> None:
    before = get(db, admin, key, "flourlane")

    put(db, admin, key, setting)

    assert get(db, admin, key, "flourlane") == before


def test_a_value_of_the_store_wins_over_the_global_one(db: Connection, admin: UUID) -> None:
    put(db, admin, "flavours", ["Everywhere"], "global")
    put(db, admin, "flavours", ["Here"], "bannos")

    read = [get(db, admin, "flavours", store) for store in ("bannos", "flourlane", "global")]

    assert read == [["Here"], ["Everywhere"], ["Everywhere"]]


def test_a_reset_falls_back_to_the_global_value_and_then_to_the_default(
    db: Connection, admin: UUID
) -> None:
    put(db, admin, "monitor.autoRefresh", 15, "bannos")
    put(db, admin, "monitor.autoRefresh", 60, "global")

    steps = [
        (answer(db, admin, "reset_setting(%s, 'monitor.autoRefresh')", store), refresh(db, admin))
        for store in ("bannos", "global", "bannos")
    ]

    assert steps == [(True, 60), (True, 30), (False, 30)]


def refresh(db: Connection, account: UUID) -> Any:
    return get(db, account, "monitor.autoRefresh")


def test_the_settings_of_a_store_show_which_ones_it_set_itself(db: Connection, admin: UUID) -> None:
    put(db, admin, "monitor.density", "compact", "bannos")
    put(db, admin, "monitor.autoRefresh", 60, "global")
    put(db, admin, "active_shift_required", True, "flourlane")

    with acting_as(db, "authenticated", admin):
        rows = db.execute(
            "select store, key, value, created_at is not null from public.get_settings('bannos')"
        ).fetchall()

    assert len(rows) == value(db, "select count(*) from app.setting_keys")
    assert {row[0] for row in rows} == {"bannos"}
    assert [row[1] for row in rows if row[3]] == ["monitor.density"]
    read = {row[1]: row[2] for row in rows}
    assert (read["monitor.density"], read["monitor.autoRefresh"]) == ("compact", 60)
    assert read["active_shift_required"] is False


def test_due_date_settings_are_changed_in_part_and_all_or_nothing(
    db: Connection, admin: UUID
) -> None:
    answer(db, admin, """set_due_date_settings('bannos', '{"defaultDue": "today"}')""")
    with raises_code("BAD_INPUT", "PT400"):
        answer(
            db,
            admin,
            """set_due_date_settings('bannos', '{"defaultDue": "+2 days", "allowedDays": []}')""",
        )

    assert answer(db, admin, "get_due_date_settings('bannos')") == DUE_DATES | {
        "defaultDue": "today"
    }


@pytest.mark.spec("P34")
def test_due_date_settings_of_the_old_client_are_accepted(db: Connection, admin: UUID) -> None:
    days = [False, True, True, True, True, True, False]
    put(db, admin, "dueDates.defaultDue", json.dumps("+2 days"))
    put(db, admin, "dueDates.allowedDays", json.dumps(days))
    put(db, admin, "dueDates.blackoutDates", json.dumps(["2025-12-25"]))

    assert answer(db, admin, "get_due_date_settings('bannos')") == {
        "defaultDue": "+2 days",
        "allowedDays": days,
        "blackoutDates": ["2025-12-25"],
    }


# Rights


@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
@pytest.mark.parametrize("function", READERS)
@pytest.mark.spec("P14")
def test_all_staff_read_the_settings_of_their_store(
    db: Connection, role: str, function: str
) -> None:
    account = make_staff(db, role=role, store="bannos")

    assert answer(db, account, function, "bannos") is not None
    assert answer(db, account, function, "global") is not None
    with raises_code("PERMISSION_DENIED", "PT403"):
        answer(db, account, function, "flourlane")


@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
@pytest.mark.parametrize("function", WRITERS)
@pytest.mark.spec("P14")
def test_only_admins_write_settings(db: Connection, role: str, function: str) -> None:
    account = make_staff(db, role=role)

    for store in ("bannos", "global"):
        with raises_code("PERMISSION_DENIED", "PT403"):
            answer(db, account, function, store)

    assert value(db, "select count(*) from public.settings") == 0


@pytest.mark.parametrize("function", WRITERS)
def test_an_admin_of_one_store_writes_that_store_and_no_other(
    db: Connection, function: str
) -> None:
    account = make_staff(db, role="Admin", store="bannos")

    answer(db, account, function, "bannos")
    for store in ("flourlane", "global"):
        with raises_code("PERMISSION_DENIED", "PT403"):
            answer(db, account, function, store)

    assert set(values(db, "select store from public.settings")) <= {"bannos"}


@pytest.mark.parametrize("store", [None, "", "Bannos", "nowhere"])
@pytest.mark.parametrize("function", READERS + WRITERS)
@pytest.mark.spec("P13")
def test_a_missing_store_does_not_mean_every_store(
    db: Connection, admin: UUID, function: str, store: str | None
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        answer(db, admin, function, store)

    assert value(db, "select count(*) from public.settings") == 0


@pytest.mark.parametrize("function", READERS + WRITERS)
@pytest.mark.parametrize(
    "outsider", [None, {"is_active": False}, {"approved": False}], ids=["stranger", "off", "new"]
)
@pytest.mark.spec("P15", "P17")
def test_outsiders_neither_read_nor_write_settings(
    db: Connection, function: str, outsider: dict[str, Any] | None
) -> None:
    account = uuid4() if outsider is None else make_staff(db, role="Admin", **outsider)

    with raises_code("PERMISSION_DENIED", "PT403"):
        answer(db, account, function, "bannos")


@pytest.mark.parametrize("role", ["anon", "service_role"])
@pytest.mark.parametrize("function", READERS + WRITERS)
@pytest.mark.spec("P12")
def test_neither_anon_nor_the_service_can_call_settings(
    db: Connection, function: str, role: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role):
        db.execute(f"select public.{function}".encode(), ("bannos",))


@pytest.mark.parametrize(("store", "seen"), [(None, 3), ("bannos", 2), ("flourlane", 2)], ids=str)
def test_staff_read_only_settings_of_their_stores_from_the_table(
    db: Connection, admin: UUID, store: str | None, seen: int
) -> None:
    for place in ("bannos", "flourlane", "global"):
        put(db, admin, "monitor.density", "compact", place)

    with acting_as(db, "authenticated", make_staff(db, store=store)):
        assert value(db, "select count(*) from public.settings") == seen
    with acting_as(db, "authenticated", uuid4()):
        assert value(db, "select count(*) from public.settings") == 0


# Audit


def test_every_change_is_recorded_with_old_and_new(db: Connection, admin: UUID) -> None:
    put(db, admin, "monitor.autoRefresh", 15)
    put(db, admin, "monitor.autoRefresh", 60)
    put(db, admin, "monitor.autoRefresh", 30, "global")
    answer(db, admin, "reset_setting('bannos', 'monitor.autoRefresh')")

    key, by = "monitor.autoRefresh", str(admin)
    assert audited(db) == [
        [by, "set_setting", "bannos", key, {"old": None, "new": 15}],
        [by, "set_setting", "bannos", key, {"old": 15, "new": 60}],
        [by, "set_setting", None, key, {"old": None, "new": 30}],
        [by, "reset_setting", "bannos", key, {"old": 60}],
    ]


@pytest.mark.spec("P25")
def test_saving_an_equal_value_records_no_change(db: Connection, admin: UUID) -> None:
    put(db, admin, "flavours", ["Mango"])

    assert put(db, admin, "flavours", ["Mango"]) is True

    assert len(audited(db)) == 1


def test_the_second_of_two_first_writers_records_the_value_it_replaced(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as db:
        admin = make_staff(db, role="Admin")
        first, second = (
            Call(admin, "select public.set_setting('bannos', 'monitor.autoRefresh', %s)", (value,))
            for value in ("15", "60")
        )

        meet(clone, first, second)

        assert [entry[4] for entry in audited(db)] == [
            {"old": None, "new": 15},
            {"old": 15, "new": 60},
        ]
        assert refresh(db, admin) == 60
