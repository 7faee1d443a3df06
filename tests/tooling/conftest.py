from pathlib import Path

import pytest

from bakehouse import database, environment
from bakehouse.environment import Settings
from projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project to write migrations into."""
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    return Project(tmp_path)


def mark(dsn: str) -> str:
    with database.connect(dsn, "tests") as conn:
        environment.mark(conn, Settings("dev"))
    return dsn


@pytest.fixture
def unmarked(blank: str) -> str:
    """The blank database, before it says which environment it is."""
    with database.connect(blank, "tests") as conn:
        conn.execute("drop schema supabase_migrations cascade")
    return blank


@pytest.fixture
def blank(blank: str) -> str:
    """The DSN of a database of the test's own that is dev, without migrations."""
    return mark(blank)


@pytest.fixture
def clone(clone: str) -> str:
    """The DSN of a migrated database of the test's own that is dev."""
    return mark(clone)
