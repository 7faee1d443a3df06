"""Applying migrations to a real database, through the command."""

import json
import random
import signal
import time

import psycopg
import pytest

from bakehouse.migrations.apply import LOCK_TRIES
from command import NOWHERE, Project, query
from environments import mark
from postgres import Server

TABLE = "begin;\ncreate table public.cakes (id int, name text);\ncommit;\n"
FIRST = "20260101000000_M0_cakes.sql"
SECOND = "20260101000001_M0_icing.sql"
THIRD = "20260101000002_M1_cherry.sql"


def versions(dsn: str) -> list[object]:
    rows = query(dsn, "select version from supabase_migrations.schema_migrations order by 1")
    return [row[0] for row in rows]


def states(project: Project, url: str, *arguments: str) -> dict[str, str]:
    ran = project.run("migrate", "status", "--json", *arguments, url=url)
    return {row["version"]: row["state"] for row in ran.json["migrations"]}


def test_up_applies_each_file_once_and_records_account_time_and_sql(
    project: Project, blank: str
) -> None:
    project.write(FIRST, TABLE)
    project.write(SECOND, "alter table public.cakes add column icing text;\n")

    first = project.run("migrate", "up", "--json", url=blank)
    second = project.run("migrate", "up", url=blank)

    assert (first.code, first.json["applied"]) == (0, ["20260101000000", "20260101000001"])
    assert (second.code, second.out) == (0, "nothing to do\n")
    assert query(
        blank,
        "select version, name, statements from supabase_migrations"
        ".schema_migrations order by version",
    ) == [
        (
            "20260101000000",
            "M0_cakes",
            ["begin", "create table public.cakes (id int, name text)", "commit"],
        ),
        ("20260101000001", "M0_icing", ["alter table public.cakes add column icing text"]),
    ]
    kept = query(
        blank,
        "select count(*) from bakehouse.migrations where applied_by = current_user"
        " and applied_at > now() - interval '1 minute' and duration_ms >= 0"
        " and tool_version <> '' and length(sql_hash) = 64 and length(byte_hash) = 64",
    )
    assert kept == [(2,)]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("begin;\nselect 1;\n\n  select nope\n  from cakes;\ncommit;\n", 4, 10, '"nope" does not'),
        ("begin;\ncreate table x (a int);\nselect\n 1 / 0;\ncommit;\n", 3, 1, "division by zero"),
        ("begin;\nselect 1;\nselct 2;\ncommit;\n", 3, 1, "syntax error"),
        ("begin;\n-- ünï\nselect 'ü', nope();\ncommit;\n", 3, 13, "nope() does not exist"),
        ("begin;\ndo $$\nbegin\n  raise 'out of %', 'eggs';\nend;\n$$;\ncommit;", 2, 1, "of eggs"),
    ],
)
def test_a_failing_file_names_its_line_and_leaves_nothing_behind(
    project: Project, blank: str, text: str, line: int, column: int, said: str
) -> None:
    project.write(FIRST, TABLE)
    project.write(SECOND, text)

    ran = project.run("migrate", "up", url=blank)
    facts = project.run("migrate", "up", "--json", url=blank).json

    assert ran.code == 7
    assert f"{SECOND}:{line}: " in ran.err
    assert said in ran.err
    shown = next(row for row in ran.err.splitlines() if row.startswith(f"  {line} | "))
    caret = ran.err.splitlines()[ran.err.splitlines().index(shown) + 1]
    assert caret.index("^") == len(f"  {line} | ") + column - 1
    assert (facts["kind"], facts["line"], facts["column"]) == ("failed", line, column)
    assert versions(blank) == ["20260101000000"]
    assert query(blank, "select to_regclass('public.x')") == [(None,)]


def test_the_hint_of_a_server_error_is_shown(project: Project, blank: str) -> None:
    project.write(FIRST, TABLE)
    project.write(SECOND, "select nmae from public.cakes;\n")

    ran = project.run("migrate", "up", url=blank)

    assert 'hint: Perhaps you meant to reference the column "cakes.name".' in ran.err


def test_a_constraint_that_fails_at_commit_undoes_the_file(project: Project, blank: str) -> None:
    project.write(
        FIRST,
        "begin;\ncreate table public.a (id int primary key, b int references public.a (id)"
        " deferrable initially deferred);\ninsert into public.a values (1, 2);\ncommit;\n",
    )

    ran = project.run("migrate", "up", url=blank)

    assert ran.code == 7
    assert "violates foreign key" in ran.err
    assert query(blank, "select to_regclass('public.a')") == [(None,)]
    assert versions(blank) == []


def test_a_role_or_setting_of_one_file_does_not_reach_the_next(
    project: Project, blank: str
) -> None:
    project.write(FIRST, "begin;\nset role anon;\nset search_path = pg_temp;\ncommit;\n")
    project.write(SECOND, "create table cakes (id int);\n")

    assert project.run("migrate", "up", url=blank).code == 0
    assert query(
        blank,
        "select tableowner = current_user from pg_tables"
        " where schemaname || '.' || tablename = 'public.cakes'",
    ) == [(True,)]


def test_a_warning_of_the_server_is_shown(project: Project, blank: str) -> None:
    project.write(FIRST, "grant usage on schema auth to anon;\n")

    ran = project.run("migrate", "up", url=blank)

    assert ran.code == 0
    assert "warning: no privileges were granted" in ran.err


def test_a_killed_run_is_finished_by_the_next_without_repeating_a_file(
    project: Project, blank: str
) -> None:
    project.write(FIRST, "begin;\ncreate table public.log (file int);\ncommit;\n")
    for number in range(1, 40):
        project.write(
            f"202601010001{number:02}_M0_step{number}.sql",
            f"begin;\ninsert into public.log values ({number});\nselect pg_sleep(0.02);\ncommit;\n",
        )
    dice = random.Random(7)

    for _ in range(6):
        running = project.start("migrate", "up", url=blank)
        time.sleep(dice.uniform(0.5, 1.3))
        running.kill()
        running.communicate()
    last = project.run("migrate", "up", url=blank)

    assert last.code == 0, last.err
    assert query(blank, "select file from public.log order by file") == [
        (number,) for number in range(1, 40)
    ]
    assert len(versions(blank)) == 40


def test_two_runs_at_once_apply_every_file_once(project: Project, blank: str) -> None:
    project.write(FIRST, "begin;\ncreate table public.log (file int);\ncommit;\n")
    project.write(
        SECOND, "begin;\ninsert into public.log values (1);\nselect pg_sleep(1);\ncommit;\n"
    )

    runs = [project.start("migrate", "up", url=blank) for _ in range(2)]
    codes = [(run.communicate(), run.returncode)[1] for run in runs]

    assert codes == [0, 0]
    assert query(blank, "select count(*) from public.log") == [(1,)]


def test_a_run_that_does_not_wait_names_the_running_one(project: Project, blank: str) -> None:
    project.write(FIRST, "begin;\nselect pg_sleep(6);\ncommit;\n")
    running = project.start("migrate", "up", url=blank)
    wait_for(
        blank,
        "select count(*) from pg_locks where locktype = 'advisory'"
        " and database = (select oid from pg_database where datname = current_database())",
    )

    ran = project.run("migrate", "up", "--lock-wait", "0", "--json", url=blank)
    running.kill()
    running.communicate()

    assert ran.code == 10
    assert ran.json["kind"] == "busy"
    assert "bakehouse migrate up" in ran.json["error"]


def wait_for(dsn: str, question: str) -> None:
    deadline = time.monotonic() + 20
    while query(dsn, question) == [(0,)]:
        assert time.monotonic() < deadline, question
        time.sleep(0.05)


def test_a_lock_that_is_not_available_is_retried_and_names_the_blocker(
    project: Project, blank: str
) -> None:
    project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    project.write(
        SECOND,
        "begin;\nset local lock_timeout = '800ms';\nalter table public.cakes add x int;\ncommit;",
    )

    with psycopg.connect(blank) as blocker:
        blocker.execute("select 'the blocker' from public.cakes")
        pid = blocker.info.backend_pid
        ran = project.run("migrate", "up", url=blank)
    after = project.run("migrate", "up", url=blank)

    assert ran.code == 10
    assert f"try {LOCK_TRIES} of {LOCK_TRIES}" in ran.err
    assert f"could not get its locks: pid {pid}" in ran.err
    assert "the blocker" in ran.err
    assert after.code == 0


def test_a_file_applies_once_its_lock_is_free(project: Project, blank: str) -> None:
    project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    project.write(
        SECOND,
        "begin;\nset local lock_timeout = '300ms';\nalter table public.cakes add x int;\ncommit;",
    )

    with psycopg.connect(blank) as blocker:
        blocker.execute("select from public.cakes")
        running = project.start("migrate", "up", url=blank)
        wait_for(blank, "select count(*) from pg_locks where not granted")
    _, said = running.communicate()

    assert running.returncode == 0, said


# --- files that cannot run in a transaction ---------------------------------------------------


def test_a_failed_concurrent_index_never_counts_as_done(project: Project, blank: str) -> None:
    project.write(
        FIRST,
        "create table public.cakes (id int, name text);\n"
        "insert into public.cakes values (1, 'a'), (1, 'b');\n",
    )
    project.write(
        SECOND,
        "create index concurrently cakes_name_idx on public.cakes (name);\n"
        "create unique index concurrently if not exists cakes_id_key on public.cakes (id);\n",
    )
    invalid = "select count(*) from pg_index where not indisvalid"

    failed = project.run("migrate", "up", url=blank)
    left = query(blank, invalid)
    again = project.run("migrate", "up", url=blank)
    query(blank, "delete from public.cakes where name = 'b'")
    mended = project.run("migrate", "up", url=blank)

    assert (failed.code, again.code, left) == (8, 8, [(1,)])
    assert f"{SECOND}:2: could not create unique index" in failed.err
    assert "statement 1 was done before" in again.err
    assert mended.code == 0, mended.err
    assert query(blank, invalid) == [(0,)]
    assert query(blank, "select count(*) from bakehouse.steps") == [(0,)]
    assert versions(blank) == ["20260101000000", "20260101000001"]


def test_a_concurrent_index_that_outlived_its_killed_run_counts_as_done(
    project: Project, blank: str
) -> None:
    project.write(
        FIRST, "create table public.cakes as select n as id from generate_series(1, 1000) as n;\n"
    )
    project.write(
        SECOND,
        "create index concurrently cakes_id_idx on public.cakes (id);\n"
        "drop index concurrently public.cakes_id_idx;\n",
    )
    with psycopg.connect(blank) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select from pg_class limit 1")  # the build waits for this snapshot
        running = project.start("migrate", "up", url=blank)
        wait_for(
            blank,
            "select count(*) from pg_stat_activity where query like 'create index c%'"
            " and wait_event_type = 'Lock' and datname = current_database()",
        )
        running.send_signal(signal.SIGKILL)
        running.communicate()

    ran = project.run("migrate", "up", url=blank)

    assert ran.code == 0, ran.err
    assert query(blank, "select to_regclass('public.cakes_id_idx')") == [(None,)]
    assert versions(blank) == ["20260101000000", "20260101000001"]


# --- a history that differs from the files ----------------------------------------------------


def test_an_edited_file_stops_the_run_until_it_is_rehashed(project: Project, blank: str) -> None:
    path = project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    path.write_text(TABLE.replace("name", "title"))

    ran = project.run("migrate", "up", url=blank)
    asked = project.run("migrate", "repair", "rehash", "20260101000000", url=blank)
    mended = project.run("migrate", "repair", "rehash", "20260101000000", "--yes", url=blank)

    assert ran.code == 4
    assert "20260101000000 M0_cakes: edited" in ran.err
    assert asked.code == 2
    assert "+create table public.cakes (id int, title text);" in mended.err
    assert (mended.code, states(project, blank)) == (0, {"20260101000000": "applied"})
    assert query(blank, "select action, version from bakehouse.repairs") == [
        ("rehash", "20260101000000")
    ]


def test_a_change_of_comments_or_format_does_not_stop_a_run(project: Project, blank: str) -> None:
    path = project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    path.write_text("-- who bakes\n" + TABLE.replace("create table", "CREATE  TABLE"))

    assert project.run("migrate", "up", url=blank).code == 0
    assert states(project, blank) == {"20260101000000": "reformatted"}


def test_an_older_file_is_out_of_order_unless_its_whole_milestone_was_left_out(
    project: Project, blank: str
) -> None:
    project.write(FIRST, TABLE)
    project.write(THIRD, "-- Needs: M0\nselect 1;\n")
    project.write("20260101000003_M2_last.sql", "select 1;\n")
    assert project.run("migrate", "up", "--skip", "M1", url=blank).code == 0

    assert states(project, blank, "--skip", "m1")["20260101000002"] == "skipped"
    assert project.run("migrate", "up", url=blank).code == 0
    assert versions(blank) == ["20260101000000", "20260101000002", "20260101000003"]

    project.write(SECOND, "select 1;\n")
    late = project.run("migrate", "up", url=blank)
    assert late.code == 4
    assert "20260101000001 M0_icing: out of order, older than 20260101000003" in late.err


def test_a_version_without_a_file_is_found_by_its_sql_and_renamed(
    project: Project, blank: str
) -> None:
    path = project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    path.rename(path.with_name(SECOND))

    lost = project.run("migrate", "up", url=blank)
    renamed = project.run(
        "migrate", "repair", "rename", "20260101000000", "20260101000001", "--yes", url=blank
    )

    assert lost.code == 4
    assert "migrate repair rename 20260101000000 20260101000001" in lost.err
    assert renamed.code == 0
    assert project.run("migrate", "up", url=blank).out == "nothing to do\n"
    assert versions(blank) == ["20260101000001"]


def test_a_file_applied_by_another_tool_is_recognised_by_its_sql(
    project: Project, unmarked: str
) -> None:
    project.write(FIRST, TABLE)
    project.write(SECOND, "select 1;\n")
    with psycopg.connect(unmarked, autocommit=True) as conn:
        conn.execute(
            "create schema supabase_migrations; create table supabase_migrations"
            ".schema_migrations (version text primary key, statements text[], name text)"
        )
        conn.execute("create table public.cakes (id int, name text)")
        conn.execute(
            "insert into supabase_migrations.schema_migrations values ('20260101000000',"
            " array['begin', 'create table public.cakes (id int, name text)', 'commit'])"
        )
    mark(unmarked)

    before = states(project, unmarked)
    ran = project.run("migrate", "up", "--json", url=unmarked)

    assert before == {"20260101000000": "applied", "20260101000001": "pending"}
    assert ran.json["applied"] == ["20260101000001"]


def test_a_bare_list_of_versions_is_unverified_until_adopted(
    project: Project, unmarked: str
) -> None:
    project.write(FIRST, TABLE)
    with psycopg.connect(unmarked, autocommit=True) as conn:
        conn.execute(
            "create schema supabase_migrations; create table supabase_migrations"
            ".schema_migrations (version text primary key)"
        )
        conn.execute("insert into supabase_migrations.schema_migrations values ('20260101000000')")
    mark(unmarked)

    before = states(project, unmarked)
    ran = project.run("migrate", "repair", "adopt", "20260101000000", "--yes", url=unmarked)

    assert before == {"20260101000000": "unverified"}
    assert (ran.code, states(project, unmarked)) == (0, {"20260101000000": "adopted"})


def test_a_forgotten_version_runs_again(project: Project, blank: str) -> None:
    project.write(FIRST, "begin;\ncreate table if not exists public.a (b int);\ncommit;\n")
    assert project.run("migrate", "up", url=blank).code == 0

    assert (
        project.run("migrate", "repair", "forget", "20260101000000", "--yes", url=blank).code == 0
    )
    assert project.run("migrate", "up", "--json", url=blank).json["applied"] == ["20260101000000"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("reverted", "20260101000000"),
        ("adopt", "20990101000000"),
        ("rehash", "20260101000000"),
        ("rename", "20260101000000", "20260101000001"),
        ("forget", "20260101000001"),
    ],
)
def test_an_impossible_repair_is_refused(
    project: Project, blank: str, arguments: tuple[str, ...]
) -> None:
    project.write(FIRST, TABLE)
    assert project.run("migrate", "up", url=blank).code == 0
    project.write(SECOND, "select 1;\n")

    ran = project.run("migrate", "repair", *arguments, "--yes", url=blank)

    assert ran.code == 2, ran.err
    assert versions(blank) == ["20260101000000"]


def test_status_check_tells_pending_from_drift(project: Project, blank: str) -> None:
    path = project.write(FIRST, TABLE)

    pending = project.run("migrate", "status", "--check", url=blank).code
    project.run("migrate", "up", url=blank)
    clean = project.run("migrate", "status", "--check", url=blank)
    path.write_text("select 2;\n")
    drift = project.run("migrate", "status", "--check", url=blank).code

    assert (pending, clean.code, drift) == (3, 0, 4)
    assert "chain head  " in clean.out


def test_the_chain_head_names_the_whole_history(project: Project, blank: str) -> None:
    heads = set()
    for name, text in ((FIRST, TABLE), (SECOND, "select 1;\n")):
        project.write(name, text)
        project.run("migrate", "up", url=blank)
        heads.add(project.run("migrate", "status", "--json", url=blank).json["chain_head"])
    (project.root / "supabase/migrations" / SECOND).write_text("-- moved\nselect 1;\n")
    heads.add(project.run("migrate", "status", "--json", url=blank).json["chain_head"])

    assert len(heads) == 2


# --- plan and verify --------------------------------------------------------------------------


def test_plan_shows_what_would_happen_and_changes_nothing(project: Project, blank: str) -> None:
    project.write(
        FIRST,
        "create table public.cakes (id int, name text);\n"
        "create view public.v as select id from public.cakes;\n",
    )
    assert project.run("migrate", "up", url=blank).code == 0
    project.write(
        SECOND,
        "alter table public.cakes alter column name type varchar(9);\n"
        "do $$ begin execute 'alter table public.cakes drop column id cascade'; end; $$;",
    )
    project.write(THIRD, "create index concurrently a on public.cakes (name);\n")

    ran = project.run("migrate", "plan", "--json", url=blank)
    text = project.run("migrate", "plan", url=blank).out

    seen, alone = ran.json["migrations"]
    assert seen["locks"] == ["AccessExclusiveLock on public.cakes (about 0 rows)"]
    assert seen["rewrites"] == ["public.cakes (about 0 rows)"]
    assert seen["changes"] == {
        "added": [],
        "changed": ["column public.cakes.name"],
        "gone": ["column public.cakes.id", "column public.v.id", "view public.v"],
    }
    assert alone["notes"] == ["not rehearsed: it cannot run in a transaction"]
    assert "  gone     view public.v" in text
    assert versions(blank) == ["20260101000000"]
    assert query(blank, "select count(*) from public.v") == [(0,)]


def test_plan_reports_files_that_need_a_commit_between_them(project: Project, blank: str) -> None:
    project.write(FIRST, "create type public.size as enum ('Small');\n")
    assert project.run("migrate", "up", url=blank).code == 0
    project.write(SECOND, "alter type public.size add value 'Large';\n")
    project.write(THIRD, "create table public.c (s public.size default 'Large');\n")

    plan = project.run("migrate", "plan", "--json", url=blank)

    assert "needs a commit boundary" in plan.json["migrations"][1]["notes"][0]
    assert project.run("migrate", "up", url=blank).code == 0


def test_plan_names_the_line_of_a_failing_file(project: Project, blank: str) -> None:
    project.write(FIRST, "select 1;\nselect 1 / 0;\n")

    ran = project.run("migrate", "plan", url=blank)

    assert ran.code == 7
    assert f"{FIRST}:2: division by zero" in ran.err


def test_verify_names_objects_changed_outside_migrations(project: Project, blank: str) -> None:
    project.write(FIRST, TABLE)
    unknown = project.run("migrate", "verify", url=blank)
    project.run("migrate", "up", url=blank)
    clean = project.run("migrate", "verify", "--json", url=blank)
    query(
        blank,
        "alter table public.cakes add column secret text, drop column name;"
        "create function public.f() returns int language sql as 'select 1'",
    )

    drift = project.run("migrate", "verify", "--json", url=blank)

    assert unknown.code == 4
    assert clean.code == 0
    assert drift.code == 4
    assert drift.json["added"] == ["column public.cakes.secret", "function public.f()"]
    assert drift.json["gone"] == ["column public.cakes.name"]


# --- connections ------------------------------------------------------------------------------


def test_a_missing_server_gives_one_line_with_the_next_step(project: Project) -> None:
    ran = project.run("migrate", "up", url=NOWHERE)

    assert ran.code == 1
    assert "cannot connect to 127.0.0.1:1/nowhere: nothing listens there" in ran.err
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:s3cret-word@127.0.0.1:notaport/x",
        "postgresql://someone:s3cret-word@127.0.0.1:1/x?nonsense=1",
        "postgresql://someone:s3cret-word%zz@127.0.0.1/x",
        "s3cret-word",
    ],
)
def test_an_invalid_url_is_not_repeated(project: Project, url: str) -> None:
    ran = project.run("migrate", "up", url=url)

    assert ran.code == 2
    assert "s3cret-word" not in ran.out + ran.err


def test_a_missing_database_is_named(project: Project, server: Server) -> None:
    ran = project.run("migrate", "up", url=server.dsn("no_such_bakery"))

    assert ran.code == 1
    assert "no_such_bakery: no such database" in ran.err


def test_no_password_is_ever_shown(project: Project, server: Server, unmarked: str) -> None:
    with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as conn:
        conn.execute("drop role if exists discreet_baker")
        conn.execute("create role discreet_baker login password 's3cret-word'")
    url = psycopg.conninfo.make_conninfo(unmarked, user="discreet_baker", password="s3cret-word")
    project.write(FIRST, "select 1 / 0;\n")

    runs = [
        project.run(*command, url=url)
        for command in (
            ("migrate", "up"),
            ("migrate", "plan", "--json"),
            ("migrate", "status"),
            ("doctor",),
            ("seed",),
            ("reset", "--yes"),
        )
    ]

    assert [run.code for run in runs] == [11, 11, 0, 1, 11, 11]
    assert not any("s3cret-word" in run.out + run.err for run in runs)


def test_a_lost_connection_is_not_reported_as_a_failing_file(project: Project, blank: str) -> None:
    project.write(FIRST, "begin;\nselect pg_sleep(20);\ncommit;\n")
    running = project.start("migrate", "up", "--json", url=blank)
    mine = "from pg_stat_activity where query like '%pg_sleep(20)%' and pid <> pg_backend_pid()"
    wait_for(blank, f"select count(*) {mine}")

    query(blank, f"select pg_terminate_backend(pid) {mine}")
    out, said = running.communicate()

    assert (running.returncode, json.loads(out)["kind"]) == (1, "connection")
    assert "Traceback" not in said
    assert versions(blank) == []
