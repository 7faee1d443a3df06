"""The staff of tests of orders."""

from uuid import UUID

import pytest

from bakehouse.database import Connection
from rows import make_staff


@pytest.fixture
def admin(db: Connection) -> UUID:
    return make_staff(db, role="Admin")


@pytest.fixture
def supervisor(db: Connection) -> UUID:
    return make_staff(db, role="Supervisor")


@pytest.fixture
def baker(db: Connection) -> UUID:
    return make_staff(db, store="bannos")
