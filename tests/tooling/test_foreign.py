"""Migrations that another tool wrote into the history of prod: let in, marked, and adopted."""

import psycopg
import pytest

from command import Project, Ran, query
from environments import Environments

V1 = "20260101000000"
V2 = "20260101000001"
CAKES = "begin;\ncreate table public.cakes (id int);\ncommit;\n"
PIES = "begin;\ncreate table public.pies (id int);\ncommit;\n"
BY_HAND = "insert into supabase_migrations.schema_migrations (version, name) values ('{}', '{}')"
REASON = ("--reason", "the shop was down")


@pytest.fixture
def prod(project: Project, blank: str) -> Project:
    """A prod with one applied file and one backup."""
    project.write(f"{V1}_M0_cakes.sql", CAKES)
    assert project.run("migrate", "up", url=blank).code == 0
    prod = project.configure("prod", blank)
    assert prod.run("env", "mark", "prod", "--yes").code == 0
    return prod


def url_of(prod: Project) -> str:
    return prod.variables["BAKEHOUSE_PROD_URL"]


def run_elsewhere(prod: Project, sql: str, version: str, name: str) -> None:
    """Runs a file as the Supabase CLI does: the history row comes in a later transaction."""
    query(url_of(prod), sql)
    query(url_of(prod), BY_HAND.format(version, name))


def states(ran: Ran) -> dict[str, str]:
    return {row["version"]: row["state"] for row in ran.json["migrations"]}


def test_the_row_of_another_tool_is_let_in_and_closes_the_gate(prod: Project) -> None:
    prod.write(f"{V2}_M0_pies.sql", PIES)

    run_elsewhere(prod, PIES, V2, "M0_pies")
    status = prod.run("migrate", "status", "--env", "prod", "--json")
    up = prod.run("migrate", "up", "--env", "prod")
    check = prod.run("gate", "check", "--env", "prod")

    assert states(status) == {V1: "applied", V2: "foreign"}
    assert "postgres at 20" in status.json["migrations"][1]["detail"]
    assert (up.code, check.code) == (4, 4)
    assert f"{V2} M0_pies: foreign, another tool wrote this row, postgres at" in up.err


def test_only_bakehouse_changes_a_row_of_the_history(prod: Project) -> None:
    with (
        psycopg.connect(url_of(prod)) as conn,
        pytest.raises(psycopg.errors.RaiseException, match="guarded against update"),
    ):
        conn.execute(
            "insert into supabase_migrations.schema_migrations (version, name) values (%s, 'x')"
            " on conflict (version) do update set name = excluded.name",
            (V1,),
        )
    prod.write(f"{V1}_M0_cakes.sql", f"-- sweet\n{CAKES}")

    rehashed = prod.run("migrate", "repair", "rehash", V1, "--yes", "--env", "prod")

    assert rehashed.code == 0, rehashed.err
    assert states(prod.run("migrate", "status", "--env", "prod", "--json")) == {V1: "applied"}


@pytest.mark.slow
def test_a_foreign_row_is_an_alert_where_the_schema_is_migrated(proved: Environments) -> None:
    def alerts() -> object:
        return proved.query(
            "staging",
            "select array_agg(severity || problem) from app.alerts()"
            " where code = 'FOREIGN_MIGRATION'",
        )

    before = alerts()
    proved.query("staging", BY_HAND.format("20990101000009", "M9_elsewhere"))

    assert before is None
    assert alerts() == [
        "criticalDatabase user postgres wrote the migration 20990101000009 M9_elsewhere into the"
        " history with another tool."
    ]
