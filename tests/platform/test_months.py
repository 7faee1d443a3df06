"""Events and stock by month: months come in time, none is rewritten, one can be taken away."""

import json
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from audit import audit
from bakehouse.database import Connection
from bakehouse.migrations import catalog, drift, history
from calls import call, raises_code
from monthly import cut, month_of, months_between
from orders.payloads import Line, Order, rest
from orders.races import Call, meet
from orders.test_inventory import make_item, stock
from rows import make_order, make_staff, record_event, set_clock, tick, value, values

TABLES = ("inventory_txn", "stage_events")
OLD = datetime(2015, 3, 10, tzinfo=UTC)
LATER = datetime(2015, 5, 10, tzinfo=UTC)
CANDLE = Line("Candle", sku="candle")
WRITE: LiteralString = "update public.orders set notes = 'x' where id = 'bannos-1'"
AHEAD: LiteralString = (
    "select app.add_months('stage_events', now() + interval '4 months',"
    " now() + interval '4 months')"
)


def clock(db: Connection, when: datetime) -> None:
    """Sets the clock and makes no month."""
    db.execute(
        "insert into app.clock (at) values (%s) on conflict (xid) do update set at = excluded.at",
        (when,),
    )


def alerts(db: Connection) -> list[tuple[object, ...]]:
    return db.execute(
        "select severity, problem, remedy from app.month_alerts() where code = 'MONTHS_MISSING'"
    ).fetchall()


def missing(db: Connection, months: int) -> list[str]:
    """The months of all tables that are missing, from now to so many months ahead."""
    return values(
        db,
        "select tables.name || ' ' || missing.month::date from app.monthly_tables as tables,"
        " app.missing_months(tables.name, app.now(), app.now() + make_interval(months => %s))"
        " as missing (month)",
        months,
    )


def ingest(db: Connection, order: Order, topic: str = "create") -> None:
    payload = json.dumps(rest(order))
    db.execute("select app.ingest_order('bannos', %s, %s)", (f"orders/{topic}", payload))


def order(number: int, candles: int = 1, **fields: object) -> Order:
    lines = (Line("Gelato Cake", variant="Medium / Vanilla"), Line("Candle", candles, sku="candle"))
    return Order(number, lines, **fields)  # type: ignore[arg-type]  # the fields of an order


# --- months come in time -----------------------------------------------------------------------


def test_each_event_is_in_the_table_of_its_month(db: Connection) -> None:
    order_id = make_order(db)
    edges = ["2026-10-31 23:59:59.999999Z", "2026-11-01 00:00Z", "2026-12-31 23:00-05"]
    for edge in edges:
        set_clock(db, edge)
        record_event(db, order_id)

    found = values(db, "select tableoid::regclass::text from public.stage_events order by id")

    assert found == ["stage_events_2026_10", "stage_events_2026_11", "stage_events_2027_01"]


def test_the_migrations_make_the_last_month_and_three_ahead(db: Connection) -> None:
    made = values(db, "select name from app.months() where state = 'attached'")

    now = value(db, "select now()")
    assert sorted(made) == sorted(
        f"{table}_{month_of(now, number)}" for table in TABLES for number in range(-1, 4)
    )


def test_a_month_is_like_its_table(db: Connection) -> None:
    """With its keys, checks, indexes and rights, and its own guard."""
    name = f"stage_events_{month_of(value(db, 'select now()'))}"
    shape = (
        "select array(select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = %s::regclass and contype <> 'n'"
        " and confrelid not in (select inhrelid from pg_inherits) order by 1),"
        " (select count(*) from pg_index where indrelid = %s::regclass),"
        " relrowsecurity, relacl is null from pg_class where oid = %s::regclass"
    )

    month, table = (
        db.execute(shape, (one, one, one)).fetchone()
        for one in (f"public.{name}", "public.stage_events")
    )

    assert month is not None
    assert table is not None
    assert month[:3] == table[:3]
    assert month[3]  # nobody but the owner has a right to the month itself


def test_the_tick_keeps_three_months_ahead(db: Connection) -> None:
    clock(db, value(db, "select now()") + timedelta(days=150))
    late = missing(db, 3)

    first = tick(db)["add_months"]
    db.execute("update app.task_runs set started_at = null where name = 'add_months'")
    second = tick(db)["add_months"]
    db.execute("update app.task_runs set started_at = null where name = 'add_months'")
    third = tick(db)["add_months"]

    assert len(late) == first + second > 0
    assert (first, third) == (second, 0)  # one table a run
    assert missing(db, 3) == []
    order_id = make_order(db)
    record_event(db, order_id)


def test_a_month_is_made_once_a_writer_is_done(clone: str) -> None:
    with psycopg.connect(clone) as db:
        make_order(db, id="bannos-1")

    meet(
        clone,
        Call(None, WRITE, role="bakehouse_owner"),
        Call(None, AHEAD, role="bakehouse_owner"),
    )

    with psycopg.connect(clone) as db:
        assert [one for one in missing(db, 4) if "stage_events" in one] == []
        assert value(db, "select notes from public.orders") == "x"


@pytest.mark.slow
def test_the_tick_beside_a_long_writer_fails_soon_and_succeeds_later(clone: str) -> None:
    with psycopg.connect(clone) as db:
        make_order(db, id="bannos-1")
        name = f"stage_events_{month_of(value(db, 'select now()'), 3)}"
        db.execute(sql.SQL("drop table public.{}").format(sql.Identifier(name)))
    with psycopg.connect(clone) as writer, psycopg.connect(clone) as db:
        writer.execute("set role bakehouse_owner")
        writer.execute(WRITE)

        held = value(db, "select app.run_task('add_months')")
        db.commit()
        writer.commit()
        db.execute("update app.task_runs set started_at = null")
        done = value(db, "select app.run_task('add_months')")

    assert (held["state"], done["state"], done["result"]) == ("failed", "done", 1)
    assert "Others hold locks on stage_events" in held["error"]


@pytest.mark.parametrize(("later", "severity"), [(2, "warning"), (4, "critical")])
def test_too_few_months_ahead_are_an_alert_until_they_are_made(
    db: Connection, later: int, severity: str
) -> None:
    quiet = alerts(db)
    clock(db, months_between(value(db, "select now()"), later))
    told = alerts(db)
    for _ in TABLES:
        db.execute("select app.add_next_months()")

    assert (quiet, alerts(db)) == ([], [])
    assert [one[0] for one in told] == [severity] * 2
    assert all("select app.add_months('" in str(one[2]) for one in told)


def test_the_remedy_of_the_alert_works(db: Connection) -> None:
    name = f"stage_events_{month_of(value(db, 'select now()'), 1)}"
    db.execute(sql.SQL("drop table public.{}").format(sql.Identifier(name)))
    ((_, problem, remedy),) = alerts(db)

    db.execute(str(remedy).split(": ")[1].encode())

    assert "has no partition for" in str(problem)
    assert alerts(db) == []


# --- nobody rewrites a month -------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "update {} set at_ts = at_ts where true",
        "delete from {} where true",
        "truncate {}",
    ],
)
def test_a_month_is_append_only(db: Connection, table: str, statement: str) -> None:
    names = values(db, "select name from app.months() where parent = %s", table)
    assert len(names) == 5
    for name in (table, *names):
        with (
            raises_code("APPEND_ONLY", "PT409"),
            db.transaction(),
        ):
            db.execute("set local role bakehouse_owner")
            db.execute(sql.SQL(statement).format(sql.Identifier("public", name)))


# --- readers of open orders --------------------------------------------------------------------

SCANS = """
    select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)
    from pg_stat_xact_user_tables where relname ~ '_2015_'
"""


@pytest.fixture
def bakery(db: Connection) -> Connection:
    """Three old orders, a new one, and one candle for each."""
    set_clock(db, OLD)
    make_item(db, "candle", 20)
    make_item(db, "balloon", 7)
    for number in (1, 2, 3):
        ingest(db, order(number))
    set_clock(db, LATER)
    db.execute("select app.add_months('stage_events', %s, %s)", (OLD, LATER))
    set_clock(db, value(db, "select now()"))
    ingest(db, order(9))
    db.execute("set constraints all immediate")  # a detach alters a table
    return db


def test_what_reads_an_open_order_touches_no_old_month(bakery: Connection) -> None:
    admin = make_staff(bakery, role="Admin")
    before = value(bakery, SCANS)

    call(bakery, admin, "print_barcode", p_order_id="bannos-9")
    for action in ("complete_filling", "complete_covering", "complete_decorating"):
        call(bakery, admin, action, p_order_id="bannos-9")
    call(bakery, admin, "qc_return_to_decorating", p_order_id="bannos-9")
    again = call(bakery, admin, "qc_return_to_decorating", p_order_id="bannos-9")
    call(bakery, admin, "assign_staff", p_order_id="bannos-9", p_staff_id=admin)
    call(bakery, admin, "get_order_history", p_order_id="bannos-9")
    ingest(bakery, order(9, 2), "updated")
    call(bakery, admin, "resettle_order", p_order_id="bannos-9")
    call(bakery, admin, "cancel_order", p_order_id="bannos-9")
    after = value(bakery, SCANS)
    call(bakery, admin, "get_order_history", p_order_id="bannos-1")

    assert again["already_done"]
    assert after == before
    assert value(bakery, SCANS) > after  # the count counts


def test_the_history_of_an_old_order_is_whole(bakery: Connection) -> None:
    admin = make_staff(bakery, role="Admin")

    call(bakery, admin, "complete_filling", p_order_id="bannos-1")
    events = (
        call(bakery, admin, "get_order_history", p_order_id="bannos-1"),
        values(
            bakery, "select event_type::text from public.stage_events where order_id = 'bannos-1'"
        ),
    )

    assert events[1] == ["create", "complete"]
    assert audit(bakery) == {}


def test_the_ledger_reads_newest_first_across_months(bakery: Connection) -> None:
    baker = make_staff(bakery)

    rows = bakery.execute("select id, at_ts from public.inventory_txn order by id desc").fetchall()
    with bakery.transaction():
        bakery.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
            (json.dumps({"role": "authenticated", "sub": str(baker)}), "authenticated"),
        )
        read = bakery.execute(
            "select id, created_at from public.get_stock_transactions(p_limit => 4)"
        ).fetchall()
        bakery.execute("reset role")

    assert read == rows[:4]
    assert len({str(at)[:7] for _, at in rows}) == 2


# --- after a month was taken away --------------------------------------------------------------


def test_all_books_agree_after_a_cut(bakery: Connection) -> None:
    admin = make_staff(bakery, role="Admin")
    set_clock(bakery, OLD + timedelta(hours=1))
    call(bakery, admin, "complete_filling", p_order_id="bannos-1")
    call(bakery, admin, "assign_staff", p_order_id="bannos-2", p_staff_id=admin)
    set_clock(bakery, value(bakery, "select now()"))
    call(bakery, admin, "complete_covering", p_order_id="bannos-1")
    ingest(bakery, order(3, cancelled_at="2025-11-01T10:10:00+11:00"), "cancelled")
    assert audit(bakery) == {}

    cut(bakery, "stage_events_2015_03", "inventory_txn_2015_03")

    assert audit(bakery) == {}
    assert values(bakery, "select what from app.stock_audit()") == []


def test_a_fault_after_a_cut_is_still_found(bakery: Connection) -> None:
    cut(bakery, "stage_events_2015_03", "inventory_txn_2015_03")

    bakery.execute("update public.site_stock set on_hand = on_hand + 1")  # candles have new rows
    found = values(bakery, "select what from app.audit_stock()")
    bakery.execute(
        "alter table public.orders disable trigger user;"
        "update public.orders set cancelled_at = now() where id = 'bannos-9'"
    )

    assert [text[:47] for text in found] == ["item candle has 17.000 in stock at main and 16."]
    assert "order_events" in audit(bakery)


def test_without_a_cut_an_item_begins_with_nothing(bakery: Connection) -> None:
    bakery.execute(
        "alter table public.inventory_txn disable trigger user;"
        "delete from public.inventory_txn where kind = 'adjust'"
    )

    found = values(bakery, "select what from app.audit_stock()")

    assert sum("in its ledger" in what for what in found) == 2  # candle and balloon


def test_a_change_that_began_in_the_old_month_and_ended_in_the_new_breaks_no_book(
    db: Connection,
) -> None:
    set_clock(db, OLD)
    candle = make_item(db, "candle", 20)
    for when in ("2015-04-01 00:00:01Z", "2015-03-31 23:59:59Z", "2015-05-05 00:00Z"):
        set_clock(db, when)
        db.execute("select app.move_stock(%s, 1, 'adjust')", (candle,))
    set_clock(db, value(db, "select now()"))
    assert audit(db) == {}

    cut(db, "inventory_txn_2015_03")

    assert audit(db) == {}


def test_an_order_from_before_the_cut_takes_nothing_twice(bakery: Connection) -> None:
    candle = value(bakery, "select id from public.inventory_items where sku = 'candle'")
    before = stock(bakery, candle)
    cut(bakery, "inventory_txn_2015_03")

    ingest(bakery, order(1, 3), "updated")
    ingest(bakery, order(9, 3), "updated")
    call(bakery, make_staff(bakery, role="Admin"), "resettle_order", p_order_id="bannos-1")

    assert stock(bakery, candle) == before - 2  # the new order alone
    assert audit(bakery) == {}
    assert values(bakery, "select what from app.stock_audit()") == []


def test_a_month_that_was_taken_away_is_not_made_again(bakery: Connection) -> None:
    cut(bakery, "stage_events_2015_03")

    made = value(
        bakery,
        "select app.add_months('stage_events', '2015-02-10 00:00Z', '2015-03-10 00:00Z')",
    )

    assert made == 0
    assert value(bakery, "select state from app.months() where name = 'stage_events_2015_03'") == (
        "detached"
    )


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_a_month_that_the_table_keeps_is_not_taken_away(db: Connection, ahead: int) -> None:
    name = f"stage_events_{month_of(value(db, 'select now()'), ahead)}"

    with raises_code("BAD_INPUT", "PT400"):
        db.execute("select app.begin_after_month(%s)", (name,))


def test_a_month_is_old_after_the_months_that_the_table_keeps(db: Connection) -> None:
    now = value(db, "select now()")
    for number in (36, 37):
        then = months_between(now, -number)
        db.execute("select app.add_months('stage_events', %s, %s)", (then, then))

    old = values(db, "select name from app.months() where is_old")

    assert old == [f"stage_events_{month_of(now, -37)}"]


@pytest.mark.parametrize("months", [0, 11, -36, None])
def test_a_table_keeps_at_least_a_year(db: Connection, months: int | None) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        db.execute("update app.monthly_tables set keep_months = %s", (months,))


# --- drift -------------------------------------------------------------------------------------


def test_months_that_come_and_go_are_no_drift(clone: str) -> None:
    with psycopg.connect(clone) as db:
        before = history.start(db).objects
        name = f"stage_events_{month_of(value(db, 'select now()'), 2)}"

        db.execute(AHEAD)
        detach = "alter table public.stage_events detach partition public.{}"
        db.execute(sql.SQL(detach).format(sql.Identifier(name)))

        after = history.reading(db, ())
        assert after == before
        assert drift.find(db, after) == []
        assert catalog.fingerprint(after) == catalog.fingerprint(before)
        db.execute("alter table public.stage_events alter column meta set default '[]'")
        assert [one.name for one in drift.find(db, history.reading(db, ()))] == [
            "column public.stage_events.meta"
        ]
