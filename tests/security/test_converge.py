"""Migrations converge: a second run changes nothing, and down and up restores the schema."""

import os
import subprocess

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import postgres
from bakehouse.server.binaries import find_binaries
from postgres import Server

DOWN = postgres.MIGRATIONS.with_name("down")
VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}


def dump(server: Server, dsn: str) -> str:
    """Returns the schema as SQL."""
    database = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(server.superuser_dsn(database)) as conn:
        major = conn.info.server_version // 10000
    binaries = find_binaries()
    if binaries.version < major:
        pytest.skip(f"pg_dump {binaries.version} cannot read Postgres {major}")
    facts = conninfo_to_dict(server.superuser_dsn(database))
    access = {VARIABLES[name]: str(fact) for name, fact in facts.items() if name in VARIABLES}
    done = subprocess.run(
        [binaries.tool("pg_dump"), "--schema-only", database],
        env=os.environ | access,
        check=True,
        capture_output=True,
        text=True,
    )
    # these lines differ in every dump: a random \restrict key, and a stamp of Debian's 15.20
    lines = [
        line
        for line in done.stdout.splitlines()
        if "restrict " not in line[:12] and "SET (pg_attver=" not in line
    ]
    assert "CREATE TABLE public.orders " in done.stdout
    return "\n".join(lines)


def take_down(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for path in sorted(DOWN.glob("*.sql"), reverse=True):
            conn.execute(path.read_bytes())


def test_applying_everything_again_changes_nothing(server: Server, clone: str) -> None:
    before = dump(server, clone)

    postgres.migrate(clone)

    assert dump(server, clone) == before


def test_down_and_then_up_gives_the_same_schema(server: Server, clone: str) -> None:
    before = dump(server, clone)

    take_down(clone)
    postgres.migrate(clone)

    assert dump(server, clone) == before


def test_down_leaves_no_object_of_ours_behind(clone: str) -> None:
    take_down(clone)

    with psycopg.connect(clone) as conn:
        left = conn.execute(
            """
            with objects (name, owner) as (
              select oid::regclass::text, relowner from pg_class
              union all select oid::regprocedure::text, proowner from pg_proc
              union all select oid::regtype::text, typowner from pg_type
              union all select nspname, nspowner from pg_namespace
            )
            select name from objects where owner::regrole::text = 'bakehouse_owner'
            """
        ).fetchall()
    assert left == []


def test_down_can_be_repeated(clone: str) -> None:
    take_down(clone)
    take_down(clone)

    postgres.migrate(clone)
    with psycopg.connect(clone) as conn:
        assert conn.execute("select count(*) from public.stores").fetchone() == (2,)


def test_every_migration_has_its_down_script() -> None:
    ups = {path.name for path in postgres.MIGRATIONS.glob("*.sql")}

    assert ups == {path.name for path in DOWN.glob("*.sql")}
