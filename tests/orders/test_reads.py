"""The lists of orders, compared with a plain Python model, and the counts."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from bakehouse.database import Connection
from calls import acting_as, raises_code
from rows import make_order, make_staff, record_event, set_clock, value, values

Row = dict[str, Any]
STORES = ("bannos", "flourlane")
STAGES = ("Filling", "Covering", "Decorating", "Packing")
PRIORITIES = (None, "Low", "Medium", "High")
SIZES = {"Gift Size": 0, "Small": 2, "small tall": 3, "Medium Tall": 5, "Large": 6, "Round": 8}
SHELVES = ("Store Fridge", "Store Freezer")
TODAY = date(2026, 3, 4)
NOON = "2026-03-04 12:00 Australia/Sydney"


def read(db: Connection, account: UUID, function: str, **arguments: object) -> list[Row]:
    """Returns the rows that a function of the API returns to an account."""
    query = sql.SQL("select * from public.{}({})").format(
        sql.Identifier(function),
        sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in arguments
        ),
    )
    with acting_as(db, "authenticated", account), db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, arguments).fetchall()


def ids(rows: list[Row]) -> list[str]:
    return [row["id"] for row in rows]


def fill(db: Connection, dice: random.Random, staff: list[UUID], count: int) -> None:
    """Adds random orders in both stores. Some are complete, cancelled or sold at the till."""
    for number in range(count):
        done = dice.random() < 0.2
        suffix = dice.choice([None, None, "A", "B"])
        store = dice.choice(STORES)
        digits = dice.choice([number + 1, number + 100_000])
        make_order(
            db,
            store=store,
            id="-".join(filter(None, [store, str(digits), suffix])),
            shopify_order_number=dice.choice([digits, digits, None]),
            suffix=suffix,
            human_id=f"{store[0].upper()}{digits}",
            customer_name=dice.choice(["Ann Smith", "ann smithers", "50%_off", r"B\ck", None]),
            product_title=dice.choice(["Drip Cake", "drip cake XL", "Number_Cake", None]),
            size=dice.choice([*SIZES, None]),
            stage="Complete" if done else dice.choice(STAGES),
            due_date=dice.choice([None, *(TODAY + timedelta(days) for days in range(-2, 9))]),
            priority_override=dice.choice([None, None, None, 1, 2, 3]),
            assignee_id=dice.choice([None, *staff]),
            storage=dice.choice([None, *SHELVES]),
            is_pos=dice.random() < 0.05,
            cancelled_at=NOON if dice.random() < 0.05 else None,
            created_at=f"2026-03-{dice.randint(1, 3):02} 0{dice.randint(0, 9)}:00Z",
            packing_complete_ts=f"2026-03-0{dice.randint(1, 3)} 13:{dice.randint(0, 59):02}Z"
            if done
            else None,
        )


def everything(db: Connection) -> list[Row]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select orders.*, public.customer_name(orders) as customer_name "
            "from public.orders as orders"
        ).fetchall()


# The model: the content and order of each list


def found(row: Row, search: str | None) -> bool:
    fields = (row["customer_name"], row["product_title"], row["human_id"], row["id"])
    sought = (search or "").strip().lower().lstrip("#")
    return not sought or any(sought in field.lower() for field in fields if field)


def queue_key(row: Row) -> tuple[Any, ...]:
    return (-row["priority"], *due_key(row))


def due_key(row: Row) -> tuple[Any, ...]:
    return (
        row["due_date"] or date.max,
        SIZES.get(row["size"], 8),
        row["shopify_order_number"] or 2**31,
        row["id"],
    )


def name_key(column: str) -> Callable[[Row], tuple[Any, ...]]:
    return lambda row: (row[column] is None, (row[column] or "").lower(), row["id"])


QUEUE_SORTS: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    "priority": queue_key,
    "due_date": due_key,
    "created_at": lambda row: (row["created_at"], row["id"]),
    "customer_name": name_key("customer_name"),
    "product_title": name_key("product_title"),
    "size": lambda row: (SIZES.get(row["size"], 8), *queue_key(row)),
}
COMPLETE_SORTS: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    "completed_at": lambda row: (row["packing_complete_ts"], row["id"]),
    "due_date": due_key,
    "customer_name": name_key("customer_name"),
    "product_title": name_key("product_title"),
}


def modelled(rows: list[Row], done: bool, asked: Row) -> list[str]:
    """Returns the ids that a list must return, in the right order."""
    kept = [
        row
        for row in rows
        if (row["stage"] == "Complete") == done
        and row["cancelled_at"] is None
        and not row["is_pos"]
        and asked.get("p_store") in (None, row["store"])
        and asked.get("p_stage") in (None, row["stage"])
        and asked.get("p_assignee_id") in (None, row["assignee_id"])
        and asked.get("p_storage") in (None, row["storage"])
        and (asked.get("p_priority") or "").capitalize() in ("", PRIORITIES[row["priority"]])
        and not (asked.get("p_unassigned") and row["assignee_id"])
        and found(row, asked.get("p_search"))
        and within(row["due_date"], asked.get("p_date_from"), asked.get("p_date_to"))
    ]
    sort = asked.get("p_sort_by", "completed_at" if done else "priority")
    key = (COMPLETE_SORTS if done else QUEUE_SORTS)[sort]
    descending = asked.get("p_sort_order", "DESC") == "DESC"
    return [row["id"] for row in sorted(kept, key=key, reverse=descending != (sort == "priority"))]


def within(day: date | None, first: date | None, last: date | None) -> bool:
    if first is None and last is None:
        return True
    return day is not None and (first or date.min) <= day <= (last or date.max)


def some_filters(dice: random.Random, staff: list[UUID], done: bool) -> Row:
    choices: dict[str, list[Any]] = {
        "p_store": [*STORES],
        "p_storage": [*SHELVES],
        "p_search": ["smith", " SMITH ", "%", "_", "\\", "drip", "#F1", "1000", "nothing such"],
        "p_sort_by": [*(COMPLETE_SORTS if done else QUEUE_SORTS)],
        "p_sort_order": ["ASC", "DESC"],
    }
    if not done:
        choices |= {
            "p_stage": [*STAGES],
            "p_assignee_id": staff,
            "p_priority": ["High", "medium", "LOW"],
            "p_date_from": [TODAY, TODAY + timedelta(2)],
            "p_date_to": [TODAY, TODAY + timedelta(4)],
            "p_unassigned": [True, False],
        }
    return {name: dice.choice(options) for name, options in choices.items() if dice.random() < 0.35}


@pytest.fixture(params=[1, 2, 3])
def dice(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.mark.parametrize("done", [False, True], ids=["get_queue", "get_complete"])
def test_every_list_agrees_with_a_plain_model_whole_and_in_pages(
    db: Connection, admin: UUID, dice: random.Random, done: bool
) -> None:
    function = "get_complete" if done else "get_queue"
    staff = [make_staff(db), make_staff(db)]
    set_clock(db, NOON)
    fill(db, dice, staff, 250)
    rows = everything(db)

    for _ in range(60):
        asked = some_filters(dice, staff, done)
        size = dice.choice([1, 7, 50])
        expected = modelled(rows, done, asked)
        if size == 1:
            expected = expected[:5]

        whole = read(db, admin, function, **asked, p_limit=1000)
        by_offset: list[str] = []
        by_key: list[str] = []
        after = None
        for start in range(0, len(expected), size):
            by_offset += ids(read(db, admin, function, **asked, p_limit=size, p_offset=start))
            page = read(db, admin, function, **asked, p_limit=size, p_after=after)
            after = page[-1]["page_key"]
            by_key += ids(page)

        assert ids(whole)[: len(expected)] == expected, asked
        assert by_offset == expected, asked
        assert by_key == expected, asked
        assert {(row["total_count"], row["total_capped"]) for row in whole} <= {
            (len(whole), False)
        }, asked


def test_pages_neither_skip_nor_repeat_an_order_while_others_move(
    db: Connection, admin: UUID
) -> None:
    dice = random.Random(4)
    fill(db, dice, [admin], 200)
    before = ids(read(db, admin, "get_queue", p_limit=1000))

    seen: list[str] = []
    moved: set[str] = set()
    after = None
    while page := read(db, admin, "get_queue", p_limit=10, p_after=after):
        seen += ids(page)
        after = page[-1]["page_key"]
        for order in [*dice.sample(before, 5), page[-1]["id"]]:
            moved.add(order)
            db.execute(
                "update public.orders set priority_override = %s, stage = %s where id = %s",
                (dice.choice([1, 2, 3]), dice.choice(["Filling", "Complete"]), order),
            )

    assert [order for order in seen if order not in moved] == [
        order for order in before if order not in moved
    ]


@pytest.mark.parametrize("split", range(1, 8))
def test_reading_backwards_from_a_page_key_gives_the_rows_before(
    db: Connection, admin: UUID, split: int
) -> None:
    fill(db, random.Random(5), [admin], 12)
    queue = read(db, admin, "get_queue")
    key = queue[split]["page_key"]

    back = read(db, admin, "get_queue", p_sort_order="ASC", p_after=key)

    assert ids(back) == ids(queue)[:split][::-1]


def test_a_page_holds_a_thousand_rows_at_most_and_says_so(db: Connection, admin: UUID) -> None:
    db.execute(
        "insert into public.orders (store, id, storage) select 'bannos', 'bannos-' || n, 'Shelf' "
        "from generate_series(1, 1100) as n"
    )

    page = read(db, admin, "get_queue", p_limit=999999, p_storage="Shelf")
    rest = read(db, admin, "get_queue", p_limit=999999, p_after=page[-1]["page_key"])

    assert (len(page), page[0]["page_size"], page[0]["total_count"]) == (1000, 1000, 1100)
    assert (len(rest), rest[0]["total_count"], rest[0]["total_capped"]) == (100, None, False)


def test_between_dates_the_count_stops_just_beyond_the_page(db: Connection, admin: UUID) -> None:
    for _ in range(5):
        make_order(db, due_date=TODAY)

    few = read(db, admin, "get_queue", p_date_from=TODAY, p_limit=2, p_offset=1)
    all_of_them = read(db, admin, "get_queue", p_date_from=TODAY, p_limit=5)

    assert (few[0]["total_count"], few[0]["total_capped"]) == (4, True)
    assert (all_of_them[0]["total_count"], all_of_them[0]["total_capped"]) == (5, False)


def test_a_search_with_many_hits_stops_counting_just_beyond_the_page(
    db: Connection, admin: UUID
) -> None:
    db.execute(
        "insert into public.orders (store, id, product_title) "
        "select 'bannos', 'bannos-' || n, 'Drip Cake' from generate_series(1, 1100) as n"
    )

    page = read(db, admin, "get_queue", p_search="drip", p_limit=20)

    assert (len(page), page[0]["total_count"], page[0]["total_capped"]) == (20, 21, True)
    assert ids(page) == ids(read(db, admin, "get_queue", p_limit=20))
    assert len(read(db, admin, "find_order", p_search="drip")) == 10


def test_null_and_blank_arguments_do_not_filter(db: Connection, admin: UUID) -> None:
    make_order(db)
    make_order(db, store="flourlane")
    arguments = value(db, "select proargnames[:pronargs] from pg_proc where proname = 'get_queue'")
    texts = dict.fromkeys(
        ["p_stage", "p_storage", "p_priority", "p_search", "p_sort_by", "p_sort_order"], ""
    )

    assert len(read(db, admin, "get_queue", **dict.fromkeys(arguments))) == 2
    assert len(read(db, admin, "get_queue", **texts)) == 2
    assert len(read(db, admin, "get_complete", p_search=None, p_limit=None, p_offset=None)) == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"p_stage": "Complete"},
        {"p_stage": "Baking"},
        {"p_priority": "Urgent"},
        {"p_sort_by": "colour"},
        {"p_sort_by": "priority; drop table public.orders"},
        {"p_sort_order": "down"},
        {"p_limit": 0},
        {"p_offset": -1},
        {"p_after": "due_date:20260304 4 0000000001 bannos-1"},
        {"p_after": "priority:1", "p_offset": 5},
        {"p_store": "atlantis"},
    ],
    ids=lambda asked: ",".join(f"{name}={what}" for name, what in asked.items()),
)
def test_an_invalid_filter_is_refused(db: Connection, admin: UUID, asked: Row) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        read(db, admin, "get_queue", **asked)


def test_sql_in_a_text_stays_text(db: Connection, admin: UUID) -> None:
    make_order(db)
    evil = "' or true; drop table public.orders; --"

    for name in ("p_storage", "p_search"):
        assert read(db, admin, "get_queue", **{name: evil}) == []
    assert read(db, admin, "find_order", p_search=evil) == []
    assert len(read(db, admin, "get_queue", p_after=f"priority:{evil}")) == 1


def test_staff_see_only_the_queue_of_their_store(db: Connection) -> None:
    ours, theirs = make_order(db), make_order(db, store="flourlane")
    baker = make_staff(db, store="bannos")

    assert ids(read(db, baker, "get_queue")) == [ours]
    assert ids(read(db, baker, "get_queue", p_search=theirs)) == []
    assert ids(read(db, baker, "find_order", p_search="-")) == [ours]
    assert read(db, baker, "get_queue_stats")[0]["total_orders"] == 1
    with raises_code("PERMISSION_DENIED", "PT403"):
        read(db, baker, "get_queue", p_store="flourlane")


# Counts


def counted(db: Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        """
        select
          store, stage::text, case when is_open then priority end,
          case when is_open then assignee_id::text end, case when is_open then storage end, count(*)
        from public.orders where cancelled_at is null and not is_pos
        group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
        """
    ).fetchall()


def tallied(db: Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        """
        select store, stage::text, priority, assignee_id::text, storage, sum(orders)::bigint
        from app.order_tally group by 1, 2, 3, 4, 5 having sum(orders) <> 0 order by 1, 2, 3, 4, 5
        """
    ).fetchall()


def test_the_tally_equals_a_recount_after_any_change(db: Connection, admin: UUID) -> None:
    dice = random.Random(6)
    fill(db, dice, [admin], 120)
    for change in (
        "stage = 'Packing'",
        "stage = 'Complete'",
        "assignee_id = null",
        "storage = 'Shelf'",
        "priority_override = 3",
        "cancelled_at = now()",
        "cancelled_at = null, cancel_reason = null",
        "is_pos = not is_pos",
        "stage = 'Filling', notes = 'again'",
        "notes = 'no more than that'",
    ):
        for order in dice.sample(values(db, "select id from public.orders"), 40):
            db.execute(f"update public.orders set {change} where id = %s".encode(), (order,))
    db.execute("delete from public.orders where id like '%5'")

    assert tallied(db) == counted(db)
    assert value(db, "select app.fold_tally()") == len(counted(db))
    assert tallied(db) == counted(db)
    assert value(db, "select count(*) from app.order_tally") == len(counted(db))
    assert value(db, "select app.fold_tally()") == 0


def test_counts_are_exact_while_orders_move_and_the_tick_folds(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as db:
        staff = make_staff(db)
        orders = [make_order(db, store=STORES[number % 2]) for number in range(40)]
    done = threading.Event()
    folded: list[int] = []

    def move(seed: int) -> None:
        dice = random.Random(seed)
        with psycopg.connect(clone, autocommit=True) as conn:
            for _ in range(150):
                conn.execute(
                    "update public.orders set stage = %s, assignee_id = %s, cancelled_at = %s "
                    "where id = %s",
                    (
                        dice.choice([*STAGES, "Complete"]),
                        dice.choice([None, staff]),
                        dice.choice([None, None, NOON]),
                        dice.choice(orders),
                    ),
                )

    def fold() -> None:
        with psycopg.connect(clone, autocommit=True) as conn:
            while not done.is_set():
                folded.append(value(conn, "select app.fold_tally()"))

    movers = [threading.Thread(target=move, args=(seed,)) for seed in range(3)]
    folders = [threading.Thread(target=fold) for _ in range(2)]
    for thread in movers + folders:
        thread.start()
    with psycopg.connect(clone) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        looks = 0
        while any(mover.is_alive() for mover in movers):
            assert tallied(reader) == counted(reader)
            reader.rollback()
            looks += 1
        done.set()
        for thread in folders:
            thread.join()
        assert tallied(reader) == counted(reader)

    assert looks > 5
    assert sum(map(bool, folded)) > 5


def test_stats_and_unassigned_counts_agree_with_the_queue(db: Connection, admin: UUID) -> None:
    for stage, assigned in (("Filling", 2), ("Covering", 1), ("Packing", 3)):
        for _ in range(assigned):
            make_order(db, stage=stage, assignee_id=admin)
    make_order(db, stage="Filling")
    make_order(db, stage="Decorating", store="flourlane")
    make_order(db, stage="Complete", assignee_id=admin)
    make_order(db, stage="Packing", cancelled_at=NOON)
    make_order(db, stage="Packing", is_pos=True)

    assert read(db, admin, "get_queue_stats") == [
        {
            "total_orders": 9,
            "completed_orders": 1,
            "in_production": 6,
            "unassigned_orders": 2,
            "filling_count": 2,
            "covering_count": 1,
            "decorating_count": 0,
            "packing_count": 3,
        }
    ]
    assert read(db, admin, "get_queue_stats", p_store="flourlane")[0]["total_orders"] == 1
    assert read(db, admin, "get_unassigned_counts") == [
        {"stage": stage, "count": count} for stage, count in zip(STAGES, (1, 0, 1, 0), strict=True)
    ]
    assert read(db, admin, "get_staff_order_counts") == [{"user_id": admin, "order_count": 6}]


def test_the_unassigned_and_the_dashboard_are_parts_of_the_queue(
    db: Connection, admin: UUID
) -> None:
    set_clock(db, NOON)
    fill(db, random.Random(7), [admin], 80)
    rows = everything(db)
    unassigned = {"p_store": "bannos", "p_stage": "Covering"}
    week = {"p_date_to": TODAY + timedelta(6), "p_sort_by": "due_date", "p_sort_order": "ASC"}

    listed = read(db, admin, "get_unassigned_list", **unassigned)
    board = read(db, admin, "get_orders_for_dashboard")

    assert [row["get_unassigned_list"]["id"] for row in listed] == modelled(
        rows, False, unassigned | {"p_unassigned": True}
    )
    assert [row["get_orders_for_dashboard"]["id"] for row in board] == modelled(rows, False, week)
    with raises_code("BAD_INPUT", "PT400"):
        read(db, admin, "get_orders_for_dashboard", p_period="decade")


# Days


@pytest.mark.parametrize(
    ("store", "completed", "day"),
    [
        ("bannos", "2026-03-04 00:30 Australia/Sydney", date(2026, 3, 4)),
        ("bannos", "2026-03-04 23:30 Australia/Sydney", date(2026, 3, 4)),
        ("bannos", "2026-04-05 00:30 Australia/Sydney", date(2026, 4, 5)),  # clocks go back
        ("bannos", "2026-04-05 23:30 Australia/Sydney", date(2026, 4, 5)),
        ("bannos", "2026-10-04 00:30 Australia/Sydney", date(2026, 10, 4)),  # clocks go forward
        ("bannos", "2026-10-04 23:30 Australia/Sydney", date(2026, 10, 4)),
        ("flourlane", "2026-03-04 00:30 Australia/Perth", date(2026, 3, 4)),
        ("flourlane", "2026-03-04 23:30 Australia/Perth", date(2026, 3, 4)),
    ],
)
def test_a_cake_is_completed_on_the_date_in_its_store(
    db: Connection, admin: UUID, store: str, completed: str, day: date
) -> None:
    db.execute("update public.stores set time_zone = 'Australia/Perth' where code = 'flourlane'")
    order = make_order(db, store=store, stage="Complete", packing_complete_ts=completed)

    days = {
        asked: ids(read(db, admin, "get_complete", p_start_date=asked, p_end_date=asked))
        for asked in (day - timedelta(1), day, day + timedelta(1))
    }

    assert days == {day - timedelta(1): [], day: [order], day + timedelta(1): []}


@pytest.mark.parametrize("edge", ["-infinity", "0044-03-15 BC", "infinity", "5874897-12-31"])
def test_an_extreme_date_is_accepted(db: Connection, admin: UUID, edge: str) -> None:
    order = make_order(db, due_date=TODAY)
    done = make_order(db, stage="Complete", packing_complete_ts=NOON)
    side = "p_date_from" if edge.endswith("BC") or edge.startswith("-") else "p_date_to"
    end = "p_start_date" if side == "p_date_from" else "p_end_date"

    assert ids(read(db, admin, "get_queue", **{side: edge})) == [order]
    assert ids(read(db, admin, "get_complete", **{end: edge})) == [done]


# Search


def test_search_finds_an_order_after_edits_and_after_completion(
    db: Connection, admin: UUID
) -> None:
    order = make_order(db, customer_name="Ada Byron")
    db.execute(
        "update public.order_contacts set customer_name = 'Ada King' where order_gid = %s", (order,)
    )

    assert ids(read(db, admin, "get_queue", p_search="king")) == [order]
    assert read(db, admin, "get_queue", p_search="byron") == []

    db.execute("update public.orders set stage = 'Complete' where id = %s", (order,))

    assert read(db, admin, "get_queue", p_search="king") == []
    assert ids(read(db, admin, "get_complete", p_search="ada k")) == [order]
    assert ids(read(db, admin, "find_order", p_search="ada k")) == [order]


def test_search_does_not_find_a_deleted_order(db: Connection, admin: UUID) -> None:
    order = make_order(db)

    db.execute("delete from public.orders where id = %s", (order,))

    assert value(db, "select count(*) from app.order_words where id = %s", order) == 0


def test_find_order_shows_the_ten_newest_numbers_of_any_stage(db: Connection, admin: UUID) -> None:
    for number in range(1, 13):
        make_order(
            db,
            id=f"bannos-18{number:02}",
            shopify_order_number=1800 + number,
            stage=("Filling", "Complete")[number % 2],
            cancelled_at=NOON if number == 5 else None,
            is_pos=number == 6,
        )

    hits = read(db, admin, "find_order", p_search="#18")

    assert [row["order_number"] for row in hits] == [
        1812,
        1811,
        1810,
        *range(1809, 1806, -1),
        1805,
        1804,
        1803,
        1802,
    ]
    assert [row["id"] for row in hits if row["cancelled_at"]] == ["bannos-1805"]
    for blank in (None, "", " ", "#"):
        with raises_code("BAD_INPUT", "PT400"):
            read(db, admin, "find_order", p_search=blank)


# Indexes


@pytest.mark.spec("vector-17")
def test_the_queue_reads_a_page_of_one_index_and_no_table(clone: str) -> None:
    # a database of its own, because index counts include rolled-back rows of other tests
    with psycopg.connect(clone) as db:
        admin = make_staff(db, role="Admin")
        db.execute(
            "insert into public.order_contacts (store, order_gid, customer_name) "
            "select shops.code, shops.code || '-' || n, 'Customer ' || n "
            "from public.stores as shops, generate_series(1, 10000) as n"
        )
        db.execute(
            """
            insert into public.orders (
              store, id, shopify_order_number, product_title, due_date, size, stage, storage,
              assignee_id
            )
            select
              shops.code, shops.code || '-' || n, n, 'Cake ' || mod(n, 7),
              app.today(shops.code) + mod(n, 9), (array['Small', 'Medium'])[1 + mod(n, 2)],
              case
                when mod(n, 20) > 0 then 'Complete'
                else (array['Filling', 'Covering', 'Decorating', 'Packing'])[1 + mod(n / 20, 4)]
              end::public.stage_type,
              'Shelf ' || mod(n / 20, 5), case when mod(n / 20, 7) = 0 then %s::uuid end
            from public.stores as shops, generate_series(1, 10000) as n
            """,
            (admin,),
        )
        db.execute("analyze public.orders, public.order_contacts, app.order_words")

        cases: list[tuple[Row, str]] = [
            ({}, "queue_key"),
            ({"p_store": "bannos"}, "queue_key"),
            ({"p_priority": "low"}, "queue_key"),
            ({"p_stage": "Packing"}, "stage_queue_key"),
            ({"p_unassigned": True}, "queue_key"),
            ({"p_assignee_id": admin}, "assignee_id_is_open_queue_key"),
            ({"p_storage": "Shelf 3"}, "storage_queue_key"),
            ({"p_sort_by": "due_date", "p_sort_order": "ASC"}, "substr"),
        ]
        for asked, index in cases:
            before = entries_read(db)
            page = read(db, admin, "get_queue", **asked, p_limit=20)
            entries = entries_read(db) - before

            assert len(page) == 20, asked
            assert set(entries) == {f"orders_{index}_idx"}, asked
            assert entries[f"orders_{index}_idx"] <= 42, asked

        assert ids(read(db, admin, "get_queue", p_search="r 4320", p_store="bannos")) == [
            "bannos-4320"
        ]


def entries_read(db: Connection) -> Counter[str]:
    """Returns how many rows and index entries of orders this transaction has read."""
    return Counter(
        {
            str(name): int(str(count))
            for name, count in db.execute(
                """
                select
                  regexp_replace(relname, '_(bannos|flourlane)', ''),
                  sum(pg_stat_get_xact_tuples_returned(oid))
                from pg_class where relname ~ '^orders_(bannos|flourlane)'
                group by 1
                """
            )
        }
    )


# One order


ADDRESS = {
    "first_name": "Ann",
    "last_name": "Smith",
    "name": "Ann Smith",
    "company": None,
    "address1": "1 Test Street",
    "address2": None,
    "city": "Sydney",
    "province": "New South Wales",
    "province_code": "NSW",
    "country": "Australia",
    "country_code": "AU",
    "zip": "2000",
    "phone": "0400 000 000",
}
GRAPHQL = {
    "firstName": "Ann",
    "lastName": "Smith",
    "name": "Ann Smith",
    "address1": "1 Test Street",
    "city": "Sydney",
    "province": "New South Wales",
    "provinceCode": "NSW",
    "country": "Australia",
    "countryCodeV2": "AU",
    "zip": "2000",
    "phone": "0400 000 000",
}


def make_delivery(db: Connection, payload: Row, **columns: Any) -> str:
    gid = f"gid://shopify/Order/{uuid4().int % 10**12}"
    db.execute("insert into public.shopify_orders (store, gid) values ('bannos', %s)", (gid,))
    db.execute(
        "insert into public.order_contacts (store, order_gid, address) "
        "select 'bannos', %s, app.shopify_order(%s) #> '{contact,address}'",
        (gid, json.dumps({"id": 1} | payload)),
    )
    return make_order(db, shopify_order_gid=gid, **columns)


@pytest.mark.parametrize("stage", [*STAGES, "Complete"])
@pytest.mark.parametrize("assigned", [False, True])
@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin"])
@pytest.mark.spec("P48")
def test_only_packers_assignees_and_supervisors_see_the_address(
    db: Connection, role: str, assigned: bool, stage: str
) -> None:
    account = make_staff(db, role=role, store="bannos")
    order = make_delivery(
        db,
        {"shipping_address": ADDRESS},
        stage=stage,
        assignee_id=account if assigned else make_staff(db),
        accessories='[{"title": "Candle"}]',
    )

    seen = read(db, account, "get_order_v2", p_order_id=order)[0]
    plain = read(db, account, "get_order", p_order_id=order, p_store="bannos")[0]

    entitled = role != "Staff" or assigned or stage == "Packing"
    assert seen["shipping_address"] == (ADDRESS if entitled else None)
    assert seen["accessories"] == [{"title": "Candle"}]
    assert plain == {name: seen[name] for name in plain}
    assert "1 Test Street" not in str(plain)


@pytest.mark.parametrize(
    ("payload", "address"),
    [
        ({"shippingAddress": GRAPHQL}, ADDRESS),
        ({"shipping_address": None}, None),
        ({"shipping_address": "by the door"}, None),
        ({}, None),
    ],
)
def test_addresses_from_rest_and_graphql_have_one_shape(
    db: Connection, admin: UUID, payload: Row, address: Row | None
) -> None:
    order = make_delivery(db, payload)

    assert read(db, admin, "get_order_v2", p_order_id=order)[0]["shipping_address"] == address


@pytest.mark.parametrize("function", ["get_order", "get_order_v2", "get_order_history"])
def test_an_order_of_another_store_or_a_missing_order_is_refused(
    db: Connection, function: str
) -> None:
    theirs = make_order(db, store="flourlane")
    baker = make_staff(db, store="bannos")

    with raises_code("PERMISSION_DENIED", "PT403"):
        read(db, baker, function, p_order_id=theirs)
    with raises_code("BAD_INPUT", "PT400"):
        read(db, baker, function, p_order_id=theirs, p_store="bannos")
    with raises_code("BAD_INPUT", "PT400"):
        read(db, baker, function, p_order_id=None)
    with raises_code("NOT_FOUND", "PT404"):
        read(db, baker, function, p_order_id="bannos-1")


@pytest.mark.spec("P9")
def test_the_history_shows_the_time_of_both_rounds_after_a_return(
    db: Connection, admin: UUID
) -> None:
    set_clock(db, "2026-03-04 08:00Z")
    order = make_order(db)
    record_event(db, order)
    for minute, function in (
        (10, "handle_print_barcode"),
        (40, "complete_filling"),
        (60, "complete_covering"),
        (65, "start_decorating"),
        (90, "complete_decorating"),
        (100, "qc_return_to_decorating"),
        (110, "start_decorating"),
        (115, "complete_decorating"),
        (120, "complete_packing"),
    ):
        set_clock(db, f"2026-03-04 {8 + minute // 60:02}:{minute % 60:02}Z")
        parameter = "p_barcode" if "barcode" in function else "p_order_id"
        read(db, admin, function, **{parameter: order})

    trail = read(db, admin, "get_order_history", p_order_id=order)

    assert [
        (row["event_type"], row["stage"], row["round"], row["seconds_in_stage"] // 60)
        for row in trail
    ] == [
        ("create", "Filling", 1, 0),
        ("print", "Filling", 1, 10),
        ("complete", "Filling", 1, 40),
        ("complete", "Covering", 1, 20),
        ("start", "Decorating", 1, 5),
        ("complete", "Decorating", 1, 30),
        ("qc_return", "Packing", 1, 10),
        ("start", "Decorating", 2, 10),
        ("complete", "Decorating", 2, 15),
        ("complete", "Packing", 2, 5),
    ]
    assert [row["stage"] for row in trail if row["leaves_stage"]] == [
        "Filling",
        "Covering",
        "Decorating",
        "Packing",
        "Decorating",
        "Packing",
    ]
    assert {row["staff_name"] for row in trail} == {None, "Test Admin"}


# Empty databases


EVERY_READ: dict[str, list[str]] = {
    "get_queue": [],
    "get_unassigned_list": [],
    "get_orders_for_dashboard": [],
    "get_complete": [],
    "get_queue_stats": [],
    "get_unassigned_counts": [],
    "get_staff_order_counts": [],
    "find_order": ["18617"],
}


@pytest.mark.parametrize("role", ["Staff", "Supervisor", "Admin", "service_role"])
@pytest.mark.parametrize("function", EVERY_READ)
@pytest.mark.spec("vector-18")
def test_every_list_answers_on_an_empty_database(db: Connection, function: str, role: str) -> None:
    account = None if role == "service_role" else make_staff(db, role=role, store="bannos")
    query = sql.SQL("select count(*) from public.{}({})").format(
        sql.Identifier(function),
        sql.SQL(", ").join(map(sql.Literal, EVERY_READ[function])),
    )

    with acting_as(db, "authenticated" if account else role, account):
        row = db.execute(query).fetchone()

    assert row == ({"get_queue_stats": 1, "get_unassigned_counts": 4}.get(function, 0),)


@pytest.mark.parametrize("function", ["get_order", "get_order_v2", "get_order_history"])
def test_the_service_role_cannot_read_a_single_order(db: Connection, function: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, "service_role"):
        db.execute(f"select public.{function}('bannos-1')".encode())
