"""One migrated cluster for all scenarios. Each scenario breaks a copy of its own."""

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakehouse.server import cluster
from bakehouse.server.cluster import Cluster
from chaos import load, machines

SCENARIOS = 7
AROUND = 12  # seconds of a scenario to copy, start, and check afterwards


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, default=10, help="how long all scenarios take, about")
    parser.addoption("--seed", default=secrets.token_hex(4), help="repeats the calls of a run")


@dataclass(frozen=True)
class Plan:
    seed: str
    seconds: float  # of load in a scenario


@pytest.fixture(scope="session")
def plan(pytestconfig: pytest.Config) -> Plan:
    seed = pytestconfig.getoption("--seed")
    minutes = pytestconfig.getoption("--minutes")
    seconds = max(60 * minutes / SCENARIOS - AROUND, 5)
    print(f"\nchaos with --seed {seed}: {seconds:.0f} s of load in each scenario")
    return Plan(seed, seconds)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bakehouse-chaos-", dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the user of the server must get through
        yield place


@pytest.fixture(scope="session")
def template(home: Path) -> Cluster:
    """A migrated cluster with stock and staff, stopped."""
    made = machines.created(home)
    load.stock_up(cluster.dsn(made.port))
    cluster.halt(made.data)
    return made


@pytest.fixture
def place(home: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for the servers of this scenario."""
    folder: Path = home / request.node.name.removeprefix("test_")
    folder.mkdir()
    folder.chmod(0o777)
    return folder
