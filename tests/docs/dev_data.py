"""A database with the dev data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bakehouse.deploy import environment
from postgres import Server

SEED = Path(__file__).parents[2] / "supabase" / "seed_dev.sql"


@contextmanager
def dev_database(server: Server, template: str) -> Iterator[str]:
    """The DSN of a migrated database, marked as dev and seeded."""
    name = server.copy(template)
    with psycopg.connect(server.dsn(name), autocommit=True) as conn:
        environment.mark(conn, environment.Settings("dev"))
        conn.execute(SEED.read_bytes())
    yield server.dsn(name)
    server.drop(name)
