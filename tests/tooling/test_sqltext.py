"""Splitting SQL into statements, compared with the parser of Postgres."""

from pathlib import Path

import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakehouse.migrations import sqltext

MIGRATIONS = Path(__file__).parents[2] / "supabase" / "migrations"

PIECES = [
    "select 1",
    "select 'a;b'",
    "select 'it''s; here'",
    r"select E'a\';b'",
    "select U&'d\\0061;'",
    'select 1 as "a;""b"',
    "select $$a;b$$",
    "select $x$ $$;$$ $x$",
    "select $1::int",
    "select a$b from t",
    "select 1 /* ; /* nested; */ ; */ + 2",
    "select 1 -- ;\n + 2",
    "select x'1F', b'01', 1.5e-3, 10 - -1",
    "do $$ begin perform 1; end; $$",
    "create rule r as on insert to t do also (insert into u values (1); delete from v)",
    "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
    "create procedure p() language sql begin atomic insert into t values (1); end",
    'create table "begin" (atomic int)',
    "select case when true then 1 else 2 end",
    "begin",
    "commit",
]


def cut_by_postgres(text: str) -> list[str]:
    return [part for part in pglast.split(text, with_parser=True) if part.strip()]


@given(
    st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from([";", ";\n", " ;\n\n-- x;\n"])
)
def test_statements_are_split_where_postgres_splits_them(pieces: list[str], join: str) -> None:
    text = join.join([*pieces, ""])

    cut = [pglast.parse_sql(statement.text)[0].stmt for statement in sqltext.split(text)]

    assert cut == [pglast.parse_sql(part)[0].stmt for part in cut_by_postgres(text)]


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.stem)
def test_our_own_migrations_are_split_where_postgres_splits_them(path: Path) -> None:
    text = path.read_text()

    assert len(sqltext.split(text)) == len(pglast.parse_sql(text))


@given(st.text())
def test_any_text_is_split_or_refused_with_a_position(text: str) -> None:
    try:
        statements = sqltext.split(text)
    except sqltext.SqlTextError as refused:
        places = [refused.offset]
    else:
        places = [at.offset for at in statements if text[at.offset :].startswith(at.text)]
        assert len(places) == len(statements)

    assert all(0 <= place < len(text) for place in places)


def hash_of(text: str) -> str:
    return sqltext.sql_hash(sqltext.split(text))


def test_comments_space_and_case_do_not_change_the_sql_hash() -> None:
    plain = hash_of("create table t (a int, b text default 'X');")

    assert plain == hash_of("-- new\nCREATE  TABLE t(a INT,b text DEFAULT 'X') ;\n\n")
    assert plain == hash_of("begin;\ncreate table t (a int, b text default 'X');\ncommit;")


@pytest.mark.parametrize(
    "other",
    [
        "create table t (a int, b text default 'x');",
        "create table t (a int, b text default 'X' );select 1;",
        "create table t (a int, \"B\" text default 'X');",
        "create table t (a int, b text default $$X$$);",
    ],
)
def test_a_change_of_meaning_changes_the_sql_hash(other: str) -> None:
    assert hash_of(other) != hash_of("create table t (a int, b text default 'X');")


def test_line_ends_do_not_change_the_byte_hash() -> None:
    assert sqltext.byte_hash("a;\r\nb;\r\n") == sqltext.byte_hash("a;\nb;\n")
    assert sqltext.byte_hash("a;\nb;\n") != sqltext.byte_hash("a; \nb;\n")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("select 1;\n\\echo hi", 2, "psql meta-command"),
        ("select 1;\nselect 'open", 2, "never closed"),
        ("\n\nselect $a$ open $$", 3, "never closed"),
        ("select 1 /* open /* */", 1, "never closed"),
        ('select "open', 1, "never closed"),
    ],
)
def test_text_that_is_not_sql_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(sqltext.SqlTextError, match=message) as caught:
        sqltext.split(text)

    assert sqltext.place(text, caught.value.offset)[0] == line
