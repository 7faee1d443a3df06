"""Applies V125 and V127 to a database that already has projects."""

from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

import postgres
from bakehouse import database
from bakehouse.database import Connection
from bakehouse.migrations import apply
from bakehouse.migrations.files import discover
from postgres import Server
from projects.callers import Caller, caller, switch
from rows import value

DOWN = postgres.MIGRATIONS.with_name("down")


def migrate(dsn: str, *milestones: str) -> None:
    """Applies the files of these milestones, or all files."""
    files = [
        file
        for file in discover(postgres.MIGRATIONS)
        if not milestones or file.milestone in milestones
    ]
    with database.connect(dsn, "tests") as conn:
        for _ in apply.run(conn, dsn, files, None, print):
            pass


@pytest.fixture
def v101(server: Server, blank: str) -> str:
    """The DSN of a database with only the core, settings and projects."""
    with server.one_at_a_time():
        migrate(blank, "M0", "M1", "V101")
    return blank


def filled(db: Connection) -> tuple[Caller, str, str, str]:
    """A started project, one that is not started, and a template, each with a row."""
    switch(db, "true")
    api = caller(db)
    running, waiting, template = api.project(), api.project(), api.template()
    for project in (running, waiting, template):
        api.row(project)
    api("start_project", running)
    return api, running, waiting, template


def test_projects_of_v101_have_statuses_after_v125_is_applied(v101: str) -> None:
    with psycopg.connect(v101) as db:
        api, running, waiting, template = filled(db)
        before = {project: api.get(project) for project in (running, waiting, template)}

    migrate(v101, "M0", "M1", "V101", "V125")

    with psycopg.connect(v101) as db:
        api = Caller(db, api.account)
        for project, known in before.items():
            assert known.items() <= api.get(project).items()
        source = api("create_default_status_entity")["uuid"]
        for project in (running, waiting):
            api("set_status_entity", project, source)
            api("set_current_status", project, "planned")
        api("start_project", waiting)
        assert len(api.records("list_project_statuses", running)) == 6
        assert api.get(waiting)["current_status_slug"] == "planned"


def test_rolling_back_v125_leaves_v101_as_it_was(v101: str) -> None:
    with psycopg.connect(v101) as db:
        api, running, *_ = filled(db)
        before = api.get(running)
    shape = columns_and_functions(v101)
    migrate(v101, "M0", "M1", "V101", "V125")
    with psycopg.connect(v101) as db:
        api = Caller(db, api.account)
        source = api("create_default_status_entity")["uuid"]
        api("set_status_entity", running, source)
        api("set_current_status", running, "planned")

    for path in sorted(DOWN.glob("*_V125_*.sql"), reverse=True):
        run(v101, path)

    assert columns_and_functions(v101) == shape
    with psycopg.connect(v101) as db:
        api = Caller(db, api.account)
        assert api.get(running).keys() == before.keys()
        api("update_project", running, {"name": "New"})
        api("start_project", api.project())


def test_v125_applies_again_after_its_down_scripts(v101: str) -> None:
    migrate(v101, "V125")
    with psycopg.connect(v101) as db:
        api, running, *_ = filled(db)
        api("set_status_entity", running, api("create_default_status_entity")["uuid"])
        api("set_current_status", running, "planned")
    for path in sorted(DOWN.glob("*_V125_*.sql"), reverse=True):
        run(v101, path)

    migrate(v101, "V125")

    with psycopg.connect(v101) as db:
        api = Caller(db, api.account)
        api("recement_project_statuses", running)
        assert api("set_current_status", running, "planned")["status"]["slug"] == "planned"


def run(dsn: str, path: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(path.read_bytes())


def columns_and_functions(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        found = conn.execute(
            """
            select concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod))
            from pg_attribute where attnum > 0 and not attisdropped
            and attrelid::regclass::text ~ '^(public|app)\\.'
            union all
            select pg_get_functiondef(oid) || coalesce(obj_description(oid, 'pg_proc'), '')
            from pg_proc where pronamespace::regnamespace::text in ('public', 'app')
            union all
            select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
            order by 1
            """
        ).fetchall()
    return [" ".join(str(row[0]).split()) for row in found]


WITHOUT_SUBPROJECTS: LiteralString = """
alter table public.project_assignments drop column child_project_uuid cascade;
alter table public.project_assignments alter column task_uuid set not null;
"""


@pytest.mark.parametrize("older", [False, True], ids=["new database", "older V101"])
def test_v127_brings_the_column_of_subprojects_where_it_is_missing(v101: str, older: bool) -> None:
    migrate(v101, "M0", "M1", "V101", "V125")
    with psycopg.connect(v101) as db:
        filled(db)
        if older:
            db.execute(WITHOUT_SUBPROJECTS)

    migrate(v101, "V127")

    with psycopg.connect(v101) as db:
        shape = db.execute(
            """
            select
              (select confdeltype::text from pg_constraint
                where conname = 'project_assignments_child_project_fkey'),
              (select not attnotnull from pg_attribute
                where attrelid = 'public.project_assignments'::regclass
                and attname = 'task_uuid'),
              (select indisunique and indpred is not null from pg_index
                where indexrelid = 'public.project_assignments_child_project_key'::regclass)
            """
        ).fetchone()
        assert shape == ("r", True, True)
        assert value(db, "select count(*) from public.project_assignments") == 3
        with pytest.raises(psycopg.errors.CheckViolation, match="task_xor_child"):
            db.execute(
                "insert into public.project_assignments (project_uuid, position) "
                "select uuid, 9 from public.projects"
            )
