"""A plan reports what opens data to the API by mistake, and the lint gate then refuses."""

import re

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse import database
from bakehouse.migrations import watch
from command import Project, query
from environments import Environments
from postgres import Server

BASE = (
    "alter default privileges in schema public"
    " revoke all on tables from anon, authenticated, service_role;\n"
    "create schema app;\n"
    "create table public.bread (id int);\n"
    "alter table public.bread enable row level security;\n"
    "create table app.flour (id int);\n"
)
SECURE = "set search_path = pg_catalog, pg_temp"
CASES = (
    ("create table public.t ()", "rls_disabled_in_public: table public.t"),
    (
        "alter table public.bread disable row level security",
        "rls_disabled_in_public: table public.bread",
    ),
    (
        "create policy p on app.flour for select using (id > 0)",
        "policy_exists_rls_disabled: table app.flour",
    ),
    ("create view public.v as select id from app.flour", "security_definer_view: view public.v"),
    (
        "create materialized view public.m as select 1 as id; grant select on public.m to anon",
        "materialized_view_in_api: materialized view public.m",
    ),
    (
        "create foreign table public.f (id int) server nowhere;"
        " grant select on public.f to authenticated",
        "foreign_table_in_api: foreign table public.f",
    ),
    ("grant all on public.bread to anon", "api_role_can_write: table public.bread"),
    ("grant update (id) on app.flour to service_role", "api_role_can_write: table app.flour"),
    ("grant delete on public.bread to public", "api_role_can_write: table public.bread"),
    (
        "create function public.f() returns int language sql security definer "
        f"{SECURE} as 'select 1'; grant execute on function public.f to anon",
        "definer_function_for_anon: function public.f()",
    ),
    (
        "create function app.f() returns int language sql as 'select 1'",
        "function_search_path_mutable: function app.f()",
    ),
    ("create extension citext schema public", "extension_in_public: extension citext"),
    (
        "create policy p on public.bread for update to authenticated using (true)",
        "rls_policy_always_true: policy p on public.bread",
    ),
    (
        "create policy p on public.bread for select to authenticated using"
        " (current_setting('request.jwt.claims')::json -> 'user_metadata' ->> 'is_admin' = 'yes')",
        "rls_references_user_metadata: policy p on public.bread",
    ),
    (
        "create view app.u as select id from auth.users;"
        " create view public.u with (security_invoker = on) as select id from app.u;"
        " grant select on public.u to authenticated",
        "auth_users_exposed: view public.u",
    ),
    ("create table public.t (); alter table public.t enable row level security", ""),
    ("create table app.t ()", ""),
    ("create view public.v with (security_invoker = true) as select id from app.flour", ""),
    ("create policy p on public.bread for select to authenticated using (true)", ""),
    (f"create function public.f() returns int language sql {SECURE} as 'select 1'", ""),
    ("grant select on public.bread to anon, authenticated", ""),
)


def advice(project: Project, url: str) -> list[str]:
    """Returns the rule and the object of each finding."""
    (one,) = project.run("migrate", "plan", "--json", url=url).json["migrations"]
    found = [finding for finding in one["findings"] if finding["table"] == ""]
    assert all(finding["place"] == f"{one['label']}.sql" for finding in found)
    matches = [re.fullmatch(r"(.*?): .* \((\w+)\)", finding["what"]) for finding in found]
    return sorted({f"{match[2]}: {match[1]}" for match in matches if match})


@pytest.mark.parametrize(("sql", "found"), CASES)
def test_a_plan_reports_what_a_file_opens_to_the_api(
    project: Project, server: Server, blank: str, sql: str, found: str
) -> None:
    query(
        server.superuser_dsn(str(conninfo_to_dict(blank)["dbname"])),
        "create foreign data wrapper nothing; create server nowhere foreign data wrapper nothing;"
        f" grant usage on foreign server nowhere to {server.migration_role}",
    )
    project.write("20260101000000_M0_one.sql", BASE)
    assert project.run("migrate", "up", url=blank).code == 0
    project.write("20260101000001_M0_two.sql", f"{sql};\n")

    assert advice(project, blank) == ([found] if found else [])


def test_the_product_needs_no_advice(clone: str) -> None:
    with database.connect(clone, "tests") as conn:
        assert watch.advice(conn) == set()


@pytest.mark.slow
def test_an_open_table_closes_the_lint_gate_of_staging_and_prod(launched: Environments) -> None:
    launched.project.write("20990101000002_M9_open.sql", "create table public.open ();\n")
    launched.commit()
    launched.git("tag", "-a", "v1.2.0", "-m", "v1.2.0")
    launched.back_up()

    plan = launched.run("migrate", "plan", env="staging")
    refused = launched.run("migrate", "up", env="staging")
    accepted = launched.run("migrate", "up", "--accept-lint", "a demo", env="staging")
    prod = launched.run("gate", "check", "--json", env="prod").json

    assert (plan.code, refused.code, accepted.code) == (0, 5, 0), plan.err + accepted.err
    assert "20990101000002_M9_open.sql: table public.open: the API shows" in refused.err
    assert "Enable row level security" in refused.err
    assert [one["verdict"] for one in prod["gates"] if one["gate"] == "lint"] == ["refused"]
