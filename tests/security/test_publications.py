"""A publication of all tables, as ETL tools and replicas need it, stops no write."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse import database
from bakehouse.database import Connection
from bakehouse.rpc import reference
from calls import acting_as
from docs.dev_data import dev_database
from postgres import Server
from rows import make_staff, tick, value, values

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TASKS = "select function from app.tasks where period = %s"


def publish(server: Server, dsn: str) -> None:
    name = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(server.superuser_dsn(name)) as conn:
        conn.execute("create publication everything for all tables")


def test_every_task_runs_while_all_tables_are_published(server: Server, clone: str) -> None:
    publish(server, clone)
    with psycopg.connect(clone) as conn:
        # a second row of the same group, so that fold_tally merges
        conn.execute(
            "insert into app.order_tally (store, stage, orders) "
            "values ('bannos', 'Filling', 1), ('bannos', 'Filling', 1)"
        )

        for task in values(conn, TASKS, "tick"):
            conn.execute("select app.call_registered(%s)", (task,))
        for task in values(conn, TASKS, "day"):
            conn.execute("select app.call_registered(%s, 'bannos')", (task,))
        done = tick(conn)

        assert value(conn, "select count(*) from app.order_tally") == 1
        assert set(done) > set(values(conn, "select name from app.tasks where period = 'tick'"))


def test_a_setting_is_set_and_reset_while_all_tables_are_published(
    server: Server, clone: str
) -> None:
    publish(server, clone)
    with psycopg.connect(clone) as conn:
        admin = make_staff(conn, role="Admin")

        for minutes in (15, 60):
            with acting_as(conn, "authenticated", admin):
                conn.execute(
                    "select public.set_setting('global', 'monitor.autoRefresh', to_jsonb(%s))",
                    (minutes,),
                )
        with acting_as(conn, "authenticated", admin):
            reset = value(conn, "select public.reset_setting('global', 'monitor.autoRefresh')")

        assert reset


@pytest.mark.slow
def test_every_example_runs_while_all_tables_are_published(server: Server, template: str) -> None:
    with dev_database(server, template) as dsn:
        publish(server, dsn)
        with psycopg.connect(dsn) as conn:
            stopped = [
                f"{example.function}: {refusal}"
                for path in EXAMPLES.glob("*.sql")
                for example in reference.parse(path).examples
                if (refusal := stopped_by_publication(conn, example))
            ]

    assert stopped == []


def stopped_by_publication(conn: Connection, example: reference.Example) -> str:
    api = example.role if example.role == "service_role" else "authenticated"
    try:
        database.act_as(conn, api, reference.ACCOUNTS[example.role])
        conn.execute(example.sql.encode())
    except psycopg.errors.ObjectNotInPrerequisiteState as refusal:
        return str(refusal)
    finally:
        conn.rollback()
    return ""
