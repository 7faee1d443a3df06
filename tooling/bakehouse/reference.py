"""The RPC reference: what the catalogue says of each function, and a worked call of each."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakehouse import rpcs
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.rpcs import Function

# the chapters in reading order, each the name of a file in docs/examples
CHAPTERS = {
    "stages": "Moving an order through its stages",
    "reads": "Queue, lists and search",
    "edits": "Assigning and editing orders",
    "projects": "Projects",
    "statuses": "Project statuses",
    "subprojects": "Projects within projects",
    "shopify": "Shopify",
    "inventory": "Stock, catalogue and recipes",
    "queue": "The work queue",
    "settings": "Settings",
    "staff": "Staff",
}
ACCOUNTS = {  # of supabase/seed_dev.sql, by the role that an example names
    "Admin": "00000000-0000-4000-8000-000000000001",
    "Supervisor": "00000000-0000-4000-8000-000000000002",
    "Staff": "00000000-0000-4000-8000-000000000003",
    "service_role": "",
}
_MARKER = re.compile(rf"^-- (\w+) as ({'|'.join(ACCOUNTS)})$", re.MULTILINE)
_WIDTH = 88

OPENING = """\
# RPC reference

Everything an application does with bakehouse is a call of one of these functions: no table can be
written, few can be read. Written by `bakehouse docs rpc` from the comments in the database; each
example runs as it stands on the dev data, and a test proves it.

## How to call

Sign in, and call by name with named parameters; those with a default may be left out. With
supabase-js:

```js
const { data, error } = await supabase.rpc('get_setting', { p_store: 'bannos', p_key: 'flavours' })
if (error) console.error(error.hint, error.message, error.details)
```

From SQL, say who calls, as the API does for every request:

```sql
begin;
set local role authenticated;
set local request.jwt.claims = '{"sub": "00000000-0000-4000-8000-000000000003"}';
select public.get_setting(p_store => 'bannos', p_key => 'flavours');
commit;
```

A function that returns a table answers with rows, any other with one value. The order of the
roles is Staff < Supervisor < Admin: who is named may call, and so may those above. An account has a
role only once an Admin has approved it, and acts in its own store only, unless it has them all.
`service_role` is the server's own key, never an account.

## How it refuses

A refusal is an error, never a value, and leaves nothing behind. Its hint is a symbol to branch on,
its message a sentence for people, its details JSON, and its SQLSTATE `PTxxx` the HTTP status xxx.
Every function refuses a caller without an identity (NOT_SIGNED_IN) and one who may not
(PERMISSION_DENIED; without any right to call it, SQLSTATE 42501); what else it refuses, it says.
[Errors](#errors) has them all.
"""


@dataclass(frozen=True)
class Example:
    chapter: str
    function: str
    role: str
    sql: str


@dataclass(frozen=True)
class Reference:
    functions: dict[str, Function]
    codes: list[tuple[str, str, str]]  # code, SQLSTATE, meaning
    types: list[tuple[str, str]]  # enum, its labels
    examples: list[Example]


def read(conn: Connection, examples: Path) -> Reference:
    """The catalogue, and the examples of a folder."""
    codes = conn.execute("select code, sqlstate, meaning from app.error_codes order by code")
    types = conn.execute(
        """
        select typ.typname, string_agg(enum.enumlabel, ', ' order by enum.enumsortorder)
        from pg_type as typ
        inner join pg_enum as enum on enum.enumtypid = typ.oid
        where typ.typnamespace = 'public'::regnamespace
        group by typ.typname order by 1
        """
    )
    return Reference(
        {function.name: function for function in rpcs.read(conn)},
        [(str(code), str(state), str(meaning)) for code, state, meaning in codes],
        [(str(name), str(labels)) for name, labels in types],
        [one for path in sorted(examples.glob("*.sql")) for one in parse(path)],
    )


def parse(path: Path) -> list[Example]:
    """Each call in a file begins with `-- function as Role`."""
    parts = _MARKER.split(path.read_text())[1:]
    return [
        Example(path.stem, name, role, sql.strip())
        for name, role, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def problems(reference: Reference) -> Iterator[str]:
    """Why the reference would not be whole."""
    known = {code for code, _, _ in reference.codes}
    shown = {example.function for example in reference.examples}
    for name, function in reference.functions.items():
        if not function.role:
            yield f"{name}: its comment does not end with a Role line"
        if name not in shown:
            yield f"{name}: no example"
        for code in function.codes:
            if code not in known:
                yield f"{name}: no error code {code}"
    for example in reference.examples:
        if example.function not in reference.functions:
            yield f"{example.chapter}: an example of {example.function}, which does not exist"
        if example.chapter not in CHAPTERS:
            yield f"{example.chapter}: not one of the chapters {', '.join(CHAPTERS)}"


def render(reference: Reference) -> str:
    """The page, as Markdown."""
    if found := list(dict.fromkeys(problems(reference))):
        raise BakehouseError("lint", "the reference is not whole\n  " + "\n  ".join(found))
    contents, chapters = [], []
    for chapter, title in CHAPTERS.items():
        examples = [one for one in reference.examples if one.chapter == chapter]
        names = list(dict.fromkeys(one.function for one in examples))
        if names:
            links = ", ".join(f"[{name}](#{name})" for name in names)
            contents.append(f"- {title}: {links}")
            chapters.append(f"## {title}\n")
        for name in names:
            worked = [one for one in examples if one.function == name]
            chapters.append(_entry(reference.functions[name], worked))
    codes = [f"| `{code}` | {state[2:]} | {meaning} |" for code, state, meaning in reference.codes]
    types = [f"| `{name}` | {labels} |" for name, labels in reference.types]
    parts = [
        OPENING,
        "## Contents\n",
        *contents,
        "- [Errors](#errors), [Types](#types)\n",
        *chapters,
    ]
    parts += ["## Errors\n", "| Hint | Status | Means |", "| --- | --- | --- |", *codes, ""]
    parts += ["## Types\n", "| Type | Values, ascending |", "| --- | --- |", *types, ""]
    return "\n".join(parts)


def _entry(function: Function, examples: Sequence[Example]) -> str:
    errors = re.sub(r"\b([A-Z][A-Z_]+)\b(?![^(]*\))", r"[\1](#errors)", function.errors)
    standing = f"Role: {function.role}." + (f" Errors: {errors}." if errors else "")
    worked = [f"-- as {example.role}\n{example.sql}" for example in examples]
    summary, *details = [
        textwrap.fill(part, 100, break_long_words=False).replace("<", "\\<")
        for part in function.text.split("\n\n")
    ]
    signature, calls = f"```sql\n{_signature(function)}\n```", "\n\n".join(worked)
    parts = [f"### {function.name}", summary, signature, *details, standing]
    return "\n\n".join([*parts, f"```sql\n{calls}\n```\n"])


def _signature(function: Function) -> str:
    result = _tidy(function.result)
    if listed := re.fullmatch(r"(TABLE|record)\((.*)\)", result):
        columns = _listed(re.split(r", (?=\w+ )", listed[2]), len(") returns table ()"))
        result = f"{listed[1].lower()} ({columns})"
    parameters = [_tidy(one) for one in function.parameters]
    call = _listed(parameters, len(function.name) + len("() returns void"))
    return f"{function.name}({call}) returns {result}"


def _tidy(declared: str) -> str:
    """As one would write it: no casts, no schema, short names of types."""
    short = re.sub(r"(default .*?)::[\w .\[\]]+$", r"\1", declared).replace("public.", "")
    short = short.replace("timestamp with time zone", "timestamptz")
    return short.replace("NULL", "null").replace("SETOF", "setof")


def _listed(parts: Sequence[str], beside: int) -> str:
    """The parts on one line, or on as many as they take, each of them whole."""
    text = ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    if len(text) + beside > _WIDTH:
        text = f"\n{textwrap.indent(textwrap.fill(text, _WIDTH, break_on_hyphens=False), '  ')}\n"
    return text.replace("\N{NO-BREAK SPACE}", " ")
