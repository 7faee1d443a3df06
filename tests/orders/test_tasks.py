"""Scheduled tasks run, wait and fail each by itself. Alerts say what is wrong now."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import postgres
from bakehouse.database import Connection
from calls import acting_as, ask, raises_code
from command import Project
from environments import mark
from postgres import Server
from rows import make_order, make_staff, set_clock, tick, value, values

ROOT = Path(__file__).parents[2]
YEAR = timedelta(days=366)
BROKEN = "begin raise exception using message = repeat('burnt ', 1000); end"

# What pg_cron has on Supabase: a table that nobody may write, and two functions of its owner.
CRON = """
create schema cron;
create table cron.job (
  jobid bigint generated always as identity, jobname text, schedule text, command text,
  username text default session_user, active boolean default true, unique (jobname, username)
);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql security definer as $$
  insert into cron.job (jobname, schedule, command) values (job_name, schedule, command)
  on conflict (jobname, username) do update set command = excluded.command returning jobid
$$;
create function cron.unschedule(job_id bigint) returns boolean
language sql security definer as 'delete from cron.job where jobid = job_id returning true';
grant usage on schema cron to {role};
grant select on cron.job to {role};
"""


def register(db: Connection, name: str, body: str, period: str = "tick") -> None:
    """Adds a task that runs a plpgsql block."""
    store = "p_store text" if period == "day" else ""
    db.execute("set role bakehouse_owner")
    create = f"create function app.{name}({store}) returns bigint language plpgsql as $${body}$$"
    db.execute(create.encode())
    db.execute("select app.register_task(%s, %s, %s)", (name, period, name))
    db.execute("reset role")


def run(db: Connection, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = value(db, "select app.run_task(%s)", name)
    return answer


def alerts(db: Connection, code: str) -> list[tuple[Any, ...]]:
    found = db.execute("select store, problem from app.alerts() where code = %s", (code,))
    return found.fetchall()


def pass_minutes(db: Connection, minutes: int) -> None:
    set_clock(db, value(db, "select app.now()") + timedelta(minutes=minutes))


@pytest.fixture
def clone(clone: str) -> str:
    """The DSN of a migrated database for one test, marked as dev."""
    return mark(clone)


@pytest.fixture
def committed(clone: str) -> Iterator[Connection]:
    """A session that commits, in a database of its own."""
    with psycopg.connect(clone, autocommit=True) as conn:
        yield conn


# Each task by itself


def test_a_sleeping_lock_on_one_order_delays_only_its_own_task(
    committed: Connection, clone: str
) -> None:
    order = make_order(committed, due_date=datetime.now(UTC).date())
    committed.execute("update public.orders set priority = 1 where true")
    with psycopg.connect(clone) as sleeper:
        sleeper.execute("select from public.orders where id = %s for update", (order,))

        ran = Project(ROOT).run("tick", "--json", url=clone)

    assert ran.code == 1
    assert list(ran.json["failed"]) == ["refresh_priorities bannos"]
    assert "lock timeout" in ran.json["failed"]["refresh_priorities bannos"]
    assert {"fill_holds", "fold_tally", "refresh_priorities flourlane"} < set(ran.json["tasks"])
    again = Project(ROOT).run("tick", "--json", url=clone)
    assert (again.code, again.json["tasks"]) == (0, {"refresh_priorities bannos": 1})


def test_a_locked_table_of_tasks_ends_the_tick_in_time(committed: Connection, clone: str) -> None:
    with committed.transaction():
        committed.execute("lock table app.task_runs in access exclusive mode")

        ran = Project(ROOT).run("tick", "--json", url=clone)

    assert (ran.code, list(ran.json["failed"])) == (1, ["app.due_tasks"])
    assert "lock timeout" in ran.json["failed"]["app.due_tasks"]


def test_a_failing_task_stops_no_other_and_keeps_its_error(
    committed: Connection, clone: str
) -> None:
    register(committed, "aaa_burn", BROKEN)
    register(committed, "zzz_bake", "begin return 7; end")

    ran = Project(ROOT).run("tick", url=clone)

    assert (ran.code, ran.err.splitlines()[1]) == (1, "error: 1 task failed: aaa_burn")
    lines = [line.split(maxsplit=1) for line in ran.out.splitlines()]
    assert ["zzz_bake", "7"] in lines
    assert committed.execute(
        "select length(last_error), failures, succeeded_at, failed_at is not null"
        " from app.task_runs where name = 'aaa_burn'"
    ).fetchone() == (200, 1, None, True)


def test_a_task_that_takes_too_long_is_ended_and_the_transaction_goes_on(db: Connection) -> None:
    register(db, "dawdle", "begin perform pg_sleep(20); return 1; end")
    db.execute("set local statement_timeout = '200ms'")

    answer = run(db, "dawdle")

    assert (answer["state"], "statement timeout" in answer["error"]) == ("failed", True)
    assert value(db, "select failures from app.task_runs where name = 'dawdle'") == 1


def test_a_failed_task_rolls_back_and_runs_again(db: Connection) -> None:
    register(db, "burn", "begin delete from app.hooks where true; raise 'burnt'; end")

    states = [run(db, "burn")["state"], run(db, "burn")["state"]]
    pass_minutes(db, 1)

    assert (states, run(db, "burn")["state"]) == (["failed", "not_due"], "failed")
    assert value(db, "select count(*) from app.hooks") > 0


def test_a_task_that_another_session_runs_is_busy_and_does_not_wait(
    committed: Connection, clone: str
) -> None:
    with psycopg.connect(clone) as other:
        run(other, "fill_holds")

        assert run(committed, "fill_holds") == {"task": "fill_holds", "state": "busy"}


def test_no_role_of_the_api_can_hold_up_a_task(db: Connection) -> None:
    for role in ("authenticated", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role):
            db.execute("select from app.task_runs for update")


def test_an_unknown_task_is_refused(db: Connection) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        run(db, "bake bread")


def test_a_daily_task_that_failed_stays_due_until_it_succeeds(db: Connection) -> None:
    register(db, "inspect", BROKEN, "day")
    run(db, "inspect bannos")
    assert "inspect bannos" in values(db, "select app.due_tasks('inspect')")

    db.execute("set local role bakehouse_owner")
    db.execute(
        "create or replace function app.inspect(p_store text) returns bigint language sql"
        " as 'select 1'"
    )
    db.execute("reset role")

    assert run(db, "inspect bannos")["state"] == "done"
    assert values(db, "select app.due_tasks('inspect')") == ["inspect flourlane"]


def test_a_new_store_gets_the_daily_tasks(db: Connection) -> None:
    db.execute(
        "insert into public.stores (code, name, scan_letter, time_zone, currency)"
        " values ('harbour', 'Harbour', 'H', 'Australia/Sydney', 'AUD')"
    )

    assert tick(db)["refresh_priorities harbour"] == 0


def test_a_clock_that_was_a_year_ahead_stops_no_task(db: Connection) -> None:
    now = datetime.now(UTC)
    tick(db)
    set_clock(db, now + YEAR)
    ahead = set(tick(db))
    set_clock(db, now + timedelta(seconds=1))

    behind = set(tick(db))

    assert ahead == behind == set(values(db, "select name from app.task_runs"))


# Alerts


def test_a_task_without_success_for_three_periods_is_an_alert(db: Connection) -> None:
    register(db, "burn", BROKEN)
    tick(db)
    assert alerts(db, "TASK_OVERDUE") == []
    for _ in range(3):
        pass_minutes(db, 1)
        tick(db)

    [(store, problem)] = alerts(db, "TASK_OVERDUE")

    assert store is None
    assert problem.startswith("Task burn has not succeeded for three periods.")
    assert "Its last error: burnt" in problem


def test_a_clock_that_stopped_is_one_alert(db: Connection) -> None:
    tick(db)
    pass_minutes(db, 2)
    assert alerts(db, "TICK_STOPPED") == []
    pass_minutes(db, 2)

    assert len(alerts(db, "TICK_STOPPED")) == 1
    assert alerts(db, "TASK_OVERDUE") == []


def test_an_alert_names_the_session_that_holds_the_run_of_a_task(
    committed: Connection, clone: str
) -> None:
    with psycopg.connect(clone, application_name="sleepy") as other, committed.transaction():
        pid = other.info.backend_pid
        other.execute("select from app.task_runs where name = 'fill_holds' for update")
        assert alerts(committed, "TASK_HELD") == []
        pass_minutes(committed, 2)

        [(_, problem)] = alerts(committed, "TASK_HELD")

    assert problem.startswith(
        f"Process {pid} (sleepy) has held the run of task fill_holds for 00:0"
    )


def test_a_supervisor_sees_which_session_holds_an_order(committed: Connection, clone: str) -> None:
    supervisor = make_staff(committed, role="Supervisor", store="bannos")
    order = make_order(committed)
    with psycopg.connect(clone, application_name="sleepy") as other, committed.transaction():
        pid = other.info.backend_pid
        other.execute("select from public.orders where id = %s for update", (order,))
        pass_minutes(committed, 2)

        problem = ask(
            committed,
            supervisor,
            "select problem from public.get_alerts() where code = 'LOCK_HELD'",
        )

    assert problem.startswith(f"Process {pid} (sleepy, idle in transaction)")
    assert "table public.orders_bannos" in problem


def test_an_alert_names_the_session_that_holds_an_advisory_lock_of_ours(
    committed: Connection, clone: str
) -> None:
    held = committed.execute("select key, name from app.advisory_locks order by name").fetchall()
    with psycopg.connect(clone, autocommit=True) as other, committed.transaction():
        pid = other.info.backend_pid
        for key, _ in held:
            other.execute("select pg_advisory_lock(%s)", (key,))
        other.execute("select pg_advisory_lock(42)")
        pass_minutes(committed, 2)

        [(_, problem)] = alerts(committed, "LOCK_HELD")

    assert problem.startswith(f"Process {pid} ")
    assert problem.endswith(f": {', '.join(str(name) for _, name in held)}.")


def test_every_advisory_lock_of_a_function_is_registered(db: Connection) -> None:
    found = values(
        db,
        r"select distinct (regexp_matches("
        r"prosrc, 'hashtext(?:extended)?\(''[^'']+''(?:, \d+)?\)', 'g'))[1]"
        r" from pg_proc where pronamespace::regnamespace::text in ('public', 'app')"
        r" and prosrc ~ 'advisory'",
    )

    taken = {db.execute(f"select {key}::bigint".encode()).fetchone() for key in found}

    assert taken == set(db.execute("select key from app.advisory_locks").fetchall())


@pytest.mark.parametrize(
    ("code", "store", "arrange"),
    [
        (
            "WORK_DEAD",
            None,
            "insert into public.work_dead"
            " (id, topic, priority, payload, retries, max_retries, created_at)"
            " values (1, 'bake', 5, '{}', 3, 3, now())",
        ),
        (
            "WORK_WAITING",
            None,
            "insert into public.work_queue (topic, payload, changed_at)"
            " values ('bake', '{}', now() - interval '16 minutes')",
        ),
        (
            "WORK_WAITING",
            None,
            "insert into public.work_queue (topic, payload, next_retry_at)"
            " values ('bake', '{}', now() - interval '16 minutes')",
        ),
        (
            "WEBHOOKS_DEAD",
            "bannos",
            "insert into public.webhook_deliveries"
            " (store, webhook_id, topic, status, last_error, body)"
            " values ('bannos', 'w', 'orders/create', 'dead', 'BAD_INPUT', '{}')",
        ),
        (
            "WEBHOOKS_PAUSED",
            None,
            "insert into app.ingest_pause (reason, since)"
            " values ('moving', now() - interval '61 minutes')",
        ),
        (
            "PAUSE_EXPIRED",
            None,
            "insert into app.ingest_pause (reason, until)"
            " values ('moving', now() - interval '1 second')",
        ),
    ],
)
def test_what_is_wrong_is_an_alert(
    db: Connection, code: str, store: str | None, arrange: str
) -> None:
    assert alerts(db, code) == []
    db.execute(arrange.encode())

    assert [alert[0] for alert in alerts(db, code)] == [store]


def test_a_store_without_a_partition_takes_no_order_and_is_an_alert(db: Connection) -> None:
    db.execute(
        "insert into public.stores (code, name, scan_letter, time_zone, currency)"
        " values ('harbour', 'Harbour', 'H', 'Australia/Sydney', 'AUD')"
    )
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction():
        make_order(db, store="harbour")

    assert [alert[0] for alert in alerts(db, "NO_PARTITION")] == ["harbour"]
    for store, seen in (("harbour", 1), ("bannos", 0)):
        account = make_staff(db, role="Supervisor", store=store)
        query = "select count(*) from public.get_alerts() where code = 'NO_PARTITION'"
        assert ask(db, account, query) == seen
    remedy = value(db, "select remedy from app.partition_alerts()")
    db.execute(remedy.removeprefix("As the migration role: ").encode())
    make_order(db, store="harbour")
    assert alerts(db, "NO_PARTITION") == []


def test_an_alert_that_fails_hides_no_other(db: Connection) -> None:
    db.execute("set local role bakehouse_owner")
    db.execute(
        "create function app.burn() returns setof app.alert language plpgsql as 'begin raise; end'"
    )
    db.execute("select app.register_hook('alerts', 0, 'burn')")
    db.execute("reset role")
    db.execute("insert into app.ingest_pause (reason, until) values ('moving', now())")

    assert len(alerts(db, "ALERTS_INCOMPLETE")) == 1
    assert len(alerts(db, "PAUSE_EXPIRED")) == 1


def test_the_status_of_the_tick_is_for_supervisors_in_their_stores(
    db: Connection, baker: Any
) -> None:
    tick(db)
    account = make_staff(db, role="Supervisor", store="bannos")

    with acting_as(db, "authenticated", account):
        rows = db.execute(
            "select task, store, last_success = now(), duration < '1 minute', last_error"
            " from public.get_tick_status()"
        ).fetchall()

    assert ("refresh_priorities", "bannos", True, True, None) in rows
    assert ("fill_holds", None, True, True, None) in rows
    assert {row[1] for row in rows} == {None, "bannos"}
    for rpc in ("get_tick_status", "get_alerts"):
        with raises_code("PERMISSION_DENIED", "PT403"):
            ask(db, baker, f"select public.{rpc}()")


def test_doctor_prints_the_alerts(committed: Connection, clone: str) -> None:
    committed.execute("insert into app.ingest_pause (reason, until) values ('moving', now())")

    ran = Project(ROOT).run("doctor", "--json", url=clone)

    found = {check["name"]: check for check in ran.json["checks"]}
    assert found["alert PAUSE_EXPIRED"]["state"] == "note"
    assert "moving" in found["alert PAUSE_EXPIRED"]["detail"]


# pg_cron


def test_each_task_is_a_job_of_pg_cron(server: Server, blank: str) -> None:
    name = conninfo_to_dict(blank)["dbname"]
    with psycopg.connect(server.superuser_dsn(str(name)), autocommit=True) as superuser:
        superuser.execute(CRON.format(role=server.migration_role).encode())
        with psycopg.connect(blank, autocommit=True) as conn:
            conn.execute("select cron.schedule('bakehouse tick', '* * * * *', 'select 1')")
        with server.one_at_a_time():
            postgres.migrate(blank)

        with psycopg.connect(blank, autocommit=True) as conn:
            jobs: dict[Any, Any] = dict(
                conn.execute("select jobname, command from cron.job").fetchall()
            )
            tasks = values(conn, "select name from app.tasks")
            for command in jobs.values():
                conn.execute(str(command).encode())
            ran = value(
                conn, "select bool_and(failures = 0 and started_at is not null) from app.task_runs"
            )
            conn.execute("delete from app.tasks where name = 'purge_work'")
            left = values(conn, "select jobname from cron.job")

    assert set(jobs) == {f"bakehouse {task}" for task in tasks}
    assert ran
    assert set(jobs) - set(left) == {"bakehouse purge_work"}
