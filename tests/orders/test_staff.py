"""Staff: Admins approve people, nobody promotes themselves, only Admins see pay."""

import json
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import psycopg.rows
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from orders.races import Call, meet
from rows import make_staff, value, values

SOMEBODY = UUID("6b1f9f3e-0000-4000-8000-000000000001")
FUNCTIONS = {
    "get_staff_me()": "Staff",
    "get_staff_list()": "Supervisor",
    "get_staff_member(%(other)s)": "Supervisor",
    "update_staff_member(%(other)s, p_phone => '1')": "Admin",
    "upsert_staff_member(%(new)s, 'Test Staff', p_store => 'bannos')": "Admin",
}
ROLES = ["Staff", "Supervisor", "Admin"]
DEMOTE: LiteralString = "select public.update_staff_member(%s, p_role => 'Staff')"
Row = dict[str, Any]


def rows(db: Connection, account: UUID, query: str, *arguments: object) -> list[Row]:
    """Returns the rows that a function of the API returns to an account."""
    with acting_as(db, "authenticated", account):
        cursor = db.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(f"select * from public.{query}".encode(), arguments).fetchall()


def update(db: Connection, by: UUID, account: UUID | None, **change: object) -> None:
    """Calls update_staff_member with the parameter names that clients use."""
    named = "".join(f", p_{name} => %({name})s" for name in change)
    with acting_as(db, "authenticated", by):
        db.execute(
            f"select public.update_staff_member(p_user_id => %(id)s{named})".encode(),
            {"id": account} | change,
        )


def upsert(db: Connection, by: UUID, account: UUID | None, **change: object) -> Any:
    named = "".join(f", p_{name} => %({name})s" for name in change)
    with acting_as(db, "authenticated", by):
        row = db.execute(
            f"select public.upsert_staff_member(p_user_id => %(id)s{named})".encode(),
            {"id": account} | change,
        ).fetchone()
    assert row is not None
    return row[0]


def facts(db: Connection, account: UUID) -> Row:
    found: Row = value(db, "select app.staff_facts(%s)", account)
    return found


def audited(db: Connection) -> list[Any]:
    return values(
        db,
        "select jsonb_build_array(actor_id, action, store, subject, meta) "
        "from public.audit_log order by id",
    )


# Rights


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("function", "needs"), FUNCTIONS.items())
@pytest.mark.spec("P14")
def test_each_function_requires_its_role(
    db: Connection, function: str, needs: str, role: str
) -> None:
    account = make_staff(db, role=role)
    others = {"other": make_staff(db), "new": SOMEBODY}

    def call() -> None:
        with acting_as(db, "authenticated", account):
            db.execute(f"select public.{function}".encode(), others)

    if ROLES.index(role) >= ROLES.index(needs):
        call()
    else:
        with raises_code("PERMISSION_DENIED", "PT403"):
            call()
        assert audited(db) == []


@pytest.mark.parametrize("state", [None, {"is_active": False}, {"approved": False}], ids=str)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.spec("P15", "P17")
def test_inactive_unapproved_and_unknown_accounts_are_refused(
    db: Connection, function: str, state: dict[str, Any] | None
) -> None:
    account = make_staff(db, role="Admin", **state) if state else uuid4()
    others = {"other": make_staff(db), "new": SOMEBODY}

    with (
        raises_code("PERMISSION_DENIED", "PT403"),
        acting_as(db, "authenticated", account),
    ):
        db.execute(f"select public.{function}".encode(), others)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.spec("P13")
def test_a_caller_without_identity_is_refused(db: Connection, function: str) -> None:
    others = {"other": make_staff(db), "new": SOMEBODY}

    with raises_code("NOT_SIGNED_IN", "PT401"), acting_as(db, "authenticated"):
        db.execute(f"select public.{function}".encode(), others)


@pytest.mark.parametrize("role", ["anon", "service_role"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.spec("P12")
def test_neither_anon_nor_the_service_can_call_staff_functions(
    db: Connection, function: str, role: str
) -> None:
    others = {"other": make_staff(db), "new": SOMEBODY}

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role):
        db.execute(f"select public.{function}".encode(), others)


@pytest.mark.spec("P16")
def test_no_email_makes_an_account_an_admin(db: Connection, admin: UUID) -> None:
    upsert(db, admin, admin, email="boss@example.com")
    stranger = uuid4()

    with raises_code("CONFLICT", "PT409"):
        upsert(db, admin, stranger, full_name="Test", store="both", email="BOSS@example.com")
    with raises_code("PERMISSION_DENIED", "PT403"):
        rows(db, stranger, "get_staff_me()")


# Reading


@pytest.mark.parametrize(("store", "spelled"), [("bannos", "bannos"), (None, "both")])
def test_staff_can_read_their_own_row(db: Connection, store: str | None, spelled: str) -> None:
    account = make_staff(db, store=store)

    me = {
        "user_id": account,
        "full_name": "Test Staff",
        "role": "Staff",
        "store": spelled,
        "is_active": True,
        "phone": None,
        "email": None,
    }
    assert rows(db, account, "get_staff_me()") == [me]
    assert rows(db, account, "get_staff_member(%s)", account) == [me]


def test_a_supervisor_reads_staff_of_their_stores_only(db: Connection) -> None:
    supervisor = make_staff(db, role="Supervisor", store="bannos")
    here, everywhere, elsewhere = (make_staff(db, store=s) for s in ("bannos", None, "flourlane"))

    read = [rows(db, supervisor, "get_staff_member(%s)", who)[0] for who in (here, everywhere)]
    listed = {row["user_id"] for row in rows(db, supervisor, "get_staff_list()")}

    assert [row["store"] for row in read] == ["bannos", "both"]
    assert listed == {supervisor, here, everywhere}
    for unseen in (elsewhere, uuid4(), None):
        with raises_code("NOT_FOUND", "PT404"):
            rows(db, supervisor, "get_staff_member(%s)", unseen)


def test_staff_cannot_tell_whether_an_account_exists(db: Connection) -> None:
    baker = make_staff(db)

    for other in (make_staff(db), uuid4()):
        with raises_code("PERMISSION_DENIED", "PT403"):
            rows(db, baker, "get_staff_member(%s)", other)


@pytest.mark.parametrize(("role", "rate"), [("Supervisor", None), ("Admin", Decimal("31.50"))])
@pytest.mark.spec("P32b")
def test_only_admins_see_pay(db: Connection, admin: UUID, role: str, rate: Decimal | None) -> None:
    baker = make_staff(db, store="bannos")
    update(db, admin, baker, hourly_rate=Decimal("31.50"))

    (row,) = rows(db, make_staff(db, role=role, store="bannos"), "get_staff_list('Staff')")

    assert (row["user_id"], row["hourly_rate"]) == (baker, rate)


def test_the_list_has_the_columns_that_clients_read(db: Connection, admin: UUID) -> None:
    (row,) = rows(db, admin, "get_staff_list()")

    assert list(row) == [
        "user_id",
        "full_name",
        "role",
        "store",
        "is_active",
        "approved",
        "phone",
        "email",
        "hourly_rate",
        "last_login",
        "created_at",
        "updated_at",
    ]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", ["on", "new", "boss"]),
        ("null, true", ["on", "new", "boss"]),
        ("null, false", ["off"]),
        ("null, null", ["on", "new", "off", "boss"]),
        ("'Staff', null", ["on", "new", "off"]),
        ("'Admin'", ["boss"]),
        ("'Supervisor'", []),
    ],
)
def test_the_list_can_be_filtered(
    db: Connection, admin: UUID, arguments: str, found: list[str]
) -> None:
    people = {
        "on": make_staff(db),
        "new": make_staff(db, approved=False),
        "off": make_staff(db, is_active=False),
        "boss": admin,
    }

    listed = {row["user_id"] for row in rows(db, admin, f"get_staff_list({arguments})")}

    assert listed == {people[name] for name in found}


def test_the_list_is_sorted_by_name(db: Connection, admin: UUID) -> None:
    for name in ("c", "a", "b"):
        upsert(db, admin, uuid4(), full_name=name, store="both")

    names = [row["full_name"] for row in rows(db, admin, "get_staff_list('Staff')")]

    assert names == ["a", "b", "c"]


# Changing


def test_signing_up_gives_no_rights_until_an_admin_approves(db: Connection, admin: UUID) -> None:
    account = uuid4()

    assert upsert(db, admin, account, full_name=" Test ", role="Supervisor", store="both")
    with raises_code("PERMISSION_DENIED", "PT403"):
        rows(db, account, "get_staff_me()")
    update(db, admin, account, approved=True)

    (me,) = rows(db, account, "get_staff_me()")
    assert (me["full_name"], me["role"], me["store"]) == ("Test", "Supervisor", "both")


@pytest.mark.parametrize("change", [{}, {"full_name": "Test"}, {"store": "bannos"}], ids=str)
def test_a_new_member_needs_a_name_and_a_store(
    db: Connection, admin: UUID, change: dict[str, Any]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        upsert(db, admin, SOMEBODY, **change)


def test_a_new_member_has_the_role_staff(db: Connection, admin: UUID) -> None:
    upsert(db, admin, SOMEBODY, full_name="Test", store="bannos")

    assert facts(db, SOMEBODY) == {
        "full_name": "Test",
        "role": "Staff",
        "store": "bannos",
        "phone": None,
        "email": None,
        "is_active": True,
        "approved": False,
        "hourly_rate": None,
    }


@pytest.mark.spec("P40")
def test_null_keeps_a_field_and_an_empty_text_clears_it(db: Connection, admin: UUID) -> None:
    upsert(
        db,
        admin,
        SOMEBODY,
        full_name="Test",
        store="bannos",
        phone="\u00a01\u200b",
        email=" a@example.com\n",
    )
    update(db, admin, SOMEBODY, hourly_rate=30)
    full = facts(db, SOMEBODY)

    update(
        db,
        admin,
        SOMEBODY,
        **dict.fromkeys(
            ("full_name", "role", "hourly_rate", "is_active", "approved", "phone"),
        ),
    )
    upsert(db, admin, SOMEBODY)
    kept = facts(db, SOMEBODY)
    upsert(db, admin, SOMEBODY, phone="", email=" ")
    update(db, admin, SOMEBODY, hourly_rate=0)

    assert (full["phone"], full["email"]) == ("1", "a@example.com")
    assert kept == full
    assert facts(db, SOMEBODY) == full | {"phone": None, "email": None, "hourly_rate": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"full_name": ""},
        {"full_name": "  "},
        {"full_name": "x" * 201},
        {"role": "Owner"},
        {"role": "admin"},
        {"role": ""},
        {"phone": "1" * 51},
        {"hourly_rate": -1},
        {"hourly_rate": Decimal("30.005")},
        {"hourly_rate": Decimal("100000000")},
        {"hourly_rate": Decimal("NaN")},
        {"hourly_rate": Decimal("Infinity")},
    ],
    ids=str,
)
def test_an_invalid_change_of_a_member_is_refused(
    db: Connection, admin: UUID, change: dict[str, Any]
) -> None:
    baker = make_staff(db)
    before = facts(db, baker)

    with pytest.raises(psycopg.Error) as refusal:
        update(db, admin, baker, **change)

    diag = refusal.value.diag
    assert (diag.message_hint, json.loads(diag.message_detail or "")) == (
        "BAD_INPUT",
        {"fields": list(change)},
    )
    assert (facts(db, baker), audited(db)) == (before, [])


@pytest.mark.parametrize(
    "change",
    [
        {"store": "nowhere"},
        {"store": ""},
        {"email": "nobody"},
        {"email": "a@b@c"},
        {"email": f"{'x' * 101}@example.com"},
    ],
    ids=str,
)
def test_an_invalid_new_member_is_refused(
    db: Connection, admin: UUID, change: dict[str, Any]
) -> None:
    new: dict[str, Any] = {"full_name": "Test", "store": "bannos"}

    with raises_code("BAD_INPUT", "PT400"):
        upsert(db, admin, SOMEBODY, **new | change)

    assert value(db, "select count(*) from public.staff_shared") == 1


@pytest.mark.parametrize("save", [update, upsert])
def test_saving_a_member_needs_an_account_id(db: Connection, admin: UUID, save: Any) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        save(db, admin, None, full_name="Test")


def test_a_missing_member_is_not_found(db: Connection, admin: UUID) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        update(db, admin, SOMEBODY, full_name="Test")


def test_an_unknown_role_in_the_filter_is_bad_input(db: Connection, admin: UUID) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        rows(db, admin, "get_staff_list('admin')")


def test_an_email_in_use_is_refused_without_showing_it(db: Connection, admin: UUID) -> None:
    upsert(db, admin, admin, email="boss@example.com")

    with pytest.raises(psycopg.Error) as refusal:
        upsert(db, admin, SOMEBODY, full_name="Test", store="both", email="boss@example.com")

    diag = refusal.value.diag
    assert diag.message_hint == "CONFLICT"
    assert "boss" not in f"{diag.message_primary} {diag.message_detail}"


# Limits of an Admin


@pytest.mark.parametrize(
    "change",
    [
        {"role": "Staff"},
        {"role": "Supervisor"},
        {"is_active": False},
        {"approved": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("others", [0, 1], ids=["the last Admin", "one of two"])
def test_an_admin_cannot_demote_deactivate_or_unapprove_themselves(
    db: Connection, admin: UUID, change: dict[str, Any], others: int
) -> None:
    for _ in range(others):
        make_staff(db, role="Admin")

    with raises_code("PERMISSION_DENIED", "PT403"):
        update(db, admin, admin, **change)

    assert rows(db, admin, "get_staff_me()")[0]["role"] == "Admin"


def test_an_admin_of_one_store_cannot_give_themselves_every_store(db: Connection) -> None:
    account = make_staff(db, role="Admin", store="bannos")

    for store in ("both", "flourlane"):
        with raises_code("PERMISSION_DENIED", "PT403"):
            upsert(db, account, account, store=store)

    assert facts(db, account)["store"] == "bannos"


def test_an_admin_saves_their_own_page_with_their_power_unchanged(
    db: Connection, admin: UUID
) -> None:
    update(
        db,
        admin,
        admin,
        full_name="New Name",
        role="Admin",
        is_active=True,
        approved=True,
        phone="1",
    )

    assert facts(db, admin)["full_name"] == "New Name"


@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
@pytest.mark.parametrize("save", [update, upsert])
def test_nobody_below_admin_can_change_a_role(db: Connection, role: str, save: Any) -> None:
    account = make_staff(db, role=role)

    with raises_code("PERMISSION_DENIED", "PT403"):
        save(db, account, account, role="Admin")

    assert facts(db, account)["role"] == role


@pytest.mark.parametrize("store", ["flourlane", None])
@pytest.mark.parametrize("save", [update, upsert])
def test_an_admin_of_one_store_cannot_change_staff_of_other_stores(
    db: Connection, store: str | None, save: Any
) -> None:
    account = make_staff(db, role="Admin", store="bannos")
    other = make_staff(db, store=store)

    with raises_code("PERMISSION_DENIED", "PT403"):
        save(db, account, other, full_name="New Name")

    assert facts(db, other)["full_name"] == "Test Staff"


@pytest.mark.parametrize("store", ["flourlane", None])
def test_an_admin_of_one_store_cannot_take_staff_from_another(
    db: Connection, store: str | None
) -> None:
    account = make_staff(db, role="Admin", store="bannos")
    other = make_staff(db, store=store)

    with raises_code("PERMISSION_DENIED", "PT403"):
        upsert(db, account, other, store="bannos")

    assert facts(db, other)["store"] == (store or "both")


@pytest.mark.parametrize("store", ["flourlane", "both"])
def test_an_admin_of_one_store_cannot_add_staff_to_another(db: Connection, store: str) -> None:
    account = make_staff(db, role="Admin", store="bannos")
    own = make_staff(db, store="bannos")

    with raises_code("PERMISSION_DENIED", "PT403"):
        upsert(db, account, SOMEBODY, full_name="Test", store=store)
    with raises_code("PERMISSION_DENIED", "PT403"):
        upsert(db, account, own, store=store)

    assert upsert(db, account, SOMEBODY, full_name="Test", store="bannos") == SOMEBODY


def test_two_admins_who_demote_each_other_at_once_leave_one(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as db:
        one, two = make_staff(db, role="Admin"), make_staff(db, role="Admin")

        with raises_code("PERMISSION_DENIED", "PT403"):
            meet(clone, Call(one, DEMOTE, (two,)), Call(two, DEMOTE, (one,)))

        assert (facts(db, one)["role"], facts(db, two)["role"]) == ("Admin", "Staff")


def test_adding_an_account_twice_at_once_makes_one_row(clone: str) -> None:
    add: LiteralString = (
        "select public.upsert_staff_member(%s, 'Test', p_store => 'both', p_phone => %s)"
    )
    with psycopg.connect(clone, autocommit=True) as db:
        admin = make_staff(db, role="Admin")

        meet(clone, Call(admin, add, (SOMEBODY, "1")), Call(admin, add, (SOMEBODY, "2")))

        assert facts(db, SOMEBODY)["phone"] == "2"
        assert values(db, "select action from public.audit_log order by id") == [
            "add_staff",
            "update_staff",
        ]


# Audit


def test_every_change_is_recorded_with_old_and_new(db: Connection, admin: UUID) -> None:
    upsert(db, admin, SOMEBODY, full_name="Test", store="bannos", role="Supervisor")
    update(db, admin, SOMEBODY, approved=True, hourly_rate=Decimal("30.5"))
    update(db, admin, SOMEBODY, approved=True, full_name="Test")
    upsert(db, admin, SOMEBODY, store="both")

    by, who = str(admin), str(SOMEBODY)
    added: Row = {"full_name": "Test", "store": "bannos", "role": "Supervisor"}
    added |= {"is_active": True, "approved": False}
    assert audited(db) == [
        [
            by,
            "add_staff",
            "bannos",
            who,
            {name: {"old": None, "new": fact} for name, fact in added.items()},
        ],
        [
            by,
            "update_staff",
            "bannos",
            who,
            {
                "approved": {"old": False, "new": True},
                "hourly_rate": {"old": None, "new": 30.5},
            },
        ],
        [by, "update_staff", None, who, {"store": {"old": "bannos", "new": "both"}}],
    ]
