"""A rehearsal runs a migration and reports statements that hurt tables in use, by line."""

from dataclasses import replace

import pytest

from bakehouse.migrations.watch import Finding
from command import Project, query
from environments import Environments

FIRST = "20260101000000_M0_cakes.sql"
SECOND = "20260101000001_M0_change.sql"
THIRD = "20260101000002_M0_more.sql"
TABLE = """begin;
create type public.shape as enum ('round');
create table public.cakes (id int, name varchar(9), form public.shape, price int);
create table public.tins (id int unique);
create table public.jars (id int);
insert into public.tins select generate_series(1, 200);
insert into public.cakes (id, price) select id, 1 from public.tins;
alter table public.cakes add constraint priced check (price is not null) not valid;
commit;
"""
BIG = "public.cakes"


@pytest.fixture
def baked(project: Project, blank: str) -> Project:
    project.write(FIRST, TABLE)
    configured = project.configure("dev", blank, "large_rows = 100")
    assert configured.run("migrate", "up").code == 0
    query(blank, "analyze")
    return configured


def findings(project: Project, number: int = 0) -> list[tuple[str, str, str]]:
    """Returns line, table and text of each finding of a rehearsal in this file, without advice."""
    ran = project.run("migrate", "plan", "--json")
    assert ran.code == 0, ran.err
    return [
        (one["place"].partition(".sql:")[2], one["table"], one["what"])
        for one in ran.json["migrations"][number]["findings"]
        if ".sql:" in one["place"]
    ]


@pytest.mark.parametrize(
    ("statement", "table", "what"),
    [
        ("create index cakes_idx on public.cakes (id)", BIG, "builds cakes_idx while"),
        ("alter table public.cakes add primary key (id)", BIG, "builds cakes_pkey while"),
        ("alter table public.cakes alter id type bigint", BIG, "from integer to bigint"),
        ("alter table public.cakes alter name type varchar(20)", BIG, "to character varying(20)"),
        ("alter table public.cakes alter id set not null", BIG, "for nulls under a lock"),
        (
            "alter table public.cakes add c uuid default gen_random_uuid()",
            BIG,
            "rewrites public.cakes while",
        ),
        ("alter table public.cakes add check (id > 0)", BIG, "checks every row of public.cakes"),
        (
            "alter table public.cakes add foreign key (id) references public.tins (id)",
            BIG,
            "checks",
        ),
        (
            "alter table public.jars add c int not null",
            "",
            "cannot insert into public.jars without",
        ),
        (
            "do $$ begin execute 'create index on public.cakes (' || 'id)'; end $$",
            BIG,
            "builds cakes_id_idx",
        ),
    ],
)
def test_a_statement_that_blocks_people_or_breaks_the_old_release_is_reported_with_its_line(
    baked: Project, statement: str, table: str, what: str
) -> None:
    baked.write(SECOND, f"begin;\nselect 1;\n-- why\n{statement};\ncommit;\n")

    found = findings(baked)

    assert found[0][:2] == ("4", table)
    assert what in found[0][2]


@pytest.mark.parametrize(
    "statement",
    [
        "alter table public.cakes add c int",
        "alter table public.cakes add c int not null default 7",
        "alter table public.cakes add check (id > 0) not valid",
        "create table public.pies (id int primary key, name text not null);\n"
        "create index on public.pies (name);\nalter table public.pies alter id type bigint",
        "create or replace view public.names as select name from public.cakes",
    ],
)
def test_a_harmless_statement_is_not_reported(baked: Project, statement: str) -> None:
    baked.write(SECOND, f"begin;\n{statement};\ncommit;\n")

    assert findings(baked) == []


def test_not_null_added_in_steps_is_not_reported(baked: Project) -> None:
    baked.write(SECOND, "alter table public.cakes validate constraint priced;\n")
    baked.write(THIRD, "alter table public.cakes alter price set not null;\n")

    assert [findings(baked, number) for number in (0, 1)] == [[], []]


def test_an_enum_value_used_in_its_own_file_is_reported(baked: Project) -> None:
    baked.write(
        SECOND,
        "begin;\nalter type public.shape add value 'heart';\n"
        "update public.cakes set form = 'heart' where id = 1;\ncommit;\n",
    )

    assert findings(baked) == [("3", "", "uses 'heart', which this file adds")]
    assert baked.run("migrate", "up").code == 7


def test_an_enum_value_of_an_earlier_file_is_not_reported(baked: Project) -> None:
    baked.write(SECOND, "alter type public.shape add value 'heart';\n")
    baked.write(THIRD, "update public.cakes set form = 'heart' where id = 1;\n")

    assert [findings(baked, number) for number in (0, 1)] == [[], []]
    assert baked.run("migrate", "up").code == 0


def test_a_small_table_gives_a_warning_and_a_large_one_an_error(baked: Project) -> None:
    baked.write(
        SECOND,
        "create index cakes_idx on public.cakes (id);\n"
        "create index jars_idx on public.jars (id);\n",
    )

    said = baked.run("migrate", "plan").out

    assert f"  lint     error: {SECOND}:1: builds cakes_idx while nobody can write" in said
    assert f"  lint     warning: {SECOND}:2: builds jars_idx while nobody can write" in said
    assert "Create it concurrently, in a file of its own" in said


def test_the_table_sizes_of_the_environment_decide() -> None:
    found = Finding("x.sql:1", BIG, 10, "builds an index", "Do not")

    assert (found.level(100), found.level(100, 1000)) == ("warning", "error")
    assert replace(found, table="").level(100) == "error"


@pytest.mark.slow
def test_the_lint_gate_refuses_the_findings_of_a_rehearsal(environments: Environments) -> None:
    environments.prove()
    environments.project.write(
        "20990101000001_M9_required.sql",
        "begin;\nalter table app.leftover add required int not null;\ncommit;\n",
    )
    environments.back_up()
    assert environments.run("migrate", "plan", env="staging").code == 0

    refused = environments.run("migrate", "up", env="staging")
    accepted = environments.run("migrate", "up", "--accept-lint", "nothing is in it", env="staging")

    assert refused.code == 5
    assert "lint: 20990101000001_M9_required.sql:2: the previous release" in refused.err
    assert accepted.code == 0, accepted.err
