"""The callers of tests of projects."""

import pytest

from bakehouse.database import Connection
from projects.callers import Caller, caller


@pytest.fixture
def api(db: Connection) -> Caller:
    """A Supervisor, the least role that may edit projects."""
    return caller(db)


@pytest.fixture
def admin(db: Connection) -> Caller:
    return caller(db, "Admin")


@pytest.fixture
def staff(db: Connection) -> Caller:
    return caller(db, "Staff")
