"""Migrations that another tool wrote into a guarded history: let in, marked, and adopted."""

import psycopg
import pytest

from command import Project, Ran, query
from environments import DROP, MAKE, Environments

V1 = "20260101000000"
V2 = "20260101000001"
CAKES = "begin;\ncreate table public.cakes (id int);\ncommit;\n"
PIES = "begin;\ncreate table public.pies (id int);\ncommit;\n"
BY_HAND = "insert into supabase_migrations.schema_migrations (version, name) values ('{}', '{}')"
ADOPT = ("migrate", "repair", "adopt")
ACCEPT = ("--yes", "--accept-backup", "no shop yet", "--env", "staging")
REASON = ("--reason", "the shop was down")


@pytest.fixture
def staging(project: Project, blank: str) -> Project:
    """A staging with one applied file."""
    project.write(f"{V1}_M0_cakes.sql", CAKES)
    assert project.run("migrate", "up", url=blank).code == 0
    staging = project.configure("staging", blank)
    assert staging.run("env", "mark", "staging", "--yes").code == 0
    return staging


def url_of(staging: Project) -> str:
    return staging.variables["BAKEHOUSE_STAGING_URL"]


def run_elsewhere(staging: Project, sql: str, version: str, name: str) -> None:
    """Runs a file as the Supabase CLI does: the history row comes in a later transaction."""
    query(url_of(staging), sql)
    query(url_of(staging), BY_HAND.format(version, name))


def states(ran: Ran) -> dict[str, str]:
    return {row["version"]: row["state"] for row in ran.json["migrations"]}


def test_the_row_of_another_tool_is_let_in_and_closes_the_gate(staging: Project) -> None:
    staging.write(f"{V2}_M0_pies.sql", PIES)

    run_elsewhere(staging, PIES, V2, "M0_pies")
    status = staging.run("migrate", "status", "--env", "staging", "--json")
    up = staging.run("migrate", "up", "--env", "staging")
    check = staging.run("gate", "check", "--env", "staging")

    assert states(status) == {V1: "applied", V2: "foreign"}
    assert "postgres at 20" in status.json["migrations"][1]["detail"]
    assert (up.code, check.code) == (4, 4)
    assert f"{V2} M0_pies: foreign, another tool wrote this row, postgres at" in up.err


def test_only_bakehouse_changes_a_row_of_the_history(staging: Project) -> None:
    with (
        psycopg.connect(url_of(staging)) as conn,
        pytest.raises(psycopg.errors.RaiseException, match="guarded against update"),
    ):
        conn.execute(
            "insert into supabase_migrations.schema_migrations (version, name) values (%s, 'x')"
            " on conflict (version) do update set name = excluded.name",
            (V1,),
        )
    staging.write(f"{V1}_M0_cakes.sql", f"-- sweet\n{CAKES}")

    rehashed = staging.run("migrate", "repair", "rehash", V1, "--yes", "--env", "staging")

    assert rehashed.code == 0, rehashed.err
    assert states(staging.run("migrate", "status", "--env", "staging", "--json")) == {V1: "applied"}


def test_a_foreign_file_is_adopted_when_its_objects_are_there(staging: Project) -> None:
    staging.write(f"{V2}_M0_pies.sql", PIES)
    run_elsewhere(staging, PIES, V2, "M0_pies")

    blind = staging.run(*ADOPT, V2, *ACCEPT)
    closed = staging.run(*ADOPT, V2, *REASON, "--yes", "--env", "staging")
    adopted = staging.run(*ADOPT, V2, *REASON, *ACCEPT)
    status = staging.run("migrate", "status", "--env", "staging", "--json")
    log = staging.run("log", "--env", "staging")

    assert (blind.code, closed.code, adopted.code) == (2, 5, 0), adopted.err
    assert "needs a reason" in blind.err
    assert "backup: " in closed.err
    assert adopted.out == f"{V2} is adopted; its SQL was not run\n"
    assert states(status) == {V1: "applied", V2: "adopted"}
    assert status.json["migrations"][1]["detail"].endswith(": the shop was down")
    assert log.out.splitlines()[-1].split()[-3] == "adopted"
    assert staging.run("migrate", "verify", "--env", "staging").code == 0
    assert staging.run("migrate", "up", "--env", "staging").out == "nothing to do\n"
    assert query(
        url_of(staging), "select foreign_by from supabase_migrations.schema_migrations"
    ) == [
        (None,),
        (None,),
    ]


def test_a_foreign_file_that_left_other_objects_is_not_adopted(staging: Project) -> None:
    text = "begin;\ndrop table public.cakes;\ncreate table public.pies (id int);\ncommit;\n"
    staging.write(f"{V2}_M0_pies.sql", text)
    run_elsewhere(staging, "create table public.pies (id bigint)", V2, "M0_pies")

    refused = staging.run(*ADOPT, V2, *REASON, "--unproven", *ACCEPT)

    assert refused.code == 4
    assert "differs      column public.pies.id" in refused.err
    assert "still there  table public.cakes" in refused.err
    assert "missing      " not in refused.err
    assert states(staging.run("migrate", "status", "--env", "staging", "--json"))[V2] == "foreign"


def test_other_drift_is_not_adopted_with_the_file(staging: Project) -> None:
    staging.write(f"{V2}_M0_pies.sql", PIES)
    run_elsewhere(staging, PIES + "create table public.by_hand ();", V2, "M0_pies")

    refused = staging.run(*ADOPT, V2, *REASON, *ACCEPT)

    assert refused.code == 4
    assert "added: table public.by_hand" in refused.err


def test_a_file_that_changes_only_rows_is_adopted_as_unproven(staging: Project) -> None:
    rows = "insert into public.cakes values (1);\n"
    staging.write(f"{V2}_M0_rows.sql", rows)
    run_elsewhere(staging, rows, V2, "M0_rows")

    refused = staging.run(*ADOPT, V2, *REASON, *ACCEPT)
    adopted = staging.run(*ADOPT, V2, *REASON, "--unproven", *ACCEPT)
    status = staging.run("migrate", "status", "--env", "staging")

    assert (refused.code, adopted.code) == (2, 0), adopted.err
    assert "--unproven" in refused.err
    assert adopted.out == f"{V2} is adopted, unproven; its SQL was not run\n"
    assert "unproven, its SQL was not run here: the shop was down" in status.out
    assert query(url_of(staging), "select count(*) from public.cakes") == [(1,)]


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


@pytest.mark.slow
def test_prod_adopts_what_staging_proved_and_never_calls_it_live(launched: Environments) -> None:
    launched.query("prod", DROP)
    launched.query("prod", BY_HAND.format("20990101000001", "M9_gone"))
    accept = ("--yes", "--accept-secrets", "no shop yet")

    closed = launched.run("migrate", "up", env="prod")
    adopted = launched.run(*ADOPT, "20990101000001", *REASON, *accept, env="prod")
    verified = launched.run("release", "verify", "v1.1.0", "--json", env="prod")
    said = launched.run("release", "verify", "v1.1.0", env="prod")

    assert (closed.code, adopted.code, verified.code) == (4, 0, 0), adopted.err
    assert len(verified.json["adopted"]) == 1
    assert said.out.startswith("v1.1.0 is adopted: not every file was run here")
    assert "live" not in said.out


@pytest.mark.slow
def test_an_adoption_on_staging_proves_nothing_to_prod(launched: Environments) -> None:
    launched.project.write("20990101000002_M9_again.sql", MAKE)
    launched.commit()
    launched.git("tag", "-a", "v1.2.0", "-m", "v1.2.0")
    launched.query("staging", MAKE)
    launched.query("staging", BY_HAND.format("20990101000002", "M9_again"))

    adopted = launched.run(*ADOPT, "20990101000002", *REASON, "--yes", env="staging")
    refused = launched.run("migrate", "up", "--accept-secrets", "no shop yet", env="prod")

    assert (adopted.code, refused.code) == (0, 5), adopted.err + refused.err
    assert "staging adopted 20990101000002_M9_again and never ran the SQL" in refused.err
