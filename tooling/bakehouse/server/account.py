"""The OS user that runs a Postgres server, which refuses to run as root."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bakehouse.errors import BakehouseError

_AS_ACCOUNT = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Account:
    """The OS user that a server runs as."""

    uid: int
    gid: int
    name: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` with a prefix that runs it as this user."""
        if self.uid == os.geteuid():
            return list(argv)
        return [sys.executable, "-I", "-S", "-c", _AS_ACCOUNT, str(self.uid), str(self.gid), *argv]

    def can_reach(self, path: Path) -> bool:
        """Ask the system if this user may enter or run the path."""
        if self.uid == os.geteuid():
            return os.access(path, os.X_OK)
        test = shutil.which("test", path=os.defpath) or "/bin/test"
        return subprocess.run(self.command([test, "-x", path.as_posix()]), cwd="/").returncode == 0

    def own(self, path: Path) -> None:
        """Make this user the owner of the path. Only root may do this."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def unprivileged(*homes: Path) -> Account:
    """Choose the user that runs Postgres.

    Without root rights that is the user of this process. For root it is the first owner of these
    folders that is not root, else the user postgres, else nobody.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), "of this process")
    names = [owner_of(home) for home in homes if home.exists()]
    for name in (*names, "postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise BakehouseError(
        "account",
        "Postgres refuses to run as root, and this machine has no user postgres or nobody",
        "Add a user (useradd --system postgres), or run the command without root rights.",
    )


def owner_of(path: Path) -> str:
    """Return the name of the owner, or '' if there is no name. initdb refuses such an owner."""
    try:
        return path.owner()
    except KeyError:
        return ""
