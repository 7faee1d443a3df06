"""The bootstrap makes plain Postgres look like a hosted Supabase project to migrations."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.server import platform
from postgres import Server

API_ROLES = ("anon", "authenticated", "service_role")
UID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
NO_CLAIMS = None


@pytest.fixture
def superuser(server: Server, blank: str) -> Iterator[Connection]:
    """The blank database, as the superuser."""
    database = str(conninfo_to_dict(blank)["dbname"])
    with psycopg.connect(server.superuser_dsn(database), autocommit=True) as conn:
        yield conn


@pytest.fixture
def migrator(blank: str) -> Iterator[Connection]:
    """The blank database, as the migration role."""
    with psycopg.connect(blank, autocommit=True) as conn:
        yield conn


def one(conn: Connection, query: str, *parameters: object) -> object:
    row = conn.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def column(conn: Connection, query: str, *parameters: object) -> set[object]:
    return {row[0] for row in conn.execute(query.encode(), parameters or None)}


def privileges(conn: Connection, role: str, relation: str) -> str:
    """Returns the letters of the ACL. Leaves out MAINTAIN, which older servers lack."""
    return str(
        one(
            conn,
            "select coalesce(string_agg(p.letter, '' order by p.letter), '')"
            " from (values ('a', 'insert'), ('r', 'select'), ('w', 'update'), ('d', 'delete'),"
            " ('D', 'truncate'), ('x', 'references'), ('t', 'trigger')) as p (letter, name)"
            " where has_table_privilege(%s, %s, p.name)",
            role,
            relation,
        )
    )


# Roles


def test_the_migration_role_is_what_it_is_on_hosted(migrator: Connection) -> None:
    attributes = migrator.execute(
        "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit,"
        " rolcanlogin from pg_roles where rolname = current_user"
    ).fetchone()

    assert attributes == (False, True, True, True, True, True, True)


def test_the_migration_role_is_a_member_of_the_roles_that_hosted_gives_it(
    migrator: Connection,
) -> None:
    members = column(
        migrator,
        "select r.rolname from pg_auth_members as m join pg_roles as r on r.oid = m.roleid"
        " where m.member = (select oid from pg_roles where rolname = current_user)"
        # leave out roles that Postgres 16 grants to their creator
        " and m.grantor <> m.member and r.rolname !~ '^bakehouse_'",
    )

    assert {*API_ROLES, "pg_monitor", "pg_read_all_data", "pg_signal_backend"} <= members
    assert not members & {"authenticator", "pg_read_server_files", "pg_execute_server_program"}


def test_the_migration_role_may_grant_the_api_roles(migrator: Connection) -> None:
    with migrator.transaction(force_rollback=True):
        migrator.execute("create role bakehouse_test_member nologin")
        migrator.execute("grant anon, authenticated, service_role to bakehouse_test_member")

        assert one(migrator, "select pg_has_role('bakehouse_test_member', 'anon', 'member')")


def test_the_migration_role_owns_the_database_and_so_public(migrator: Connection) -> None:
    owner = one(
        migrator, "select pg_get_userbyid(datdba) from pg_database where datname = current_catalog"
    )

    assert owner == one(migrator, "select current_user")
    migrator.execute("create table public.t (id int)")


def test_the_migration_role_finds_public_and_extensions(migrator: Connection) -> None:
    assert one(migrator, "show search_path") == '"$user", public, extensions'


@pytest.mark.parametrize("role", API_ROLES)
def test_api_roles_cannot_log_in(migrator: Connection, role: str) -> None:
    assert one(migrator, "select rolcanlogin from pg_roles where rolname = %s", role) is False


def test_only_service_role_bypasses_row_level_security(migrator: Connection) -> None:
    query = "select rolname from pg_roles where rolbypassrls and rolname = any (%s)"

    assert column(migrator, query, [*API_ROLES, "authenticator"]) == {"service_role"}


def test_authenticator_can_become_the_api_roles_and_has_no_rights_of_its_own(
    server: Server, blank: str
) -> None:
    with psycopg.connect(blank, user="authenticator", autocommit=True) as conn:
        for role in API_ROLES:
            conn.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            conn.execute("reset role")

        assert not one(conn, "select rolinherit from pg_roles where rolname = current_user")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(sql.SQL("set role {}").format(sql.Identifier(server.migration_role)))


@pytest.mark.parametrize(
    ("role", "setting", "value"),
    [
        ("anon", "statement_timeout", "3s"),
        ("authenticated", "statement_timeout", "8s"),
        ("service_role", "statement_timeout", "8s"),
        ("authenticator", "statement_timeout", "8s"),
        ("authenticator", "lock_timeout", "8s"),
    ],
)
def test_api_sessions_have_the_time_limits_of_hosted(
    migrator: Connection, role: str, setting: str, value: str
) -> None:
    settings = one(
        migrator,
        "select s.setconfig from pg_db_role_setting as s join pg_roles as r on r.oid = s.setrole"
        " where s.setdatabase = 0 and r.rolname = %s",
        role,
    )

    assert isinstance(settings, list)
    assert f"{setting}={value}" in settings


def test_the_database_itself_has_a_time_limit(server: Server, superuser: Connection) -> None:
    server.bootstrap(superuser.info.dbname)

    with psycopg.connect(server.dsn(superuser.info.dbname)) as conn:
        assert one(conn, "show statement_timeout") == "2min"


# Schemas, extensions, publication


@pytest.mark.parametrize("schema", ["auth", "storage", "realtime"])
def test_the_migration_role_uses_platform_schemas_but_creates_nothing_there(
    migrator: Connection, schema: str
) -> None:
    assert one(migrator, "select has_schema_privilege(%s, 'usage')", schema)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        migrator.execute(sql.SQL("create table {}.t (id int)").format(sql.Identifier(schema)))


def test_usage_of_auth_cannot_be_granted_to_others(migrator: Connection) -> None:
    with migrator.transaction(force_rollback=True):
        migrator.execute("create role bakehouse_test_owner nologin")
        migrator.execute("grant usage on schema auth to bakehouse_test_owner")  # only a warning

        for schema, usable in [("auth", False), ("storage", True), ("extensions", True)]:
            migrator.execute("grant usage on schema storage, extensions to bakehouse_test_owner")
            allowed = one(
                migrator, "select has_schema_privilege('bakehouse_test_owner', %s, 'usage')", schema
            )
            assert allowed is usable, schema


@pytest.mark.parametrize("schema", ["public", "extensions", "auth", "storage", "realtime"])
@pytest.mark.parametrize("role", API_ROLES)
def test_api_roles_can_use_the_schemas_and_create_nothing_there(
    migrator: Connection, role: str, schema: str
) -> None:
    assert one(migrator, "select has_schema_privilege(%s, %s, 'usage')", role, schema)
    assert not one(migrator, "select has_schema_privilege(%s, %s, 'create')", role, schema)


def test_pgcrypto_lives_in_extensions(migrator: Connection) -> None:
    assert one(migrator, "select encode(extensions.digest('cake', 'sha256'), 'hex')") == one(
        migrator, "select encode(sha256('cake'), 'hex')"
    )
    migrator.execute("create extension if not exists pgcrypto with schema extensions")


def test_every_available_uuid_ossp_lives_in_extensions(migrator: Connection) -> None:
    if not one(
        migrator, "select exists(select from pg_available_extensions where name = 'uuid-ossp')"
    ):
        pytest.skip("this Postgres was built without uuid-ossp")

    assert one(migrator, "select extensions.uuid_generate_v4() is not null")


def test_the_realtime_publication_is_empty_and_takes_tables(migrator: Connection) -> None:
    tables = "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    migrator.execute("create table public.cakes (id int primary key)")

    assert column(migrator, tables) == set()
    migrator.execute("alter publication supabase_realtime add table public.cakes")
    assert column(migrator, tables) == {"cakes"}


def test_safeupdate_guards_api_sessions_where_it_is_installed(superuser: Connection) -> None:
    installed = one(
        superuser,
        "select pg_stat_file(setting || '/safeupdate.so', true) is not null"
        " from pg_config() where name = 'PKGLIBDIR'",
    )
    settings = one(
        superuser,
        "select setconfig from pg_db_role_setting"
        " where setdatabase = 0 and setrole = 'authenticator'::regrole",
    )

    assert isinstance(settings, list)
    assert ("session_preload_libraries=safeupdate" in settings) is installed


# Statements that Supabase refuses to the migration role


@pytest.mark.parametrize(
    "statement",
    [
        "create role bakehouse_test_root superuser",
        "alter system set work_mem = '1GB'",
        "alter table auth.users add column cake text",
        "create index on auth.users (role)",
        "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
        "create table auth.cakes (id int)",
        "copy auth.users to '/dev/null'",
        "copy auth.users to program 'true'",
        "create extension file_fdw",
        "create event trigger t on ddl_command_end execute function no_such_function()",
        "create index on storage.objects (version)",
    ],
)
def test_statements_that_hosted_refuses_are_refused(migrator: Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        migrator.execute(statement.encode())

    assert refused.value.sqlstate in {"42501"}


# Users


def test_the_migration_role_may_read_and_change_users_and_refer_to_them(
    migrator: Connection,
) -> None:
    migrator.execute("insert into auth.users (id, email) values (%s, 'baker@bannos.test')", (UID,))
    migrator.execute("create table public.staff (id uuid references auth.users on delete cascade)")
    migrator.execute("insert into public.staff values (%s)", (UID,))
    migrator.execute("delete from auth.users where id = %s", (UID,))

    assert one(migrator, "select count(*) from public.staff") == 0


def test_only_the_right_to_read_users_can_be_granted_to_others(migrator: Connection) -> None:
    with migrator.transaction(force_rollback=True):
        migrator.execute("create role bakehouse_test_owner nologin")
        migrator.execute("grant all on auth.users to bakehouse_test_owner")

        assert privileges(migrator, "bakehouse_test_owner", "auth.users") == "r"


@pytest.mark.parametrize("role", API_ROLES)
def test_api_roles_cannot_see_users(migrator: Connection, role: str) -> None:
    assert privileges(migrator, role, "auth.users") == ""


@pytest.mark.parametrize("table", ["auth.users", "storage.buckets", "storage.objects"])
def test_platform_tables_have_row_level_security(migrator: Connection, table: str) -> None:
    assert one(migrator, "select relrowsecurity from pg_class where oid = %s::regclass", table)


# auth.uid(), role(), email() and jwt() for all kinds of claims

ERROR = "22P02"


def answer(conn: Connection, function: str) -> object:
    """Returns the answer of the function as text, or its SQLSTATE."""
    try:
        with conn.transaction():
            return one(conn, f"select auth.{function}()::text")
    except psycopg.Error as error:
        return error.sqlstate


@pytest.mark.parametrize(
    ("claims", "uid", "role", "jwt"),
    [
        (None, None, None, None),
        ("", None, None, None),
        ("{}", None, None, "{}"),
        ('{"sub": null}', None, None, '{"sub": null}'),
        ("null", None, None, "null"),
        ("[]", None, None, "[]"),
        ('"x"', None, None, '"x"'),
        ('{"sub": ""}', ERROR, None, '{"sub": ""}'),
        ('{"sub": "not-a-uuid"}', ERROR, None, '{"sub": "not-a-uuid"}'),
        ("not JSON", ERROR, ERROR, ERROR),
    ],
)
def test_claims_are_read_as_supabase_reads_them(
    migrator: Connection, claims: str | None, uid: object, role: object, jwt: object
) -> None:
    with migrator.transaction(force_rollback=True):
        if claims is not None:
            migrator.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        migrator.execute("set local role authenticated")

        assert answer(migrator, "uid") == uid
        assert answer(migrator, "role") == role
        assert answer(migrator, "email") == role
        assert answer(migrator, "jwt") == jwt


def test_full_claims_give_the_caller(migrator: Connection) -> None:
    claims = f'{{"sub": "{UID}", "role": "authenticated", "email": "baker@bannos.test"}}'

    with migrator.transaction(force_rollback=True):
        migrator.execute("select set_config('request.jwt.claims', %s, true)", (claims,))

        assert answer(migrator, "uid") == UID
        assert answer(migrator, "role") == "authenticated"
        assert answer(migrator, "email") == "baker@bannos.test"


@pytest.mark.parametrize(
    ("function", "claim", "legacy"),
    [("uid", "sub", UID), ("role", "role", "anon"), ("email", "email", "old@bannos.test")],
)
def test_a_legacy_claim_wins(migrator: Connection, function: str, claim: str, legacy: str) -> None:
    claims = '{"sub": "not-a-uuid", "role": "service_role", "email": "new@bannos.test"}'

    with migrator.transaction(force_rollback=True):
        migrator.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        migrator.execute("select set_config(%s, %s, true)", (f"request.jwt.claim.{claim}", legacy))

        assert answer(migrator, function) == legacy


def test_the_claims_of_the_caller_reach_definer_functions(migrator: Connection) -> None:
    migrator.execute(
        "create function public.who() returns uuid language sql security definer"
        " set search_path = pg_catalog, pg_temp as 'select auth.uid()';"
        " grant execute on function public.who() to authenticated"
    )
    claims = f'{{"sub": "{UID}"}}'

    with migrator.transaction(force_rollback=True):
        migrator.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        migrator.execute("set local role authenticated")

        assert str(one(migrator, "select public.who()")) == UID


# Storage


@pytest.mark.parametrize(
    ("path", "folders", "file", "extension"),
    [
        ("a/b/cake.png", ["a", "b"], "cake.png", "png"),
        ("cake.tar.gz", [], "cake.tar.gz", "gz"),
        ("a/cake", ["a"], "cake", "cake"),
    ],
)
def test_storage_paths_are_split_into_folder_file_and_extension(
    migrator: Connection, path: str, folders: list[str], file: str, extension: str
) -> None:
    parts = migrator.execute(
        "select storage.foldername(%(path)s), storage.filename(%(path)s),"
        " storage.extension(%(path)s)",
        {"path": path},
    ).fetchone()

    assert parts == (folders, file, extension)


def test_storage_policies_decide_alone(migrator: Connection) -> None:
    migrator.execute("insert into storage.buckets (id, name) values ('qc', 'qc')")
    migrator.execute("insert into storage.objects (bucket_id, name) values ('qc', 'bannos/1.jpg')")
    migrator.execute(
        "create policy qc_read on storage.objects for select to authenticated"
        " using ((storage.foldername(name))[1] = 'bannos')"
    )

    for role, seen in [("anon", 0), ("authenticated", 1), ("service_role", 1)]:
        migrator.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        assert one(migrator, "select count(*) from storage.objects") == seen, role


def test_stored_files_cannot_be_deleted_by_sql(migrator: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        migrator.execute("delete from storage.objects")

    with migrator.transaction():
        migrator.execute("set local storage.allow_delete_query = 'true'")
        migrator.execute("delete from storage.objects")


# Default privileges


@pytest.mark.parametrize(
    ("regime", "table", "sequence", "function"),
    [("legacy", "Dadrtwx", "rUw", False), ("explicit", "Dtx", "w", False)],
)
def test_the_regime_decides_what_new_objects_grant(
    server: Server,
    superuser: Connection,
    migrator: Connection,
    regime: str,
    table: str,
    sequence: str,
    function: bool,
) -> None:
    for each in ("legacy", "explicit", regime):  # earlier settings must leave no trace
        server.bootstrap(superuser.info.dbname, each)

    migrator.execute("create table public.cakes (id int generated by default as identity)")
    migrator.execute("create view public.tarts as select id from public.cakes")
    migrator.execute("create function public.bake() returns void language sql as ''")
    migrator.execute("create schema kitchen; create table kitchen.pans (id int)")

    for role in API_ROLES:
        assert privileges(migrator, role, "public.cakes") == table
        assert privileges(migrator, role, "public.tarts") == table
        assert privileges(migrator, role, "kitchen.pans") == ""
        assert (
            one(
                migrator,
                "select coalesce(string_agg(a.privilege_type, ' ' order by a.privilege_type), '')"
                " from pg_class, aclexplode(relacl) as a"
                " where oid = 'public.cakes_id_seq'::regclass and a.grantee = %s::regrole",
                role,
            )
            == {"rUw": "SELECT UPDATE USAGE", "w": "UPDATE"}[sequence]
        )
        # legacy grants to PUBLIC and by name, explicit only to PUBLIC
        assert one(migrator, "select has_function_privilege(%s, 'public.bake()', 'execute')", role)
        migrator.execute("revoke execute on function public.bake() from public")
        assert one(
            migrator, "select has_function_privilege(%s, 'public.bake()', 'execute')", role
        ) is (regime == "legacy")
        migrator.execute("grant execute on function public.bake() to public")


def test_objects_of_another_owner_get_no_grants(
    server: Server, superuser: Connection, migrator: Connection
) -> None:
    server.bootstrap(superuser.info.dbname, "legacy")

    with migrator.transaction(force_rollback=True):
        migrator.execute("create role bakehouse_test_owner nologin")
        migrator.execute(
            sql.SQL("grant bakehouse_test_owner to {}").format(
                sql.Identifier(server.migration_role)
            )
        )
        migrator.execute("create schema kitchen authorization bakehouse_test_owner")
        migrator.execute("grant create on schema public to bakehouse_test_owner")
        migrator.execute("set local role bakehouse_test_owner")
        migrator.execute("create table public.cakes (id int)")

        assert privileges(migrator, "anon", "public.cakes") == ""


# Running the bootstrap


def test_a_second_run_changes_nothing(server: Server, superuser: Connection) -> None:
    query = """
        select 'relation', oid::regclass::text, relacl::text, relowner::regrole::text
        from pg_class where relnamespace in ('auth'::regnamespace, 'storage'::regnamespace)
        union all
        select 'schema', nspname, nspacl::text, nspowner::regrole::text from pg_namespace
        where nspname !~ '^pg_'
        union all
        select 'function', oid::regprocedure::text, proacl::text, prosrc from pg_proc
        where pronamespace in ('auth'::regnamespace, 'storage'::regnamespace)
        union all
        select 'defaults', defaclnamespace::text, defaclacl::text, defaclobjtype::text
        from pg_default_acl
        union all
        select 'setting', setrole::text, setconfig::text, setdatabase::text
        from pg_db_role_setting where setdatabase = 0
        union all
        select 'member', roleid::regrole::text, member::regrole::text, admin_option::text
        from pg_auth_members
        order by 1, 2, 3, 4
    """
    before = superuser.execute(query).fetchall()

    server.bootstrap(superuser.info.dbname)

    assert superuser.execute(query).fetchall() == before


def test_a_second_database_of_the_server_is_bootstrapped_too(server: Server) -> None:
    name = server.create()

    server.bootstrap(name)

    with psycopg.connect(server.dsn(name)) as conn:
        assert one(conn, "select auth.uid()") is None
    server.drop(name)


def test_two_databases_are_bootstrapped_at_once(server: Server) -> None:
    names = [server.create() for _ in range(2)]
    first, second = (psycopg.connect(server.superuser_dsn(name)) for name in names)

    with first, second:
        platform.bootstrap(first, server.migration_role, server.password)
        platform.bootstrap(second, server.migration_role, server.password)

    for name in names:
        with psycopg.connect(server.dsn(name)) as conn:
            assert one(conn, "select auth.uid()") is None
        server.drop(name)


@pytest.mark.parametrize("role", ["supabase_auth_admin", "supabase_storage_admin"])
def test_a_supabase_database_is_recognised_and_left_unchanged(server: Server, role: str) -> None:
    name = server.create()

    with psycopg.connect(server.superuser_dsn(name)) as conn:
        conn.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
        with pytest.raises(BakehouseError, match="is Supabase") as refused:
            platform.bootstrap(conn, server.migration_role)
        schemas = column(conn, "select nspname from pg_namespace where nspname = 'auth'")
        conn.rollback()

    server.drop(name)
    assert (refused.value.kind, refused.value.exit_code) == ("usage", 2)
    assert schemas == set()


def test_the_migration_role_cannot_run_it_for_itself(server: Server, migrator: Connection) -> None:
    with pytest.raises(BakehouseError, match="for itself: nothing was changed") as refused:
        platform.bootstrap(migrator, server.migration_role)

    assert refused.value.kind == "usage"


def test_a_role_that_does_not_own_the_platform_is_told_who_does(
    server: Server, superuser: Connection
) -> None:
    owner = one(
        superuser, "select nspowner::regrole::text from pg_namespace where nspname = 'auth'"
    )
    with superuser.transaction(force_rollback=True):
        superuser.execute("create role bakehouse_test_admin createrole createdb bypassrls")
        superuser.execute("set local role bakehouse_test_admin")

        with pytest.raises(BakehouseError, match=f"{owner} owns the platform") as refused:
            platform.bootstrap(superuser, server.migration_role)

    assert (refused.value.kind, refused.value.hint) == ("usage", f"Run this as {owner}.")


@pytest.mark.parametrize(("before", "after"), [("1s", "1s"), ("1min", "1min"), ("0", "3s")])
def test_a_second_run_keeps_the_limit_of_a_role_and_replaces_no_limit(
    server: Server, superuser: Connection, before: str, after: str
) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(sql.SQL("alter role anon set statement_timeout = {}").format(before))

        platform.bootstrap(superuser, server.migration_role)

        assert f"statement_timeout={after}" in column(
            superuser, "select unnest(rolconfig) from pg_roles where rolname = 'anon'"
        )


def test_a_second_run_adds_the_memberships_that_a_dump_has_lost(
    server: Server, superuser: Connection
) -> None:
    role = server.migration_role
    with superuser.transaction(force_rollback=True):
        if not one(superuser, "select to_regrole('bakehouse_owner') is not null"):
            superuser.execute("create role bakehouse_owner nologin")
        for member, of in [(role, "bakehouse_owner"), ("authenticator", "anon")]:
            superuser.execute(
                sql.SQL("revoke {} from {} cascade").format(
                    sql.Identifier(of), sql.Identifier(member)
                )
            )

        platform.bootstrap(superuser, role)

        assert one(superuser, "select pg_has_role(%s, 'bakehouse_owner', 'USAGE')", role)
        assert one(superuser, "select pg_has_role('authenticator', 'anon', 'MEMBER')")


def test_a_superuser_cannot_be_the_migration_role(superuser: Connection) -> None:
    with pytest.raises(BakehouseError, match="is a superuser") as refused:
        platform.bootstrap(superuser, superuser.info.user)

    assert refused.value.kind == "usage"


def test_an_unknown_regime_is_refused(superuser: Connection, server: Server) -> None:
    with pytest.raises(BakehouseError, match="no such regime: open") as refused:
        platform.bootstrap(superuser, server.migration_role, regime="open")

    assert refused.value.kind == "usage"


def test_a_role_name_with_sql_in_it_is_only_a_name(superuser: Connection) -> None:
    name = 'bakehouse "baker"; --'

    with superuser.transaction(force_rollback=True):
        platform.bootstrap(superuser, name)

        assert one(superuser, "select rolsuper from pg_roles where rolname = %s", name) is False


def test_the_password_reaches_the_server_only_as_a_hash(
    server: Server, superuser: Connection
) -> None:
    password = "s3cret of the bakehouse"
    statements: list[str] = []
    superuser.add_notice_handler(lambda notice: statements.append(str(notice.message_primary)))

    with superuser.transaction(force_rollback=True):
        superuser.execute("set local client_min_messages = 'log'")
        superuser.execute("set local log_statement = 'all'")
        superuser.execute("set local log_min_duration_statement = 0")
        superuser.execute("set local log_parameter_max_length = -1")
        platform.bootstrap(superuser, server.migration_role, password)
        stored = one(
            superuser,
            "select rolpassword from pg_authid where rolname = %s",
            server.migration_role,
        )

    assert str(stored).startswith("SCRAM-SHA-256$4096:")
    assert any("alter role" in statement for statement in statements)
    assert not any(password in statement for statement in statements)
