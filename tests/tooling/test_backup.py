"""Backups: the sources of the newest backup time, and the drill that restores a backup."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bakehouse import database
from bakehouse.deploy import dump, environment
from bakehouse.deploy.backup_age import Backup, newest
from bakehouse.deploy.dump import binaries_for
from bakehouse.deploy.environment import Settings
from bakehouse.errors import BakehouseError
from bakehouse.server import cluster
from bakehouse.server.account import unprivileged
from bakehouse.server.binaries import Binaries, find_binaries, installed_binaries
from command import Project
from dumps import age, amend
from environments import wait_for
from postgres import system_binaries

PGBACKREST = shutil.which("pgbackrest")
INFO = ("info", "--output=json")
OURS = "bakehouse backup take"
FIRST = "20260101000000_M0_cakes.sql"
CAKES = """begin;
create table public.cakes (id int primary key, name text, check (id > 0 and id < 9 and id <> 5));
insert into public.cakes values (1, 'plum'), (2, 'nut');
commit;
"""


@pytest.fixture
def dumped(project: Project, clone: str) -> Project:
    """A project with a migrated database and one backup of it."""
    configured = project.configure("dev", clone)
    ran = configured.run("backup", "take")
    assert ran.code == 0, ran.err
    return configured


def dumps(project: Project) -> list[Path]:
    return sorted((project.root / "backups").glob("*.dump"))


def said(project: Project, source: str) -> Backup:
    """Returns the answer of one source about the newest backup, through the command."""
    answered = project.run("backup", "probe", "--json").json["sources"]
    facts = next(one for one in answered if one["source"] == source)
    if facts["taken_at"]:
        facts["taken_at"] = datetime.fromisoformat(facts["taken_at"])
    return Backup(**facts)


def test_a_backup_is_private_and_recorded_with_its_checksum(dumped: Project) -> None:
    (file,) = dumps(dumped)
    listed = subprocess.run(["sha256sum", "-c", file.with_suffix(".sha256")], cwd=file.parent)
    roles = file.with_suffix(".roles.sql").read_text()
    known = said(dumped, OURS)

    assert listed.returncode == 0
    assert "CREATE ROLE bakehouse_owner" in roles
    assert "PASSWORD" not in roles
    assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o600}
    assert known.taken_at
    assert datetime.now(UTC) - known.taken_at < timedelta(minutes=1)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(b"PGDMP"), "no longer has the"),
        (lambda file: file.write_bytes(bytes(file.stat().st_size)), "not appear to be a valid"),
        (lambda file: os.truncate(file, file.stat().st_size // 2), "no longer has the"),
        (flip, "its checksum differs"),
    ],
)
def test_a_backup_that_is_gone_cut_short_or_changed_does_not_count(
    dumped: Project, damage: Callable[[Path], object], why: str
) -> None:
    damage(dumps(dumped)[0])

    known = said(dumped, OURS)
    drill = dumped.run("backup", "drill")

    assert (known.taken_at, why in known.problem) == (None, True)
    assert drill.code == 1


def test_a_drill_restores_the_newest_backup_and_leaves_nothing(dumped: Project, clone: str) -> None:
    ran = dumped.run("backup", "drill", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["rows"] > 0
    assert ran.json["objects"] > 100
    assert 0 < ran.json["restore_ms"] < ran.json["duration_ms"]
    assert ran.json["notes"] == []
    assert "restored on" in said(dumped, OURS).detail
    (taken, drilled) = dumped.run("log", "--json").json["runs"]
    assert (taken["opened"]["kind"], drilled["opened"]["kind"]) == ("backup", "drill")
    assert drilled["closed"]["outcome"] == "done"
    assert drilled["opened"]["duration_ms"] >= ran.json["duration_ms"]
    (file,) = dumps(dumped)
    for run in (taken, drilled):
        assert run["opened"]["file"] == file.name
        assert run["opened"]["sha256"] == dump.sha256(file)
        assert run["opened"]["bytes"] == file.stat().st_size


def test_a_drill_reports_rows_and_objects_that_were_not_restored(
    project: Project, blank: str
) -> None:
    project.write(FIRST, CAKES)
    configured = project.configure("dev", blank)
    assert configured.run("migrate", "up").code in (
        0,
        9,
    )  # 9, because the smoke walk finds no orders
    assert configured.run("backup", "take").code == 0
    with psycopg.connect(blank) as conn:
        conn.execute(
            "update bakehouse.backups set facts = jsonb_set(facts, '{rows,public.cakes}', '3'),"
            ' objects = objects || \'{"table public.pies": ""}\''
        )

    ran = configured.run("backup", "drill")

    assert ran.code == 1
    assert "missing  table public.pies" in ran.err
    assert "public.cakes had 3 rows, and has 2" in ran.err
    assert "differs" not in ran.err


def test_a_server_that_is_newer_than_every_pg_dump_here_is_a_clear_error() -> None:
    newest_here = max(binaries.version for binaries in installed_binaries())

    assert binaries_for(newest_here).version == newest_here
    with pytest.raises(BakehouseError, match=f"the database is Postgres {newest_here + 1}"):
        binaries_for(newest_here + 1)


def test_a_changed_dump_is_not_restored_and_the_failed_drill_is_on_record(dumped: Project) -> None:
    (file,) = dumps(dumped)
    flip(file)

    ran = dumped.run("backup", "drill")
    failed = dumped.run("log", "--json").json["runs"][-1]

    assert (ran.code, "its checksum differs" in ran.err) == (1, True)
    assert (failed["opened"]["kind"], failed["closed"]["outcome"]) == ("drill", "backup")
    assert "its checksum differs" in failed["closed"]["error"]


def dump_by_hand(url: str, file: Path) -> None:
    command = [find_binaries().tool("pg_dump"), "-Fc", f"--dbname={url}", f"--file={file}"]
    subprocess.run(command, check=True, env={**os.environ, **dump.CLOCK})


def recorded(url: str, file: Path) -> None:
    """Records the file as the backup that was taken, as a forger would."""
    facts = {"sha256": dump.sha256(file), "bytes": file.stat().st_size}
    with psycopg.connect(url) as conn:
        amend(conn, file, facts)


def test_a_dump_of_another_database_does_not_count_under_this_name(
    dumped: Project, clone: str, blank: str
) -> None:
    (file,) = dumps(dumped)
    dump_by_hand(blank, file)
    recorded(clone, file)

    other = str(conninfo_to_dict(blank)["dbname"])
    assert f"is a dump of the database {other}" in said(dumped, OURS).problem


def test_a_dump_of_a_database_of_the_same_name_elsewhere_does_not_count(
    dumped: Project, clone: str
) -> None:
    (file,) = dumps(dumped)
    with cluster.scratch(find_binaries()) as port:
        name = str(conninfo_to_dict(clone)["dbname"])
        with database.connect(cluster.superuser_dsn(port), "tests") as conn:
            conn.execute(sql.SQL("create database {} owner postgres").format(sql.Identifier(name)))
        with database.connect(cluster.dsn(port, name), "tests") as conn:
            environment.mark(conn, Settings("dev"))
        dump_by_hand(cluster.dsn(port, name), file)
    recorded(clone, file)

    assert "is a dump of another database or server" in said(dumped, OURS).problem


def test_a_dump_that_is_older_than_its_record_does_not_count(dumped: Project, clone: str) -> None:
    (file,) = dumps(dumped)

    age(clone, file, hours=25, record=False)
    forged = said(dumped, OURS)
    age(clone, file, hours=0)
    honest = said(dumped, OURS)

    assert (forged.taken_at, "and not when the record says" in forged.problem) == (None, True)
    assert honest.taken_at
    assert datetime.now(UTC) - honest.taken_at > timedelta(hours=24)


def test_the_parts_of_a_killed_backup_are_removed_once_no_process_writes_them(
    dumped: Project, clone: str
) -> None:
    folder = dumps(dumped)[0].parent
    with psycopg.connect(clone) as blocker:
        blocker.execute("lock table public.orders in access exclusive mode")
        running = dumped.start("backup", "take")
        wait_for(clone, "select count(*) from pg_locks where not granted")
        busy = dumped.run("backup", "take")
        running.kill()
        running.communicate()
    left = len(list(folder.glob("*.partial")))
    counted = len(dumps(dumped))
    again = dumped.run("backup", "take")

    assert (busy.code, "another backup is being written to" in busy.err) == (10, True)
    assert (left, counted) == (3, 1)
    assert again.code == 0, again.err
    assert again.err.count("which a killed backup left") == 3
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("echo 2026-01-02T03:04:05Z", ""),
        ("echo 1767323045", ""),
        ("echo yesterday", "Invalid isoformat"),
        ("echo 2026-01-02T03:04:05", "has no time zone"),
        ("echo 2999-01-02T03:04:05Z", "is in the future"),
        ("echo no permission >&2; exit 3", "exit 3: no permission"),
    ],
)
def test_a_probe_that_prints_no_time_shows_a_reason(
    project: Project, blank: str, answer: str, why: str
) -> None:
    command = json.dumps(["sh", "-c", answer])

    known = said(project.configure("dev", blank, f"backup_probe = {command}"), "probe")

    if why:
        assert (known.taken_at, why in known.problem) == (None, True)
    else:
        assert known.taken_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_missing_probe_program_is_named_as_the_reason(project: Project, blank: str) -> None:
    configured = project.configure("dev", blank, 'backup_pgbackrest = ["./no-such-program"]')

    ran = configured.run("backup", "probe")

    assert ran.code == 1
    assert "`./no-such-program`: No such file or directory" in ran.out
    assert "no source has a backup" in ran.err


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"backups": [], "pitr_enabled": False}, "has no completed backup"),
        ({"message": "no such project"}, "in an unknown form"),
        (
            {
                "pitr_enabled": False,
                "backups": [
                    {"status": "COMPLETED", "inserted_at": "2026-01-02T03:00:00.000Z"},
                    {"status": "FAILED", "inserted_at": "2026-01-03T03:00:00.000Z"},
                ],
                "physical_backup_data": {},
            },
            datetime(2026, 1, 2, 3, tzinfo=UTC),
        ),
        (
            {
                "pitr_enabled": True,
                "backups": [{"status": "COMPLETED", "inserted_at": "2026-01-02T03:00:00.000Z"}],
                "physical_backup_data": {"latest_physical_backup_date_unix": 1767323045},
            },
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
    ],
)
def test_the_answer_of_the_supabase_cli_is_read(
    project: Project, blank: str, facts: dict[str, object], expected: str | datetime
) -> None:
    (project.root / "answer.json").write_text(json.dumps(facts))
    command = json.dumps(["sh", "-c", f"cat {project.root}/answer.json"])

    known = said(project.configure("dev", blank, f"backup_supabase = {command}"), "supabase")

    if isinstance(expected, str):
        assert (known.taken_at, expected in known.problem) == (None, True)
    else:
        assert known.taken_at == expected


def test_the_newest_backup_counts_and_without_one_every_reason_is_shown() -> None:
    old, new = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    none = Backup("a", problem="is off")

    assert newest([none, Backup("b", old), Backup("c", new)]) == Backup("c", new)
    assert newest([none, Backup("d", problem="is gone")]).problem == "a: is off; d: is gone"


# WAL archiving


@contextmanager
def archiving(
    project: Project, binaries: Binaries, command: Callable[[str, int], str]
) -> Iterator[Project]:
    """A project on a server with this archive_command. The command may name data and port."""
    account = unprivileged()
    with cluster.scratch(binaries) as port:
        with database.connect(cluster.superuser_dsn(port), "tests") as conn:
            shown = conn.execute("show data_directory").fetchone()
            data = str(shown and shown[0])
            text = command(data, port).replace("'", "''")
            conn.execute("alter system set archive_mode = on")
            conn.execute(f"alter system set unix_socket_directories = '{data}'".encode())
            conn.execute(f"alter system set archive_command = '{text}'".encode())
        restart = [binaries.tool("pg_ctl"), "restart", "-w", "-D", data, "-l", f"{data}/log"]
        subprocess.run(account.command(restart), check=True, capture_output=True, cwd="/")
        with database.connect(cluster.dsn(port), "tests") as conn:
            environment.mark(conn, Settings("dev"))
        yield project.configure("dev", cluster.dsn(port).replace(" connect_timeout=10", ""))


def switch_wal(port: int, query: str) -> None:
    """Makes the server archive a file. Waits until the query is true."""
    with database.connect(cluster.superuser_dsn(port), "tests") as conn:
        conn.execute("create table public.traffic ()")
        conn.execute("select pg_switch_wal()")
        deadline = time.monotonic() + 20
        while conn.execute(query.encode()).fetchone() != (True,):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def port_of(project: Project) -> int:
    found = re.search(r"port=(\d+)", project.variables["BAKEHOUSE_DEV_URL"])
    assert found
    return int(found[1])


def test_an_archiving_server_counts_with_a_base_backup_until_archiving_fails(
    project: Project,
) -> None:
    keep = "test ! -f {0}/broken && cp %p {0}/kept_%f"
    with archiving(project, find_binaries(), lambda data, _: keep.format(data)) as configured:
        port = port_of(configured)
        before = said(configured, "pg_stat_archiver")
        switch_wal(port, "select archived_count > 0 from pg_stat_archiver")
        baseless = said(configured, "pg_stat_archiver")
        (project.root / "bakehouse.toml").open("a").write('backup_base = ["cat", "base"]\n')
        unknown = said(configured, "pg_stat_archiver")
        base_backup(project, port)
        after = said(configured, "pg_stat_archiver")
        manifest = project.root / "base"
        text = re.sub('(System-Identifier": )', r"\g<1>1", manifest.read_text())
        manifest.write_text(text)
        foreign = said(configured, "pg_stat_archiver")
        base_backup(project, port)
        with database.connect(cluster.superuser_dsn(port), "tests") as conn:
            conn.execute("drop table public.traffic")
            conn.execute("copy (select 1) to program 'touch broken'")
        switch_wal(port, "select last_failed_time > last_archived_time from pg_stat_archiver")
        broken = said(configured, "pg_stat_archiver")

    assert before.problem == "no WAL has been archived"
    assert baseless.problem == "no base backup is known: set backup_base"
    assert (unknown.taken_at, "`cat`: exit 1" in unknown.problem) == (None, True)
    assert after.taken_at
    assert datetime.now(UTC) - after.taken_at < timedelta(minutes=1)
    assert "on the base backup of" in after.detail
    assert "the base backup is of another server" in foreign.problem
    assert (broken.taken_at, broken.problem.startswith("archiving 0")) == (None, True)


def base_backup(project: Project, port: int) -> None:
    """Takes a base backup, and puts its manifest where the project looks."""
    with tempfile.TemporaryDirectory() as folder:
        command = [find_binaries().tool("pg_basebackup"), "--checkpoint=fast", "--wal-method=none"]
        place = [f"--dbname={cluster.superuser_dsn(port)}", f"--pgdata={folder}/base"]
        subprocess.run([*command, *place], check=True, capture_output=True)
        (project.root / "base").write_bytes(Path(folder, "base/backup_manifest").read_bytes())


def test_a_server_that_archives_nowhere_has_no_backup(project: Project) -> None:
    with archiving(project, find_binaries(), lambda *_: "/bin/true") as configured:
        switch_wal(port_of(configured), "select archived_count > 0 from pg_stat_archiver")

        assert said(configured, "pg_stat_archiver").problem == "archive_command keeps nothing"


@pytest.mark.skipif(PGBACKREST is None, reason="pgbackrest is not installed")
@pytest.mark.slow
def test_pgbackrest_is_asked_only_about_this_server(project: Project) -> None:
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("pgbackrest wants the Postgres of the same system, and there is none")
    account = unprivileged()
    calls: list[list[str]] = []

    def push(data: str, port: int) -> str:
        Path(data, "pgbackrest.conf").write_text(
            f"[global]\nrepo1-path={data}/repo\nrepo1-retention-full=1\nlog-path={data}\n"
            f"lock-path={data}/locks\n[cakes]\npg1-path={data}\npg1-port={port}\n"
            f"pg1-socket-path={data}\npg1-user={cluster.SUPERUSER}\n"
        )
        calls.append([str(PGBACKREST), f"--config={data}/pgbackrest.conf", "--stanza=cakes"])
        return " ".join([*calls[0], "archive-push", "%p"])

    def pgbackrest(*arguments: str) -> None:
        command = [
            str(shutil.which("env")),
            f"PGPASSWORD={cluster.PASSWORD}",
            *calls[0],
            *arguments,
        ]
        ran = subprocess.run(account.command(command), cwd="/", capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    with archiving(project, binaries, push) as configured:
        setting = f"backup_pgbackrest = {json.dumps(account.command([*calls[0], *INFO]))}\n"
        (configured.root / "bakehouse.toml").open("a").write(setting)
        none = said(configured, "pgbackrest")
        pgbackrest("stanza-create")
        empty = said(configured, "pgbackrest")
        pgbackrest("backup", "--type=full", "--start-fast")
        full = said(configured, "pgbackrest")
        with cluster.scratch(binaries) as port:
            with database.connect(cluster.dsn(port), "tests") as conn:
                environment.mark(conn, Settings("dev"))
            shown = configured.run("backup", "probe", url=cluster.dsn(port))

    assert none.taken_at is None
    assert "no valid backups" in empty.problem
    assert full.taken_at
    assert datetime.now(UTC) - full.taken_at < timedelta(minutes=2)
    assert full.detail.endswith("F of stanza cakes")
    assert shown.code == 1
    assert "cakes is of another server than this one" in shown.out
