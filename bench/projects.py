"""The cost of projects: each section compared with a plain statement that does the same.

    .venv/bin/python bench/projects.py [section ...]

Both sides run in turn on the same durable server, so that the ratios hold on a noisy machine.
"""

import json
import statistics as stats
import sys
import time
from collections.abc import Callable
from typing import LiteralString, TypeVar

import psycopg

from bakehouse.database import Connection
from bench_server import migrated

Answer = TypeVar("Answer")

PORT = 54494
ACCOUNT = "00000000-0000-4000-8000-0000000000be"

PROJECTS = 1000
STATUS_ROUNDS = 60
FILL_STATUSES: LiteralString = """
insert into public.settings (key, value) values ('entities_enabled', 'true');
insert into public.entities (name, display_name, display_name_plural)
select 'bench_' || list, 'Bench', 'Bench' from generate_series(1, 20) as list;
insert into public.entity_data (entity_uuid, title, slug, position, data, translations)
select
  entities.uuid, 'Status ' || number, 'status-' || number, number, '{"color": "#34d399"}',
  jsonb_build_object('es-ES', jsonb_build_object('title', 'Estado ' || number))
from public.entities as entities, generate_series(1, 6) as number;
insert into public.projects (name, status_entity_uuid, current_status_slug)
select 'Bench', entities.uuid, 'status-' || 1 + number % 6
from public.entities as entities, generate_series(1, 500) as number;
update public.projects set started_at = now() where position % 2 = 0;
analyze;
"""
BARE_JOIN: LiteralString = """
select
  projects.uuid, coalesce(own.uuid, live.uuid), coalesce(own.label, live.title),
  coalesce(own.slug, live.slug), coalesce(own.data, live.data) ->> 'color',
  coalesce(own.position, live.position)
from public.projects as projects
left join public.project_statuses as own
  on own.project_uuid = projects.uuid and own.slug = projects.current_status_slug
left join public.entity_data as live
  on live.entity_uuid = projects.status_entity_uuid and live.slug = projects.current_status_slug
  and projects.started_at is null
where projects.uuid = any(%s)
"""
BATCH: LiteralString = "select * from public.statuses_for_projects(%s, %s)"


LEVELS, WIDTH, OTHERS = 8, 500, 100_000
ROLLUP_ROUNDS = 150
FILL: LiteralString = """
insert into public.project_assignments (project_uuid, task_uuid, position)
select projects.uuid, tasks.uuid, 1000 + number
from public.projects as projects, generate_series(1, %s) as number,
  (select uuid from public.project_tasks limit 1) as tasks
where projects.uuid = any(%s)
"""
ROWS_OF: LiteralString = """
select rows.uuid from public.project_assignments as rows
where rows.project_uuid = %s and rows.status = 'todo'
"""
PLAIN: LiteralString = """
drop table if exists public.plain;
create table public.plain (like public.project_assignments including all);
insert into public.plain select * from public.project_assignments;
analyze;
"""
PLAIN_UPDATE: LiteralString = """
update public.plain set status = 'done', progress_pct = 100, completed_at = now() where uuid = %s
"""
COMPLETE: LiteralString = "select public.complete_assignment(%s)"
REOPEN: LiteralString = "select public.reopen_assignment(%s)"
BEGIN_AGAIN: LiteralString = """
update public.project_assignments set status = 'todo', progress_pct = 0, completed_at = null
where task_uuid is not null and status <> 'todo'
"""
KIT = 2000
BARE_COPY: LiteralString = """
insert into public.project_assignments (project_uuid, task_uuid, position)
select %s, rows.task_uuid, row_number() over ()
from public.project_assignments as rows
where rows.project_uuid = any(%s) and rows.task_uuid is not null
"""
COPY: LiteralString = "select public.create_project_from_template(%s, 'Copy')"


def main() -> None:
    wanted = sys.argv[1:] or list(SECTIONS)
    with migrated(PORT) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "insert into public.staff_shared (user_id, full_name, role, approved) "
            "values (%s, 'Bench', 'Admin', true)",
            (ACCOUNT,),
        )
        for section in wanted:
            print(section)
            SECTIONS[section](conn)


def statuses(conn: Connection) -> None:
    """Reads the status of 1,000 of 10,000 projects. Half are started. They use 20 lists."""
    conn.execute(FILL_STATUSES)
    everyone = [row[0] for row in conn.execute("select uuid from public.projects order by uuid")]
    some = everyone[:PROJECTS]
    answer = api(conn, lambda: set(conn.execute(BATCH, (some, None))))
    assert answer == set(conn.execute(BARE_JOIN, (some,)))

    def bare() -> object:
        return conn.execute(BARE_JOIN, (some,)).fetchall()

    sides: dict[str, Callable[[], object]] = {
        "a bare join": bare,
        "statuses_for_projects": lambda: conn.execute(BATCH, (some, None)).fetchall(),
        "statuses_for_projects, in a sibling language": lambda: conn.execute(
            BATCH, (some, "es")
        ).fetchall(),
        "statuses_for_projects, a tenth of them": lambda: conn.execute(
            BATCH, (some[: PROJECTS // 10], None)
        ).fetchall(),
    }
    compare(conn, sides, STATUS_ROUNDS, plain="a bare join")


def nest(conn: Connection, width: int, template: bool) -> list[str]:
    """Nests projects, each with `width` rows for tasks. Returns their ids, the root first."""
    conn.execute("insert into public.project_tasks (title, estimated_duration) values ('Bench', 2)")
    made: list[str] = []

    def build() -> None:
        query: LiteralString = "select public.create_project('Bench', %s) ->> 'uuid'"
        attrs = json.dumps({"is_template": template})
        made.append(str(conn.execute(query, (attrs,)).fetchall()[0][0]))
        for _ in range(LEVELS - 1):
            query = "select public.create_subproject(%s, 'Bench') ->> 'uuid'"
            made.append(str(conn.execute(query, (made[-1],)).fetchall()[0][0]))

    api(conn, build)
    conn.execute(FILL, (width, made))
    return made


def rollup(conn: Connection) -> None:
    """Completes a row 8 levels down, first alone, then beside 100,000 other projects."""
    levels = nest(conn, WIDTH, template=False)
    for others in (0, OTHERS):
        print(f"  among {others:,} other projects")
        conn.execute(
            "insert into public.projects (name) select 'Other' from generate_series(1, %s)",
            (others,),
        )
        conn.execute(PLAIN)
        roll_up(conn, levels[-1])


def roll_up(conn: Connection, leaf: str) -> None:
    rows = [row[0] for row in conn.execute(ROWS_OF, (leaf,))]
    only, rest = rows[0], iter(rows[1:])

    def plain() -> object:
        return conn.execute(PLAIN_UPDATE, (only,))

    sides: dict[str, Callable[[], object]] = {
        "one plain update": plain,
        "complete_assignment": lambda: conn.execute(COMPLETE, (next(rest),)),
    }
    compare(conn, sides, ROLLUP_ROUNDS, plain="one plain update")
    conn.execute(BEGIN_AGAIN)  # from here on, one row completes and reopens all levels
    sides = {
        "one plain update": plain,
        "complete, changing all 8 levels": lambda: conn.execute(COMPLETE, (only,)),
        "reopen, changing all 8 levels": lambda: conn.execute(REOPEN, (only,)),
    }
    compare(conn, sides, ROLLUP_ROUNDS, plain="one plain update")


def clone(conn: Connection) -> None:
    """Clones a template of 2,000 rows on 8 levels, compared with a plain insert of the rows."""
    kit = nest(conn, KIT // LEVELS, template=True)
    conn.execute("analyze")
    empty = conn.execute("insert into public.projects (name) values ('Empty') returning uuid")
    target = empty.fetchall()[0][0]
    sides: dict[str, Callable[[], object]] = {
        "bare insert ... select": lambda: conn.execute(BARE_COPY, (target, kit)),
        "create_project_from_template": lambda: conn.execute(COPY, (kit[0],)),
    }
    for _ in range(5):
        compare(conn, sides, 1, plain="bare insert ... select")
        conn.execute("delete from public.project_assignments where project_uuid = %s", (target,))


def api(conn: Connection, call: Callable[[], Answer]) -> Answer:
    """Acts as an account at the API."""
    conn.execute("select set_config('request.jwt.claims', %s, false)", (CLAIMS,))
    conn.execute("set role authenticated")
    try:
        return call()
    finally:
        conn.execute("reset role")


CLAIMS = json.dumps({"role": "authenticated", "sub": ACCOUNT})


def compare(
    conn: Connection, sides: dict[str, Callable[[], object]], rounds: int, plain: str
) -> None:
    """Times each side in turn. The plain side runs as the owner, the others as an account."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            if name != plain:
                conn.execute("select set_config('request.jwt.claims', %s, false)", (CLAIMS,))
                conn.execute("set role authenticated")
            begun = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - begun)
            conn.execute("reset role")
    usual = stats.median(times[plain])
    for name, taken in times.items():
        median = stats.median(taken)
        print(f"  {name:<44}{median * 1000:8.2f} ms  x {median / usual:.2f}")


SECTIONS: dict[str, Callable[[Connection], None]] = {
    "statuses": statuses,
    "rollup": rollup,
    "clone": clone,
}

if __name__ == "__main__":
    main()
