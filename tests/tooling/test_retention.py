"""Taking old months away, as a process beside sessions that read them."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from audit import audit
from bakehouse.database import Connection
from bakehouse.server.binaries import find_binaries
from calls import acting_as, call
from command import Project
from environments import wait_for
from monthly import month_of
from orders.test_inventory import make_item
from rows import make_order, make_staff, record_event, set_clock, value, values

OLD = datetime(2015, 3, 10, tzinfo=UTC)
MONTHS = ("inventory_txn_2015_03", "stage_events_2015_03", "stage_events_2015_04")
DETACHING = "select count(*) from app.months() where state = 'detaching'"


@pytest.fixture
def bakery(clone: str) -> str:
    """The DSN of a database with an order and an item from 2015."""
    with psycopg.connect(clone) as db:
        set_clock(db, OLD)
        make_item(db, "candle", 20)
        record_event(db, make_order(db))
        db.execute("select app.add_months('stage_events', '2015-04-01Z', '2015-04-01Z')")
    return clone


def states(dsn: str) -> list[tuple[str, str]]:
    query: LiteralString = "select {} from app.months() where begins < '2016-01-01' order by name"
    with psycopg.connect(dsn) as db:
        names, found = (values(db, query.format(column)) for column in ("name", "state"))
    return list(zip(names, found, strict=True))


def test_old_months_are_listed_and_nothing_is_done(project: Project, bakery: str) -> None:
    told = project.run("retention", url=bakery)
    facts = project.run("retention", "--json", url=bakery).json["months"]

    assert (told.code, states(bakery)) == (0, [(name, "attached") for name in MONTHS])
    assert all(name in told.out for name in MONTHS)
    assert "`bakehouse retention --apply` detaches them." in told.out
    assert [(one["name"], one["is_old"], one["state"]) for one in facts] == [
        ("inventory_txn_2015_03", True, "attached"),
        ("stage_events_2015_03", True, "attached"),
        ("stage_events_2015_04", True, "attached"),
    ]


def test_a_young_shop_has_nothing_to_take_away(project: Project, clone: str) -> None:
    ran = project.run("retention", "--apply", url=clone)

    assert (ran.code, ran.out) == (0, "no month is older than its table keeps\n")


def test_detached_months_stay_whole_and_all_books_agree(project: Project, bakery: str) -> None:
    ran = project.run("retention", "--apply", url=bakery)
    again = project.run("retention", "--apply", url=bakery)

    assert (ran.code, again.code) == (0, 0), ran.err + again.err
    assert states(bakery) == [(name, "detached") for name in MONTHS]
    assert [line for line in ran.err.splitlines() if line.startswith("detached")] == [
        f"detached {name}" for name in MONTHS
    ]
    assert "detached stage" not in again.err
    with psycopg.connect(bakery) as db:
        assert audit(db) == {}
        owners = "select distinct tableowner from pg_tables where tablename = any(%s)"
        assert values(db, owners, list(MONTHS)) == ["bakehouse_owner"]
        assert values(db, "select event_type::text from public.stage_events_2015_03") == ["create"]
        assert value(db, "select count(*) from public.stage_events") == 0
        assert value(db, "select min(starts) from app.monthly_tables") == datetime(
            2015, 4, 1, tzinfo=UTC
        )
        assert values(db, "select subject from public.audit_log order by id") == list(MONTHS)
        with pytest.raises(psycopg.Error, match="cannot be changed"):
            db.execute("delete from public.stage_events_2015_03 where true")


def test_new_months_and_stores_come_beside_detached_months(project: Project, bakery: str) -> None:
    project.run("retention", "--apply", url=bakery)

    with psycopg.connect(bakery) as db:
        admin = make_staff(db, role="Admin")
        facts = {"code": "crumbs", "name": "Crumbs", "scan_letter": "C", "currency": "EUR"}
        store = call(
            db, admin, "create_store", p_time_zone="UTC", **{f"p_{k}": v for k, v in facts.items()}
        )
        db.commit()
        added = value(
            db, "select app.add_months('stage_events', now() + '4 months', now() + '4 months')"
        )
        record_event(db, make_order(db, store=store))

        assert added == 1
        assert audit(db) == {}


def test_a_detached_month_is_exported_and_dropped_as_told(
    project: Project, bakery: str, tmp_path: Path
) -> None:
    binaries = find_binaries()
    with psycopg.connect(bakery) as db:
        if binaries.version < db.info.server_version // 10000:
            pytest.skip(f"pg_dump {binaries.version} cannot read this server")
    told = project.run("retention", "--apply", url=bakery).out
    export, drop = (line.strip() for line in told.splitlines() if line.startswith("  "))
    facts = psycopg.conninfo.conninfo_to_dict(bakery)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    access = {names[key]: str(fact) for key, fact in facts.items() if key in names}

    for command in (export, drop):
        subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path,
            env=os.environ | access | {"PATH": f"{binaries.bin_dir}:{os.environ['PATH']}"},
            check=True,
        )

    (file,) = tmp_path.glob("*.dump")
    listed = subprocess.run(
        [binaries.bin_dir / "pg_restore", "--list", file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"TABLE DATA public {file.stem}" in listed.stdout
    assert [name for name, _ in states(bakery)] == [name for name in MONTHS if name != file.stem]
    assert project.run("retention", url=bakery).code == 0


def test_a_reader_delays_a_detach_which_the_next_run_finishes(
    project: Project, bakery: str
) -> None:
    with psycopg.connect(bakery, application_name="a long report") as reader:
        reader.execute("select from public.stage_events")
        held = project.run("retention", "--apply", "--wait", "0", "--json", url=bakery)
        between = states(bakery)
        told = project.run("retention", url=bakery).out
        with psycopg.connect(bakery) as db:  # the shop goes on
            record_event(db, make_order(db))
            assert audit(db) == {}
    done = project.run("retention", "--apply", url=bakery)

    assert (held.code, held.json["kind"]) == (10, "busy")
    assert "a long report" in held.json["error"]
    assert dict(between)["stage_events_2015_03"] == "detaching"
    assert "detaching" in told
    assert done.code == 0, done.err
    assert states(bakery) == [(name, "detached") for name in MONTHS]


def test_a_killed_run_is_finished_by_the_next(project: Project, bakery: str) -> None:
    with psycopg.connect(bakery) as reader:
        reader.execute("select from public.stage_events")
        running = project.start("retention", "--apply", url=bakery)
        wait_for(bakery, DETACHING)
        running.kill()
        running.communicate()
    done = project.run("retention", "--apply", url=bakery)

    assert done.code == 0, done.err
    assert states(bakery) == [(name, "detached") for name in MONTHS]
    with psycopg.connect(bakery) as db:
        assert audit(db) == {}


def test_the_months_that_a_table_keeps_stay(project: Project, clone: str) -> None:
    with psycopg.connect(clone) as db:
        now = value(db, "select now()")
        for table in ("stage_events", "inventory_txn"):
            then = f"{month_of(now, -37).replace('_', '-')}-01Z"
            db.execute("select app.add_months(%s, %s, %s)", (table, then, then))

    done = project.run("retention", "--apply", "--json", url=clone)

    assert [one["name"] for one in done.json["months"]] == [f"stage_events_{month_of(now, -37)}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--wait", "-1"), "-1.0 is not in the range"),
        (("--wait", "soon"), "not a valid float"),
        (("stage_events_2015_03",), "unexpected extra argument"),
        (("--env", "moon"), "moon"),
    ],
)
def test_a_wrong_command_line_is_refused(
    project: Project, bakery: str, arguments: tuple[str, ...], said: str
) -> None:
    ran = project.run("retention", "--apply", "--json", *arguments, url=bakery)

    assert (ran.code, states(bakery)) == (2, [(name, "attached") for name in MONTHS])
    assert said in ran.json["error"]


def test_a_database_without_months_is_refused(project: Project, blank: str) -> None:
    ran = project.run("retention", "--apply", "--json", url=blank)

    assert (ran.code, ran.json["kind"]) == (2, "usage")
    assert "bakehouse migrate up" in ran.json["hint"]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_role_of_the_api_moves_a_start(db: Connection, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role):
        db.execute("select app.begin_after_month('stage_events_2015_03')")
