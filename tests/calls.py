"""Calls as the API makes them, and the refusals that they raise."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from bakehouse.database import Connection


@contextmanager
def acting_as(db: Connection, role: str, user_id: UUID | None = None) -> Iterator[None]:
    """Acts as a role with the claims of an account. Rolls back if the block fails."""
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


def call(db: Connection, account: UUID | None, rpc: str, **arguments: object) -> Any:
    """Calls an RPC with named arguments. Without an account, the service calls."""
    query = sql.SQL("select public.{}({})").format(
        sql.Identifier(rpc),
        sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments),
    )
    with acting_as(db, "authenticated" if account else "service_role", account):
        answer = db.execute(query, list(arguments.values())).fetchone()
    assert answer is not None
    return answer[0]


def ask(db: Connection, account: UUID, query: str, *parameters: object) -> Any:
    """Returns the one value that a query returns to an account."""
    with acting_as(db, "authenticated", account):
        row = db.execute(query.encode(), parameters or None).fetchone()
    assert row is not None, f"no row: {query}"
    return row[0]


@contextmanager
def raises_code(code: str, sqlstate: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """Expects a refusal by app.fail with this symbol and status."""
    with pytest.raises(psycopg.Error) as refusal:
        yield refusal
    assert (refusal.value.diag.message_hint, refusal.value.sqlstate) == (code, sqlstate)
