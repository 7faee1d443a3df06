"""Numbered ids: no two databases give out the same, and JavaScript reads each exactly."""

import json
import re

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from bakehouse.server import platform
from calls import ask, call, raises_code
from docs import pages
from orders.races import Call, meet
from orders.test_inventory import make_item
from postgres import Server
from rows import make_order, make_staff, record_event, value, values
from security.test_converge import dump

TABLES = ("audit_log", "inventory_txn", "stage_events", "webhook_deliveries", "work_queue")
ROWS = {
    "audit_log": "insert into public.audit_log (actor_kind, action) values ('system', 'bake')",
    "inventory_txn": """
        with stocked as (
          insert into public.site_stock (item_id, site)
          select id, 'main' from public.inventory_items
        )
        insert into public.inventory_txn (
          item_id, site, kind, change_amount, stock_before, stock_after, actor_kind
        ) select id, 'main', 'adjust', 1, 0, 1, 'system' from public.inventory_items
    """,
    "stage_events": """
        insert into public.stage_events (store, order_id, stage, event_type)
        values ('bannos', 'bannos-1', 'Filling', 'create')
    """,
    "webhook_deliveries": """
        insert into public.webhook_deliveries (store, webhook_id, topic)
        values ('bannos', '1', 'orders/create')
    """,
    "work_queue": "insert into public.work_queue (topic, payload) values ('bake', '{}')",
    "work_dead": """
        insert into public.work_dead (
          id, topic, priority, payload, retries, max_retries, created_at
        ) values (1, 'bake', 5, '{}', 3, 3, now())
    """,
    "work_archive": """
        insert into public.work_archive (id, created_at, finished_at, retries, topic, payload)
        values (1, now(), now(), 0, 'bake', '{}')
    """,
}
LAST = 2**53 - 1  # the largest number up to which every whole number is exact in JavaScript


def set_cell(db: Connection, cell: int | None) -> None:
    db.execute("select app.set_cell(%s)", (cell,))


def work(db: Connection) -> None:
    """Gives out ids of every kind."""
    admin = make_staff(db, role="Admin")
    call(db, admin, "set_setting", p_store="bannos", p_key="monitor.autoRefresh", p_value=Jsonb(15))
    for kind in ("component", "accessory"):
        make_item(db, kind, 5, kind)
    for event in ("create", "edit"):
        record_event(db, make_order(db), event)
    for number in range(2):
        db.execute(
            "insert into public.webhook_deliveries (store, webhook_id, topic) values ('bannos', %s,"
            " 'orders/create')",
            (str(number),),
        )
    call(db, None, "enqueue_work_many", p_topic="bake", p_payloads=[Jsonb({})] * 3)
    db.execute("insert into public.work_queue (topic, payload) values ('bake', '{}')")


def ids(db: Connection, table: str) -> list[int]:
    return values(
        db,
        sql.SQL("select id from {} order by id")
        .format(sql.Identifier("public", table))
        .as_string(),
    )


def test_two_databases_share_no_id_and_have_the_same_schema(server: Server, template: str) -> None:
    names = [server.copy(template), server.copy(template)]
    given: list[dict[str, list[int]]] = []
    try:
        for cell, name in enumerate(names, 1):
            with psycopg.connect(server.dsn(name)) as db:
                set_cell(db, cell)
                work(db)
                given.append({table: ids(db, table) for table in TABLES})
        schemas = [dump(server, server.dsn(name)) for name in names]
    finally:
        for name in names:
            server.drop(name)

    one, two = given
    assert schemas[0] == schemas[1]
    assert all(len(one[table]) == len(two[table]) > 0 for table in TABLES)
    assert all(not {*one[table]} & {*two[table]} for table in TABLES)
    for table in TABLES:
        numbers = one[table] + two[table]
        # JavaScript has no whole numbers, only floats
        read = json.loads(json.dumps(numbers), parse_int=float)
        assert [int(number) for number in read] == numbers
        assert max(numbers) <= LAST


def test_the_last_id_of_the_last_cell_is_exact_and_none_follows(clone: str) -> None:
    with psycopg.connect(clone) as db:
        set_cell(db, 1023)
        db.execute("select setval('public.work_queue_id_seq', (1::bigint << 43) - 2)")

        last = call(db, None, "enqueue_work", p_topic="bake", p_payload=Jsonb({}))

        assert last == LAST == int(float(last))
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
            call(db, None, "enqueue_work", p_topic="bake", p_payload=Jsonb({}))


def test_ids_ascend_in_the_order_of_creation(db: Connection) -> None:
    set_cell(db, 5)

    first = call(db, None, "enqueue_work", p_topic="bake", p_payload=Jsonb({}))
    many = values(db, "select unnest(app.enqueue_many('bake', array_fill('{}'::jsonb, '{4}')))")

    assert [first, *many] == list(range(first, first + 5))
    assert first >> 43 == 5


@pytest.mark.parametrize("cell", [-1, 1024, None])
def test_a_cell_out_of_range_is_refused(db: Connection, cell: int | None) -> None:
    with raises_code("BAD_INPUT", "PT400"), db.transaction():
        set_cell(db, cell)
    with pytest.raises(psycopg.errors.IntegrityError):
        db.execute("update app.cell set number = %s", (cell,))


@pytest.mark.parametrize("table", ROWS)
def test_the_cell_stays_once_a_row_has_an_id(db: Connection, table: str) -> None:
    make_order(db, id="bannos-1")
    db.execute(
        "insert into public.inventory_items (sku, kind, title) values ('egg', 'component', 'Egg')"
    )
    db.execute(ROWS[table].encode())

    with raises_code("CONFLICT", "PT409"), db.transaction():
        set_cell(db, 1)
    set_cell(db, 0)  # the number that it has

    assert value(db, "select number from app.cell") == 0


def test_setting_the_cell_waits_for_a_writer_and_is_then_refused(clone: str) -> None:
    write = Call(
        None,
        "insert into public.work_queue (topic, payload) values ('bake', '{}')",
        role="bakehouse_owner",
    )

    with raises_code("CONFLICT", "PT409"):
        meet(clone, write, Call(None, "select app.set_cell(1)", role="bakehouse_owner"))


def test_every_numbered_id_counts_from_the_cell(db: Connection) -> None:
    numbered = db.execute(
        """
        select rel.relname, pg_get_expr(def.adbin, def.adrelid),
          pg_get_serial_sequence(rel.oid::regclass::text, col.attname) is not null
        from pg_class as rel
        inner join pg_attribute as col on col.attrelid = rel.oid
        left join pg_attrdef as def on def.adrelid = rel.oid and def.adnum = col.attnum
        where rel.relnamespace::regnamespace::text in ('public', 'app', 'private')
        and rel.relkind in ('r', 'p') and not rel.relispartition
        and col.atttypid = 'bigint'::regtype
        and (col.attidentity <> '' or pg_get_expr(def.adbin, def.adrelid) ~ 'nextval')
        order by 1
        """
    ).fetchall()
    source = value(db, "select prosrc from pg_proc where proname = 'set_cell'")

    assert numbered == [
        (table, f"(app.first_id() + nextval('{table}_id_seq'::regclass))", True) for table in TABLES
    ]
    assert all(source.count(f"public.{table}") == 2 for table in ROWS)


def test_only_the_queue_writes_an_id_itself(db: Connection) -> None:
    """API roles write no table. So an id can be chosen only in a function of ours."""
    bodies = db.execute(
        "select proname, prosrc from pg_proc"
        " where pronamespace::regnamespace::text in ('public', 'app', 'private')"
    ).fetchall()
    chosen = re.compile(rf"insert into public\.(?:{'|'.join(TABLES)})(?: as \w+)?\s*\(\s*id\b")

    assert {name for name, body in bodies if chosen.search(str(body))} == {
        "enqueue_many",  # reads the cell once for many jobs
        "requeue_dead_work",  # a job keeps its id
    }


def test_an_upgrade_finds_the_sequences_behind_the_rows_of_the_cell(db: Connection) -> None:
    set_cell(db, 3)
    work(db)
    mine = ids(db, "work_queue")
    db.execute("select setval('public.work_queue_id_seq', 1, false)")
    db.execute(
        "insert into public.work_queue (id, topic, payload) values (%s, 'bake', '{}')",
        ((4 << 43) + 9000,),  # of a store that was moved here
    )

    behind = [one for one in platform.left_behind(db) if one.fault == "is behind its table"]
    for one in behind:
        db.execute(one.repair.encode())
    next_id = call(db, None, "enqueue_work", p_topic="bake", p_payload=Jsonb({}))

    assert [one.subject for one in behind] == ["sequence public.work_queue_id_seq"]
    assert next_id == mine[-1] + 1


def test_no_account_sets_the_cell(db: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(db, make_staff(db, role="Admin"), "select app.set_cell(1)")


def test_the_page_for_operators_sets_the_cell(db: Connection) -> None:
    section = pages.section(pages.read("docs/operating.md"), "Number a new database")
    (statement,) = re.findall(r"-c '(.+)'", section)

    db.execute(statement)

    assert value(db, "select number from app.cell") == 1
