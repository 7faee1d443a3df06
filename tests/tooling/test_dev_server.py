"""The commands for the dev server: up, down, reset, seed, doctor, bootstrap."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bakehouse.server import cluster, embedded
from command import Project, free_port
from postgres import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project in a path with a space, with its dev server."""
    root = tmp_path_factory.mktemp("the bakery") / "of ours"
    shutil.copytree(ROOT / "supabase", root / "supabase")
    project = Project(root)
    try:
        first = project.run("up", "--json", "--port", str(free_port()))
        assert first.code == 0, first.err
        assert len(first.json["applied"]) == len(first.json["versions"]) > 0
        assert all(step["ok"] for step in first.json["smoke"])
        yield project
    finally:
        project.run("down", "--remove")


def port_of(dev: Project) -> int:
    status = embedded.status(dev.root)
    assert status
    assert status.port
    return status.port


def orders(dev: Project) -> int:
    with psycopg.connect(cluster.dsn(port_of(dev))) as conn:
        row = conn.execute("select count(*) from public.orders").fetchone()
        assert row
        return int(row[0])


def test_a_second_up_changes_nothing_and_shows_how_to_connect(dev: Project) -> None:
    again = dev.run("up")

    assert again.code == 0
    assert f"postgresql://postgres@127.0.0.1:{port_of(dev)}/postgres" in again.out
    assert "now" not in again.out.split()
    assert orders(dev) == 2


def test_the_dev_server_looks_like_a_hosted_project(dev: Project) -> None:
    with psycopg.connect(cluster.dsn(port_of(dev))) as conn:
        row = conn.execute(
            "select current_user, rolsuper, rolbypassrls, rolcreaterole,"
            " pg_has_role(datdba, 'member'), current_setting('fsync'), datname"
            " from pg_roles, pg_database"
            " where rolname = current_user and datname = current_database()"
        ).fetchone()

    assert row == ("postgres", False, True, True, True, "on", "postgres")


def test_a_wrong_password_gives_one_line_without_the_password(dev: Project) -> None:
    url = f"postgresql://postgres:s3cret-word@127.0.0.1:{port_of(dev)}/postgres"

    ran = dev.run("migrate", "up", url=url)

    assert ran.code == 1
    assert ran.err.splitlines() == [
        f"error: cannot connect to 127.0.0.1:{port_of(dev)}/postgres: wrong password",
        "  Check the password in the database URL, or in PGPASSWORD.",
    ]


def test_reset_rebuilds_from_the_files_and_the_seed(dev: Project) -> None:
    with psycopg.connect(cluster.dsn(port_of(dev))) as conn:
        conn.execute("insert into public.orders (store, id) values ('bannos', 'bannos-1')")

    asked = dev.run("reset")
    kept = orders(dev)
    done = dev.run("reset", "--yes", "--json")

    assert (asked.code, kept) == (2, 3)
    assert done.code == 0, done.err
    assert len(done.json["applied"]) == len(list((ROOT / "supabase/migrations").glob("*.sql")))
    assert orders(dev) == 2
    assert dev.run("migrate", "verify").code == 0
    assert dev.run("env", "show").out.startswith("dev, ")


def test_the_seed_can_be_run_again(dev: Project) -> None:
    assert [dev.run("seed").code for _ in range(2)] == [0, 0]
    assert orders(dev) == 2


def test_the_doctor_finds_no_fault_in_a_healthy_server(dev: Project) -> None:
    ran = dev.run("doctor", "--json")

    assert ran.code == 0, ran.out
    assert {check["state"] for check in ran.json["checks"]} <= {"good", "note"}


def test_the_doctor_names_an_invariant_that_does_not_hold(dev: Project) -> None:
    with psycopg.connect(cluster.dsn(port_of(dev)), autocommit=True) as conn:
        conn.execute("update public.site_stock set on_hand = on_hand + 1")
        ran = dev.run("doctor")
        conn.execute("update public.site_stock set on_hand = on_hand - 1")

    assert ran.code == 1
    assert re.search(r"bad +invariant stock +\d+ violations, such as: item", ran.out), ran.out


def test_the_doctor_names_a_migration_role_that_is_a_superuser(dev: Project) -> None:
    ran = dev.run("doctor", url=cluster.superuser_dsn(port_of(dev)))

    assert ran.code == 1
    assert "a superuser hides what fails on Supabase" in ran.out


@pytest.mark.parametrize(
    ("fault", "repair"),
    [
        (
            "alter role anon reset statement_timeout",
            "alter role anon set statement_timeout = '3s'",
        ),
        (
            "alter role service_role set statement_timeout = 0",
            "alter role service_role set statement_timeout = '8s'",
        ),
        (
            "alter role authenticator reset lock_timeout",
            "alter role authenticator set lock_timeout = '8s'",
        ),
        (
            "revoke anon from authenticator",
            "grant anon to authenticator",
        ),
        (
            "alter database postgres reset statement_timeout",
            "alter database postgres set statement_timeout = '2min'",
        ),
    ],
)
def test_the_doctor_names_what_the_roles_lack_and_the_statement_that_repairs_it(
    dev: Project, fault: str, repair: str
) -> None:
    with psycopg.connect(cluster.superuser_dsn(port_of(dev)), autocommit=True) as conn:
        conn.execute(fault.encode())
        ran = dev.run("doctor")
        found = [one for one in dev.run("doctor", "--json").json["checks"] if one["repair"]]
        for one in found:
            conn.execute(one["repair"].encode())

    assert [one["repair"] for one in found] == [repair]
    assert (ran.code, f"`{repair}`" in ran.out) == (1, True)
    assert dev.run("doctor").code == 0


def test_down_stops_the_server_and_up_finds_the_data_again(dev: Project) -> None:
    port = port_of(dev)

    down, again = dev.run("down"), dev.run("down")
    without = dev.run("migrate", "status")
    up = dev.run("up", "--port", str(port))

    assert (down.out, again.out) == ("stopped the dev server\n", "the dev server was not running\n")
    assert without.code == 1
    assert "this project's dev server is not running" in without.err
    assert up.code == 0, up.err
    assert orders(dev) == 2


def test_a_failed_smoke_walk_names_its_step_and_exits_9(dev: Project) -> None:
    with psycopg.connect(cluster.dsn(port_of(dev)), autocommit=True) as conn:
        conn.execute("grant select on public.orders to anon")
        ran = dev.run("smoke")
        conn.execute("revoke select on public.orders from anon")

    assert ran.code == 9
    assert "no order is read: expected 42501, got 0" in ran.err
    assert dev.run("smoke").code == 0


def test_bootstrap_prepares_a_plain_database(dev: Project, server: Server) -> None:
    name = server.create()

    ran = dev.run(
        "bootstrap",
        "--migration-role",
        server.migration_role,
        "--database-url",
        server.superuser_dsn(name),
    )
    refused = dev.run(
        "bootstrap",
        "--migration-role",
        server.migration_role,
        "--database-url",
        server.dsn(name),
    )

    assert ran.code == 0, ran.err
    assert (refused.code, "set up the platform for itself" in refused.err) == (2, True)
    server.drop(name)
