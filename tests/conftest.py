"""A real Postgres for every test, migrated once. Each test gets a transaction or a copy."""

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest

import postgres
from bakehouse.database import Connection
from postgres import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--spec", metavar="POINT", help="run only the tests of this point, e.g. P11")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # a slow test that started last would leave the other workers idle
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if point := config.getoption("--spec"):
        proving = [item for item in items if point in _points(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in proving])
        items[:] = proving


def _points(item: pytest.Item) -> set[str]:
    return {point for marker in item.iter_markers("spec") for point in marker.args}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this worker: our own, or the server that BAKEHOUSE_TEST_URL names."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    prefix = f"bakehouse_{run[:8]}_{worker}"
    url = os.environ.get("BAKEHOUSE_TEST_URL")
    running = postgres.foreign_server(url, prefix, run) if url else postgres.embedded_server(prefix)
    with running as server:
        yield server


@pytest.fixture(scope="session")
def blank_template(server: Server) -> str:
    """The name of a database with the platform alone."""
    name = server.create()
    server.bootstrap(name)
    return name


@pytest.fixture(scope="session")
def template(server: Server, blank_template: str) -> str:
    """The name of the migrated database. Copying fails while a session is connected to it."""
    name = server.copy(blank_template)
    with server.one_at_a_time():
        postgres.migrate(server.dsn(name))
    return name


@pytest.fixture(scope="session")
def session_db(server: Server, template: str) -> Iterator[Connection]:
    with psycopg.connect(server.dsn(server.copy(template)), autocommit=True) as conn:
        yield conn


@pytest.fixture
def db(session_db: Connection) -> Iterator[Connection]:
    """The migrated database as the migration role, in a transaction that is rolled back."""
    with session_db.transaction(force_rollback=True):
        yield session_db


@pytest.fixture
def clone(server: Server, template: str) -> Iterator[str]:
    """The DSN of a migrated database for one test that must commit or race."""
    name = server.copy(template)
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture
def blank(server: Server, blank_template: str) -> Iterator[str]:
    """The DSN of a database for one test, with the platform but without migrations."""
    name = server.copy(blank_template)
    yield server.dsn(name)
    server.drop(name)
