"""Durable servers that a scenario may kill, fill up and copy."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

import postgres
from bakehouse.errors import BakehouseError
from bakehouse.server import cluster
from bakehouse.server.account import unprivileged
from bakehouse.server.binaries import find_binaries
from bakehouse.server.cluster import Cluster
from command import free_port

PATIENCE = 60.0
SETTINGS = """
max_wal_size = 64MB
min_wal_size = 32MB
log_min_messages = warning
"""


def created(home: Path) -> Cluster:
    """Creates a migrated cluster, and leaves it stopped."""
    account = unprivileged()
    binaries = find_binaries()
    if not account.can_reach(binaries.bin_dir / "postgres"):
        binaries = cluster.copied(binaries, account, home)
    made = Cluster(home / "template", binaries, account, free_port(), home / "template.log")
    cluster.create(made)
    with (made.data / "postgresql.conf").open("a") as config:
        config.write(SETTINGS)
    cluster.launch(made, "-F")
    postgres.migrate(cluster.dsn(made.port))
    return made


def copied(template: Cluster, data: Path, settings: str = "") -> Cluster:
    """Copies a stopped cluster to a new directory, with a port and a log of its own."""
    subprocess.run(["cp", "-a", template.data, data], check=True)
    with (data / "postgresql.conf").open("a") as config:
        config.write(settings)
    log = template.log.with_name(f"{data.parent.name}-{data.name}.log")
    return replace(template, data=data, port=free_port(), log=log)


@contextmanager
def running(server: Cluster) -> Iterator[Cluster]:
    cluster.launch(server)
    try:
        yield server
    finally:
        kill(server)


def kill(server: Cluster) -> None:
    """Ends every process of the server at once, as a power cut does."""
    found = cluster.running_in(server.data)
    if found is None:
        return
    processes = [found.pid, *children(found.pid)]
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(alive(pid) for pid in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(") ")[2].split()
        except OSError:
            continue
        if fields and int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
    except OSError:
        return False
    return state not in ("", "Z", "X")


def kill_backend(server: Cluster, name: str, pick: int) -> bool:
    """Kills one session with this application name. Returns False if there was none."""
    query = "select pid from pg_stat_activity where application_name = %s order by pid"
    try:
        with psycopg.connect(cluster.superuser_dsn(server.port), connect_timeout=5) as conn:
            pids = [int(row[0]) for row in conn.execute(query, (name,))]
    except psycopg.OperationalError:  # it recovers from the kill before
        return False
    if not pids:
        return False
    with suppress(ProcessLookupError):
        os.kill(pids[pick % len(pids)], signal.SIGKILL)
    return True


def revive(server: Cluster) -> None:
    """Starts the server if it does not run, and waits until it answers."""
    deadline = time.monotonic() + PATIENCE
    while not answers(server):
        assert time.monotonic() < deadline, server.log.read_text()[-3000:]
        if cluster.running_in(server.data) is None:
            cluster.remove_stale_pid(server.data)
            try:
                cluster.launch(server)
            except BakehouseError:  # the last process of the old server has not ended yet
                time.sleep(0.2)
        time.sleep(0.05)


def answers(server: Cluster) -> bool:
    try:
        psycopg.connect(cluster.superuser_dsn(server.port), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def logged(server: Cluster, pattern: str) -> bool:
    return re.search(pattern, server.log.read_text(errors="replace")) is not None


# Small disks


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mounts a small file system. Skips the test where that is not allowed."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Writes a file until no byte is free. Returns the file."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
    return ballast


def megabytes(folder: Path) -> int:
    done = subprocess.run(["du", "-sm", folder], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


# A standby


def standby(primary: Cluster, data: Path) -> Cluster:
    """Makes a standby of a running server, to which every commit then waits to be written."""
    command = [primary.binaries.tool("pg_basebackup"), "-D", str(data), "-R", "-X", "stream"]
    command += ["-c", "fast", "-d", cluster.superuser_dsn(primary.port)]
    subprocess.run(primary.account.command(command), check=True, capture_output=True, cwd="/")
    made = replace(
        primary,
        data=data,
        port=free_port(),
        log=primary.log.with_name(f"{data.parent.name}-{data.name}.log"),
    )
    cluster.launch(made)
    with psycopg.connect(cluster.superuser_dsn(primary.port), autocommit=True) as conn:
        conn.execute("alter system set synchronous_standby_names = '*'")
        conn.execute("select pg_reload_conf()")
        deadline = time.monotonic() + PATIENCE
        while (
            conn.execute("select from pg_stat_replication where sync_state = 'sync'").rowcount != 1
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return made
