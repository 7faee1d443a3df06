"""Bootstrap by a role that is no superuser, as providers of managed Postgres give it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

import postgres
from command import Project, Ran, query
from postgres import Server

ROOT = Path(__file__).parents[2]
STATE = """
    select rolname, row_to_json(r)::text from pg_roles as r
    union all
    select nspname, format('%s %s', nspowner::regrole, nspacl) from pg_namespace
    union all
    select datname, datdba::regrole::text from pg_database order by 1, 2
"""


@pytest.fixture(params=[15, 16, 17, 18])
def plain(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A new server, where no platform was ever set up."""
    with postgres.embedded_server("plain", postgres.binaries_of(request.param)) as server:
        query(server.superuser, "create database bakery")
        yield server


@pytest.fixture
def bakery(project: Project) -> Project:
    """An empty folder with the migrations of this project."""
    shutil.copytree(ROOT / "supabase", project.root / "supabase", dirs_exist_ok=True)
    return project


def bootstrap(project: Project, server: Server, user: str, database: str = "bakery") -> Ran:
    url = make_conninfo(server.superuser, user=user, dbname=database)
    role = server.migration_role
    return project.run(
        "bootstrap", "--migration-role", role, "--database-url", url, "--json", url=url
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attributes", "owner"), [("createrole createdb", "admin"), ("", "supabase_admin")]
)
def test_a_role_that_is_no_superuser_sets_up_the_platform_after_an_administrator_did_the_rest(
    plain: Server, bakery: Project, attributes: str, owner: str
) -> None:
    query(plain.superuser, f"create role admin login {attributes}")
    query(plain.superuser, f"alter database bakery owner to {owner}")
    before = query(plain.superuser_dsn("bakery"), STATE)

    refused = bootstrap(bakery, plain, "admin")

    assert refused.code == 2, refused.out
    assert query(plain.superuser_dsn("bakery"), STATE) == before
    statements = refused.json["statements"]
    assert all(f"  {statement};" in refused.json["hint"] for statement in statements)
    for statement in statements:
        query(plain.superuser_dsn("bakery"), statement)
    done = [bootstrap(bakery, plain, "admin") for _ in range(2)]
    assert [ran.code for ran in done] == [0, 0], done[0].out + done[1].out
    assert query(plain.superuser, "select rolsuper from pg_roles where rolname = 'admin'") == [
        (False,)
    ]
    for command in (("env", "mark", "dev"), ("migrate", "up"), ("smoke",), ("doctor",)):
        ran = bakery.run(*command, url=plain.dsn("bakery"))
        assert ran.code == 0, ran.out + ran.err
    like_pg_dump = make_conninfo(plain.dsn("bakery"), options="-c row_security=off")
    assert query(like_pg_dump, "table auth.users") == []
    again = bootstrap(bakery, plain, "admin")
    verified = bakery.run("migrate", "verify", url=plain.dsn("bakery"))
    assert (again.code, verified.code) == (0, 0), again.out + verified.err


@pytest.mark.parametrize("plain", [17], indirect=True)
def test_another_database_of_the_server_drifts_only_if_a_role_really_changes(
    plain: Server, project: Project
) -> None:
    def prepare(database: str, role: str) -> None:
        url = plain.superuser_dsn(database)
        ran = project.run("bootstrap", "--migration-role", role, "--database-url", url)
        assert ran.code == 0, ran.err

    url = plain.dsn("bakery")
    project.write("20260101000000_M0_one.sql", "create schema one;\n")
    prepare("bakery", plain.migration_role)
    for command in (("env", "mark", "dev"), ("migrate", "up")):
        assert project.run(*command, url=url).code == 0
    query(plain.superuser, "create database second")
    query(plain.superuser, "create database third")

    prepare("second", plain.migration_role)
    same = project.run("drift", "list", url=url)
    prepare("third", "another")
    other = project.run("drift", "list", "--json", url=url)

    assert same.out == "no drift\n"
    assert [one["name"] for one in other.json["drift"]] == [
        f"membership of another in {role}" for role in ("anon", "authenticated", "service_role")
    ]
