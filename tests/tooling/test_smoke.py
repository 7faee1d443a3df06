"""The smoke walk reports faults and leaves nothing behind."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from bakehouse.database import Connection
from bakehouse.shop import smoke
from bakehouse.shop.smoke import Outcome
from command import Project
from rows import value, values

ROOT = Path(__file__).parents[2]


def walk(dsn: str, first: LiteralString = "select 1") -> list[Outcome]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(first)
        return list(smoke.walk(conn))


def failures(outcomes: list[Outcome]) -> list[str]:
    return [f"{one.role}: {one.name}: {one.detail}" for one in outcomes if not one.ok]


def rows(conn: Connection) -> dict[str, int]:
    """Returns the number of rows in each table of the schemas of bakehouse."""
    tables = values(
        conn,
        "select oid::regclass::text from pg_class where relkind in ('r', 'p')"
        " and relnamespace::regnamespace::text in ('public', 'app', 'private')",
    )
    return {table: value(conn, f"select count(*) from {table}") for table in tables}


def test_the_smoke_walk_leaves_nothing_behind(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        before = rows(conn)

        outcomes = list(smoke.walk(conn))

        assert [one.detail for one in outcomes if one.detail] == []
        assert len(outcomes) == len(smoke.TABLES) + len(smoke.WALK) + 2
        assert rows(conn) == before
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_smoke_walk_works_while_webhooks_are_paused(clone: str) -> None:
    outcomes = walk(clone, "select app.pause_ingest(null, 'a migration')")

    assert failures(outcomes) == []
    with psycopg.connect(clone) as conn:
        assert value(conn, "select app.is_ingest_paused()") is True


def test_the_smoke_walk_finds_a_free_store_letter(clone: str) -> None:
    taken: LiteralString = (
        "insert into public.stores (code, name, scan_letter, time_zone, currency)"
        " select 'shop_' || letter, letter, upper(letter), 'UTC', 'AUD'"
        " from regexp_split_to_table('acdeghijklnopqrstuvwxyz', '') as letter"
    )

    assert failures(walk(clone, taken)) == []


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        ("grant select on public.orders to anon", "anon: no order is read: .* got 0"),
        (
            "revoke execute on function public.start_covering from authenticated",
            "Staff: start_covering -> Covering: expected Covering, got 42501",
        ),
        (
            "delete from app.stage_transitions where action = 'complete_packing'",
            "Staff: complete_packing -> Complete",
        ),
        (
            "create function public.bad() returns int language sql as 'select 1'",
            r"anon: \d+ calls refused: bad answers a result",
        ),
        (
            "create function public.bad() returns int language sql as 'select 1';"
            "revoke all on function public.bad from public;"
            "grant execute on function public.bad to authenticated",
            r"a stranger: \d+ calls refused: bad answers a result",
        ),
    ],
)
def test_the_smoke_walk_reports_what_is_broken(
    clone: str, broken: LiteralString, seen: str
) -> None:
    assert re.search(seen, "\n".join(failures(walk(clone, broken))))


def test_without_m5_the_smoke_walk_is_skipped_with_a_message(clone: str) -> None:
    outcomes = walk(clone, "drop function public.complete_packing")

    assert failures(outcomes) == []
    assert [one.detail for one in outcomes if one.left_out] == [
        "left out: there is no complete_packing here"
    ]


def test_ci_gets_a_report_of_a_failed_walk(tmp_path: Path, clone: str) -> None:
    report = tmp_path / "smoke.xml"
    with psycopg.connect(clone) as conn:
        conn.execute("grant select on public.orders to anon")

    ran = Project(ROOT).run("smoke", "--junit", str(report), url=clone)

    suite = ET.parse(report).getroot()[0]
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert (ran.code, failed) == (9, ["anon: no order is read"])
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    assert int(suite.get("tests", "")) == len(suite) > 30
    assert "no order is read: expected 42501, got 0" in ran.err
