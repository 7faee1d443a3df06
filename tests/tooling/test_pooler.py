"""A pooler in transaction mode is refused: it loses locks and settings between statements."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.server import cluster
from bakehouse.server.account import unprivileged
from bakehouse.server.cluster import Cluster
from chaos import machines
from command import Project, free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


Pooled = Callable[..., str]


@pytest.fixture
def pooled(blank: str, tmp_path: Path) -> Iterator[Pooled]:
    """The URL of the database, or of the given servers, through a real pgbouncer."""
    running: list[subprocess.Popen[bytes]] = []
    account = unprivileged()

    def start(mode: str, *settings: str, url: str = blank, host: str = "127.0.0.1") -> str:
        facts, port = conninfo_to_dict(url), free_port()
        config = tmp_path / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{facts['dbname']} = host={host} port={facts['port']}"
            f" user={facts['user']}"
            f"{' password=' + str(facts['password']) if 'password' in facts else ''}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n" + "\n".join((*settings, ""))
        )
        with config.open("rb") as content:  # the account cannot read the directory of pytest
            running.append(
                subprocess.Popen(
                    account.command([str(PGBOUNCER), "-q", "/dev/stdin"]),
                    stdin=content,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                )
            )
        deadline = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            assert running[-1].poll() is None
            time.sleep(0.05)
        return f"postgresql://{facts['user']}@127.0.0.1:{port}/{facts['dbname']}"

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_pooler_in_transaction_mode_is_refused_with_an_alternative(
    project: Project, pooled: Pooled
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")

    ran = project.run("migrate", "up", url=pooled("transaction"))

    assert ran.code == 1
    assert "is a pooler in transaction mode" in ran.err
    assert "direct connection" in ran.err


def test_a_pooler_in_session_mode_is_accepted(project: Project, pooled: Pooled) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")

    ran = project.run("migrate", "up", "--json", url=pooled("session"))

    assert ran.code == 0, ran.err
    assert ran.json["applied"] == ["20260101000000"]


def test_a_pooler_that_gives_each_statement_another_session_is_refused(
    project: Project, pooled: Pooled
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")
    url = pooled("transaction", "server_round_robin = 1")
    with psycopg.connect(url) as one, psycopg.connect(url) as two:  # two sessions in the pool
        one.execute("select 1")
        two.execute("select 1")

    ran = project.run("migrate", "up", url=url)

    assert ran.code == 1
    assert "is a pooler in transaction mode" in ran.err
    assert "direct connection" in ran.err


def test_a_pooler_that_leads_to_several_servers_is_refused(
    project: Project, pooled: Pooled, stopped: Cluster, tmp_path: Path
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")
    one = machines.copied(stopped, stopped.data.with_name(f"{tmp_path.name}-one"))
    two = machines.copied(one, stopped.data.with_name(f"{tmp_path.name}-two"))
    two = replace(two, port=one.port)
    with (two.data / "postgresql.conf").open("a") as config:
        config.write("listen_addresses = '127.0.0.2'\n")
    with machines.running(one), machines.running(two):
        url = pooled("session", url=cluster.dsn(one.port), host="127.0.0.1,127.0.0.2")

        ran = project.run("migrate", "up", url=url)

    assert ran.code == 1
    assert "leads to several servers" in ran.err
    assert "the address of one server" in ran.err


def test_a_pooler_is_prod_once_its_address_is_on_record(
    project: Project, blank: str, pooled: Pooled
) -> None:
    url = pooled("session")
    prod = project.configure("prod", blank)
    assert prod.run("env", "mark", "prod", "--yes").code == 0
    place, name = conninfo_to_dict(url), conninfo_to_dict(blank)["dbname"]
    add = ("--address", f"127.0.0.1:{place['port']}", "--confirm", str(name), "--reason", "pool")

    before = prod.run("migrate", "plan", "--env", "prod", url=url)
    added = prod.run("env", "mark", "prod", *add)
    after = prod.run("migrate", "plan", "--env", "prod", url=url)

    assert (before.code, added.code, after.code) == (11, 0, 0), added.err + after.err
    assert f"127.0.0.1:{place['port']} is not on record as prod" in before.err
