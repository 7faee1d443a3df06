"""Drift: what changes in staging and prod without a file, and what a file may then change."""

from collections.abc import Iterator

import pytest

from command import Project, Ran
from environments import Environments
from postgres import Server

CAKES = "create schema app;\ncreate table app.cakes (id int, name text);\n"
PROBE = 'backup_probe = ["date", "--iso-8601=seconds"]'


@pytest.fixture
def bakery(project: Project, server: Server, blank_template: str) -> Iterator[Environments]:
    """A small project under git. Its first file is live on staging and prod."""
    with server.one_at_a_time():
        urls = {env: server.dsn(server.copy(blank_template)) for env in ("staging", "prod")}
        for env, url in urls.items():
            project = project.configure(env, url, PROBE)
        (project.root / ".gitignore").write_text("evidence/\n")
        bakery = Environments(project, urls)
        bakery.git("init", "--quiet")
        for env in urls:
            assert project.run("env", "mark", env).code == 0
        release(bakery, "20260101000000_M0_cakes.sql", CAKES)
        yield bakery
    for name in bakery.databases.values():
        server.drop(name)


def prepare(bakery: Environments, name: str, sql: str) -> None:
    """Writes a file, tags it, and applies it to staging."""
    path = bakery.project.write(name, sql)
    bakery.commit()
    bakery.git("tag", "-a", f"v1.{path.name[:14]}", "-m", "A release")
    done(bakery.run("migrate", "plan", env="staging"))
    done(bakery.run("migrate", "up", env="staging"))


def release(bakery: Environments, name: str, sql: str) -> None:
    prepare(bakery, name, sql)
    done(bakery.run("migrate", "up", env="prod"))


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.out + ran.err
    return ran


@pytest.mark.slow
def test_a_repair_does_not_hide_drift(bakery: Environments) -> None:
    path = bakery.project.root / "supabase" / "migrations" / "20260101000000_M0_cakes.sql"
    bakery.query("prod", "create table app.by_hand ()")
    path.write_text(path.read_text().replace("name text", "title text"))
    done(bakery.run("migrate", "repair", "rehash", "20260101000000", "--yes", env="prod"))

    verified = bakery.run("migrate", "verify", "--json", env="prod")
    check = bakery.run("gate", "check", env="prod")

    assert (verified.code, check.code) == (4, 4)
    assert verified.json["added"] == ["table app.by_hand"]
    assert "added: table app.by_hand" in check.out
