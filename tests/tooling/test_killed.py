"""If a run is killed, at whatever write, the next run finishes it."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.deploy import evidence
from bakehouse.migrations import history
from bakehouse.server import cluster
from command import Project
from environments import Environments, wait_for
from killing import killed_before
from postgres import Server

FILES = {
    "20260101000000_M0_log.sql": (
        "begin;\ncreate schema shop;\ncreate table shop.log (file int);\ncommit;\n"
    ),
    "20260101000001_M0_row.sql": "begin;\ninsert into shop.log values (1);\ncommit;\n",
    "20260101000002_M0_index.sql": (
        "create index concurrently log_file_idx on shop.log (file);\n"
        "create index concurrently log_idx on shop.log (file);\n"
    ),
    "20260101000003_M0_last.sql": "insert into shop.log values (3);\n",
}


@pytest.mark.parametrize("env", ["dev", "staging"])
@pytest.mark.parametrize("first", [1, 2, 3, 4])
@pytest.mark.slow
def test_a_run_killed_before_any_one_of_its_writes_is_finished_by_the_next(
    project: Project, server: Server, blank_template: str, first: int, env: str
) -> None:
    for name, text in FILES.items():
        project.write(name, text)
    before, ended = first, False
    plan, up = (("migrate", command, "--env", env) for command in ("plan", "up"))

    while not ended:
        url = server.dsn(server.copy(blank_template))
        (project.root / "bakehouse.toml").write_text("")
        here = project.configure(env, url, 'backup_probe = ["date", "--iso-8601=seconds"]')
        here.run("env", "mark", env)
        here.run(*plan)
        running = here.start(*up, run=partial(killed_before, before))
        running.communicate()
        ended = running.returncode == 0
        here.run(*plan)  # staging wants the files that are left to be rehearsed
        again = here.run(*up)
        with psycopg.connect(url) as conn:
            files = conn.execute("select file from shop.log order by file").fetchall()
            invalid = conn.execute("select from pg_index where not indisvalid").fetchall()
            entries = evidence.entries(conn)
            objects, head = history.reading(conn, ()), history.chain_head(history.applied(conn))
            known = history.baseline(conn)

        assert again.code == 0, (before, again.err)
        assert (files, invalid) == ([(1,), (3,)], [])
        assert known == history.Baseline(head, objects), before
        assert evidence.broken(entries) == []
        outcomes = [run.outcome for run in evidence.runs(entries) if run.kind == "up"]
        assert outcomes in (["done"], ["killed", "done"]), before
        assert ("did not finish" in again.err) == ("killed" in outcomes)
        server.drop(str(conninfo_to_dict(url)["dbname"]))
        before += 4
    assert before > 16  # a run makes more than 16 writes


@pytest.mark.slow
def test_a_killed_run_on_prod_continues_and_resumes_webhooks(launched: Environments) -> None:
    accept = ("--accept-secrets", "no shop yet")
    with psycopg.connect(launched.urls["prod"]) as blocker:
        blocker.execute("select from app.leftover")  # too young for the gate to refuse
        running = launched.project.start("migrate", "up", "--env", "prod", *accept)
        wait_for(launched.urls["prod"], "select count(*) from pg_locks where not granted")
        running.kill()
        running.communicate()
    launched.query("prod", "create table public.by_hand ()")
    drifted = launched.run("migrate", "up", *accept, env="prod")
    launched.query("prod", "drop table public.by_hand")
    until = launched.query("prod", "select until - now() from app.ingest_pause")
    unfinished = launched.run("log", env="prod")
    again = launched.run("migrate", "up", *accept, env="prod")

    assert drifted.code == 4
    assert "added: table public.by_hand" in drifted.err
    assert isinstance(until, timedelta)
    assert timedelta(minutes=10) < until < timedelta(minutes=15)
    assert "unfinished" in unfinished.out
    assert again.code == 0, again.err
    assert "0 of 1 files are applied; continuing from there" in again.err
    assert launched.query("prod", "select count(*) from app.ingest_pause") == 0
    assert launched.query("prod", "select to_regclass('app.leftover')") is None


def test_the_scratch_server_of_a_killed_command_stops_and_its_folder_is_removed(
    project: Project,
) -> None:
    project.write("20260101000000_M0_slow.sql", "select pg_sleep(3600);\n")
    with tempfile.TemporaryDirectory(prefix="bakehouse-tests-", dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the user of the server must get through
        project = replace(project, variables={"TMPDIR": folder})

        running = project.start("migrate", "compensate", "20260101000000")
        _wait(lambda: any("ready" in file.read_text() for file in place.glob("*/*/postmaster.pid")))
        port = next(place.glob("*/*/postmaster.pid")).read_text().splitlines()[3]
        running.kill()

        _wait(lambda: not any(place.iterdir()))
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(cluster.dsn(int(port)))
        running.communicate()


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
