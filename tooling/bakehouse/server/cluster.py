"""One Postgres cluster: create it, start it, stop it, and say why it does not start."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from bakehouse.errors import BakehouseError
from bakehouse.server import platform
from bakehouse.server.account import Account, unprivileged
from bakehouse.server.binaries import Binaries, output_of

PORT = 54322
SUPERUSER = "supabase_admin"
PASSWORD = "postgres"  # for every user, as with `supabase start`: only this machine can connect
PATIENCE = 60.0  # seconds to wait for a start, a stop, or a command in another terminal
_ROOM = 150 * 2**20  # bytes: a new cluster takes 40 MB, and its WAL grows
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}  # no PGDATA, PGOPTIONS and the like
_CLEAN = """
import sys; from pathlib import Path; from bakehouse.server import cluster
sys.stdin.read(); cluster.clean(Path(sys.argv[1]))
"""
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''  # the path of a project can be too long for a socket
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
wal_level = logical  # as on hosted Supabase: publications need it
shared_buffers = 128MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 512MB
"""


@dataclass(frozen=True)
class Postmaster:
    """The server process of a cluster."""

    pid: int
    port: int
    ready: bool


@dataclass(frozen=True)
class Cluster:
    """A data directory, and what the server needs to run."""

    data: Path
    binaries: Binaries
    account: Account
    port: int
    log: Path


def dsn(port: int = PORT, database: str = "postgres") -> str:
    """Return the connection string of the migration role."""
    return _dsn(port, database, "postgres")


def superuser_dsn(port: int = PORT, database: str = "postgres") -> str:
    return _dsn(port, database, SUPERUSER)


def _dsn(port: int, database: str, user: str) -> str:
    return make_conninfo(host="127.0.0.1", port=port, dbname=database, user=user, password=PASSWORD)


@contextmanager
def scratch(binaries: Binaries) -> Iterator[int]:
    """Run a temporary server with the platform. Yields its port."""
    account = unprivileged()
    place = Path(tempfile.mkdtemp(prefix="bakehouse-")).resolve()
    place.chmod(0o755)  # the account must be able to enter: the data inside stays private
    # Another process cleans up, so that it happens even if this one is killed: its input then ends.
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _CLEAN, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        port = _free_port()
        if not account.can_reach(binaries.bin_dir / "postgres"):
            binaries = copied(binaries, account, place)
        _fill(Cluster(place / "pgdata", binaries, account, port, place / "postgres.log"))
        yield port


def clean(place: Path) -> None:
    """Stop the server in a folder and remove the folder. An initdb may still write into it."""
    while place.exists():
        halt(place / "pgdata")
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Create


def initdb_options(version: int) -> list[str]:
    """Return options for UTF-8 with the same sort order on every machine, if this major can."""
    options = ["--username", SUPERUSER, "--encoding", "UTF8"]
    if version >= 17:
        builtin = ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        return [*options, *builtin, "--locale", "C"]
    if sys.platform == "darwin":  # macOS has no C.UTF-8
        return [*options, "--locale", "C", "--lc-ctype", "UTF-8"]
    return [*options, "--locale", "C.UTF-8"]


def create(cluster: Cluster) -> None:
    """Create the cluster with the platform in it. After an error, no part of it is left."""
    place = cluster.data.parent
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        raise disk_full(place, f"{free // 2**20} MB are free, {_ROOM // 2**20} are needed")
    with _prepared(cluster.data) as new:
        fresh = replace(cluster, data=new)
        _fill(fresh)
        halt(new)
        _run_initdb(fresh, ["--sync-only", "-D", str(new)])


def _fill(cluster: Cluster) -> None:
    """Create and start a cluster. fsync is off, because the cluster can be created again."""
    cluster.data.mkdir(0o700)
    cluster.account.own(cluster.data)
    _initdb(cluster)
    with (cluster.data / "postgresql.conf").open("a") as config:
        config.write(_SETTINGS)
    launch(cluster, "-F")
    with psycopg.connect(superuser_dsn(cluster.port), autocommit=True) as conn:
        platform.bootstrap(conn, password=PASSWORD)


def _initdb(cluster: Cluster) -> None:
    with tempfile.NamedTemporaryFile("w") as password:
        password.write(PASSWORD)
        password.flush()
        cluster.account.own(Path(password.name))
        options = [*initdb_options(cluster.binaries.version), "--auth", "scram-sha-256"]
        options += ["--no-sync", "--pwfile", password.name, "-D", str(cluster.data)]
        _run_initdb(cluster, options)


def _run_initdb(cluster: Cluster, options: list[str]) -> None:
    command = cluster.account.command([cluster.binaries.tool("initdb"), *options])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env=_ENVIRONMENT
    )
    if done.returncode != 0:
        raise _explain(done.stderr, "initdb failed", cluster.data.parent)


def copied(binaries: Binaries, account: Account, place: Path) -> Binaries:
    """Copy the binaries to a place that the account can reach, if they are not there yet."""
    built = (binaries.bin_dir / "postgres").stat().st_mtime_ns
    target = place / f"postgres-{binaries.version}-{built:x}"
    if not target.exists():
        with _prepared(target) as copy:
            shutil.copytree(binaries.bin_dir.parent, copy, symlinks=True)
            for path in (copy, *copy.rglob("*")):
                account.own(path)
    return replace(binaries, bin_dir=target / binaries.bin_dir.name)


@contextmanager
def _prepared(target: Path) -> Iterator[Path]:
    """Yield a path to fill, and rename it to `target`. After an error, neither exists."""
    discard_unfinished(target)
    # The name has the process id, because an initdb of a killed run may still be writing.
    path = target.with_name(f"{target.name}.new.{os.getpid()}")
    try:
        yield path
        path.rename(target)
    finally:
        discard(path)


def discard_unfinished(target: Path) -> None:
    """Remove the unfinished folders of killed runs beside `target`."""
    for path in target.parent.glob(f"{target.name}.new.*"):
        halt(path)
        shutil.rmtree(path, ignore_errors=True)  # the next start removes what is left


def discard(path: Path) -> None:
    """Stop the server of a folder and delete the folder, if it exists."""
    if path.exists():
        halt(path)
        shutil.rmtree(path)


# Start and stop


def launch(cluster: Cluster, *options: str) -> None:
    """Start the server and leave it running."""
    start = [cluster.binaries.tool("pg_ctl"), "start", "-w", "-t", f"{PATIENCE:.0f}", "-s"]
    start += ["-D", str(cluster.data), "-o", " ".join(["-p", str(cluster.port), *options])]
    with cluster.log.open("a+b") as log:
        begin = log.seek(0, os.SEEK_END)
        done = subprocess.run(
            cluster.account.command(start),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_ENVIRONMENT,
        )
        log.seek(begin)
        said, _, verdict = log.read().decode(errors="replace").partition("pg_ctl: ")
    if done.returncode == 0:
        return
    if "did not start in time" in verdict:
        raise BakehouseError(
            "start",
            f"Postgres is still starting after {PATIENCE:.0f} seconds",
            f"It may be recovering from a crash. Look into {cluster.log}, and try again.",
        )
    raise _explain(said, "Postgres did not start", cluster.log, cluster.port)


def halt(data: Path) -> bool:
    """Stop the server fast: its sessions end, and nothing is lost. Returns False if none ran."""
    running = running_in(data)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    while not _exited(running.pid):
        if time.monotonic() > deadline:
            raise BakehouseError(
                "stop",
                f"Postgres (process {running.pid}) did not stop within {PATIENCE:.0f} seconds",
                "It may still be stopping. Look into its log, and try again.",
            )
        time.sleep(0.01)
    return True


def settled_in(data: Path) -> Postmaster | None:
    """Wait until the start is over. Returns the running server, or None if no server runs."""
    deadline = time.monotonic() + PATIENCE
    running = running_in(data)
    while running and not running.ready and time.monotonic() < deadline:
        time.sleep(0.05)
        running = running_in(data)
    return running


def running_in(data: Path) -> Postmaster | None:
    """Return the server that runs on this data directory."""
    found = _postmaster(data)
    return found if found and _is_postmaster(found.pid, data) else None


def _postmaster(data: Path) -> Postmaster | None:
    """Read the pid file. Its process id may belong to another process by now."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return Postmaster(int(lines[0]), int(lines[3]), ready)
    except (FileNotFoundError, IndexError, ValueError):  # no pid file, or one that is half written
        return None


def _is_postmaster(pid: int, data: Path) -> bool:
    """Check that the process is this server: after a crash, another process can get its pid."""
    _, command = _process(pid)
    return "postgres" in command and f" -D {data} " in f"{command} "


def _exited(pid: int) -> bool:
    """Check that the process has ended, and so has released its port."""
    state, _ = _process(pid)
    return state[:1] in ("", "Z", "X")


def _process(pid: int) -> tuple[str, str]:
    """Return the state and the command of a process, or '' and '' if there is none."""
    if not Path("/proc/self/stat").exists():
        said = output_of(["ps", "-ww", "-o", "stat=", "-o", "command=", "-p", str(pid)])
        state, _, command = said.partition(" ")
        return state, command.strip()
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2]
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        return state, command.replace("\0", " ")
    return "", ""


def remove_stale_pid(data: Path) -> bool:
    """Remove the pid file of a dead server. Returns whether there was one.

    Postgres removes the file itself, but not if another process has the same number.
    """
    pid_file = data / "postmaster.pid"
    stale = pid_file.exists()
    pid_file.unlink(missing_ok=True)
    return stale


# Check


def data_version(data: Path) -> int:
    """Return the major version that made the data directory."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError):
        raise BakehouseError(
            "data",
            f"{data} is not a Postgres data directory",
            "The folder is damaged or holds something else. `make clean` removes the folder.",
        ) from None


def require_version(data: Path, binaries: Binaries) -> None:
    version = data_version(data)
    if version != binaries.version:
        raise BakehouseError(
            "version",
            f"Postgres {version} made {data}, and {binaries.source} cannot read it",
            f"To keep the data, dump it with Postgres {version}. `make clean` removes it.",
        )


def require_free(port: int) -> None:
    deadline = time.monotonic() + 1  # a killed server keeps its port for a moment
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise _unusable(port, f"cannot be used: {error.strerror}") from error
                if time.monotonic() > deadline:
                    raise _unusable(port, "is already in use") from error
        time.sleep(0.02)


def _explain(said: str, what: str, place: Path, port: int = 0) -> BakehouseError:
    """Explain in one line why Postgres did not start, from its log."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "No space left on device" in said:
        return disk_full(place)
    if "Address already in use" in said:
        return _unusable(port, "is already in use")
    causes = [line for line in lines if re.search(r"\b(FATAL|PANIC|error):", line)] or lines
    cause = re.sub(r"^.*?\b(?=FATAL|PANIC|error:)", "", causes[-1]) if causes else "no reason given"
    return BakehouseError("start", f"{what}: {cause}", f"See {place}.", log=lines[-10:])


def _unusable(port: int, why: str) -> BakehouseError:
    return BakehouseError(
        "port",
        f"port {port} {why}",
        f"Choose another: --port {port + 1}, or BAKEHOUSE_PORT={port + 1}.",
    )


def disk_full(place: Path, detail: str = "no space left") -> BakehouseError:
    return BakehouseError(
        "disk", f"the disk of {place} is full: {detail}", "Free some space there and try again."
    )
