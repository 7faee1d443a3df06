"""Every migrated object keeps the rules, and each rule reports an object that breaks it."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import postgres
from bakehouse.database import Connection
from postgres import Server
from security import rules

HEAD = "create function public.bad(p_store text default null) returns int language plpgsql "
SAFE = HEAD + "security definer set search_path = pg_catalog, pg_temp "
ASK = "as $$ begin perform app.require(%s); return 1; end $$"
LET_IN = "; grant execute on function public.bad(text) to authenticated"
ROLE = "; comment on function public.bad(text) is e'Good.\\n\\nRole: %s.'"


@pytest.mark.spec("vector-13", "vector-18")
@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_object_follows_the_rule(db: Connection, rule: rules.Rule) -> None:
    assert rule(db) == []


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (rules.tables_have_row_security, "create table public.bad (id int)"),
        (
            rules.tables_have_a_replica_identity,
            "create table public.bad (id int unique nulls not distinct)",
        ),
        (
            rules.tables_have_a_replica_identity,
            "create table public.bad (id int primary key deferrable)",
        ),
        (
            rules.tables_have_a_replica_identity,
            "create table app.bad (id int primary key);"
            "alter table app.bad replica identity nothing",
        ),
        (
            rules.tables_have_a_replica_identity,
            "create table app.bad (a int, id int primary key generated always as (a) stored)",
        ),
        (rules.api_roles_write_nothing, "grant truncate on public.orders to service_role"),
        (rules.api_roles_write_nothing, "grant insert on public.orders to public"),
        (rules.api_roles_write_nothing, "grant update (notes) on public.orders to authenticated"),
        (rules.api_roles_write_nothing, "grant usage on sequence public.audit_log_id_seq to anon"),
        (rules.anon_can_do_nothing, "grant execute on function app.uid() to public"),
        (rules.anon_can_do_nothing, "grant select (name) on public.stores to anon"),
        (
            rules.functions_pin_their_search_path,
            HEAD + "set search_path = public as 'begin return 1; end'",
        ),
        (rules.one_role_owns_everything, "reset role; create table public.bad (id int)"),
        (rules.everything_has_a_comment, "comment on function app.uid() is null"),
        (rules.everything_has_a_comment, "create table public.bad (id int)"),
        (
            rules.foreign_keys_have_an_index,
            "create table public.bad (store text references public.stores)",
        ),
        (
            rules.foreign_keys_have_an_index,
            "create table public.bad (id int, store text references public.stores);"
            "create index on public.bad (store) where id > 0",
        ),
        (
            rules.foreign_keys_have_an_index,
            "create table public.bad (store text, id text, foreign key (store, id)"
            " references public.orders (store, id)); create index on public.bad (id, store)",
        ),
        (
            rules.names_are_not_overloaded,
            "create function public.bad() returns int language sql as 'select 1';"
            "create function public.bad(int) returns int language sql as 'select 1'",
        ),
        (
            rules.names_are_not_overloaded,
            "create function app.now(int) returns int language sql as 'select 1'",
        ),
        (
            rules.row_types_have_no_default,
            "create function public.bad(p_store public.stores, p_row public.stores default null)"
            " returns int language sql as 'select 1'",
        ),
        (
            rules.refusals_are_listed,
            HEAD + "as $$ begin perform app.fail('NO_SUCH_CODE', 'No.'); end $$",
        ),
        (
            rules.refusals_are_listed,
            HEAD + "as $$ begin raise exception using errcode = 'PT418'; end $$",
        ),
        (
            rules.writes_have_a_where,
            HEAD + "as $$ begin if true then update public.orders set notes = ''; end if; end $$",
        ),
        (
            rules.writes_have_a_where,
            "create function public.bad() returns void language sql as "
            "'with gone as (delete from public.orders returning id) select from gone where true'",
        ),
        (
            rules.writes_have_a_where,
            HEAD + "as $$ begin update public.orders set notes = (select '' where true); end $$",
        ),
        (rules.roles_are_as_the_comment_says, SAFE + "as 'begin return 1; end'" + LET_IN),
        (  # refuses every caller, but has no Role line
            rules.roles_are_as_the_comment_says,
            SAFE + "as $$ begin perform app.require('Admin'); return 1; end $$" + LET_IN,
        ),
        (  # checks no role
            rules.roles_are_as_the_comment_says,
            SAFE + "as 'begin return 1; end'" + LET_IN + ROLE % "Staff",
        ),
        (  # requires less than its Role line
            rules.roles_are_as_the_comment_says,
            SAFE + ASK % "'Staff'" + LET_IN + ROLE % "Supervisor",
        ),
        (  # requires more than its Role line
            rules.roles_are_as_the_comment_says,
            SAFE + ASK % "'Admin'" + LET_IN + ROLE % "Supervisor",
        ),
        (  # allows the service, which has no grant
            rules.roles_are_as_the_comment_says,
            SAFE + ASK % "'Admin', null, true" + LET_IN + ROLE % "Admin or service_role",
        ),
        (  # a bare error is no refusal
            rules.roles_are_as_the_comment_says,
            SAFE + "as $$ begin return 1 / 0; end $$" + LET_IN + ROLE % "Admin",
        ),
        (  # a bare error is no result
            rules.roles_are_as_the_comment_says,
            SAFE
            + "as $$ begin perform app.require('Admin'); return 1 / 0; end $$"
            + LET_IN
            + ROLE % "Admin",
        ),
        (  # anon may call it
            rules.roles_are_as_the_comment_says,
            SAFE
            + ASK % "'Staff'"
            + LET_IN
            + ROLE % "Staff"
            + "; grant execute on function public.bad(text) to anon; "
            "create or replace function public.bad(p_store text default null) returns int "
            "language sql set search_path = pg_catalog, pg_temp as 'select 1'",
        ),
        (rules.texts_have_a_limit, "create table public.bad (name text check (name <> ''))"),
        (rules.texts_have_a_limit, "create table public.bad (names varchar[])"),
        (
            rules.texts_have_a_limit,
            "create table public.bad (name text, title text check (length(title) <= 9))",
        ),
        (rules.texts_have_a_limit, "create table public.bad (name text check (name ~ '^a+$'))"),
        (  # the reason given for a column that is gone
            rules.texts_have_a_limit,
            "alter table public.webhook_deliveries drop column body cascade",
        ),
        (  # checks the role, but not the store
            rules.stores_are_kept_apart,
            SAFE + ASK % "'Staff'" + LET_IN,
        ),
    ],
)
def test_a_rule_reports_what_breaks_it(db: Connection, rule: rules.Rule, bad: str) -> None:
    db.execute("set local role bakehouse_owner")
    db.execute(bad.encode())
    db.execute("reset role")

    assert rule(db) != []


@pytest.mark.parametrize(
    "good",
    [
        SAFE + ASK % "'Staff', p_store" + LET_IN + ROLE % "Staff",
        SAFE + ASK % "'service_role'" + ROLE % "service_role"
        + "; grant execute on function public.bad(text) to service_role",
    ],
    ids=["for staff", "for the service"],
)  # fmt: skip
def test_a_function_that_follows_its_comment_is_not_reported(db: Connection, good: str) -> None:
    db.execute("set local role bakehouse_owner")
    db.execute(good.encode())
    db.execute("reset role")

    assert rules.roles_are_as_the_comment_says(db) == []
    assert rules.stores_are_kept_apart(db) == []


def test_a_write_with_a_where_is_not_reported(db: Connection) -> None:
    db.execute(
        """
        create function public.good() returns int language plpgsql as $$
        begin
          perform 1 from public.orders for no key update;
          insert into public.stores (code) values ('a') on conflict (code) do update set name = 'a';
          update public.orders as o set notes = (select 'a') from public.stores where o.id = 'a';
          with gone as (delete from public.orders where id = 'a' returning id) select from gone;
          return 1;
        end;
        $$
        """
    )

    assert rules.writes_have_a_where(db) == []


def test_a_text_with_a_limit_is_not_reported(db: Connection) -> None:
    db.execute(
        """
        create table public.good (
          store text references public.stores, name app.label, width varchar(255),
          title text check (title <> '' and length(title) <= 9),
          kind text check (kind in ('a', 'b')), currency text check (currency ~ '^[A-Z]{3}$')
        )
        """
    )

    assert rules.texts_have_a_limit(db) == []


def test_both_regimes_of_default_privileges_give_the_same_rights(server: Server) -> None:
    listings = []
    for regime in ("explicit", "legacy"):
        name = server.create()
        server.bootstrap(name, regime)
        with server.one_at_a_time():
            postgres.migrate(server.dsn(name))
        with psycopg.connect(server.dsn(name)) as conn:
            listings.append(rules.rights(conn))
        server.drop(name)

    assert listings[0] == listings[1]
    assert "stores authenticated SELECT f" in listings[0]


@pytest.fixture
def checked(server: Server, clone: str) -> Iterator[Connection]:
    """A migrated database with plpgsql_check."""
    database = str(conninfo_to_dict(clone)["dbname"])
    with psycopg.connect(server.superuser_dsn(database), autocommit=True) as conn:
        if not conn.execute(
            "select 1 from pg_available_extensions where name = 'plpgsql_check'"
        ).fetchone():
            pytest.skip("this server has no extension plpgsql_check")
        conn.execute("create extension plpgsql_check with schema extensions")
        yield conn


def test_plpgsql_check_finds_nothing(checked: Connection) -> None:
    assert rules.plpgsql_check_is_content(checked) == []


def test_plpgsql_check_would_find_a_column_that_does_not_exist(checked: Connection) -> None:
    checked.execute((HEAD + "as 'begin return (select nope from public.orders); end'").encode())

    assert "nope" in str(rules.plpgsql_check_is_content(checked))
