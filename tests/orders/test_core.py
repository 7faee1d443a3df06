"""Callers, the clock, orders, and rows that no role may change."""

import json
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from bakehouse.database import Connection
from bakehouse.server.binaries import find_binaries
from calls import acting_as, raises_code
from postgres import Server, migrate
from rows import make_order, make_staff, make_store, record_event, set_clock, value, values

SEED = Path(__file__).parents[2] / "supabase" / "seed_dev.sql"
SOMEBODY = UUID("6b1f9f3e-0000-4000-8000-000000000001")
ONE_CONNECTION = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def uid_of(db: Connection, claims: str | None) -> UUID | None:
    db.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
    account: UUID | None = value(db, "select app.uid()")
    return account


# Callers


@pytest.mark.parametrize(
    "claims",
    [
        None,
        "",
        "{}",
        "null",
        "[]",
        '"x"',
        "7",
        '{"sub": null}',
        '{"sub": ""}',
        '{"sub": 7}',
        '{"sub": {"a": 1}}',
        '{"sub": "not-a-uuid"}',
        "not JSON",
        '{"sub": "\\u0000"}',
        '{"n": 1e999999}',
        "[" * 100_000,
        f'{{"user_metadata": {{"sub": "{SOMEBODY}"}}}}',
    ],
    ids=lambda claims: str(claims)[:30],
)
def test_claims_without_an_account_are_no_caller(db: Connection, claims: str | None) -> None:
    assert uid_of(db, claims) is None


def test_the_account_is_the_sub_of_the_claims(db: Connection) -> None:
    assert uid_of(db, json.dumps({"sub": str(SOMEBODY), "role": "authenticated"})) == SOMEBODY


@ONE_CONNECTION
@given(claims=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_no_text_in_the_claims_raises(db: Connection, claims: str) -> None:
    assert uid_of(db, claims) is None


@ONE_CONNECTION
@given(sub=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_no_sub_in_the_claims_raises(db: Connection, sub: object) -> None:
    uid_of(db, json.dumps({"sub": sub}))

    assert value(db, "select 1") == 1


@pytest.fixture
def probe(db: Connection) -> Connection:
    """Adds two RPCs that show the caller as a definer function sees them."""
    db.execute(
        """
        set local role bakehouse_owner;
        create function public.probe_actor()
        returns app.caller language plpgsql stable security definer
        set search_path = pg_catalog, pg_temp
        as 'begin return app.actor(); end';
        create function public.probe_require(p_role text, p_store text, p_service boolean)
        returns app.caller language plpgsql stable security definer
        set search_path = pg_catalog, pg_temp
        as 'begin return app.require(p_role, p_store, p_service); end';
        grant execute on function public.probe_actor() to authenticated, service_role;
        grant execute on function public.probe_require(text, text, boolean)
        to authenticated, service_role;
        reset role;
        """
    )
    return db


def actor(db: Connection, role: str, account: UUID | None) -> tuple[object, ...]:
    with acting_as(db, role, account):
        row = db.execute(
            "select kind, user_id, role::text, stores from public.probe_actor()"
        ).fetchone()
    assert row is not None
    return row


def require(
    db: Connection,
    role: str,
    account: UUID | None,
    *asked: object,
) -> object:
    with acting_as(db, role, account):
        return value(db, "select kind from public.probe_require(%s, %s, %s)", *asked)


@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
def test_active_approved_staff_have_their_role_and_stores(probe: Connection, role: str) -> None:
    account = make_staff(probe, role=role, store="bannos")

    assert actor(probe, "authenticated", account) == ("staff", account, role, ["bannos"])


def test_staff_without_a_store_work_in_every_one(probe: Connection) -> None:
    account = make_staff(probe)

    assert actor(probe, "authenticated", account)[3] == ["bannos", "flourlane"]


@pytest.mark.parametrize("state", [{"is_active": False}, {"approved": False}])
def test_an_inactive_or_unapproved_admin_is_no_caller(
    probe: Connection, state: dict[str, Any]
) -> None:
    account = make_staff(probe, role="Admin", **state)

    assert actor(probe, "authenticated", account) == (None, None, None, None)
    with raises_code("PERMISSION_DENIED", "PT403"):
        require(probe, "authenticated", account, "Staff", None, False)


def test_a_stranger_is_no_caller_whatever_the_email(probe: Connection) -> None:
    admin = make_staff(probe, role="Admin")
    probe.execute(
        "update public.staff_shared set email = 'boss@example.com' where user_id = %s", (admin,)
    )

    claims = {"sub": str(uuid4()), "email": "boss@example.com", "user_role": "Admin"}
    with probe.transaction():
        probe.execute("set local role authenticated")
        probe.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        kind = value(probe, "select kind from public.probe_actor()")

    assert kind is None


def test_the_service_role_is_not_a_member_of_staff(probe: Connection) -> None:
    assert actor(probe, "service_role", None) == ("service", None, None, ["bannos", "flourlane"])


def test_a_claim_of_the_service_role_gives_no_rights(probe: Connection) -> None:
    probe.execute("set local role authenticated")
    probe.execute("""select set_config('request.jwt.claims', '{"role": "service_role"}', true)""")

    assert value(probe, "select kind from public.probe_actor()") is None


@pytest.mark.parametrize("has", ["Staff", "Supervisor", "Admin"])
@pytest.mark.parametrize("needs", ["Staff", "Supervisor", "Admin"])
def test_a_role_includes_the_roles_below_it(probe: Connection, has: str, needs: str) -> None:
    ranks = ["Staff", "Supervisor", "Admin"]
    account = make_staff(probe, role=has)

    if ranks.index(has) >= ranks.index(needs):
        assert require(probe, "authenticated", account, needs, None, False) == "staff"
    else:
        with raises_code("PERMISSION_DENIED", "PT403"):
            require(probe, "authenticated", account, needs, None, False)


@pytest.mark.parametrize("asked", [("Staff", None, False), ("Staff", None, True), (None,) * 3])
def test_a_caller_without_identity_is_refused(probe: Connection, asked: tuple[object, ...]) -> None:
    with raises_code("NOT_SIGNED_IN", "PT401"):
        require(probe, "authenticated", None, *asked)


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_a_null_role_refuses_every_caller(probe: Connection, role: str) -> None:
    admin = make_staff(probe, role="Admin")

    with raises_code("PERMISSION_DENIED", "PT403"):
        require(probe, role, admin, None, None, None)


def test_the_service_is_refused_unless_a_function_allows_it(probe: Connection) -> None:
    assert require(probe, "service_role", None, "service_role", "bannos", False) == "service"
    assert require(probe, "service_role", None, "Admin", None, True) == "service"
    with raises_code("PERMISSION_DENIED", "PT403"):
        require(probe, "service_role", None, "Staff", None, False)


def test_an_admin_cannot_call_functions_of_the_service(probe: Connection) -> None:
    with raises_code("PERMISSION_DENIED", "PT403"):
        require(probe, "authenticated", make_staff(probe, role="Admin"), "service_role", None, True)


def test_staff_act_only_in_their_own_store(probe: Connection) -> None:
    account = make_staff(probe, role="Admin", store="bannos")

    assert require(probe, "authenticated", account, "Staff", "bannos", False) == "staff"
    with raises_code("PERMISSION_DENIED", "PT403"):
        require(probe, "authenticated", account, "Staff", "flourlane", False)


def test_a_store_that_does_not_exist_is_bad_input(probe: Connection) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        require(probe, "authenticated", make_staff(probe), "Staff", "nowhere", False)


def test_an_unknown_error_code_raises_an_internal_error(db: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="NO_SUCH_CODE"):
        db.execute("select app.fail('NO_SUCH_CODE', 'Never listed.')")


def test_a_refusal_carries_a_sentence_and_facts(db: Connection) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        db.execute("""select app.fail('NOT_FOUND', 'No order x.', '{"order_id": "x"}')""")

    diag = refusal.value.diag
    assert (diag.sqlstate, diag.message_primary, diag.message_hint, diag.message_detail) == (
        "PT404",
        "No order x.",
        "NOT_FOUND",
        '{"order_id": "x"}',
    )


# The clock


def test_the_owner_can_set_the_clock_for_one_transaction(db: Connection) -> None:
    set_clock(db, "2025-01-02 03:04:05Z")
    set_clock(db, "2026-01-02 03:04:05Z")

    assert value(db, "select app.now() = '2026-01-02 03:04:05Z'")


def test_now_is_the_start_of_the_transaction(db: Connection) -> None:
    assert value(db, "select app.now() = now()")


def test_a_committed_clock_has_no_effect(clone: str) -> None:
    with psycopg.connect(clone) as conn:
        set_clock(conn, "2025-01-02 03:04:05Z")
        conn.commit()

        assert value(conn, "select count(*) from app.clock") == 1
        assert value(conn, "select app.now() = now()")
        value(conn, "select pg_current_xact_id()::text")
        assert value(conn, "select app.now() = now()")


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_api_role_can_set_the_clock(db: Connection, role: str) -> None:
    admin = make_staff(db, role="Admin")

    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role, admin):
        set_clock(db, "2025-01-02 03:04:05Z")


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2025-04-05 13:30Z", "2025-04-06"),  # 00:30, summer time ends at 03:00
        ("2025-04-06 13:30Z", "2025-04-06"),  # 23:30
        ("2025-04-06 14:30Z", "2025-04-07"),  # 00:30
        ("2025-10-04 13:30Z", "2025-10-04"),  # 23:30
        ("2025-10-04 14:30Z", "2025-10-05"),  # 00:30, summer time begins at 02:00
        ("2025-10-05 12:30Z", "2025-10-05"),  # 23:30
        ("2025-10-05 13:30Z", "2025-10-06"),  # 00:30
    ],
)
@pytest.mark.parametrize("session_zone", ["UTC", "America/Los_Angeles"])
def test_today_is_the_date_in_the_store(
    db: Connection, instant: str, day: str, session_zone: str
) -> None:
    db.execute("select set_config('timezone', %s, true)", (session_zone,))
    set_clock(db, instant)

    assert value(db, "select app.today('bannos')") == date.fromisoformat(day)


@pytest.mark.parametrize("store", [None, "nowhere", "Bannos"])
def test_today_needs_a_store(db: Connection, store: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        db.execute("select app.today(%s)", (store,))


# Orders


@pytest.mark.parametrize(
    ("days_left", "label"),
    [(-5, "High"), (0, "High"), (1, "High"), (2, "Medium"), (3, "Medium"), (4, "Low")],
)
def test_priority_follows_the_due_date(db: Connection, days_left: int, label: str) -> None:
    set_clock(db, "2025-10-04 14:30Z")  # already 5 October in the stores
    due = date(2025, 10, 5) + timedelta(days=days_left)

    order_id = make_order(db, due_date=due)

    assert priority(db, order_id) == label


def test_an_order_without_a_due_date_is_not_urgent(db: Connection) -> None:
    assert priority(db, make_order(db, due_date=None)) == "Low"


def test_a_new_due_date_changes_the_priority(db: Connection) -> None:
    order_id = make_order(db)

    db.execute("update public.orders set due_date = app.today(store) where id = %s", (order_id,))

    assert priority(db, order_id) == "High"


def test_a_priority_set_by_hand_wins_until_it_is_cleared(db: Connection) -> None:
    order_id = make_order(db, due_date=None, priority_override=3)
    overridden = priority(db, order_id)

    db.execute("update public.orders set priority_override = null where id = %s", (order_id,))

    assert (overridden, priority(db, order_id)) == ("High", "Low")


def test_a_written_priority_is_replaced_by_the_computed_one(db: Connection) -> None:
    assert priority(db, make_order(db, priority=3)) == "Low"


def priority(db: Connection, order_id: str) -> object:
    return value(
        db, "select app.priority_label(priority) from public.orders where id = %s", order_id
    )


def test_sizes_sort_from_small_to_large(db: Connection) -> None:
    sizes = ["Gift Size", "Small", "Small Tall", "medium ", "MEDIUM TALL", "Large", "Large Tall"]
    for size in [*reversed(sizes), "Wedding"]:
        make_order(db, size=size)

    assert values(db, "select size from public.orders order by size_rank") == [*sizes, "Wedding"]


def test_an_order_without_a_size_sorts_last(db: Connection) -> None:
    assert value(db, "select app.size_rank(null) > app.size_rank('Large Tall')")


@pytest.mark.parametrize(
    "change", ["id = id || '9'", "store = 'flourlane'", "row_id = gen_random_uuid()"]
)
def test_the_identity_of_an_order_cannot_change(db: Connection, change: str) -> None:
    order_id = make_order(db)

    with raises_code("BAD_INPUT", "PT400"), db.transaction():
        db.execute(f"update public.orders set {change} where id = %s".encode(), (order_id,))


def test_writing_the_same_identity_is_allowed(db: Connection) -> None:
    order_id = make_order(db)

    db.execute("update public.orders set id = id, store = store where id = %s", (order_id,))

    assert value(db, "select count(*) from public.orders where id = %s", order_id) == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"id": "flourlane-1"},
        {"id": "bannos"},
        {"id": "bannos-"},
        {"id": "bannos-1 2"},
        {"id": "bannos-12;drop"},
        {"id": "bannos-1-b"},
        {"id": "bannos-1-B", "suffix": "A"},
        {"suffix": "a", "id": "bannos-1-a"},
        {"item_qty": 0},
        {"total_amount": -1},
        {"currency": "aud"},
        {"delivery_method": "Pickup"},
        {"accessories": "{}"},
        {"cancel_reason": "no cake"},
        {"priority_override": 4},
    ],
    ids=str,
)
def test_an_impossible_order_is_refused_by_the_table(
    db: Connection, columns: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        make_order(db, **columns)


@pytest.mark.parametrize("columns", [{}, {"id": "bannos-B55555"}, {"id": "bannos-1-AB"}], ids=str)
def test_scanner_ids_of_every_kind_are_accepted(db: Connection, columns: dict[str, Any]) -> None:
    assert make_order(db, **columns).startswith("bannos-")


@pytest.mark.parametrize("suffix", [None, "B"])
def test_a_unit_of_a_shopify_order_cannot_exist_twice(db: Connection, suffix: str | None) -> None:
    ending = f"-{suffix}" if suffix else ""
    unit: dict[str, Any] = {"shopify_order_gid": "gid://shopify/Order/1", "suffix": suffix}
    make_order(db, id=f"bannos-1{ending}", **unit)

    with pytest.raises(psycopg.errors.UniqueViolation):
        make_order(db, id=f"bannos-2{ending}", **unit)


def test_orders_without_a_shopify_id_do_not_conflict(db: Connection) -> None:
    assert make_order(db, shopify_order_gid=None) != make_order(db, shopify_order_gid=None)


@pytest.mark.parametrize(
    ("columns", "is_open"),
    [
        ({}, True),
        ({"stage": "Packing"}, True),
        ({"stage": "Complete"}, False),
        ({"cancelled_at": "2025-01-01"}, False),
        ({"is_pos": True}, False),
    ],
    ids=str,
)
def test_an_order_is_open_while_there_is_work(
    db: Connection, columns: dict[str, Any], is_open: bool
) -> None:
    order_id = make_order(db, **columns)

    assert value(db, "select is_open from public.orders where id = %s", order_id) is is_open


def test_a_change_updates_the_time_of_the_order(db: Connection) -> None:
    order_id = make_order(db)
    set_clock(db, "2030-01-02 03:04:05Z")

    db.execute("update public.orders set notes = 'x' where id = %s", (order_id,))

    assert value(db, "select updated_at = app.now() and created_at < updated_at from public.orders")


def test_a_third_store_needs_only_a_row_and_a_partition(db: Connection) -> None:
    make_store(db, "ovenside", "Pacific/Auckland")
    set_clock(db, "2025-10-05 11:30Z")  # after midnight in that store, but not in Sydney
    order_id = make_order(db, store="ovenside", due_date="2025-10-07")

    place = value(db, "select tableoid::regclass::text from public.orders where id = %s", order_id)
    with acting_as(db, "authenticated", make_staff(db, store="ovenside")):
        seen = values(db, "select id from public.orders")

    assert (place, seen) == ("orders_ovenside", [order_id])
    assert value(db, "select app.today('ovenside')") == date(2025, 10, 6)
    assert priority(db, order_id) == "High"


@pytest.mark.parametrize("column", ["code", "scan_letter", "time_zone", "currency", "shop_domain"])
def test_an_invalid_store_is_refused(db: Connection, column: str) -> None:
    store = {"code": "x", "scan_letter": "X", "time_zone": "UTC", "currency": "AUD"}
    store |= {"shop_domain": "x.myshopify.com", column: "Nowhere/Here"}

    with pytest.raises((psycopg.errors.DataError, psycopg.errors.CheckViolation)):
        db.execute(
            "insert into public.stores (code, name, scan_letter, time_zone, currency, shop_domain) "
            "values (%(code)s, 'X', %(scan_letter)s, %(time_zone)s, %(currency)s, %(shop_domain)s)",
            store,
        )


@pytest.mark.parametrize("store", ["bannos", None], ids=["one store", "every store"])
def test_the_queue_comes_sorted_from_the_index(db: Connection, store: str | None) -> None:
    db.execute(
        """
        insert into public.orders (store, id, shopify_order_number, due_date, size, stage)
        select stores.code, stores.code || '-' || n, n, app.today(stores.code) + n % 9,
          ('{Small, Medium, Large}'::text[])[1 + n % 3],
          case when n % 10 = 0 then 'Filling' else 'Complete' end::public.stage_type
        from public.stores as stores, generate_series(1, 2000) as n
        """
    )
    db.execute("analyze public.orders")

    with acting_as(db, "authenticated", make_staff(db, store=store)):
        plan = "\n".join(
            values(
                db,
                "explain (costs off) select id from public.orders "
                "where is_open order by queue_key limit 50",
            )
        )

    assert "Index Scan using orders_bannos_queue_key_idx" in plan
    assert "->  Sort" not in plan


# History


@pytest.mark.parametrize("table", ["stage_events", "audit_log"])
@pytest.mark.parametrize(
    "change", ["update public.{} set meta = '{{}}'", "delete from public.{}", "truncate public.{}"]
)
def test_recorded_events_and_audit_entries_cannot_be_changed(
    db: Connection, table: str, change: str
) -> None:
    record_event(db, make_order(db))
    db.execute("select app.audit('bake', null, null)")

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(change.format(table).encode())


def test_a_superuser_cannot_rewrite_history_either(server: Server, clone: str) -> None:
    database = str(conninfo_to_dict(clone)["dbname"])

    with (
        psycopg.connect(server.superuser_dsn(database)) as conn,
        raises_code("APPEND_ONLY", "PT409"),
    ):
        conn.execute("delete from public.stage_events where true")


def test_audit_entries_are_deleted_after_seven_years(db: Connection) -> None:
    db.execute(
        "insert into public.audit_log (actor_kind, action, at_ts) "
        "select 'system', kinds.action, now() - kinds.age * interval '1 day' "
        "from (values ('old', 84 * 31), ('kept', 7 * 365 - 2), ('new', 0)) as kinds (action, age) "
        "cross join generate_series(1, 600) order by kinds.age desc"
    )

    assert value(db, "select app.purge_audit()") == 600
    assert value(db, "select app.purge_audit()") == 0
    assert values(db, "select distinct action from public.audit_log order by 1") == ["kept", "new"]
    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute("delete from public.audit_log where action = 'kept'")


def test_an_order_with_events_cannot_be_deleted(db: Connection) -> None:
    order_id = make_order(db)
    record_event(db, order_id)

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute("delete from public.orders where id = %s", (order_id,))


# Reading


@pytest.fixture
def shops(db: Connection) -> Connection:
    """One order with an event in each store, and two entries of the audit log."""
    for store in ("bannos", "flourlane"):
        record_event(db, make_order(db, store=store, id=f"{store}-1"))
    db.execute(
        "insert into public.audit_log (actor_kind, action, store) "
        "values ('service', 'test', 'bannos'), ('service', 'test', null)"
    )
    return db


EVERYTHING = (["bannos-1", "flourlane-1"], 2, ["bannos", "flourlane"])
NOTHING: tuple[list[str], int, list[str]] = ([], 0, [])


@pytest.mark.parametrize(
    ("staff", "sees", "audited"),
    [
        ({"role": "Admin"}, EVERYTHING, 2),
        ({"role": "Supervisor"}, EVERYTHING, 0),
        ({"role": "Staff"}, EVERYTHING, 0),
        ({"role": "Staff", "store": "bannos"}, (["bannos-1"], 1, ["bannos"]), 0),
        ({"role": "Admin", "store": "bannos"}, (["bannos-1"], 1, ["bannos"]), 2),
        ({"role": "Admin", "store": "flourlane"}, (["flourlane-1"], 1, ["flourlane"]), 1),
        ({"role": "Admin", "is_active": False}, NOTHING, 0),
        ({"role": "Admin", "approved": False}, NOTHING, 0),
        (None, NOTHING, 0),
    ],
    ids=str,
)
def test_an_account_sees_only_its_stores(
    shops: Connection,
    staff: dict[str, Any] | None,
    sees: tuple[list[str], int, list[str]],
    audited: int,
) -> None:
    account = make_staff(shops, **staff) if staff else uuid4()

    with acting_as(shops, "authenticated", account):
        seen = (
            values(shops, "select id from public.orders order by id"),
            value(shops, "select count(*) from public.stage_events"),
            values(shops, "select code from public.stores order by code"),
        )
        entries = value(shops, "select count(*) from public.audit_log")

    assert (seen, entries) == (sees, audited)


@pytest.mark.parametrize(
    "table", ["orders", "order_contacts", "stage_events", "stores", "staff_shared", "audit_log"]
)
@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_other_roles_cannot_read_any_table(db: Connection, role: str, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role):
        db.execute(f"select 1 from public.{table}".encode())


@pytest.mark.parametrize(
    "query",
    [
        "select payload from public.order_contacts",
        "select email from public.order_contacts",
        "select id from public.orders_bannos",
        "select hourly_rate from private.staff_pay",
        "select code from app.error_codes",
        "select at from app.clock",
        "select app.actor()",
        "select app.emit('topic', '{}')",
    ],
)
def test_an_admin_cannot_write_tables_directly(db: Connection, query: str) -> None:
    admin = make_staff(db, role="Admin")

    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, "authenticated", admin),
    ):
        db.execute(query.encode())


@pytest.mark.parametrize(
    ("role", "store", "colleagues"),
    [
        ("Staff", "bannos", 1),  # only themselves
        ("Supervisor", "bannos", 3),  # all staff of the store, and of all stores
        ("Admin", None, 4),
    ],
)
def test_staff_see_themselves_and_supervisors_their_store(
    db: Connection, role: str, store: str | None, colleagues: int
) -> None:
    for workplace in ("bannos", "flourlane", None):
        make_staff(db, store=workplace)

    with acting_as(db, "authenticated", make_staff(db, role=role, store=store)):
        assert value(db, "select count(*) from public.staff_shared") == colleagues


def test_a_deactivated_account_cannot_read_its_own_row(db: Connection) -> None:
    with acting_as(db, "authenticated", make_staff(db, role="Admin", is_active=False)):
        assert value(db, "select count(*) from public.staff_shared") == 0


# Events


def test_listeners_get_an_event_after_the_commit(clone: str) -> None:
    with (
        psycopg.connect(clone, autocommit=True) as listener,
        psycopg.connect(clone) as sender,
    ):
        listener.execute("listen bakehouse")
        sender.execute("""select app.emit('orders', '{"id": "never"}')""")
        sender.rollback()
        sender.execute("""select app.emit('orders', '{"id": "bannos-1"}')""")
        sender.commit()

        heard = [note.payload for note in listener.notifies(timeout=5, stop_after=1)]

    assert [json.loads(payload) for payload in heard] == [
        {"topic": "orders", "payload": {"id": "bannos-1"}}
    ]


def test_realtime_gets_events_where_the_platform_has_it(server: Server, blank: str) -> None:
    """As on Supabase, only the migration role may send, and it cannot grant that right."""
    database = str(conninfo_to_dict(blank)["dbname"])
    with psycopg.connect(server.superuser_dsn(database)) as platform:
        platform.execute(
            """
            create table realtime.sent (topic text, event text, payload jsonb, private boolean);
            create function realtime.send(
              payload jsonb, event text, topic text, private boolean default true
            )
            returns void language sql as $$
              insert into realtime.sent values (topic, event, payload, private)
            $$;
            """
        )
        platform.execute(
            psycopg.sql.SQL("grant insert on realtime.sent to {}").format(
                psycopg.sql.Identifier(server.migration_role)
            )
        )
        platform.commit()
        migrate(blank)
        migrate(blank)
        with psycopg.connect(blank) as conn:
            conn.execute("set local role bakehouse_owner")
            conn.execute("""select app.emit('orders', '{"id": "bannos-1"}')""")

        sent = platform.execute("select * from realtime.sent").fetchall()

    assert sent == [("bakehouse", "orders", {"id": "bannos-1"}, True)]


# Dev data


def mark(conn: Connection, env: str) -> None:
    conn.execute("create schema if not exists supabase_migrations")
    conn.execute(
        psycopg.sql.SQL(
            "create or replace function supabase_migrations.bakehouse_identity() returns jsonb "
            "language sql as $$ select jsonb_build_object('env', {}) $$"
        ).format(env)
    )


def psql(dsn: str) -> "subprocess.CompletedProcess[str]":
    command = [find_binaries().tool("psql"), "-X", "-f", str(SEED), dsn]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        (None, "not marked: run `bakehouse env mark dev --database-url URL`, then seed again."),
        ("staging", "staging: leave out the seed."),
        ("prod", "prod: leave out the seed."),
    ],
)
def test_psql_says_in_one_line_why_dev_data_is_refused(
    clone: str, env: str | None, advice: str
) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        if env:
            mark(conn, env)

        ran = psql(clone)

        (said,) = [line for line in ran.stderr.splitlines() if not line.startswith("CONTEXT: ")]
        assert said.endswith(
            f"ERROR:  Dev data goes into dev databases only, and this database is {advice}"
        )
        assert value(conn, "select count(*) from public.staff_shared") == 0


def test_psql_fills_a_dev_database(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        mark(conn, "dev")

        ran = psql(clone)

        assert (ran.returncode, ran.stderr) == (0, "")
        assert value(conn, "select count(*) from public.orders") == 2


def test_dev_data_can_be_seeded_again(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        mark(conn, "dev")
        conn.execute(SEED.read_bytes())
        conn.execute(SEED.read_bytes())

        orders = conn.execute(
            "select store, due_date - app.today(store), stage::text, "
            "(select array_agg(event_type::text) from public.stage_events as events "
            "where events.order_id = orders.id) "
            "from public.orders as orders order by store"
        ).fetchall()
        roles = values(conn, "select distinct role::text from public.staff_shared order by 1")

    assert orders == [(store, 1, "Filling", ["create"]) for store in ("bannos", "flourlane")]
    assert roles == ["Admin", "Staff", "Supervisor"]
