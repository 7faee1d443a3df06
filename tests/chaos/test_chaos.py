"""What breaks a server breaks no promise: nothing acknowledged is lost, and all tables agree.

Each scenario runs a bakery under load, breaks its server, and lets it recover. Then the books of
the callers are compared with the database, and app.audit_all() compares the database with itself.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from audit import audit
from bakehouse.database import Connection
from bakehouse.server import cluster
from bakehouse.server.cluster import Cluster
from chaos import books, load, machines
from chaos.conftest import Plan
from rows import value


@dataclass(frozen=True)
class Shift:
    """A bakery at work."""

    server: Cluster
    books: list[Path]
    rng: random.Random

    def work(self, seconds: float) -> int:
        """Lets the callers work. Returns the number of acknowledged calls."""
        begin = time.monotonic()
        time.sleep(seconds)
        return books.answered_after(self.books, begin)


def connect(server: Cluster) -> Connection:
    """Connects as the superuser, because some scenarios use up all other sessions."""
    return psycopg.connect(cluster.superuser_dsn(server.port), autocommit=True, connect_timeout=5)


def dsn(user: str, *servers: Cluster) -> str:
    return make_conninfo(
        host=",".join("127.0.0.1" for _ in servers),
        port=",".join(str(server.port) for server in servers),
        user=user,
        password=cluster.PASSWORD,
        dbname="postgres",
        target_session_attrs="read-write",
        tcp_user_timeout=5000,
    )


@contextmanager
def at_work(plan: Plan, place: Path, *servers: Cluster) -> Iterator[Shift]:
    """Runs the load on the first server. After the block, checks the last one."""
    rng = random.Random(f"{plan.seed} {place.name}")
    api, clock = dsn("authenticator", *servers), dsn("postgres", *servers)
    with load.load(api, clock, f"{plan.seed} {place.name}", place / "books") as written:
        shift = Shift(servers[0], written, rng)
        assert shift.work(3) > 0, "the load does not begin"
        yield shift
        assert shift.work(3) > 0, "the load does not go on"
    check(place.name, servers[-1], written)


def check(name: str, server: Cluster, written: list[Path]) -> None:
    with connect(server) as conn:
        account = books.settled(conn, written)
        print(f"\n{name}", *account.lines(), sep="\n")
        wrong = audit(conn)
    assert account.lost == []
    assert account.doubled == []
    assert account.unexpected() == {}
    assert wrong == {}
    assert {kind for kind, _ in account.done} >= set(books.FOUND) - {"cancel"}


def test_the_books_name_what_is_lost_and_what_is_doubled(
    plan: Plan, template: Cluster, place: Path
) -> None:
    with machines.running(machines.copied(template, place / "data")) as server:
        with at_work(plan, place, server) as shift:
            shift.work(1)
        with connect(server) as conn:
            job = value(conn, "select min(payload ->> 'key') from public.work_archive")
            conn.execute("delete from public.work_archive where payload ->> 'key' = %s", (job,))
            conn.execute(
                "insert into public.stage_events (store, order_id, stage, event_type) "
                "select store, order_id, stage, event_type from public.stage_events "
                "where event_type = 'print' order by id limit 1"
            )
            account = books.settled(conn, shift.books)
            wrong = audit(conn)

    assert sorted(account.lost) == [("finish", job), ("job", job)]
    assert [kind for kind, _ in account.doubled] == ["move"]
    assert set(wrong) == {"stages"}


def test_killed_backends_and_postmasters(plan: Plan, template: Cluster, place: Path) -> None:
    kills = {"backend": 0, "postmaster": 0}
    with (
        machines.running(machines.copied(template, place / "data")) as server,
        at_work(plan, place, server) as shift,
    ):
        end = time.monotonic() + plan.seconds
        for nth in count(1):
            shift.work(shift.rng.uniform(0.3, 2))
            if nth % 3:
                kills["backend"] += machines.kill_backend(server, load.NAME, shift.rng.randrange(9))
            else:
                machines.kill(server)
                kills["postmaster"] += 1
                machines.revive(server)
            if time.monotonic() > end and all(kills.values()):
                break
        machines.revive(server)
        print(f"\nkilled {kills['backend']} backends and {kills['postmaster']} postmasters")


def test_a_full_disk(plan: Plan, template: Cluster, place: Path) -> None:
    size = machines.megabytes(template.data) + 60
    with (
        machines.small_disk(place / "disk", size) as disk,
        machines.running(machines.copied(template, disk / "data")) as server,
        at_work(plan, place, server) as shift,
    ):
        shift.work(plan.seconds / 3)
        ballast = machines.fill(disk)
        shift.work(plan.seconds / 3)
        machines.fill(disk)
        shift.work(plan.seconds / 3)
        assert machines.logged(server, "No space left on device")
        ballast.unlink()
        machines.revive(server)


def test_a_full_disk_of_the_wal(plan: Plan, template: Cluster, place: Path) -> None:
    with machines.small_disk(place / "disk", 100) as disk:
        copy = machines.copied(template, place / "data")
        wal = copy.data / "pg_wal"
        subprocess.run(["cp", "-a", wal, disk / "pg_wal"], check=True)
        subprocess.run(["rm", "-r", wal], check=True)
        wal.symlink_to(disk / "pg_wal")
        with machines.running(copy) as server, at_work(plan, place, server) as shift:
            shift.work(plan.seconds / 3)
            ballast = machines.fill(disk)
            with pytest.raises(psycopg.Error), connect(server) as conn:
                conn.execute(
                    "create table public.ballast as select from generate_series(1, 9000000)"
                )
            shift.work(plan.seconds / 3)
            assert machines.logged(server, "No space left on device")
            ballast.unlink()
            machines.revive(server)
            shift.work(plan.seconds / 3)


def test_a_transaction_that_sleeps_on_its_locks(plan: Plan, template: Cluster, place: Path) -> None:
    with (
        machines.running(machines.copied(template, place / "data")) as server,
        at_work(plan, place, server) as shift,
        connect(server) as asleep,
        asleep.transaction(),
    ):
        asleep.execute("select from public.orders order by id limit 5 for update")
        asleep.execute(
            "select from public.site_stock where item_id = (select id from public.inventory_items"
            " where sku = %s) for update",
            (load.SKUS[0],),
        )
        asleep.execute("select from public.work_queue order by id limit 5 for update")
        assert shift.work(plan.seconds) > 0, "one sleeping transaction stops all work"


def test_exhausted_connections(plan: Plan, template: Cluster, place: Path) -> None:
    settings = "\nmax_connections = 20\n"
    with (
        machines.running(machines.copied(template, place / "data", settings)) as server,
        at_work(plan, place, server),
    ):
        held: list[Connection] = []
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            try:
                held.append(psycopg.connect(cluster.dsn(server.port), connect_timeout=5))
            except psycopg.OperationalError:
                time.sleep(0.05)
        assert len(held) >= 10
        for conn in held:
            conn.close()


def test_an_old_snapshot(plan: Plan, template: Cluster, place: Path) -> None:
    with (
        machines.running(machines.copied(template, place / "data")) as server,
        at_work(plan, place, server) as shift,
        connect(server) as old,
    ):
        old.execute("begin isolation level repeatable read read only")
        begun = value(old, "select count(*) from public.stage_events")
        half = shift.work(plan.seconds / 2)
        late = shift.work(plan.seconds / 2)
        assert audit(old) == {}
        assert value(old, "select count(*) from public.stage_events") == begun
        old.execute("commit")
        print(f"\nwith an old snapshot: {half} calls, then {late}")
        assert late > half / 3


def test_a_synchronous_standby_that_is_promoted(plan: Plan, template: Cluster, place: Path) -> None:
    with machines.running(machines.copied(template, place / "data")) as primary:
        standby = machines.standby(primary, place / "standby")
        try:
            with at_work(plan, place, primary, standby) as shift:
                shift.work(plan.seconds / 2)
                machines.kill(primary)
                with connect(standby) as conn:
                    assert value(conn, "select pg_promote()")
                shift.work(plan.seconds / 2)
        finally:
            machines.kill(standby)
