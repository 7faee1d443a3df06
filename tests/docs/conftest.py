"""What the pages are run on."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bakehouse import environment
from bakehouse.database import Connection
from servers import Server

SEED = Path(__file__).parents[2] / "supabase" / "seed_dev.sql"


@pytest.fixture(scope="module")
def seeded(server: Server, template: str) -> Iterator[Connection]:
    """A migrated database with the dev data."""
    name = server.copy(template)
    with psycopg.connect(server.dsn(name), autocommit=True) as conn:
        environment.mark(conn, environment.Settings("dev"))
        conn.execute(SEED.read_bytes())
        yield conn
    server.drop(name)
