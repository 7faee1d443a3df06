"""The functions that applications can call, read from the catalog of schema public."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import kwargs_row

from bakehouse.database import Connection, act_as, fetch, sql_file, value

EVERYBODY = "anyone signed in"
ROLES = (EVERYBODY, "Staff", "Supervisor", "Admin")  # as in Role lines, lowest first
REFUSALS = ("NOT_SIGNED_IN", "PERMISSION_DENIED")
RESULT = "a result"

_ROLE_LINE = re.compile(
    r"Role: (anyone signed in|(?:Staff|Supervisor|Admin)(?: or service_role)?|service_role)\."
    r"(?: Errors: (.+)\.)?"
)


@dataclass(frozen=True)
class Function:
    """One function. The role is empty if the comment has no last line with a role."""

    name: str
    signature: str
    parameters: list[str]
    result: str
    comment: str
    role: str
    errors: str
    granted: list[str]  # the roles of the API that may execute it
    call: str

    @property
    def codes(self) -> list[str]:
        return re.findall(r"\b[A-Z][A-Z_]+\b", re.sub(r"\(.*?\)", "", self.errors))

    def lets_in(self, api: str, role: str = "") -> bool:
        """Check if its Role line allows this API role, or an account of this role."""
        if api == "service_role":
            return self.role.endswith(api)
        return role in ROLES and self.role.split(" or ")[0] in ROLES[: ROLES.index(role) + 1]

    def kept_out(self, api: str, answer: str) -> bool:
        """Check if an answer is a refusal. 42501 counts only if the API role has no grant."""
        return answer in REFUSALS or (answer == "42501" and api not in self.granted)


def load(conn: Connection, given: Mapping[str, str] | None = None) -> list[Function]:
    """Read every function, by name, with a call of it. Arguments that are not given are null."""
    with conn.transaction():
        conn.execute("set local search_path = ''")
        query = sql_file(__package__, "functions")
        return fetch(conn, kwargs_row(_function), query, json.dumps(given or {}))


def _function(comment: str, **facts: Any) -> Function:
    line = _ROLE_LINE.fullmatch(comment.rpartition("\n\n")[2])
    role, errors = line.groups(default="") if line else ("", "")
    return Function(comment=comment, role=role, errors=errors, **facts)


def answers(
    conn: Connection, functions: Iterable[Function], api: str, account: str = ""
) -> dict[str, str]:
    """Call every function in this session, and roll back each call.

    Returns for each signature the hint of a refusal, another SQLSTATE, or RESULT.
    """
    calls = {function.signature: function.call for function in functions}
    with conn.transaction(force_rollback=True):
        act_as(conn, api, account)
        conn.execute("select set_config('bakehouse.calls', %s, true)", (json.dumps(calls),))
        conn.execute(sql_file(__package__, "call_all"))
        said: dict[str, list[str]] = json.loads(
            value(conn, "select current_setting('bakehouse.calls')")
        )
    return {
        signature: RESULT if state == "BH000" else hint if hint in REFUSALS else state
        for signature, (state, hint) in said.items()
    }
