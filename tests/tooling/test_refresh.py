"""Staging is replaced by a dump of prod, as before a rehearsal with real data."""

import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.server.binaries import find_binaries
from command import query
from environments import Environments
from postgres import Server


def refresh(fleet: Environments, server: Server, folder: Path) -> None:
    """Restores a dump of prod into a new database with the name of staging."""
    dump, binaries, name = folder / "prod.dump", find_binaries(), fleet.databases["staging"]
    [(oid,)] = query(server.superuser, f"select oid from pg_database where datname = '{name}'")
    server.drop(name)
    query(
        server.superuser,
        f"create database {name} owner {server.migration_role} template template0 oid {oid}",
    )
    for tool, *arguments in (
        ("pg_dump", "-Fc", f"--file={dump}", "--dbname=" + fleet.urls["prod"]),
        ("pg_restore", "--dbname=" + server.superuser_dsn(name), str(dump)),
    ):
        subprocess.run([binaries.tool(tool), *arguments], check=True, capture_output=True)


@pytest.mark.slow
def test_a_staging_refreshed_from_prod_goes_on_as_staging(
    launched: Environments, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert launched.run("log", env="staging").code == 0

    refresh(launched, server, tmp_path_factory.mktemp("dump"))
    name = str(conninfo_to_dict(launched.urls["staging"])["dbname"])
    mark = ("env", "mark", "staging", "--confirm", name, "--reason", "refreshed from prod")
    copied = launched.run("migrate", "plan", env="staging")
    marked = launched.project.run(*mark)
    ran = [
        launched.run(*command, env="staging")
        for command in (
            ("migrate", "verify"),
            ("log",),
            ("migrate", "plan"),
            ("migrate", "up"),
            ("migrate", "verify"),
            ("log",),
        )
    ]
    prod = launched.run("gate", "check", "--json", env="prod")

    assert (copied.code, marked.code) == (11, 0), marked.err
    assert [one.code for one in ran] == [0] * 6, [one.err for one in ran]
    assert "applied 20990101000001_M9_gone" in ran[3].err
    [reason] = [gate["reason"] for gate in prod.json["gates"] if gate["gate"] == "promotion"]
    assert reason == "proved on staging, 0 min old"


@pytest.mark.slow
def test_the_record_of_a_refreshed_staging_still_shows_what_was_deleted(
    launched: Environments, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    refresh(launched, server, tmp_path_factory.mktemp("dump"))
    name = launched.databases["staging"]
    mark = ("env", "mark", "staging", "--confirm", name, "--reason", "refreshed from prod")
    assert launched.project.run(*mark).code == 0
    assert launched.run("migrate", "plan", env="staging").code == 0
    again = launched.run("env", "show", env="staging")
    last = "number = (select max(number) from bakehouse.evidence)"
    launched.query("staging", f"delete from bakehouse.evidence where {last}")

    cut = launched.run("log", env="staging")

    assert again.out.startswith("staging, ")
    assert (cut.code, "the database lacks the entry" in cut.err) == (4, True)
