"""Where the dev server of a project keeps its data, and the lock on that place."""

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bakehouse.errors import BakehouseError
from bakehouse.server import cluster
from bakehouse.server.account import Account, owner_of, unprivileged


def home_of(project: Path) -> Path:
    return project / ".bakehouse"


def account_of(project: Path) -> Account:
    """Return the user that runs the server of this project."""
    return unprivileged(home_of(project) / "pgdata", project)


def fallback_of(project: Path) -> Path:
    """Return the place for a project that the account cannot reach, for example in /root."""
    name = hashlib.sha256(os.fsencode(project)).hexdigest()[:10]
    return Path("/var/tmp") / f"bakehouse-{os.getuid()}-{name}"  # noqa: S108  # checked below


def make_fallback(project: Path, account: Account) -> Path:
    """Create the fallback. Refuses a folder that another user may have made.

    Its parent is writable by everyone.
    """
    path = fallback_of(project)
    if not os.path.lexists(path):
        path.mkdir(0o700)
        account.own(path)
    found = path.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if not private or found.st_uid != account.uid:
        raise BakehouseError(
            "unsafe",
            f"{path} is not a private directory of the user {account.name}",
            "Another user may have made it. Look into it, and delete it if nobody needs it.",
        )
    return path


def find_data(project: Path) -> Path | None:
    """Return the data directory of the project, or None before its first start."""
    data = home_of(project) / "pgdata"
    if data.exists():
        if os.geteuid() not in (0, data.stat().st_uid):
            raise BakehouseError(
                "owner",
                f"{data} belongs to the user {owner_of(data) or data.stat().st_uid}",
                "Run the command as that user or as root."
                " As that user, `make clean` deletes the data.",
            )
        return data
    if os.geteuid() == 0 and os.path.lexists(fallback_of(project)):
        data = make_fallback(project, account_of(project)) / "pgdata"
        return data if data.exists() else None
    return None


def choose_place(project: Path, account: Account) -> Path:
    """Return the path for a new data directory."""
    home = home_of(project)
    place = home if account.can_reach(home) else make_fallback(project, account)
    return place / "pgdata"


@contextmanager
def locked(project: Path) -> Iterator[None]:
    """Let only one command at a time use the place. Reports an OSError in one line."""
    home = home_of(project)
    try:
        with suppress(FileExistsError):  # another command may create it at the same time
            home.mkdir()
            home.chmod(0o755)  # the account must be able to enter, whatever the umask
        lock = _take_lock(home / "lock")
        try:
            yield
        finally:
            os.close(lock)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise cluster.disk_full(home) from error
        raise BakehouseError(
            "unwritable",
            f"cannot use {error.filename or home}: {error.strerror}",
            "The data of the dev server is kept there: you need a directory that you may write to.",
        ) from error


def _take_lock(path: Path) -> int:
    deadline = time.monotonic() + cluster.PATIENCE
    while time.monotonic() < deadline:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except (BlockingIOError, FileNotFoundError):  # `remove` deletes the file while others wait
            pass
        os.close(lock)
        time.sleep(0.05)
    raise BakehouseError(
        "busy",
        "another bakehouse command is starting or stopping this server",
        f"That command holds {path}. Try again when the command is done.",
    )
