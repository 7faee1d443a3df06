"""Hostile values for every parameter of every public function: only codes of ours come back.

Each function is called as its example shows, with one argument replaced at a time. One value in
three is tried. BAKEHOUSE_HOSTILE=1 tries all of them.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from bakehouse import database
from bakehouse.database import Connection
from bakehouse.rpc import reference
from bakehouse.rpc.reference import Example
from calls import acting_as, raises_code
from docs.dev_data import dev_database
from postgres import Server
from rows import values

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    one.function: one
    for path in sorted(ROOT.glob("docs/examples/*.sql"))
    for one in reference.parse(path).examples
}
ONE_IN = int(os.environ.get("BAKEHOUSE_HOSTILE", "3"))
ADMIN = UUID(reference.ACCOUNTS["Admin"])
LONGEST = 1_000  # characters of a refusal: a refusal quotes little of what was sent

LONG = "repeat('x', 1000000)"
TEXTS = [
    "''",
    "' '",
    "U&'\\200B\\00A0\\FEFF'",
    "E'\\x01\\x1b[2J'",
    "U&'\\202Eegnaro'",
    "U&'e\\0301'",
    "'%_\\'",
    "'NaN'",
    "'infinity'",
    "'-1'",
    "'99999999999999999999'",
    "'1e400'",
    "'null'",
    "'[]'",
    "''' or true --'",
    "repeat('(', 300)",
    "repeat('1', 12000)",
    LONG,
]
DATES = ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'0001-01-01'", "'9999-12-31'"]
JSONS = [
    "'null'",
    "'true'",
    "'0'",
    "'1e1000'",
    "'\"x\"'",
    "'[]'",
    "'[[]]'",
    "'{}'",
    "'[null, {}, []]'",
    "('{\"x\": \"' || repeat('x', 1000000) || '\"}')::jsonb",
    "(repeat('[', 3000) || repeat(']', 3000))::jsonb",
    "(select jsonb_agg(n) from generate_series(1, 10000) as n)",
    "(select jsonb_object_agg('k' || n, n) from generate_series(1, 20000) as n)",
]
NUMBERS = ["'NaN'", "'Infinity'", "'-Infinity'", "1e12", "-1e12", "1e-20", "1e1000", "0", "-1"]
HOSTILE = {
    "text": TEXTS,
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()"],
    "smallint": ["0", "-1", "32767", "-32768"],
    "integer": ["0", "-1", "2147483647", "-2147483648"],
    "bigint": ["0", "-1", "9223372036854775807", "-9223372036854775808"],
    "numeric": NUMBERS,
    "double precision": NUMBERS[:6],
    "boolean": [],
    "date": [*DATES, "'5874897-12-31'"],
    "timestamp with time zone": [*DATES, "'294276-12-31'"],
    "interval": ["'0'", "'-1 day'", "'1 microsecond'", "'178000000 years'"],
    "jsonb": JSONS,
}
# what takes the place of a member of an object in an example
MEMBERS: list[Any] = [None, True, -1, 0, 1e300, "", " ", "x" * 20_000, "NaN", [], [[]], {}, [None]]


def hostile(kind: str) -> list[str]:
    """The expressions to try for a type."""
    if not kind.endswith("[]"):
        return ["null", *(f"({one})::{kind}" for one in HOSTILE[kind])]
    element = kind.removesuffix("[]")
    some = (HOSTILE[element] or ["true"])[0]
    lists = ["null", "'{}'", "array[null]", f"array[[{some}], [{some}]]"]
    lists += [f"array_fill(({some})::{element}, array[2], array[0])"]
    lists += [f"array_fill(({some})::{element}, array[10000])"]
    lists += [f"array[{one}]" for one in HOSTILE[element]]
    return [f"({one})::{kind}" for one in lists]


def arguments_of(call: str) -> tuple[list[str], str]:
    """The expressions between the parentheses that `call` begins after, and the text behind."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, sign in enumerate(call):
        quoted ^= sign == "'"
        if quoted:
            continue
        if sign in ")]" and depth == 0:
            parts.append(call[start:place].strip())
            return [part for part in parts if part], call[place + 1 :]
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(call[start:place].strip())
            start = place + 1
    raise AssertionError(f"the call does not end: {call}")


def variations(example: Example, names: list[str], kinds: list[str]) -> Iterator[str]:
    """The example's SQL, with one argument replaced at a time."""
    opening = f"public.{example.function}("
    at = example.sql.rindex(opening) + len(opening)
    given, rest = arguments_of(example.sql[at:])
    expressions: dict[str, str] = {}
    for name, argument in zip(names, given, strict=False):
        named = re.fullmatch(r"(p_\w+) => (.*)", argument, re.S)
        expressions[named[1] if named else name] = named[2] if named else argument
    for name, kind in zip(names, kinds, strict=True):
        given_object = expressions.get(name, "") if kind == "jsonb" else ""
        for one in [*hostile(kind), *members(given_object)]:
            changed = ", ".join(f"{k} => {v}" for k, v in (expressions | {name: one}).items())
            yield f"{example.sql[:at]}{changed}){rest}"


def members(expression: str) -> Iterator[str]:
    """The object of an example, with one member replaced at a time."""
    literal = re.fullmatch(r"'(\{.*\})'", expression, re.S)
    found = json.loads(literal[1].replace("''", "'")) if literal else {}
    for key in found:
        for one in MEMBERS:
            yield "'{}'".format(json.dumps(found | {key: one}).replace("'", "''"))


@pytest.fixture(scope="module")
def shop(server: Server, template: str) -> Iterator[Connection]:
    with dev_database(server, template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set statement_timeout = '2s'")
        yield conn


@pytest.mark.parametrize("function", EXAMPLES)
def test_hostile_values_get_an_answer_or_a_code(shop: Connection, function: str) -> None:
    codes = values(shop, "select sqlstate || ' ' || code from app.error_codes")
    example, (names, kinds) = EXAMPLES[function], parameters(shop, function)

    problems = [
        problem
        for number, query in enumerate(variations(example, names, kinds), len(function))
        if number % ONE_IN == 0
        if (problem := try_out(shop, example, query, codes))
    ]

    assert not problems, "\n".join(problems[:10])


def parameters(conn: Connection, function: str) -> tuple[list[str], list[str]]:
    row: Any = conn.execute(
        "select proargnames[1:pronargs]::text[],"
        " array(select format_type(kind, null) from unnest(proargtypes::oid[]) as kind)"
        " from pg_proc where oid = %s::regproc",
        (f"public.{function}",),
    ).fetchone()
    assert row is not None
    return row[0] or [], row[1]


def try_out(conn: Connection, example: Example, query: str, codes: list[str]) -> str:
    """Makes a call that is rolled back. Returns what is wrong with its answer, or ''."""
    role = example.role if example.role == "service_role" else "authenticated"
    try:
        with conn.transaction(force_rollback=True):
            database.act_as(conn, role, reference.ACCOUNTS[example.role])
            conn.execute(query.encode())
    except psycopg.Error as error:
        said = f"{error.diag.message_primary} {error.diag.message_detail or ''}"
        if f"{error.sqlstate} {error.diag.message_hint}" not in codes:
            return f"{error.sqlstate} {said[:200]}\n    {query}"
        if len(said) > LONGEST:
            return f"a refusal of {len(said)} characters\n    {query}"
    return ""


def test_every_search_refuses_more_than_200_characters(shop: Connection) -> None:
    searches = values(
        shop,
        "select proname from pg_proc where 'p_search' = any(proargnames)"
        " and pronamespace = 'public'::regnamespace",
    )
    assert len(searches) == 10

    for function in searches:
        query = f"select * from public.{function}(p_search => repeat('x', 201))"
        with raises_code("BAD_INPUT", "PT400"), acting_as(shop, "authenticated", ADMIN):
            shop.execute(query.encode())


def test_a_refusal_quotes_200_characters_of_a_long_value(shop: Connection) -> None:
    with (
        raises_code("BAD_INPUT", "PT400") as refusal,
        acting_as(shop, "authenticated", ADMIN),
    ):
        shop.execute("select public.get_setting(repeat('x', 5000), 'flavours')")

    assert refusal.value.diag.message_primary == f"No store {'x' * 200}…."
    assert json.loads(refusal.value.diag.message_detail or "") == {"store": "x" * 200 + "…"}
