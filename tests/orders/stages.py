"""The stage workflow: its table of moves, and the state of an order."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row

from bakehouse.database import Connection
from calls import call
from rows import values

STAGES = ("Filling", "Covering", "Decorating", "Packing", "Complete")
TIMES = (
    *("filling_start_ts", "filling_complete_ts", "covering_start_ts", "covering_complete_ts"),
    *("decorating_start_ts", "decorating_complete_ts", "packing_start_ts", "packing_complete_ts"),
)
RPCS = {"print": "print_barcode"}  # all other RPCs have the name of their action


@dataclass(frozen=True)
class Move:
    action: str
    from_stage: str
    to_stage: str
    stamps: list[str]
    clears: list[str]
    frees: bool
    event: str
    role: str


def moves(db: Connection) -> list[Move]:
    """Returns the rows of app.stage_transitions, in the order of the work."""
    with db.cursor(row_factory=class_row(Move)) as cursor:
        return cursor.execute(
            "select action, from_stage, to_stage, stamps, clears, frees, event, role "
            "from app.stage_transitions order by from_stage, to_stage, action"
        ).fetchall()


def act(db: Connection, account: UUID, action: str, order_id: str) -> Any:
    return call(db, account, RPCS.get(action, action), p_order_id=order_id)


def row(db: Connection, order_id: str) -> dict[str, Any]:
    """Returns all columns of an order, the name of its customer, and the ctid of its row."""
    with db.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "select orders.*, public.customer_name(orders) as customer_name, "
            "orders.ctid::text as version from public.orders as orders where id = %s",
            (order_id,),
        ).fetchone()
    assert found is not None
    return found


def stamped(db: Connection, order_id: str) -> set[str]:
    found = row(db, order_id)
    return {name for name in TIMES if found[name]}


def events(db: Connection, order_id: str) -> list[str]:
    """Returns the events of an order as `event at stage`, oldest first."""
    return values(
        db,
        "select event_type || ' at ' || stage from public.stage_events where order_id = %s "
        "order by id",
        order_id,
    )
