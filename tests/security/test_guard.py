"""app.assert_grants, which ends every migration."""

import psycopg
import pytest

from bakehouse.database import Connection
from rows import value


@pytest.mark.parametrize(
    ("bad", "offence"),
    [
        (
            "grant insert on public.orders to authenticated",
            "authenticated may insert public.orders",
        ),
        ("grant truncate on public.orders to service_role", "service_role may truncate"),
        (
            "grant update (notes) on public.orders to authenticated",
            "may update public.orders.notes",
        ),
        ("grant usage on sequence public.audit_log_id_seq to authenticated", "may usage"),
        ("grant select on public.stores to anon", "anon may select public.stores"),
        ("grant execute on function app.uid() to public", "public may execute app.uid()"),
        ("grant execute on function app.now() to authenticated", "may execute app.now()"),
        ("grant select on private.staff_pay to authenticated", "may select private.staff_pay"),
        ("create table app.bad (id int)", "app.bad has no row level security"),
        ("create view public.bad as select 1 as one", "public.bad reads with the rights"),
        (
            "create function app.bad() returns int language sql as 'select 1'",
            "app.bad() has another search_path than pg_catalog, pg_temp",
        ),
        (
            "reset role; create table public.bad (id int)",
            "public.bad belongs to",
        ),
        (
            "alter default privileges grant execute on functions to public;"
            "create function app.bad() returns int language sql"
            " set search_path = pg_catalog, pg_temp as 'select 1'",
            "public may execute app.bad()",
        ),
    ],
)
def test_wrong_grants_stop_a_migration(db: Connection, bad: str, offence: str) -> None:
    db.execute("set local role bakehouse_owner")
    db.execute(bad.encode())

    with pytest.raises(psycopg.errors.RaiseException, match="break a rule") as refusal:
        db.execute("select app.assert_grants()")

    assert offence in str(refusal.value)


def test_objects_of_an_extension_are_not_checked(db: Connection) -> None:
    db.execute("create extension if not exists citext with schema public")

    db.execute("select app.assert_grants()")

    assert value(db, "select has_function_privilege('anon', 'public.citextin(cstring)', 'execute')")
