"""Tasks and listeners are rows, which each file registers."""

import psycopg
import pytest

from bakehouse.database import Connection
from rows import tick, values


def register_listener(db: Connection, name: str, position: int) -> None:
    """Registers a listener that writes its name and the order to a table."""
    db.execute("create table if not exists app.heard (name text, store text, order_ref text)")
    db.execute(
        f"create function app.{name}(p_store text, p_order text) returns bigint language sql as "
        f"$$ insert into app.heard values ('{name}', p_store, p_order) returning 1 $$".encode()
    )
    db.execute("select app.register_hook('order_changed', %s, %s)", (position, name))


def test_listeners_hear_of_an_order_in_their_order(db: Connection) -> None:
    db.execute("set local role bakehouse_owner")
    register_listener(db, "second", 12)
    register_listener(db, "first", 11)

    db.execute("select app.order_changed('bannos', 'bannos-B1')")

    assert values(db, "select name || ' ' || store || ' ' || order_ref from app.heard") == [
        "first bannos bannos-B1",
        "second bannos bannos-B1",
    ]


@pytest.mark.parametrize(
    "register",
    [
        "select app.register_task('sweep', 'tick', 'sweep; drop table app.tasks')",
        "select app.register_hook('order_changed', 9, 'no_such_function')",
    ],
)
def test_a_function_that_does_not_exist_cannot_be_registered(db: Connection, register: str) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no such function"):
        db.execute(register.encode())


def test_the_tick_runs_a_registered_task(db: Connection) -> None:
    db.execute("set local role bakehouse_owner")
    db.execute("create function app.sweep() returns bigint language sql as 'select 7'")
    db.execute("select app.register_task('sweep floor', 'tick', 'sweep')")
    db.execute("reset role")

    assert tick(db)["sweep floor"] == 7
