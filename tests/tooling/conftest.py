import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakehouse import database
from bakehouse.server import cluster
from bakehouse.server.account import unprivileged
from bakehouse.server.binaries import find_binaries
from bakehouse.server.cluster import Cluster
from command import Project, free_port
from environments import Environments, Saved, mark, prepared
from postgres import Server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project for the migrations of a test."""
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    return Project(tmp_path)


@pytest.fixture
def unmarked(blank: str) -> str:
    """The DSN of the blank database without a mark."""
    with database.connect(blank, "tests") as conn:
        conn.execute("drop schema supabase_migrations, bakehouse cascade")
    return blank


@pytest.fixture
def blank(blank: str) -> str:
    """The DSN of a database for one test, marked as dev, without migrations."""
    return mark(blank)


@pytest.fixture
def clone(clone: str) -> str:
    """The DSN of a migrated database for one test, marked as dev."""
    return mark(clone)


@pytest.fixture
def environments(tmp_path: Path, server: Server, blank_template: str) -> Iterator[Environments]:
    """Dev, staging and prod before the first migration."""
    with server.one_at_a_time():
        environments = prepared(tmp_path, server, blank_template)
        yield environments
    for name in environments.databases.values():
        server.drop(name)


@pytest.fixture(scope="session")
def saved(
    tmp_path_factory: pytest.TempPathFactory, server: Server, blank_template: str
) -> dict[str, Saved]:
    """Environments saved twice: `proved` on staging, and `launched` in prod."""
    folder = tmp_path_factory.mktemp("environments")
    with server.one_at_a_time():
        environments = prepared(folder / "now", server, blank_template)
        environments.prove()
        proved = Saved.save(server, environments, folder / "proved")
        environments.launch()
        launched = Saved.save(server, environments, folder / "launched")
    return {"proved": proved, "launched": launched}


@pytest.fixture
def proved(tmp_path: Path, server: Server, saved: dict[str, Saved]) -> Iterator[Environments]:
    """The first release is proved on staging, and prod is empty."""
    with server.one_at_a_time():
        yield saved["proved"].restore(server, tmp_path)


@pytest.fixture
def launched(tmp_path: Path, server: Server, saved: dict[str, Saved]) -> Iterator[Environments]:
    """The first release is in prod, and the second is proved on staging and tagged."""
    with server.one_at_a_time():
        yield saved["launched"].restore(server, tmp_path)


@pytest.fixture(scope="session")
def stopped() -> Iterator[Cluster]:
    """A whole server with the platform, stopped. A test copies its data directory."""
    with tempfile.TemporaryDirectory(prefix="bakehouse-tests-", dir="/var/tmp") as folder:
        home, account, binaries = Path(folder), unprivileged(), find_binaries()
        home.chmod(0o777)  # the user of the server must get through
        if not account.can_reach(binaries.bin_dir / "postgres"):
            binaries = cluster.copied(binaries, account, home)
        made = Cluster(home / "template", binaries, account, free_port(), home / "template.log")
        cluster.create(made)
        yield made
