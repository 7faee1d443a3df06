"""The database for the tests of the docs."""

from collections.abc import Iterator

import psycopg
import pytest

from bakehouse.database import Connection
from docs.dev_data import dev_database
from postgres import Server


@pytest.fixture(scope="module")
def seeded(server: Server, template: str) -> Iterator[Connection]:
    """A migrated database with the dev data."""
    with dev_database(server, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn
