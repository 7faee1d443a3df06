"""docs/connecting.md and the README tell application developers the truth."""

import json
import re
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.database import Connection
from calls import acting_as
from docs import pages
from docs.test_worked_examples import STEP, shown
from postgres import Server
from rows import make_order, make_staff, values

PAGE = pages.read("docs/connecting.md")
BAKER = UUID("00000000-0000-4000-8000-000000000003")
READABLE = """
select relname::text from pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
and has_any_column_privilege(%s, oid, 'select')
"""
REALTIME = """
create table realtime.messages (topic text);
create function realtime.topic() returns text language sql as $$ select 'bakehouse' $$;
alter table realtime.messages enable row level security;
grant select on realtime.messages to authenticated;
insert into realtime.messages values ('bakehouse');
"""


@pytest.mark.parametrize("page", ["README.md", "docs/connecting.md"])
def test_a_call_from_sql_answers_as_shown(seeded: Connection, page: str) -> None:
    script = pages.blocks(pages.read(page), "sql")[0]

    for statement, _, expected in STEP.findall(script):
        done = seeded.execute(statement.encode())
        rows = done.fetchall() if done.description else []
        answer = [" | ".join(map(shown, row)) for row in rows]
        assert answer == [line[2:].strip() for line in expected.splitlines()]


def test_the_dev_accounts_are_those_of_the_dev_data(seeded: Connection) -> None:
    rows = re.findall(r"^\| `([0-9a-f-]{36})` \| (\w+) \| ([\w ]+) \|", PAGE, re.MULTILINE)

    accounts = seeded.execute(
        "select user_id::text, role::text, coalesce(store, 'every store') from public.staff_shared"
    ).fetchall()

    assert sorted(rows) == sorted(accounts)


def test_the_tables_one_may_read_are_those_that_are_granted(db: Connection) -> None:
    listed = re.findall(
        r"`(\w+)`",
        "".join(
            re.findall(r"^\| (`.*?) \|", pages.section(PAGE, "Tables you may read"), re.MULTILINE)
        ),
    )

    assert sorted(listed) == sorted(values(db, READABLE, "authenticated"))


def test_service_role_reads_no_table(db: Connection) -> None:
    assert values(db, READABLE, "service_role") == []


def test_the_policy_lets_staff_listen_and_nobody_else(server: Server, clone: str) -> None:
    (policy,) = [one for one in pages.blocks(PAGE, "sql") if "create policy" in one]
    database = str(conninfo_to_dict(clone)["dbname"])

    with psycopg.connect(server.superuser_dsn(database)) as platform:
        platform.execute(REALTIME.encode())
        platform.execute(policy.encode())
        baker, stranger = make_staff(platform), UUID(int=1)

        for account, heard in ((baker, ["bakehouse"]), (stranger, [])):
            with acting_as(platform, "authenticated", account):
                assert values(platform, "select topic from realtime.messages") == heard


def test_a_listener_hears_of_an_edit_and_not_of_a_stage_move(clone: str) -> None:
    (listen,) = [
        one for one in pages.blocks(PAGE, "sql") if "listen" in one and "policy" not in one
    ]

    with psycopg.connect(clone, autocommit=True) as ear, psycopg.connect(clone) as mouth:
        baker = make_staff(mouth, role="Supervisor")
        order_id = make_order(mouth)
        ear.execute(listen.encode())
        with acting_as(mouth, "authenticated", baker):
            mouth.execute("select public.complete_filling(%s)", (order_id,))
            mouth.execute("select public.update_order_notes(%s, p_notes => 'No nuts')", (order_id,))
        mouth.commit()
        heard = [json.loads(one.payload) for one in ear.notifies(timeout=5, stop_after=1)]

    assert [(one["topic"], one["payload"]["event"]) for one in heard] == [("orders", "edit")]
