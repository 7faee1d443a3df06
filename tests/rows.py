"""Rows that tests make and read."""

from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg import sql

from bakehouse.database import Connection

_numbers = count(20001)


def value(db: Connection, query: LiteralString, *parameters: object) -> Any:
    """Returns the one value that a query returns."""
    row = db.execute(query, parameters or None).fetchone()
    assert row is not None, f"no row: {query}"
    return row[0]


def values(db: Connection, query: LiteralString, *parameters: object) -> list[Any]:
    """Returns the first column of a query."""
    return [row[0] for row in db.execute(query, parameters or None)]


def set_clock(db: Connection, when: datetime | str) -> None:
    """Sets app.now() for the rest of this transaction."""
    db.execute(
        "insert into app.clock (at) values (%s) on conflict (xid) do update set at = excluded.at",
        (when,),
    )
    db.execute(
        "select app.add_months(tables.name, app.now(), app.now()) from app.monthly_tables as tables"
    )


def tick(db: Connection) -> dict[str, Any]:
    """Runs the tasks that are due. Returns the results of those that succeeded."""
    runs = values(db, "select app.run_task(due.name) from app.due_tasks() as due (name)")
    return {run["task"]: run["result"] for run in runs if run["state"] == "done"}


def make_staff(
    db: Connection,
    *,
    role: str = "Staff",
    store: str | None = None,
    is_active: bool = True,
    approved: bool = True,
) -> UUID:
    """Adds a member of staff. Without a store they work in every store."""
    user_id = uuid4()
    db.execute(
        "insert into public.staff_shared (user_id, full_name, role, store, is_active, approved) "
        "values (%s, %s, %s, %s, %s, %s)",
        (user_id, f"Test {role}", role, store, is_active, approved),
    )
    return user_id


def make_store(db: Connection, code: str, time_zone: str = "UTC", **columns: object) -> str:
    """Adds a store with a partition. Returns its code, which begins with the scan letter."""
    row: dict[str, object] = {"code": code, "name": code.title(), "scan_letter": code[0].upper()}
    row |= {"time_zone": time_zone, "currency": "AUD"} | columns
    db.execute(
        sql.SQL("insert into public.stores ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )
    db.execute("select app.add_store_partition(%s)", (code,))
    return code


def make_order(
    db: Connection,
    *,
    store: str = "bannos",
    stage: str = "Filling",
    customer_name: str | None = "Test Customer",
    **columns: object,
) -> str:
    """Adds an order. Returns its id. The number is new unless `columns` has one."""
    number = next(_numbers)
    row: Mapping[str, object] = {
        "store": store,
        "stage": stage,
        "id": f"{store}-{number}",
        "shopify_order_number": number,
        "product_title": "Birthday Cake",
        "size": "Medium",
    } | columns
    db.execute(
        "insert into public.order_contacts (store, order_gid, customer_name) values (%s, %s, %s)"
        " on conflict (store, order_gid) do nothing",
        (store, row.get("shopify_order_gid") or row["id"], customer_name),
    )
    insert = sql.SQL("insert into public.orders ({}) values ({}) returning id").format(
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    made = db.execute(insert, list(row.values())).fetchone()
    assert made is not None
    return str(made[0])


def record_event(db: Connection, order_id: str, event_type: str = "create") -> int:
    """Adds an event of an order at its current stage. Returns the event's id."""
    number: int = value(
        db,
        "insert into public.stage_events (store, order_id, stage, event_type) "
        "select orders.store, orders.id, orders.stage, %s from public.orders as orders "
        "where orders.id = %s returning id",
        event_type,
        order_id,
    )
    return number
