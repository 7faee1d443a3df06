"""A plan in prod spares readers, and a plan estimates the rows of tables never analysed."""

import psycopg
import pytest

from command import Project, query
from environments import wait_for

HELD = (
    "select count(*) from pg_locks as l join pg_stat_activity as a on a.pid = l.pid"
    " where l.mode = 'AccessExclusiveLock' and l.relation = 'public.bread'::regclass"
    " and a.application_name like 'bakehouse migrate plan%'"
)


@pytest.fixture
def prod(project: Project, blank: str) -> Project:
    """Prod with a table of one row."""
    project.write("20260101000000_M0_one.sql", "create table public.bread as select 1 as id;\n")
    assert project.run("migrate", "up", url=blank).code == 0
    prod = project.configure("prod", blank)
    assert prod.run("env", "mark", "prod", "--yes").code == 0
    return prod


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("select 1;\nalter table public.bread add note text;\nselect pg_sleep(60);\n", 2),
        ("alter table public.bread add note text default pg_sleep(60)::text;\n", 1),
        ("begin;\ntruncate public.bread;\ndo $$ begin perform pg_sleep(60); end $$;\ncommit;\n", 2),
    ],
)
def test_a_plan_in_prod_gives_way_to_a_reader_and_names_the_statement(
    prod: Project, blank: str, sql: str, line: int
) -> None:
    prod.write("20260101000001_M0_two.sql", sql)
    before = query(blank, "select count(*) from bakehouse.evidence")

    plan = prod.start("migrate", "plan", "--json", "--env", "prod", url=blank)
    wait_for(blank, HELD)
    with psycopg.connect(blank, options="-c statement_timeout=20s") as reader:
        seen = reader.execute("select count(*) from public.bread").fetchone()
    out, err = plan.communicate()

    assert seen == (1,)
    assert plan.returncode == 5, err
    assert f"M0_two.sql:{line}: this statement holds a lock that stops readers" in out
    assert "migrate plan --env staging" in out
    assert query(blank, "select count(*) from bakehouse.evidence") == before


def test_a_plan_in_prod_does_not_wait_while_readers_queue_behind(prod: Project, blank: str) -> None:
    prod.write(
        "20260101000001_M0_two.sql",
        "set local lock_timeout = '60s';\nalter table public.bread add note text;\n",
    )

    with psycopg.connect(blank) as older:
        older.execute("select from public.bread")
        plan = prod.start("migrate", "plan", "--json", "--env", "prod", url=blank)
        wait_for(blank, HELD)
        with psycopg.connect(blank, options="-c statement_timeout=20s") as reader:
            seen = reader.execute("select count(*) from public.bread").fetchone()
        out, err = plan.communicate()

    assert (seen, plan.returncode) == ((1,), 5), err
    assert "M0_two.sql:2: this statement holds a lock" in out


def test_a_plan_in_prod_may_lock_briefly_or_lock_its_own_tables(prod: Project) -> None:
    prod.write("20260101000001_M0_two.sql", "alter table public.bread add note text;\n")
    brief = prod.run("migrate", "plan", "--json", "--env", "prod")
    prod.write(
        "20260101000001_M0_two.sql",
        "create table public.rolls ();\nlock table public.rolls in access exclusive mode;\n"
        "select pg_sleep(1.5);\n",
    )
    own = prod.run("migrate", "plan", "--json", "--env", "prod")

    assert (brief.code, own.code) == (0, 0), brief.out + own.out
    assert brief.json["migrations"][0]["locked"] == ["public.bread"]


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_large_table_that_was_never_analysed_counts_as_large(
    project: Project, blank: str, partitioned: bool
) -> None:
    by, more = (
        ("", "")
        if not partitioned
        else (
            " partition by range (id)",
            "create table public.one partition of public.bread for values from (0) to (90000);\n"
            "create table public.two partition of public.bread default;\n",
        )
    )
    project.write(
        "20260101000000_M0_one.sql",
        f"create table public.bread (id bigint, note text){by};\n{more}"
        "insert into public.bread select n, repeat('x', 28) from generate_series(1, 150000) n;\n",
    )
    assert project.run("migrate", "up", url=blank).code == 0
    assert query(
        blank, "select max(reltuples) from pg_class where relname in ('bread', 'one', 'two')"
    ) == [(-1,)]
    project.write("20260101000001_M0_two.sql", "create index on public.bread (note);\n")

    plan = project.run("migrate", "plan", url=blank)
    (seen,) = project.run("migrate", "plan", "--json", url=blank).json["migrations"]

    assert "lint     error: 20260101000001_M0_two.sql:1: builds" in plan.out, plan.out
    (finding,) = [one for one in seen["findings"] if one["table"] == "public.bread"]
    assert 100_000 < finding["rows"] < 200_000
