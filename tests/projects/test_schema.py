"""Constraints of the database refuse wrong rows."""

import psycopg
import pytest

import postgres
from bakehouse.database import Connection
from bakehouse.deploy import environment
from rows import value, values

FOREIGN_KEYS = {
    "entities(created_by_uuid) n staff_shared",
    "entity_data(created_by_uuid) n staff_shared",
    "entity_data(entity_uuid) c entities",
    "project_assignments(child_project_uuid) r projects",
    "project_assignments(assigned_person_uuid) n staff_shared",
    "project_assignments(completed_by_uuid) n staff_shared",
    "project_assignments(project_uuid) c projects",
    "project_assignments(task_uuid) r project_tasks",
    "project_dependencies(assignment_uuid,project_uuid) c project_assignments",
    "project_dependencies(depends_on_uuid,project_uuid) c project_assignments",
    "project_task_dependencies(depends_on_task_uuid) c project_tasks",
    "project_task_dependencies(task_uuid) c project_tasks",
    "project_tasks(default_assigned_person_uuid) n staff_shared",
    "project_statuses(project_uuid) c projects",
    "projects(assigned_person_uuid) n staff_shared",
    "projects(cemented_status_slug,uuid) a project_statuses",
    "projects(created_from_template_uuid) n projects",
    "projects(status_entity_uuid) n entities",
}
NULLABLE = {
    "entities": "created_by_uuid description icon",
    "entity_data": "created_by_uuid",
    "project_tasks": "archived_at default_assigned_person_uuid description estimated_duration "
    "estimated_duration_unit",
    "project_task_dependencies": "",
    "projects": "archived_at assigned_person_uuid cemented_status_slug completed_at "
    "created_from_template_uuid current_status_slug description external_id scheduled_start_date "
    "started_at status_entity_uuid",
    "project_statuses": "source_entity_data_uuid",
    "project_assignments": "assigned_person_uuid child_project_uuid completed_at completed_by_uuid "
    "counts_weekends description estimated_duration estimated_duration_unit task_uuid",
    "project_dependencies": "",
    "activities": "actor_uuid resource_uuid",
}


@pytest.mark.spec("P23")
def test_every_reference_is_a_foreign_key(db: Connection) -> None:
    found = values(
        db,
        """
        select con.conrelid::regclass || '(' || (
          select string_agg(col.attname, ',' order by col.attname = 'project_uuid', col.attname)
          from pg_attribute as col
          where col.attrelid = con.conrelid and col.attnum = any(con.conkey)
        ) || ') ' || con.confdeltype::text || ' ' || con.confrelid::regclass
        from pg_constraint as con where con.contype = 'f' and con.convalidated
        """,
    )

    assert set(found) >= FOREIGN_KEYS


@pytest.mark.parametrize("table", NULLABLE)
@pytest.mark.spec("P23")
def test_required_columns_are_not_null(db: Connection, table: str) -> None:
    optional = values(
        db,
        "select attname::text from pg_attribute where attrelid = %s::regclass "
        "and attnum > 0 and not attisdropped and not attnotnull",
        f"public.{table}",
    )

    assert set(NULLABLE[table].split()) == set(optional)


@pytest.mark.spec("P65")
def test_no_index_is_the_prefix_of_another(db: Connection) -> None:
    repeated = values(
        db,
        """
        select short.indexrelid::regclass::text from pg_index as short
        inner join pg_index as long on long.indrelid = short.indrelid
          and long.indexrelid <> short.indexrelid
          and (long.indkey::int2[])[0:short.indnkeyatts - 1] = short.indkey::int2[]
        inner join pg_class as rel on rel.oid = short.indrelid
        where rel.relname = any(%s) and rel.relnamespace = 'public'::regnamespace
        and not short.indisunique and short.indpred is null and short.indoption = long.indoption
        """,
        list(NULLABLE),
    )

    assert repeated == []


@pytest.mark.spec("P51", "P54")
def test_places_are_unique_and_can_be_exchanged_in_one_statement(db: Connection) -> None:
    for table in ("projects", "project_tasks", "entities", "project_assignments", "entity_data"):
        assert value(
            db,
            "select condeferrable and not condeferred from pg_constraint "
            "where contype = 'x' and conname = %s",
            f"{table}_position_key",
        )


def test_projects_need_the_core_and_the_settings_alone(blank: str) -> None:
    with psycopg.connect(blank, autocommit=True) as conn:
        for name in ("M0", "M1", "V101"):
            for path in sorted(postgres.MIGRATIONS.glob(f"*_{name}_*.sql")):
                conn.execute(path.read_bytes())
        assert value(conn, "select to_regclass('public.projects') is not null")


def test_dev_data_skips_projects_where_they_are_left_out(blank: str) -> None:
    seed = postgres.MIGRATIONS.with_name("seed_dev.sql").read_bytes()
    paths = sorted(postgres.MIGRATIONS.glob("*.sql"))
    with psycopg.connect(blank, autocommit=True) as conn:
        environment.mark(conn, environment.Settings("dev"))
        for family in ("M", "V"):
            for path in paths:
                if path.name.split("_")[1].startswith(family):
                    conn.execute(path.read_bytes())
            conn.execute(seed)

        assert value(conn, "select count(*) from public.project_assignments") == 3
