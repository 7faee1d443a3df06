"""Making a store while the other stores work."""

from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.migrations import catalog, drift, history
from calls import ask, call, raises_code
from orders.races import Call, meet
from orders.stages import act
from rows import make_order, make_staff, record_event, value, values

STORE: dict[str, object] = {
    "p_code": "sugarbird",
    "p_name": "  Sugarbird ",
    "p_scan_letter": "S",
    "p_time_zone": "Australia/Perth",
    "p_currency": "AUD",
    "p_shop_domain": "sugarbird.myshopify.com",
}
MADE = "select to_regclass('public.orders_sugarbird') is not null"
CREATE: LiteralString = (
    "select public.create_store('sugarbird', 'Sugarbird', 'S', 'Australia/Perth', 'AUD')"
)
WRITE: LiteralString = (
    "insert into public.stage_events (store, order_id, stage, event_type)"
    " values ('bannos', 'bannos-1', 'Filling', 'create')"
)


def create(db: Connection, account: UUID, **changed: object) -> Any:
    return call(db, account, "create_store", **(STORE | changed))


def nothing_is_left(db: Connection) -> bool:
    query = (
        "select count(*) = 2 and to_regclass('public.orders_sugarbird') is null"
        " and not exists (select from public.audit_log) from public.stores"
    )
    return bool(value(db, query))


@pytest.fixture
def committed(clone: str) -> tuple[str, UUID]:
    """The DSN of a database, and an Admin there."""
    with psycopg.connect(clone) as conn:
        return clone, make_staff(conn, role="Admin")


def test_a_new_store_has_its_row_and_settings_and_its_orders_a_partition(
    db: Connection, admin: UUID
) -> None:
    settings = Jsonb({"monitor.autoRefresh": 15, "flavours": ["Lemon"]})

    code = create(db, admin, p_settings=settings)
    order_id = make_order(db, store=code)

    row = db.execute(
        "select name, scan_letter, time_zone, currency, shop_domain from public.stores"
        " where code = 'sugarbird'"
    ).fetchone()
    assert row == ("Sugarbird", "S", "Australia/Perth", "AUD", "sugarbird.myshopify.com")
    assert ask(db, admin, "select public.get_flavours('sugarbird')") == ["Lemon"]
    assert value(db, "select tableoid::regclass::text from public.orders") == "orders_sugarbird"
    baker = make_staff(db, store=code)
    assert act(db, baker, "complete_filling", order_id)["stage"] == "Covering"
    assert ask(db, baker, "select id from public.get_queue()") == order_id
    audited = (
        "select store, actor_id, meta ->> 'scan_letter' from public.audit_log where action = %s"
    )
    assert db.execute(audited, ("create_store",)).fetchone() == ("sugarbird", admin, "S")


def test_the_partition_is_like_those_of_the_first_stores(db: Connection, admin: UUID) -> None:
    create(db, admin)

    found = {name: text for name, (_, text, _) in catalog.texts(db).items()}
    ours, theirs = (
        sorted(found[f"partition public.orders_{store}"].replace(store, "STORE").splitlines())
        for store in ("sugarbird", "flourlane")
    )
    assert ours == theirs
    rights = "select has_any_column_privilege(%s, 'public.orders_sugarbird', 'select')"
    assert [value(db, rights, role) for role in ("anon", "authenticated", "service_role")] == [
        False
    ] * 3
    db.execute("select app.assert_grants()")


def test_no_row_is_read_to_attach_the_partition(db: Connection, admin: UUID) -> None:
    told: list[str] = []
    db.execute("set local client_min_messages = debug1")
    db.add_notice_handler(listen := lambda notice: told.append(notice.message_primary or ""))

    create(db, admin)

    db.remove_notice_handler(listen)
    assert (
        'updated partition constraint for default partition "orders_default" is implied by'
        " existing constraints" in told
    )


def test_a_store_made_at_run_time_is_no_drift(committed: tuple[str, UUID]) -> None:
    dsn, admin = committed
    with psycopg.connect(dsn) as db:
        before = history.start(db).objects

        create(db, admin)

        after = history.reading(db, ())
        assert {*after} - {*before} == {"partition public.orders_sugarbird"}
        assert drift.find(db, after) == []
        db.execute("alter table public.orders_default alter column notes set default 'x'")
        (found,) = drift.find(db, history.reading(db, ()))
        assert found.name == "partition public.orders_default"


@pytest.mark.parametrize(
    "changed",
    [
        {"p_code": None},
        {"p_code": "Sugar Bird"},
        {"p_code": "x" * 51},
        {"p_code": "both"},
        {"p_code": "smoke"},
        {"p_code": "default"},
        {"p_code": "bannos_pkey"},
        {"p_name": None},
        {"p_name": " "},
        {"p_scan_letter": "SS"},
        {"p_time_zone": "Mars/Base"},
        {"p_time_zone": None},
        {"p_currency": "aud"},
        {"p_shop_domain": "Sugarbird.myshopify.com"},
        {"p_settings": None},
        {"p_settings": Jsonb([])},
        {"p_settings": Jsonb({"oven": 1})},
        {"p_settings": Jsonb({"monitor.autoRefresh": 15, "monitor.density": "wide"})},
    ],
    ids=str,
)
def test_an_invalid_store_is_refused_and_leaves_nothing(
    db: Connection, admin: UUID, changed: dict[str, object]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        create(db, admin, **changed)

    assert nothing_is_left(db)


@pytest.mark.parametrize(
    "changed",
    [{"p_code": "bannos"}, {"p_scan_letter": "B"}, {"p_shop_domain": "bannos.myshopify.com"}],
    ids=str,
)
def test_a_store_with_what_another_has_is_refused(
    db: Connection, admin: UUID, changed: dict[str, object]
) -> None:
    with raises_code("CONFLICT", "PT409"):
        create(db, admin, **changed)

    assert nothing_is_left(db)


def test_only_an_admin_of_all_stores_makes_one(db: Connection, supervisor: UUID) -> None:
    for account in (supervisor, make_staff(db, role="Admin", store="bannos")):
        with raises_code("PERMISSION_DENIED", "PT403"):
            create(db, account)

    assert nothing_is_left(db)


def test_a_store_is_made_once_the_writer_of_an_order_is_done(
    committed: tuple[str, UUID],
) -> None:
    dsn, admin = committed
    with psycopg.connect(dsn) as db:
        make_order(db, id="bannos-1")

    meet(dsn, Call(None, WRITE, role="bakehouse_owner"), Call(admin, CREATE))

    with psycopg.connect(dsn) as db:
        assert value(db, MADE)
        assert value(db, "select count(*) from public.stage_events") == 1


@pytest.mark.slow
def test_a_shop_that_is_too_busy_gets_no_store_and_is_told_so(
    committed: tuple[str, UUID],
) -> None:
    dsn, admin = committed
    with psycopg.connect(dsn) as writer, psycopg.connect(dsn) as db:
        record_event(writer, make_order(writer))

        with raises_code("BUSY", "PT503"):
            create(db, admin)

        assert nothing_is_left(db)
        writer.commit()
        assert create(db, admin) == "sugarbird"


def test_two_stores_made_at_once_are_both_made(committed: tuple[str, UUID]) -> None:
    dsn, admin = committed

    meet(
        dsn,
        Call(admin, CREATE),
        Call(admin, "select public.create_store('crumbs', 'Crumbs', 'C', 'UTC', 'EUR')"),
    )

    with psycopg.connect(dsn) as db:
        assert values(db, "select code from public.stores where code > 'b' order by code") == [
            *("bannos", "crumbs", "flourlane", "sugarbird")
        ]
        assert value(db, MADE)
