"""A pooler in transaction mode is refused: it loses locks and settings between statements."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.server.account import unprivileged
from command import Project, free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture
def pooled(blank: str, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """The URL of the database through a real pgbouncer in the given mode."""
    running: list[subprocess.Popen[bytes]] = []
    facts = conninfo_to_dict(blank)
    account = unprivileged()

    def start(mode: str) -> str:
        port = free_port()
        config = tmp_path / "pgbouncer.ini"
        target = f"host=127.0.0.1 port={facts['port']} dbname={facts['dbname']}"
        config.write_text(
            f"[databases]\nbakery = {target} user={facts['user']}"
            f"{' password=' + str(facts['password']) if 'password' in facts else ''}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
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
        return f"postgresql://{facts['user']}@127.0.0.1:{port}/bakery"

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_pooler_in_transaction_mode_is_refused_with_an_alternative(
    project: Project, pooled: Callable[[str], str]
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")

    ran = project.run("migrate", "up", url=pooled("transaction"))

    assert ran.code == 1
    assert "is a pooler in transaction mode" in ran.err
    assert "direct connection" in ran.err


def test_a_pooler_in_session_mode_is_accepted(
    project: Project, pooled: Callable[[str], str]
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")

    ran = project.run("migrate", "up", "--json", url=pooled("session"))

    assert ran.code == 0, ran.err
    assert ran.json["applied"] == ["20260101000000"]
