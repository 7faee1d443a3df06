"""A physical copy, a promoted standby and a new address are not prod until they are accepted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse.server import cluster
from bakehouse.server.cluster import Cluster
from chaos import machines
from command import Project, query

ONE = "20260101000000"
ACCEPT = ("env", "mark", "prod", "--confirm", "postgres", "--reason", "the old server burned")


@pytest.fixture
def primary(stopped: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    place = stopped.data.parent / tmp_path.name
    place.mkdir()
    place.chmod(0o777)
    with machines.running(machines.copied(stopped, place / "data")) as server:
        yield server


@pytest.fixture
def prod(project: Project, primary: Cluster) -> Project:
    """Prod with one applied file and one pending file."""
    project.write(f"{ONE}_M0_one.sql", "create table public.one ();\n")
    (project.root / "supabase" / "down").mkdir()
    down = project.root / "supabase" / "down" / f"{ONE}_M0_one.sql"
    down.write_text("drop table public.one;\n")
    prod = at(project.configure("prod", url(primary)), primary)
    for command in (("env", "mark", "dev"), ("migrate", "up"), ("env", "mark", "prod", "--yes")):
        ran = prod.run(*command, url=url(primary))
        assert ran.code == 0, ran.err
    prod.write("20260101000001_M0_two.sql", "create table public.two ();\n")
    return prod


def url(server: Cluster) -> str:
    return cluster.dsn(server.port)


def at(project: Project, server: Cluster) -> Project:
    """The project, with prod on this server."""
    return Project(project.root, {**project.variables, "BAKEHOUSE_PROD_URL": url(server)})


def address(server: Cluster) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def copy(prod: Project, primary: Cluster) -> Iterator[Cluster]:
    """A copy of the data directory of prod, on another port. Prod runs too."""
    cluster.halt(primary.data)
    copied = machines.copied(primary, primary.data.with_name("copy"))
    cluster.launch(primary)
    with machines.running(copied) as server:
        yield server


def test_a_physical_copy_on_another_port_is_refused_by_every_command(
    prod: Project, primary: Cluster, copy: Cluster
) -> None:
    before = query(url(copy), "select count(*) from bakehouse.evidence")
    refused = [
        at(prod, copy).run(*command, "--env", "prod")
        for command in (
            ("migrate", "up"),
            ("migrate", "plan"),
            ("migrate", "down", ONE, "--confirm", "postgres"),
            ("migrate", "repair", "forget", ONE, "--yes"),
            ("backup", "take"),
            ("resume",),
            ("gate", "check"),
        )
    ]
    shown = at(prod, copy).run("env", "show", "--env", "prod")

    assert [ran.code for ran in refused] == [11] * len(refused)
    for ran in refused:
        assert f"{address(copy)} is not on record as prod, which is at" in ran.err
        assert address(primary) in ran.err
    assert f"env mark prod --address {address(copy)} --confirm" in refused[0].err
    assert shown.out.startswith("copy, marked ")
    assert query(url(copy), "select count(*) from bakehouse.evidence") == before
    assert prod.run("env", "show", "--env", "prod").out.splitlines()[1:2] == [
        f"at {address(primary)}"
    ]


@pytest.mark.parametrize("missing", ["--confirm", "--reason"])
def test_another_address_goes_on_record_only_with_a_name_and_a_reason(
    prod: Project, primary: Cluster, copy: Cluster, missing: str
) -> None:
    position = ACCEPT.index(missing)
    careless = (*ACCEPT[:position], *ACCEPT[position + 2 :], "--yes")

    refused = at(prod, copy).run(*careless)
    added = prod.run(*careless, "--address", "db.example.com:5432")
    accepted = at(prod, copy).run(*ACCEPT)
    plan = at(prod, copy).run("migrate", "plan", "--env", "prod")
    shown = at(prod, copy).run("env", "show", "--json", "--env", "prod").json

    assert (refused.code, added.code) == (2, 2)
    assert missing in refused.err + added.err
    assert (accepted.code, plan.code) == (0, 0), accepted.err + plan.err
    assert shown["addresses"] == [address(primary), address(copy)]
    assert shown["reason"] == "the old server burned"
    assert [one["addresses"] for one in shown["earlier"] if one["env"] == "prod"] == [
        [address(primary)]
    ]


def test_an_address_that_a_new_mark_does_not_name_holds_no_longer(
    prod: Project, primary: Cluster, copy: Cluster
) -> None:
    both = ("--address", address(copy), "--address", "db.example.com:5432")
    assert prod.run(*ACCEPT, *both).code == 0
    assert at(prod, copy).run(*ACCEPT).code == 0  # without --address, all hold
    held = prod.run("env", "show", "--json", "--env", "prod").json["addresses"]

    careless = prod.run("env", "mark", "prod", "--address", address(primary), "--yes")
    removed = prod.run(*ACCEPT, "--address", address(primary))
    again = prod.run("env", "mark", "prod", "--address", address(primary))

    shown = prod.run("env", "show", "--json", "--env", "prod").json["addresses"]
    assert set(held) == {address(primary), address(copy), "db.example.com:5432"}
    assert (careless.code, removed.code, again.code) == (2, 0, 0), removed.err + again.err
    assert shown == [address(primary)]


def test_a_promoted_standby_is_refused_until_the_failover_is_on_record(
    prod: Project, primary: Cluster
) -> None:
    standby = machines.standby(primary, primary.data.with_name("standby"))
    try:
        reading = at(prod, standby).run("migrate", "up", "--env", "prod")
        machines.kill(primary)
        assert query(cluster.superuser_dsn(standby.port), "select pg_promote()") == [(True,)]
        promoted = at(prod, standby)

        refused = promoted.run("migrate", "plan", "--env", "prod")
        accepted = promoted.run(*ACCEPT)
        plan = promoted.run("migrate", "plan", "--env", "prod")
        shown = promoted.run("env", "show", "--json", "--env", "prod").json
    finally:
        machines.kill(standby)

    assert "is a standby" in reading.err
    assert refused.code == 11
    assert "on timeline 2, and prod was marked on timeline 1" in refused.err
    assert (accepted.code, plan.code) == (0, 0), accepted.err + plan.err
    assert (shown["timeline"], shown["earlier"][-1]["timeline"]) == (2, 1)


def test_an_address_needs_a_port(prod: Project) -> None:
    ran = prod.run(*ACCEPT, "--address", "db.example.com")

    assert (ran.code, "an address has no port" in ran.err) == (1, True)
    assert "db.example.com" not in prod.run("env", "show", "--env", "prod").out
