"""Calls as the API makes them, and the refusals that they raise."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from bakehouse.database import Connection


@contextmanager
def acting_as(db: Connection, role: str, user_id: UUID | None = None) -> Iterator[None]:
    """Be a role with the claims of an account, as the API would; a failure inside is undone."""
    claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
    before = db.execute(
        "select current_setting('role'), current_setting('request.jwt.claims', true)"
    ).fetchone()
    assert before is not None
    with db.transaction():
        _become(db, role, json.dumps(claims))
        yield
        _become(db, *before)


def _become(db: Connection, role: object, claims: object) -> None:
    db.execute(
        "select set_config('request.jwt.claims', coalesce(%s, ''), true), "
        "set_config('role', %s, true)",
        (claims, role),
    )


@contextmanager
def raises_code(code: str, sqlstate: str) -> Iterator[None]:
    """A refusal by app.fail: its symbol and its status."""
    with pytest.raises(psycopg.Error) as refusal:
        yield
    assert (refusal.value.diag.message_hint, refusal.value.sqlstate) == (code, sqlstate)
