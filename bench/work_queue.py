"""How fast the work queue is, compared with the shortest queue without and with leases.

    .venv/bin/python bench/work_queue.py [rounds]

All sides run in turn on the same durable server, so that the ratios hold on a noisy machine.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import LiteralString

import psycopg

from bakehouse.database import Connection
from bakehouse.server import cluster
from bench_server import migrated

PORT = 54498
JOBS = 20_000
ARCHIVED = 1_000_000
WAITING = 100_000
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
PAYLOADS = [
    f'{{"sku": "CAKE-{n:06}", "note": "seventy bytes or so, as is usual"}}' for n in range(JOBS)
]

JOBS_OF = {1: 2_000, 10: 8_000, 100: JOBS}  # the jobs of a drain, by the size of a batch

SHORTEST = """
create table public.bare (
  id bigint generated always as identity primary key,
  topic text not null,
  payload jsonb not null
);
create index on public.bare (topic, id);
create table public.least (
  id bigint generated always as identity primary key,
  topic text not null,
  payload jsonb not null,
  lease_until timestamptz not null default '-infinity'
);
create index on public.least (topic, id);
"""
BARE_FILL: LiteralString = """
insert into public.bare (topic, payload)
select 'bench', payload from unnest(%s::jsonb[]) as payload
"""
# A crash of the worker loses these jobs.
BARE_TAKE: LiteralString = """
delete from public.bare
where ctid = any(array(
  select ctid from public.bare where topic = 'bench' order by id limit %s for update skip locked
)) returning id, payload
"""
LEAST_FILL: LiteralString = """
insert into public.least (topic, payload)
select 'bench', payload from unnest(%s::jsonb[]) as payload
"""
LEAST_CLAIM: LiteralString = """
update public.least set lease_until = now() + interval '2 minutes'
where id = any(array(
  select id from public.least where topic = 'bench' and lease_until <= now()
  order by id limit %s for update skip locked
)) returning id, payload
"""
LEAST_COMPLETE: LiteralString = "delete from public.least where id = any(%s)"
FILL: LiteralString = "select public.enqueue_work_many('bench', %s::jsonb[])"
CLAIM: LiteralString = "select id, payload, token from public.claim_work('{bench}', 'bench', %s)"
COMPLETE: LiteralString = "select public.complete_work(%s, %s)"
FUSED: LiteralString = """
select id, payload, token
from public.complete_and_claim_work(%s, %s, '{bench}', 'bench', %s)
"""


def main() -> None:
    with migrated(PORT), connect() as conn:
        conn.execute(SHORTEST)
        bulk(conn)
        for workers in (1, 4):
            for batch in JOBS_OF:
                drains(conn, workers, batch)
        old_snapshot(conn)
        claims(conn)
        bloat(conn)


def connect() -> Connection:
    conn: Connection = psycopg.connect(cluster.dsn(PORT), autocommit=True)
    return conn


def empty() -> None:
    """Empties the queue before the measured time. Only a superuser may checkpoint."""
    with psycopg.connect(cluster.superuser_dsn(PORT), autocommit=True) as conn:
        conn.execute("truncate public.bare, public.least, public.work_queue, public.work_archive")
        conn.execute(
            "vacuum analyze public.bare, public.least, public.work_queue, public.work_archive"
        )
        conn.execute("checkpoint")


def fill(conn: Connection, statement: LiteralString = FILL, jobs: int = JOBS) -> None:
    conn.execute("set role service_role" if statement is FILL else "reset role")
    conn.execute(statement, (PAYLOADS[:jobs],))
    conn.execute("reset role")


def bulk(conn: Connection) -> None:
    bare, ours = [], []
    for _ in range(ROUNDS):
        empty()
        bare.append(timed(fill, conn, BARE_FILL))
        ours.append(timed(fill, conn))
    report(f"insert {JOBS:,} rows", bare)
    report(f"enqueue {JOBS:,} jobs", ours, bare)


# Drains: a worker takes batches until no job is left. Returns the number of jobs.


def bare(conn: Connection, batch: int) -> int:
    done = 0
    while jobs := conn.execute(BARE_TAKE, (batch,)).fetchall():
        done += len(jobs)
    return done


def least(conn: Connection, batch: int) -> int:
    done = 0
    while jobs := conn.execute(LEAST_CLAIM, (batch,)).fetchall():
        conn.execute(LEAST_COMPLETE, ([job[0] for job in jobs],))
        done += len(jobs)
    return done


def two_calls(conn: Connection, batch: int) -> int:
    done = 0
    while jobs := conn.execute(CLAIM, (batch,)).fetchall():
        conn.execute(COMPLETE, (jobs[0][2], [job[0] for job in jobs]))
        done += len(jobs)
    return done


def fused(conn: Connection, batch: int) -> int:
    done = 0
    jobs = conn.execute(CLAIM, (batch,)).fetchall()
    while jobs:
        done += len(jobs)
        ids = [job[0] for job in jobs]
        jobs = conn.execute(FUSED, (jobs[0][2], ids, batch)).fetchall()
    return done


Work = Callable[[Connection, int], int]
SIDES: dict[Work, tuple[str, LiteralString]] = {
    bare: ("delete at once, no lease", BARE_FILL),
    least: ("the least queue with a lease", LEAST_FILL),
    two_calls: ("claim_work, complete_work", FILL),
    fused: ("complete_and_claim_work", FILL),
}


def drains(conn: Connection, workers: int, batch: int) -> None:
    print(f"drain, {workers} worker{'s' * (workers > 1)}, batch {batch}")
    times: dict[Work, list[float]] = {}
    for _ in range(ROUNDS):
        for work, (_name, filled) in SIDES.items():
            empty()
            fill(conn, filled, JOBS_OF[batch])
            times.setdefault(work, []).append(drain(work, workers, batch, JOBS_OF[batch]))
    for work, (name, _filled) in SIDES.items():
        report(f"  {name}", times[work], times[bare], times[least])


def drain(work: Work, workers: int, batch: int, jobs: int = JOBS) -> float:
    """Returns the time from the last connection until the last worker finds nothing."""
    start = multiprocessing.Barrier(workers)
    with multiprocessing.Pool(workers, _join, (start,)) as pool:
        done = pool.starmap(_drain, [(work, batch)] * workers, chunksize=1)
    assert sum(count for count, _, _ in done) == jobs, f"{work.__name__} lost or doubled jobs"
    return max(end for _, _, end in done) - min(begin for _, begin, _ in done)


def _join(start: object) -> None:
    globals()["_start"] = start


def _drain(work: Work, batch: int) -> tuple[int, float, float]:
    with connect() as conn:
        if SIDES[work][1] is FILL:
            conn.execute("set role service_role")
        globals()["_start"].wait()
        begin = time.perf_counter()
        return work(conn, batch), begin, time.perf_counter()


# Ten drains while a transaction holds an old snapshot, so that no dead row can be removed


def old_snapshot(conn: Connection) -> None:
    print("drain 2,000 jobs in batches of 100, under an old snapshot: 10th drain against the first")
    kept: dict[Work, tuple[list[float], list[float]]] = {work: ([], []) for work in SIDES}
    for _ in range(ROUNDS):
        for work, (_name, filled) in SIDES.items():
            empty()
            with connect() as reader, connect() as worker, reader.transaction():
                reader.execute("set transaction isolation level repeatable read")
                reader.execute("select from public.stores")
                if filled is FILL:
                    worker.execute("set role service_role")
                work(worker, 100)
                times = []
                for _ in range(10):
                    fill(conn, filled, 2_000)
                    times.append(timed(work, worker, 100))
            kept[work][0].append(times[0])
            kept[work][1].append(times[9])
    for work, (name, _filled) in SIDES.items():
        first, last = kept[work]
        report(f"  {name}", last, first)


# The cost of a claim while many other jobs are not due


def claims(conn: Connection) -> None:
    few, many = [], []
    for _ in range(ROUNDS):
        empty()
        fill(conn)
        few += claim_twenty(conn)
    conn.execute(
        "insert into public.work_archive "
        "(id, created_at, finished_at, retries, topic, locked_by, payload) "
        "select n, now(), now() - n * interval '1 second', 0, 'bench', 'bench', '{\"sku\": \"a\"}' "
        "from generate_series(1, %s) as n",
        (ARCHIVED,),
    )
    for _ in range(WAITING // JOBS - 1):
        fill(conn)
    for _ in range(ROUNDS):
        many += claim_twenty(conn)
    report(f"claim 100 of {JOBS:,}, nothing archived", few)
    report(f"claim 100 of {WAITING:,}, {ARCHIVED:,} archived", many, few)


def claim_twenty(conn: Connection) -> list[float]:
    conn.execute("set role service_role")
    times = []
    for _ in range(20):
        started = time.perf_counter()
        jobs = conn.execute(CLAIM, (100,)).fetchall()
        times.append(time.perf_counter() - started)
        conn.execute(COMPLETE, (jobs[0][2], [job[0] for job in jobs]))
    conn.execute("reset role")
    return times


# Dead rows


def bloat(conn: Connection) -> None:
    """Runs VACUUM after each drain, because autovacuum does not start twice a second."""
    empty()
    fill(conn)
    fresh = size(conn)
    for _ in range(10):
        drain(fused, 4, 100)
        conn.execute("vacuum public.work_queue")
        fill(conn)
    after = size(conn)
    print(f"{'20,000 jobs waiting, fresh':<52} {fresh / 2**20:7.2f} MB")
    print(f"{'  after ten drains':<52} {after / 2**20:7.2f} MB  x {after / fresh:.2f}")


def size(conn: Connection) -> int:
    row = conn.execute("select pg_total_relation_size('public.work_queue')").fetchone()
    assert row is not None
    return int(str(row[0]))


def timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def report(name: str, times: list[float], *bases: list[float]) -> None:
    """Prints the times in ms, and how many times as fast as each base."""
    middle = statistics.median(times)
    ratios = [
        statistics.median(other / took for took, other in zip(times, base, strict=False))
        for base in bases
    ]
    spread = f"({min(times) * 1000:.1f} to {max(times) * 1000:.1f})"
    rates = "  ".join(f"x {ratio:.2f}" for ratio in ratios)
    print(f"{name:<52} {middle * 1000:8.1f} ms  {spread:<20} {rates}", flush=True)


if __name__ == "__main__":
    main()
