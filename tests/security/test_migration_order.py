"""No migration uses an object that a later file creates."""

import re

import postgres

CREATED = re.compile(
    r"create (?:or replace )?(?:table|view|function|type|domain) (?:if not exists )?"
    r"((?:public|app|private)\.\w+)"
)
USED = re.compile(r"\b(?:public|app|private)\.\w+")
PROSE = re.compile(r"--[^\n]*|comment on [^;]*? is\s+(?:'(?:[^']|'')*'\s*)+;|'(?:[^'\n]|'')*'")


def later_uses(files: dict[str, str]) -> list[str]:
    """The uses of objects that a later file creates, by file and name."""
    code = {name: PROSE.sub("", text) for name, text in sorted(files.items())}
    home: dict[str, str] = {}
    for name, text in code.items():
        for created in CREATED.findall(text):
            home.setdefault(created, name)
    return [
        f"{name} uses {used} of {home[used]}"
        for name, text in code.items()
        for used in sorted(set(USED.findall(text)))
        if home.get(used, name) > name
    ]


def test_no_migration_uses_what_a_later_one_creates() -> None:
    files = {path.name: path.read_text() for path in postgres.MIGRATIONS.glob("*.sql")}

    assert later_uses(files) == []


def test_a_use_of_a_later_function_is_found_inside_a_body_but_not_in_prose() -> None:
    files = {
        "1.sql": "create or replace function app.a() as $$ begin perform app.b(); end; $$;",
        "2.sql": "create or replace function app.b() as $$ -- app.c says why\n$$;\n"
        "comment on function app.b is 'Unlike app.c.';",
        "3.sql": "create table if not exists app.c ();",
    }

    assert later_uses(files) == ["1.sql uses app.b of 2.sql"]
