"""The work queue loses no job, and gives no job out twice. Also the nightly tick."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg.types.json import Jsonb

from audit import audit
from bakehouse.database import Connection
from calls import acting_as, raises_code
from rows import make_order, make_staff, set_clock, tick, value, values

START = datetime.fromisoformat("2026-03-02T10:00:00+11:00")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Claim:
    token: UUID | None
    jobs: dict[int, Any]  # the payload of each id, in the order of the claim

    @property
    def ids(self) -> list[int]:
        return list(self.jobs)


def service(db: Connection, query: LiteralString, *parameters: object) -> Any:
    with acting_as(db, "service_role"):
        return value(db, query, *parameters)


def enqueue(
    db: Connection,
    key: str | None = None,
    *,
    topic: str = "bake",
    priority: int = 5,
    delay: timedelta = timedelta(0),
    max_retries: int = 3,
    payload: object = None,
) -> int | None:
    job: int | None = service(
        db,
        "select public.enqueue_work(%s, %s, %s, %s::smallint, %s, %s::smallint)",
        *(topic, Jsonb(payload or {"key": key}), key, priority, delay, max_retries),
    )
    return job


def claim(
    db: Connection,
    limit: int = 10,
    *,
    topics: tuple[str, ...] = ("bake",),
    lease: timedelta = MINUTE,
) -> Claim:
    with acting_as(db, "service_role"):
        rows = db.execute(
            "select id, token, payload from public.claim_work(%s, 'baker', %s, %s)",
            (list(topics), limit, lease),
        ).fetchall()
    return leased(rows)


def leased(rows: list[Any]) -> Claim:
    return Claim(rows[0][1] if rows else None, {row[0]: row[2] for row in rows})


def go_on(db: Connection, held: Claim, limit: int = 10, *, lease: timedelta = MINUTE) -> Claim:
    """Completes the jobs of a claim, and claims the next ones."""
    with acting_as(db, "service_role"):
        rows = db.execute(
            "select id, token, payload "
            "from public.complete_and_claim_work(%s, %s, '{bake}', 'baker', %s, %s)",
            (held.token, held.ids, limit, lease),
        ).fetchall()
    return leased(rows)


def complete(db: Connection, held: Claim) -> int:
    done: int = service(db, "select public.complete_work(%s, %s)", held.token, held.ids)
    return done


def fail(db: Connection, held: Claim, delay: timedelta | None = None) -> int:
    failed: int = service(
        db, "select public.fail_work(%s, %s, 'burnt', %s)", held.token, held.ids, delay
    )
    return failed


def status(db: Connection, job: int | None) -> str | None:
    found = values(db, "select status from app.work_status where id = %s", job)
    return str(found[0]) if found else None


def wait(db: Connection, passed: timedelta) -> None:
    set_clock(db, value(db, "select app.now()") + passed)


# Claims


def test_the_most_urgent_job_comes_first_and_then_the_oldest(db: Connection) -> None:
    usual, urgent, later = enqueue(db), enqueue(db, priority=9), enqueue(db)

    assert claim(db, 2).ids == [urgent, usual]
    assert claim(db, 2).ids == [later]


def test_topics_are_served_in_the_order_of_the_call(db: Connection) -> None:
    bake, push = enqueue(db), enqueue(db, topic="push", priority=1)

    assert claim(db, 5, topics=("push", "bake")).ids == [push, bake]


def test_a_claim_takes_at_most_its_limit_and_leaves_other_topics(db: Connection) -> None:
    service(
        db,
        "select public.enqueue_work_many('bake', %s)",
        [Jsonb({"n": n}) for n in range(50)],
    )
    other = enqueue(db, topic="push")

    taken = [len(claim(db, 20).ids) for _ in range(3)]

    assert taken == [20, 20, 10]
    assert status(db, other) == "ready"


def test_a_delayed_job_waits_for_its_time(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db, delay=timedelta(hours=1))

    assert (status(db, job), claim(db).ids) == ("scheduled", [])
    wait(db, timedelta(hours=1))
    assert claim(db).ids == [job]


def test_a_claim_touches_no_index_and_reads_no_whole_table(db: Connection) -> None:
    """The plan was made for an empty queue, and must suit a full queue too."""
    counters: LiteralString = (
        "select array[n_tup_upd - n_tup_hot_upd, seq_scan] "
        "from pg_stat_xact_user_tables where relname = 'work_queue'"
    )
    complete(db, claim(db, 100))
    service(
        db, "select public.enqueue_work_many('bake', %s)", [Jsonb({"n": n}) for n in range(5000)]
    )
    before = value(db, counters)

    for _ in range(10):
        complete(db, claim(db, 100))

    assert value(db, counters) == before


def test_completing_a_job_reads_no_other_job_with_a_key(db: Connection) -> None:
    counter: LiteralString = (
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables "
        "where relname = 'work_queue'"
    )
    db.execute("set local role bakehouse_owner")
    db.execute("analyze public.work_queue")  # the plan is made for an empty queue
    db.execute("reset role")
    complete(db, Claim(uuid4(), {1: None}))
    service(
        db,
        "select public.enqueue_work_many('bake', %s, %s)",
        *([Jsonb({})] * 1000, [f"cake-{n}" for n in range(1000)]),
    )
    held = claim(db)
    before = value(db, counter)

    complete(db, held)

    assert value(db, counter) - before < 100


# A worker that goes on after its last job


def test_a_worker_goes_on_after_its_last_job_and_soon_looks_before_it(db: Connection) -> None:
    set_clock(db, START)
    first, _, third, fourth = (enqueue(db) for _ in range(4))
    returned, held = claim(db, 1), claim(db, 1)
    service(db, "select public.extend_work_lease(%s, %s, '0')", returned.token, returned.ids)

    db.execute("select set_config('bakehouse.front', 'long', true)")  # as after many dead rows
    held = go_on(db, held, 1)
    assert held.ids == [third]
    wait(db, timedelta(seconds=1))
    held = go_on(db, held, 1)
    assert held.ids == [first]
    assert go_on(db, held).ids == [fourth]


def test_a_worker_with_too_few_jobs_looks_before_its_last_one(db: Connection) -> None:
    set_clock(db, START)
    first, _, third = (enqueue(db) for _ in range(3))
    returned, held = claim(db, 1), claim(db, 1)
    service(db, "select public.extend_work_lease(%s, %s, '0')", returned.token, returned.ids)

    assert set(go_on(db, held, 2).ids) == {first, third}


def test_a_worker_that_goes_on_takes_urgent_and_due_jobs_first(db: Connection) -> None:
    set_clock(db, START)
    due = enqueue(db, delay=timedelta(milliseconds=1))
    enqueue(db), enqueue(db), enqueue(db)
    held = claim(db, 1)
    urgent = enqueue(db, priority=9)

    held = go_on(db, held, 1)
    assert held.ids == [urgent]
    wait(db, timedelta(milliseconds=1))
    assert go_on(db, held, 1).ids == [due]


def test_a_worker_that_goes_on_reads_no_finished_jobs(db: Connection) -> None:
    """The finished jobs stay in the table and its indexes while a snapshot could see them."""
    set_clock(db, START)
    service(
        db, "select public.enqueue_work_many('bake', %s)", [Jsonb({"n": n}) for n in range(3000)]
    )
    claim(db, 1)
    for limit in (1000, 1000):
        pages_of_going_on(db, limit)

    from_the_front = pages_of_going_on(db, 1)  # meets the finished jobs

    assert pages_of_going_on(db, 1) < from_the_front / 10


def pages_of_going_on(db: Connection, limit: int) -> int:
    token, ids = db.execute(
        "select token, array_agg(id order by id) from public.work_queue "
        "where token is not null group by token"
    ).fetchone() or (None, None)
    call: LiteralString = (
        "explain (analyze, buffers, format json) "
        "select from public.complete_and_claim_work(%s, %s, '{bake}', 'baker', %s)"
    )
    pages: int = service(db, call, token, ids, limit)[0]["Plan"]["Shared Hit Blocks"]
    return pages


# Duplicates


@pytest.mark.spec("vector-16")
def test_a_duplicate_enqueue_is_one_job(db: Connection) -> None:
    job = enqueue(db, "cake-1", payload={"n": 1})

    assert enqueue(db, "cake-1", payload={"n": 2}) is None
    assert claim(db).jobs == {job: {"n": 1}}


def test_a_key_is_free_again_once_its_job_is_done(db: Connection) -> None:
    enqueue(db, "cake-1")
    complete(db, claim(db))

    assert enqueue(db, "cake-1") is not None


def test_jobs_without_a_key_or_of_other_topics_are_never_duplicates(db: Connection) -> None:
    jobs = [enqueue(db), enqueue(db), enqueue(db, "a"), enqueue(db, "a", topic="push")]

    assert None not in jobs
    assert len(set(jobs)) == 4


def test_a_batch_with_a_key_twice_makes_one_job(db: Connection) -> None:
    made = service(
        db,
        "select public.enqueue_work_many('bake', %s, %s)",
        [Jsonb({"n": n}) for n in range(5)],
        ["b", "a", "b", None, None],
    )

    assert made == 4
    assert [job["n"] for job in claim(db).jobs.values()] == [1, 0, 3, 4]


@pytest.mark.spec("P7")
def test_a_key_requested_while_its_job_runs_is_done_again(
    db: Connection,
) -> None:
    job = enqueue(db, "cake-1")
    held = claim(db)

    assert (enqueue(db, "cake-1"), enqueue(db, "cake-1")) == (job, None)
    assert claim(db).ids == []
    assert complete(db, held) == 1
    again = claim(db)
    assert again.ids == [job]
    assert complete(db, again) == 1
    assert value(db, "select count(*) from public.work_queue") == 0


@pytest.mark.spec("P7")
def test_an_expired_lease_beside_a_newer_request_blocks_nothing(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db, "cake-1")
    late = claim(db)
    enqueue(db, "cake-1")
    wait(db, 2 * MINUTE)

    # the second claim took the job over, so the late worker can complete nothing
    assert claim(db).ids == [job]
    assert complete(db, late) == 0


def test_a_late_worker_that_was_not_replaced_loses_no_request(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db, "cake-1")
    late = claim(db)
    wait(db, 2 * MINUTE)
    enqueue(db, "cake-1")

    assert complete(db, late) == 1
    assert claim(db).ids == [job]


def test_a_request_is_not_lost_when_the_running_job_dies(db: Connection) -> None:
    job = enqueue(db, "cake-1", max_retries=0)
    held = claim(db)
    enqueue(db, "cake-1")

    fail(db, held, timedelta(0))

    assert status(db, job) == "scheduled"
    assert claim(db).ids == [job]


# Failures


@pytest.mark.spec("vector-16")
def test_a_job_whose_worker_dies_is_recovered(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db)
    claim(db)

    wait(db, MINUTE - timedelta(seconds=1))
    assert claim(db).ids == []
    wait(db, timedelta(seconds=1))
    assert claim(db).ids == [job]
    assert value(db, "select retries from public.work_queue") == 1


@pytest.mark.spec("vector-16")
def test_after_its_last_retry_a_job_is_a_dead_letter(db: Connection) -> None:
    job = enqueue(db, "cake-1", max_retries=2)
    for _ in range(3):
        assert status(db, job) in ("ready", "scheduled")
        fail(db, claim(db), timedelta(0))

    assert status(db, job) == "dead"
    assert claim(db).ids == []
    admin = make_staff(db, role="Admin")
    with acting_as(db, "authenticated", admin):
        assert values(db, "select last_error from public.get_dead_work('bake')") == ["burnt"]
        assert value(db, "select public.requeue_dead_work(%s)", [job]) == 1
    assert claim(db).ids == [job]
    assert values(
        db, "select actor_id from public.audit_log where action = 'requeue_dead_work'"
    ) == [admin]


def test_a_job_that_kills_its_workers_becomes_a_dead_letter(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db, max_retries=1)
    for _ in range(2):
        assert claim(db).ids == [job]
        wait(db, MINUTE)

    assert (status(db, job), claim(db).ids) == ("exhausted", [])
    assert service(db, "select public.reap_work()") == 1
    assert status(db, job) == "dead"


def test_requeueing_a_dead_job_beside_a_new_one_of_its_key_adds_no_job(
    db: Connection,
) -> None:
    job = enqueue(db, "cake-1", max_retries=0)
    fail(db, claim(db))
    newer = enqueue(db, "cake-1")

    assert service(db, "select public.requeue_dead_work(%s)", [job]) == 1
    assert claim(db).ids == [newer]
    assert status(db, job) is None


def test_retries_wait_longer_each_time_with_jitter(db: Connection) -> None:
    set_clock(db, START)
    service(
        db,
        "select public.enqueue_work_many('bake', %s, p_max_retries => 20::smallint)",
        [Jsonb({})] * 30,
    )
    for attempt in range(12):
        fail(db, claim(db, 30))
        waits = values(
            db, "select extract(epoch from next_retry_at - app.now()) from public.work_queue"
        )
        middle = min(30 * 4**attempt, 3600)
        assert all(0.5 * middle <= seconds <= 1.5 * middle for seconds in map(float, waits))
        assert len(set(waits)) > 20
        wait(db, timedelta(hours=2))


def test_only_the_claim_that_holds_a_job_can_change_it(db: Connection) -> None:
    job = enqueue(db)
    held = claim(db)
    stranger = Claim(uuid4(), held.jobs)

    assert (complete(db, stranger), fail(db, stranger), complete(db, Claim(None, held.jobs))) == (
        *(0, 0),
        0,
    )
    assert status(db, job) == "running"
    assert complete(db, held) == 1
    assert (complete(db, held), fail(db, held)) == (0, 0)


def test_a_lease_can_be_extended_or_released_without_a_retry(db: Connection) -> None:
    set_clock(db, START)
    job = enqueue(db)
    held = claim(db)
    extend: LiteralString = "select public.extend_work_lease(%s, %s, %s)"

    assert service(db, extend, held.token, held.ids, 10 * MINUTE) == 1
    wait(db, 5 * MINUTE)
    assert claim(db).ids == []
    assert service(db, extend, held.token, held.ids, timedelta(0)) == 1
    assert claim(db).ids == [job]
    assert value(db, "select retries from public.work_queue") == 0


def test_finished_jobs_are_archived_for_a_while(db: Connection) -> None:
    set_clock(db, START)
    for _ in range(3):
        enqueue(db)
    complete(db, claim(db, 2))
    wait(db, timedelta(days=20))
    complete(db, claim(db))

    assert value(db, "select count(*) from public.work_archive") == 3
    wait(db, timedelta(days=11))
    assert [value(db, "select app.purge_work(p_limit => 1)") for _ in range(3)] == [1, 1, 0]
    assert value(db, "select count(*) from public.work_archive") == 1


# The interface


@pytest.mark.parametrize(
    "call",
    [
        "enqueue_work(null, '{}')",
        "enqueue_work('Bake!', '{}')",
        "enqueue_work('bake', null)",
        "enqueue_work('bake', '[]')",
        "enqueue_work('bake', '{}', '')",
        "enqueue_work('bake', '{}', repeat('x', 201))",
        "enqueue_work('bake', '{}', null, 0::smallint)",
        "enqueue_work('bake', '{}', null, 10::smallint)",
        "enqueue_work('bake', '{}', null, null)",
        "enqueue_work('bake', '{}', null, 5::smallint, '-1 day')",
        "enqueue_work('bake', '{}', null, 5::smallint, '2 years')",
        "enqueue_work('bake', '{}', null, 5::smallint, '0', -1::smallint)",
        "enqueue_work_many('bake', null)",
        "enqueue_work_many('bake', array['{}', null]::jsonb[])",
        "enqueue_work_many('bake', array['{}', '{}']::jsonb[], array['a'])",
        "claim_work(null, 'baker')",
        "claim_work('{}', 'baker')",
        "claim_work('{bake}', null)",
        "claim_work('{bake}', 'baker', 0)",
        "claim_work('{bake}', 'baker', 1001)",
        "claim_work('{bake}', 'baker', null)",
        "claim_work('{bake}', 'baker', 1, '0')",
        "claim_work('{bake}', 'baker', 1, null)",
        "extend_work_lease(gen_random_uuid(), '{1}', null)",
        "extend_work_lease(gen_random_uuid(), '{1}', '-1 s')",
        "fail_work(gen_random_uuid(), '{1}', 'burnt', '-1 s')",
    ],
)
def test_bad_input_is_refused_without_repeating_it(db: Connection, call: LiteralString) -> None:
    query: LiteralString = "select public." + call

    with raises_code("BAD_INPUT", "PT400"), acting_as(db, "service_role"):
        db.execute(query)


@pytest.mark.parametrize(
    "call", ["get_work_queue_stats()", "get_dead_work()", "requeue_dead_work('{1}')"]
)
def test_only_admins_read_the_queue(db: Connection, call: LiteralString) -> None:
    query: LiteralString = "select * from public." + call

    with acting_as(db, "authenticated", make_staff(db, role="Admin")):
        db.execute(query)
    with (
        raises_code("PERMISSION_DENIED", "PT403"),
        acting_as(db, "authenticated", make_staff(db, role="Supervisor")),
    ):
        db.execute(query)


def test_no_account_can_claim_or_complete_jobs(db: Connection) -> None:
    admin = make_staff(db, role="Admin")

    for call in ("enqueue_work('bake', '{}')", "claim_work('{bake}', 'me')", "reap_work()"):
        query = f"select * from public.{call}".encode()
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            acting_as(db, "authenticated", admin),
        ):
            db.execute(query)


def test_the_stats_count_each_topic(db: Connection) -> None:
    set_clock(db, START)
    dead = enqueue(db, max_retries=0)
    fail(db, claim(db))
    enqueue(db, delay=MINUTE)
    enqueue(db, priority=9)
    claim(db, 1)
    enqueue(db)
    enqueue(db, topic="push")
    complete(db, claim(db, topics=("push",)))

    with acting_as(db, "service_role"):
        rows = db.execute("select * from public.get_work_queue_stats()").fetchall()

    assert dead is not None
    assert rows == [("bake", 1, 1, 1, 1, 0, START), ("push", 0, 0, 0, 0, 1, None)]


def test_a_transaction_notifies_once_per_topic(clone: str) -> None:
    with (
        psycopg.connect(clone, autocommit=True) as listener,
        psycopg.connect(clone) as db,
    ):
        listener.execute("listen bakehouse_work")
        for key in ("a", "b", "b", "c"):
            enqueue(db, key)
        enqueue(db, topic="push")
        enqueue(db, topic="later", delay=MINUTE)
        assert list(listener.notifies(timeout=0.2)) == []
        db.commit()

        heard = [note.payload for note in listener.notifies(timeout=5, stop_after=2)]

        assert heard == ["bake", "push"]
        assert list(listener.notifies(timeout=0.2)) == []


# Races


def test_a_job_is_claimed_only_after_its_change_is_committed(
    clone: str,
) -> None:
    with psycopg.connect(clone) as order, psycopg.connect(clone, autocommit=True) as worker:
        job = enqueue(worker, "cake-1")

        assert enqueue(order, "cake-1") is None
        assert claim(worker).ids == []
        order.commit()
        assert claim(worker).ids == [job]


def test_completing_a_job_waits_for_a_change_that_requests_it_again(clone: str) -> None:
    with (
        psycopg.connect(clone) as order,
        psycopg.connect(clone, autocommit=True) as worker,
        ThreadPoolExecutor() as pool,
    ):
        job = enqueue(worker, "cake-1")
        held = claim(worker)
        enqueue(order, "cake-1")
        completing = pool.submit(complete, worker, held)
        time.sleep(0.2)
        assert not completing.done()
        order.commit()

        assert completing.result() == 1
        assert claim(worker).ids == [job]


def test_orders_and_workers_over_the_same_keys_never_deadlock(clone: str) -> None:
    keys = [f"cake-{n}" for n in range(8)]
    end = time.monotonic() + 4

    def order(seed: int) -> int:
        chance, count = random.Random(seed), 0
        with psycopg.connect(clone) as db:
            while time.monotonic() < end:
                for key in sorted(chance.sample(keys, 4)):
                    enqueue(db, key)
                db.commit()
                some = chance.sample(keys, 4)
                service(
                    db,
                    "select public.enqueue_work_many('bake', %s, %s)",
                    [Jsonb({})] * len(some),
                    some,
                )
                db.commit()
                count += 1
        return count

    def work(seed: int) -> int:
        chance, count = random.Random(seed), 0
        with psycopg.connect(clone, autocommit=True) as db:
            while time.monotonic() < end:
                held = claim(db, 6)
                mine = Claim(
                    held.token, dict(chance.sample(list(held.jobs.items()), len(held.ids)))
                )
                count += (
                    fail(db, mine, timedelta(0)) if chance.random() < 0.2 else complete(db, mine)
                )
        return count

    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(order, 1), pool.submit(order, 2), pool.submit(work, 3)]
        runs.append(pool.submit(work, 4))
        counts = [run.result() for run in runs]

    assert min(counts) > 5


def test_each_job_completes_once_although_workers_die_and_leases_expire(clone: str) -> None:
    jobs = 300
    with psycopg.connect(clone, autocommit=True) as db:
        service(
            db,
            "select public.enqueue_work_many('bake', %s, p_max_retries => 1000::smallint)",
            [Jsonb({"n": n}) for n in range(jobs)],
        )
    completed = threading.Semaphore(0)
    end = time.monotonic() + 60

    def work(seed: int) -> int:
        chance, count = random.Random(seed), 0
        while time.monotonic() < end:
            with psycopg.connect(clone, autocommit=True) as db:
                for _ in range(chance.randrange(1, 20)):
                    held = claim(db, chance.randrange(1, 30), lease=timedelta(seconds=1))
                    if chance.random() < 0.1:
                        break  # the worker dies and keeps its jobs
                    if chance.random() < 0.05:
                        time.sleep(1.1)  # longer than its lease
                    done = complete(db, held) if held.ids else 0
                    count += done
                    if value(db, "select count(*) from public.work_queue") == 0:
                        completed.release()
                        return count
        raise AssertionError("the queue did not drain")

    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(work, range(4)))

    with psycopg.connect(clone) as db:
        done = values(db, "select (payload ->> 'n')::int from public.work_archive order by 1")
    assert done == list(range(jobs))
    assert sum(counts) == jobs


def test_no_job_is_lost_by_late_commits_rollbacks_and_dead_workers(clone: str) -> None:
    """All that a worker could pass by when it goes on after its last job, under an old snapshot."""
    batches, size = 40, 5
    end = time.monotonic() + 60

    def order(seed: int) -> list[str]:
        chance, made = random.Random(seed), []
        with psycopg.connect(clone) as db:
            for batch in range(batches):
                names = [f"{seed}-{batch}-{n}" for n in range(size)]
                service(
                    db,
                    "select public.enqueue_work_many('bake', %s, null, %s::smallint, "
                    "p_max_retries => 1000::smallint)",
                    *([Jsonb({"n": name}) for name in names], chance.choice([1, 5, 9])),
                )
                time.sleep(chance.random() / 50)
                db.commit()
                made += names
        return made

    def work(seed: int) -> None:
        chance, held = random.Random(seed), Claim(None, {})
        with psycopg.connect(clone) as db:
            while time.monotonic() < end:
                after = go_on(db, held, chance.randrange(1, 4), lease=timedelta(seconds=1))
                if chance.random() < 0.1:
                    db.rollback()
                    continue
                done = all(one.done() for one in orders)
                left = value(db, "select count(*) from public.work_queue")
                db.commit()
                held = after if chance.random() > 0.05 else Claim(None, {})  # the worker dies
                if done and not left:
                    return
        raise AssertionError("the queue did not drain")

    with psycopg.connect(clone) as reader, ThreadPoolExecutor() as pool:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select from public.stores")
        orders = [pool.submit(order, seed) for seed in (1, 2)]
        for worker in [pool.submit(work, seed) for seed in (3, 4, 5)]:
            worker.result()
        made = sorted(name for one in orders for name in one.result())

    with psycopg.connect(clone) as db:
        done = sorted(values(db, "select payload ->> 'n' from public.work_archive"))
    assert done == made


class Bakery(RuleBasedStateMachine):
    """The queue compared with a model. Both use the same clock."""

    db: ClassVar[Connection]

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.db.execute("savepoint bakery")
        set_clock(self.db, self.now)
        self.claims: list[tuple[Claim, datetime]] = []
        self.asked: dict[str, int] = {}  # the number of requests per key
        self.seen: dict[str, int] = {}  # those that a completed job has served
        self.knows: dict[UUID, dict[str, int]] = {}
        self.dead: set[str] = set()

    def teardown(self) -> None:
        assert audit(self.db) == {}
        self.db.execute("rollback to savepoint bakery")

    keys = st.sampled_from(["a", "b", "c", "d"])
    nth = st.integers(0, 3)

    @rule(key=keys, priority=st.integers(1, 9))
    def ask(self, key: str, priority: int) -> None:
        enqueue(self.db, key, priority=priority)
        self.asked[key] = self.asked.get(key, 0) + 1
        self.dead.discard(key)

    @rule(limit=st.integers(1, 3), seconds=st.sampled_from([5, 60]))
    def take(self, limit: int, seconds: int) -> None:
        self.took(claim(self.db, limit, lease=timedelta(seconds=seconds)), seconds)

    def took(self, held: Claim, seconds: int) -> None:
        running = {job for one, until in self.claims if until > self.now for job in one.ids}
        assert not running & set(held.ids), "handed out twice"
        if held.token:
            self.claims.append((held, self.now + timedelta(seconds=seconds)))
            keys = [payload["key"] for payload in held.jobs.values()]
            self.knows[held.token] = {key: self.asked[key] for key in keys}

    @rule(which=nth)
    def finish(self, which: int) -> None:
        if which < len(self.claims):
            held, until = self.claims.pop(which)
            still = self.still(held)
            count = complete(self.db, held)
            assert count == len(still)
            assert count == len(held.ids) or until <= self.now
            self.served(held, still)

    @rule(which=nth, limit=st.integers(1, 3))
    def finish_and_take(self, which: int, limit: int) -> None:
        if which < len(self.claims):
            held, _ = self.claims.pop(which)
            still = self.still(held)
            after = go_on(self.db, held, limit, lease=MINUTE)
            self.served(held, still)
            self.took(after, 60)
            waiting = values(self.db, "select id from app.work_status where status = 'ready'")
            assert len(after.ids) == limit or not waiting

    def still(self, held: Claim) -> list[str]:
        return values(
            self.db, "select dedupe_key from public.work_queue where token = %s", held.token
        )

    def served(self, held: Claim, still: list[str]) -> None:
        assert held.token
        for key in still:
            self.seen[key] = max(self.seen.get(key, 0), self.knows[held.token][key])

    @rule(which=nth)
    def burn(self, which: int) -> None:
        if which < len(self.claims):
            held, until = self.claims.pop(which)
            assert fail(self.db, held) == len(held.ids) or until <= self.now

    @rule(which=nth)
    def give_back(self, which: int) -> None:
        if which < len(self.claims):
            held, _ = self.claims.pop(which)
            service(self.db, "select public.extend_work_lease(%s, %s, '0')", held.token, held.ids)

    @rule(seconds=st.sampled_from([1, 10, 100, 10_000]))
    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        set_clock(self.db, self.now)

    @rule()
    def bury(self) -> None:
        service(self.db, "select public.reap_work()")

    @invariant()
    def no_request_is_lost(self) -> None:
        """Each request has an open or dead job, or a job that ended after the request."""
        kept = set(values(self.db, "select dedupe_key from app.work_status"))
        lost = {key for key, count in self.asked.items() if self.seen.get(key, 0) < count} - kept
        assert not lost


def test_no_request_is_ever_lost_or_handed_out_twice(db: Connection) -> None:
    Bakery.db = db
    run_state_machine_as_test(
        Bakery,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# The clock


def test_a_clock_that_was_ahead_for_a_while_delays_no_job(db: Connection) -> None:
    set_clock(db, START)
    delayed = enqueue(db, "delayed", topic="rest", delay=timedelta(days=310))
    failing, held, returned = enqueue(db, "a"), enqueue(db, "b"), enqueue(db, "c")
    wait(db, timedelta(days=300))
    claimed = claim(db)
    fail(db, Claim(claimed.token, {failing or 0: None}))
    service(db, "select public.extend_work_lease(%s, %s, '0')", claimed.token, [returned])
    set_clock(db, START)

    tick(db)

    again = claim(db)
    assert again.ids == [returned]
    complete(db, again)
    wait(db, MINUTE)
    assert set(claim(db).ids) == {failing, held}
    assert status(db, delayed) == "scheduled"
    wait(db, timedelta(days=310))
    assert claim(db, topics=("rest",)).ids == [delayed]


# The tick


@pytest.mark.parametrize(
    ("before", "after"),
    [  # with the nights when clocks go forward and back
        ("2026-11-20T23:30:00+11:00", "2026-11-21T00:30:00+11:00"),
        ("2026-10-03T23:30:00+10:00", "2026-10-04T00:30:00+10:00"),
        ("2026-04-04T23:30:00+11:00", "2026-04-05T00:30:00+11:00"),
    ],
)
@pytest.mark.spec("P39")
def test_priorities_change_at_midnight_in_the_store(
    db: Connection, before: str, after: str
) -> None:
    tomorrow = datetime.fromisoformat(after).date()
    set_clock(db, before)
    orders = {
        "soon": make_order(db, due_date=tomorrow + timedelta(days=1)),
        "far": make_order(db, due_date=tomorrow + timedelta(days=9)),
        "kept": make_order(db, due_date=tomorrow + timedelta(days=1), priority_override=1),
        "cancelled": make_order(
            db, due_date=tomorrow + timedelta(days=1), cancelled_at=datetime.fromisoformat(before)
        ),
    }

    def ranks() -> dict[str, Any]:
        return {
            name: value(db, "select priority from public.orders where id = %s", order)
            for name, order in orders.items()
        }

    tick(db)
    assert ranks() == {"soon": 2, "far": 1, "kept": 1, "cancelled": 2}
    set_clock(db, after)
    assert tick(db)["refresh_priorities bannos"] == 1
    assert ranks() == {"soon": 3, "far": 1, "kept": 1, "cancelled": 2}
    assert values(
        db,
        "select meta ->> 'orders' from public.audit_log "
        "where action = 'refresh_priorities' and actor_kind = 'system'",
    ) == ["1"]


def test_a_days_tasks_run_once_per_store_in_its_own_zone(db: Connection) -> None:
    db.execute("update public.stores set time_zone = 'Europe/Oslo' where code = 'flourlane'")
    set_clock(db, "2026-11-20T20:00:00+11:00")

    first = tick(db)
    assert {"reconcile bannos", "reconcile flourlane"} < set(first)
    wait(db, MINUTE)
    assert {task for task in tick(db) if " " in task} == set()
    set_clock(db, "2026-11-21T00:01:00+11:00")
    assert {task for task in tick(db) if " " in task} == {
        "reconcile bannos",
        "refresh_priorities bannos",
    }
    set_clock(db, "2026-11-21T00:01:00+01:00")
    assert {task for task in tick(db) if " " in task} == {
        "reconcile flourlane",
        "refresh_priorities flourlane",
    }


def test_a_waiting_nightly_reconcile_is_not_queued_again(
    db: Connection,
) -> None:
    for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
        set_clock(db, f"{day}T12:00:00+11:00")
        tick(db)

    assert list(claim(db, topics=("reconcile",)).jobs.values()) == [
        {"store": "bannos"},
        {"store": "flourlane"},
    ]


def test_a_store_without_shopify_is_not_reconciled(db: Connection) -> None:
    db.execute("update public.stores set shop_domain = null where code = 'bannos'")

    assert tick(db)["reconcile bannos"] is None


def test_the_tick_reaps_dead_jobs_and_purges_old_ones(db: Connection) -> None:
    set_clock(db, START)
    enqueue(db)
    complete(db, claim(db))
    wait(db, timedelta(days=40))
    job = enqueue(db, max_retries=0)
    claim(db)
    wait(db, MINUTE)

    done = tick(db)

    assert (done["reap_work"], done["purge_work"], status(db, job)) == (1, 1, "dead")


def test_two_ticks_at_once_do_the_work_once(clone: str) -> None:
    with psycopg.connect(clone) as one, psycopg.connect(clone) as two:
        two.execute("set statement_timeout = '5s'")

        assert "reconcile bannos" in tick(one)
        assert tick(two) == {}
        one.commit()
        two.rollback()
        assert tick(two) == {}
