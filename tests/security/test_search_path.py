"""The attack that `pg_temp` at the end of every search path stops.

An empty search path still looks for types in pg_temp first. A domain there, named after a type
that a definer function uses, then runs its check as the owner of the function.
"""

from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from bakehouse import database
from bakehouse.rpc import functions as rpcs
from projects.callers import Caller
from rows import make_staff, value

TRAP: LiteralString = """
create temp sequence sprung;
grant usage on sequence pg_temp.sprung to public;
create function pg_temp.spring() returns boolean language plpgsql as $$
begin
  if current_user = 'bakehouse_owner' then
    perform nextval('pg_temp.sprung');
  end if;
  return true;
end;
$$;
create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.spring());
"""


@pytest.mark.parametrize(
    "name", ["uuid", "jsonb", "text", "timestamptz", "date", "interval", "numeric"]
)
def test_no_function_uses_a_type_that_its_caller_made(clone: str, name: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        admin = make_staff(conn, role="Admin")
        api = Caller(conn, admin)
        project = api.project(start_mode="immediate", counts_weekends=True)
        api.row(project, estimated_duration=8, estimated_duration_unit="hours")
        api("start_project", project)
    # a new session, because a function keeps the types of its first call
    with psycopg.connect(clone, autocommit=True) as conn:
        functions = rpcs.load(conn, {"p_uuid": project, "p_project_uuid": project})
        with conn.transaction():
            database.act_as(conn, "authenticated", str(admin))
            conn.execute(sql.SQL(TRAP).format(name=sql.Identifier(name)))

        answers = rpcs.answers(conn, functions, "authenticated", str(admin))

        assert [a for s, a in answers.items() if "get_project_schedule" in s] == [rpcs.RESULT]
        assert value(conn, "select is_called from pg_temp.sprung") is False
