"""Drift: what changes in staging and prod without a file, and what a file may then change."""

from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest

from command import Project, Ran
from environments import Environments
from postgres import Server

CAKES = (
    "create schema shop;\ncreate table shop.cakes (id int, name text);\n"
    "create table public.pies (id int, name text);\n"
    "alter table public.pies enable row level security;\n"
    "revoke all on public.pies from anon, authenticated, service_role;\n"
)
PROBE = 'backup_probe = ["date", "--iso-8601=seconds"]'


@pytest.fixture
def bakery(project: Project, server: Server, blank_template: str) -> Iterator[Environments]:
    """A small project under git. Its first file is live on staging and prod."""
    with server.one_at_a_time():
        urls = {env: server.dsn(server.copy(blank_template)) for env in ("staging", "prod")}
        for env, url in urls.items():
            project = project.configure(env, url, PROBE)
        (project.root / ".gitignore").write_text("evidence/\n")
        bakery = Environments(project, urls)
        bakery.git("init", "--quiet")
        for env in urls:
            assert project.run("env", "mark", env).code == 0
        release(bakery, "20260101000000_M0_cakes.sql", CAKES)
        yield bakery
    for name in bakery.databases.values():
        server.drop(name)


def prepare(bakery: Environments, name: str, sql: str) -> None:
    """Writes a file, tags it, and applies it to staging."""
    path = bakery.project.write(name, sql)
    bakery.commit()
    bakery.git("tag", "-a", f"v1.{path.name[:14]}", "-m", "A release")
    done(bakery.run("migrate", "plan", env="staging"))
    done(bakery.run("migrate", "up", env="staging"))


def release(bakery: Environments, name: str, sql: str) -> None:
    prepare(bakery, name, sql)
    done(bakery.run("migrate", "up", env="prod"))


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.out + ran.err
    return ran


@pytest.mark.slow
def test_a_repair_does_not_hide_drift(bakery: Environments) -> None:
    path = bakery.project.root / "supabase" / "migrations" / "20260101000000_M0_cakes.sql"
    bakery.query("prod", "create table shop.by_hand ()")
    path.write_text(path.read_text().replace("name text", "title text"))
    done(bakery.run("migrate", "repair", "rehash", "20260101000000", "--yes", env="prod"))

    verified = bakery.run("migrate", "verify", "--json", env="prod")
    check = bakery.run("gate", "check", env="prod")

    assert (verified.code, check.code) == (4, 4)
    assert verified.json["added"] == ["table shop.by_hand"]
    assert "added: table shop.by_hand" in check.out


# --- a step that failed ------------------------------------------------------------------------

UNIQUE = {
    "plain": "create unique index concurrently cakes_id_key on shop.cakes (id);\n",
    "quoted": 'create unique index concurrently "Cakes Id" on only "shop" . cakes (id);\n',
    "found by path": "create unique index concurrently if not exists pies_id_key on pies (id);\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNIQUE)
def test_a_concurrent_index_that_failed_is_resumed_on_staging_and_on_prod(
    bakery: Environments, kind: str
) -> None:
    for env in bakery.urls:
        for table in ("shop.cakes", "public.pies"):
            bakery.query(env, f"insert into {table} values (1, 'first'), (1, 'second')")
    bakery.project.write("20260101000001_M0_unique.sql", UNIQUE[kind])
    bakery.commit()
    bakery.git("tag", "-a", "v1.1", "-m", "A release")
    done(bakery.run("migrate", "plan", env="staging"))

    for env in bakery.urls:
        failed = bakery.run("migrate", "up", env=env)
        invalid = bakery.query(env, "select count(*) from pg_index where not indisvalid")
        again = bakery.run("migrate", "up", env=env)
        for table in ("shop.cakes", "public.pies"):
            bakery.query(env, f"delete from {table} where name = 'second'")
        mended = bakery.run("migrate", "up", env=env)
        verified = bakery.run("migrate", "verify", env=env)

        assert (failed.code, invalid, again.code) == (8, 1, 8), failed.err + again.err
        assert (mended.code, verified.code) == (0, 0), mended.err + verified.err
        assert "which an earlier run left invalid" in mended.err
        assert bakery.query(env, "select count(*) from pg_index where not indisvalid") == 0


# --- accepted drift ----------------------------------------------------------------------------

BUILD = "create index concurrently cakes_name_idx on shop.cakes (name)"
INDEX = "index shop.cakes_name_idx"
TOMORROW = f"{date.today() + timedelta(days=1)}"


def accept(bakery: Environments, name: str = INDEX, until: str = TOMORROW) -> Ran:
    return bakery.run("drift", "accept", name, "the shop was slow", "--until", until, env="prod")


@pytest.mark.slow
def test_accepted_drift_lets_releases_through_until_a_file_brings_it_in(
    bakery: Environments,
) -> None:
    bakery.query("prod", BUILD)
    closed = bakery.run("gate", "check", env="prod")
    accepted = done(accept(bakery))
    check = done(bakery.run("gate", "check", env="prod"))
    listed = bakery.run("drift", "list", "--json", env="prod").json["drift"]
    release(bakery, "20260101000001_M0_size.sql", "alter table shop.cakes add size int;\n")
    verified = done(bakery.run("migrate", "verify", env="prod"))
    release(bakery, "20260101000002_M0_index.sql", BUILD.replace("ly ", "ly if not exists "))
    brought = bakery.run("drift", "list", env="prod")
    release(bakery, "20260101000003_M0_price.sql", "alter table shop.cakes add price int;\n")
    log = bakery.run("log", "--json", env="prod").json

    assert (closed.code, accepted.code) == (4, 0)
    assert f"{INDEX} (accepted, until {TOMORROW}: the shop was slow)" in check.out
    assert [(one["name"], one["state"], one["reason"]) for one in listed] == [
        (INDEX, "accepted", "the shop was slow")
    ]
    assert f"added    {INDEX} (accepted" in verified.out
    assert brought.out == "no drift\n"
    assert bakery.query("prod", "select count(*) from bakehouse.accepted_drift") == 0
    [entry] = [run["opened"] for run in log["runs"] if run["opened"]["kind"] == "drift"]
    assert (entry["object"], entry["reason"], entry["until"]) == (
        INDEX,
        "the shop was slow",
        TOMORROW,
    )
    assert log["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            "alter role %I in database %I set jit = off', current_user, ",
            "setting of role migration_role",
        ),
        ("alter database %I set jit = off', ", "setting of role all"),
        ("alter table shop.%I set (fillfactor = 80)', 'cakes', ", "options of table shop.cakes"),
    ],
)
def test_a_file_brings_in_an_accepted_setting(bakery: Environments, change: str, name: str) -> None:
    setting = f"do $$ begin execute format('{change}current_database()); end $$;\n"
    bakery.query("prod", setting)
    done(accept(bakery, name))

    release(bakery, "20260101000001_M0_size.sql", "alter table shop.cakes add size int;\n")
    kept = bakery.query("prod", "select count(*) from bakehouse.accepted_drift")
    release(bakery, "20260101000002_M0_setting.sql", setting)
    verified = done(bakery.run("migrate", "verify", env="prod"))

    assert kept == 1
    assert bakery.query("prod", "select count(*) from bakehouse.accepted_drift") == 0
    assert "accepted" not in verified.out


@pytest.mark.slow
def test_a_view_that_reads_another_schema_or_number_is_drift(bakery: Environments) -> None:
    view = "create view shop.sizes as select id * 0.5 as size from {};\n"
    release(bakery, "20260101000001_M0_sizes.sql", view.format("shop.cakes"))
    told = []
    for change in (view.format("public.pies"), view.format("shop.cakes").replace("0.5", "1.5")):
        bakery.query("prod", change.replace("create", "create or replace"))
        told.append(bakery.run("migrate", "verify", "--json", env="prod").json)

    assert [one["changed"] for one in told] == [["view shop.sizes"]] * 2


@pytest.mark.slow
def test_accepted_drift_closes_the_gate_when_it_changes_or_its_date_passes(
    bakery: Environments,
) -> None:
    bakery.query("prod", BUILD)
    done(accept(bakery))
    bakery.query("prod", "update bakehouse.accepted_drift set until = current_date - 1")
    expired = bakery.run("gate", "check", env="prod")
    done(accept(bakery))
    bakery.query("prod", "drop index shop.cakes_name_idx")
    undone = bakery.run("gate", "check", env="prod")
    bakery.query("prod", "create index cakes_name_idx on shop.cakes (name desc)")
    changed = bakery.run("gate", "check", env="prod")

    assert [ran.code for ran in (expired, undone, changed)] == [4, 0, 4]
    assert f"{INDEX} (expired, until" in expired.out
    assert f"{INDEX} (changed since, until" in changed.out


@pytest.mark.slow
def test_only_what_a_dba_may_own_can_be_accepted(bakery: Environments) -> None:
    bakery.query("prod", "alter table shop.cakes add by_hand int, alter id set not null")
    bakery.query("prod", "alter table shop.cakes set (autovacuum_vacuum_scale_factor = 0)")
    bakery.query("prod", "create statistics shop.cakes_stats on id, name from shop.cakes")
    bakery.query("prod", "create publication cakes for table shop.cakes")
    bakery.query(
        "prod", f"alter role postgres in database {bakery.databases['prod']} set jit = off"
    )
    owned = ("options of table shop.cakes", "statistics shop.cakes_stats", "publication cakes")

    refused = [accept(bakery, "column shop.cakes.by_hand"), accept(bakery, "table shop.cakes")]
    missing, past = accept(bakery), accept(bakery, "publication cakes", "2020-01-01")
    accepted = [accept(bakery, name) for name in (*owned, "setting of role migration_role")]
    drifted = bakery.run("migrate", "verify", "--json", env="prod").json

    assert [ran.code for ran in (*refused, missing, past)] == [2] * 4
    assert "column shop.cakes.by_hand may change only by a migration" in refused[0].err
    assert f"{INDEX} is not drift" in missing.err
    assert [ran.code for ran in accepted] == [0] * 4, accepted
    assert (drifted["added"], drifted["changed"]) == (
        ["column shop.cakes.by_hand"],
        ["column shop.cakes.id"],
    )


# --- surroundings and partitions ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "undo", "name"),
    [
        ("alter role anon createdb", "alter role anon nocreatedb", "role anon"),
        (
            "alter role anon set work_mem = '1GB'",
            "alter role anon reset work_mem",
            "setting of role anon",
        ),
        (
            "grant service_role to anon",
            "revoke service_role from anon",
            "membership of anon in service_role",
        ),
        (
            "alter default privileges in schema shop grant all on tables to anon",
            "alter default privileges in schema shop revoke all on tables from anon",
            "default privileges of migration_role for tables in schema shop",
        ),
        ("create publication all_cakes for all tables", "drop publication all_cakes", ""),
        (
            "alter table supabase_migrations.schema_migrations disable trigger bakehouse_guard",
            "alter table supabase_migrations.schema_migrations enable trigger bakehouse_guard",
            "guard bakehouse_guard of the history",
        ),
    ],
)
def test_a_change_of_the_surroundings_is_drift(
    bakery: Environments, server: Server, change: str, undo: str, name: str
) -> None:
    superuser = server.superuser_dsn(bakery.databases["prod"])
    mine = name.startswith("default privileges")
    with psycopg.connect(bakery.urls["prod"] if mine else superuser, autocommit=True) as conn:
        conn.execute(change.encode())
        drifted = bakery.run("gate", "check", env="prod")
        conn.execute(undo.encode())
        undone = bakery.run("gate", "check", env="prod")

    assert (drifted.code, undone.code) == (4, 0), undone.out
    assert (name or "publication all_cakes") in drifted.out


@pytest.mark.slow
def test_marking_again_and_bootstrap_are_no_drift(bakery: Environments, server: Server) -> None:
    name = bakery.databases["prod"]
    superuser = server.superuser_dsn(name)
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("drop trigger bakehouse_guard on supabase_migrations.schema_migrations")
        conn.execute("alter role service_role reset statement_timeout")
        hidden = bakery.run("gate", "check", env="prod")
        again = done(bakery.project.run("env", "mark", "prod"))
        platform = ("--migration-role", server.migration_role)
        done(bakery.project.run("bootstrap", "--database-url", superuser, *platform))
    check = bakery.run("gate", "check", env="prod")

    assert (hidden.code, again.code) == (4, 0)
    assert "gone: guard bakehouse_guard of the history" in hidden.out
    # undone changes are no drift, also those of a command
    assert check.code == 0, check.out


@pytest.mark.slow
def test_a_partition_made_at_run_time_is_no_drift_and_stops_no_promotion(
    bakery: Environments,
) -> None:
    parts = (
        "create table shop.loaves (store text, name text) partition by list (store);\n"
        "create table shop.loaves_a partition of shop.loaves for values in ('a');\n"
    )
    release(bakery, "20260101000001_M0_loaves.sql", parts)
    bakery.query("prod", "create table shop.loaves_b partition of shop.loaves for values in ('b')")
    check = bakery.run("gate", "check", env="prod")
    release(bakery, "20260101000002_M0_index.sql", "create index on shop.loaves (name);\n")
    release(bakery, "20260101000003_M0_size.sql", "alter table shop.loaves add size int;\n")
    clean = bakery.run("migrate", "verify", env="prod")
    bakery.query("prod", "alter table shop.loaves_a add check (size > 0)")
    bakery.query("prod", "create index loaves_b_idx on shop.loaves_b (size)")
    bakery.query("prod", "alter table shop.loaves detach partition shop.loaves_b")
    drifted = bakery.run("migrate", "verify", "--json", env="prod").json

    assert (check.code, clean.code) == (0, 0), check.out + clean.err
    assert drifted["changed"] == ["partition shop.loaves_a"]
    assert "index shop.loaves_b_idx" in drifted["added"]
    assert "partition shop.loaves_b" in drifted["gone"]


# --- the SQL of a difference --------------------------------------------------------------------


@pytest.mark.slow
def test_verify_shows_the_sql_of_each_difference(bakery: Environments) -> None:
    files = (
        "create function shop.bake() returns int language sql as 'select 1';\n"
        "create index cakes_id_idx on shop.cakes (id);\n"
        "create function shop.cool() returns trigger language plpgsql as 'begin return new; end';\n"
        "create trigger cool before update on shop.cakes execute function shop.cool();\n"
    )
    release(bakery, "20260101000001_M0_bake.sql", files)
    bakery.query(
        "prod", "create or replace function shop.bake() returns int language sql as 'select 2'"
    )
    bakery.query("prod", "drop index shop.cakes_id_idx")
    bakery.query("prod", "alter table shop.cakes disable trigger cool")
    bakery.query("prod", "create view shop.tarts as select name from shop.cakes")

    said = bakery.run("migrate", "verify", env="prod")
    told = bakery.run("migrate", "verify", "--json", env="prod").json
    sql = {one["name"]: one["sql"] for one in told["drift"]}

    assert (said.code, told["gone"]) == (4, ["index shop.cakes_id_idx"])
    assert sql["index shop.cakes_id_idx"] == (
        "CREATE INDEX IF NOT EXISTS cakes_id_idx ON shop.cakes USING btree (id)"
    )
    assert sql["view shop.tarts"].startswith("create or replace view shop.tarts")
    assert "-AS $function$select 1$function$" in sql["function shop.bake()"]
    assert "+AS $function$select 2$function$" in sql["function shop.bake()"]
    assert sql["trigger cool on shop.cakes"].splitlines()[-1].endswith("D")
    for text in sql.values():
        assert all(line in said.err for line in text.splitlines())


@pytest.mark.slow
def test_a_copy_that_is_marked_records_its_own_surroundings(
    bakery: Environments, server: Server
) -> None:
    staging, prod = bakery.databases["staging"], bakery.databases["prod"]
    server.restore(staging, prod)
    confirmed = ("--confirm", staging, "--reason", "refreshed from prod")
    with psycopg.connect(server.superuser_dsn(prod), autocommit=True) as conn:
        conn.execute("alter role anon set work_mem = '1GB'")
        done(bakery.project.run("env", "mark", "staging", *confirmed))
        copied, original = (bakery.run("migrate", "verify", env=env) for env in bakery.urls)
        conn.execute("alter role anon reset work_mem")

    assert (copied.code, original.code) == (0, 4), copied.err
    assert "changed  setting of role anon" in original.err
