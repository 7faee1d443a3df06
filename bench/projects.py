"""What projects cost: each section against the plainest statement that does the same.

    .venv/bin/python bench/projects.py [section ...]

Both sides of a ratio run in turn on the same durable server, so that it holds on a noisy machine.
"""

import json
import statistics as stats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import psycopg

from bakehouse import embedded
from bakehouse.database import Connection

ROOT = Path(__file__).parents[1]
BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))
PORT = 54494
ACCOUNT = "00000000-0000-4000-8000-0000000000be"

LISTS = 20
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


def main() -> None:
    wanted = sys.argv[1:] or list(SECTIONS)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        project = Path(folder)
        project.chmod(0o755)
        embedded.start(project, PORT)
        try:
            dsn = embedded.dsn(PORT, "postgres")
            subprocess.run(
                [BAKEHOUSE, "migrate", "up", "--project", str(ROOT), "--database-url", dsn],
                check=True,
                capture_output=True,
            )
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(
                    "insert into public.staff_shared (user_id, full_name, role, approved) "
                    "values (%s, 'Bench', 'Admin', true)",
                    (ACCOUNT,),
                )
                for section in wanted:
                    print(section)
                    SECTIONS[section](conn)
        finally:
            embedded.remove(project)


def statuses(conn: Connection) -> None:
    """The status of each of 1,000 projects, half of them started, of 20 lists, among 10,000."""
    conn.execute(FILL_STATUSES)
    everyone = [row[0] for row in conn.execute("select uuid from public.projects order by uuid")]
    some = everyone[:PROJECTS]
    assert sorted(conn.execute(BARE_JOIN, (some,)).fetchall()) == sorted(
        api(conn, lambda: conn.execute(BATCH, (some, None)).fetchall())
    )

    def bare() -> object:
        return conn.execute(BARE_JOIN, (some,)).fetchall()

    sides: dict[str, Callable[[], object]] = {
        "a bare join": bare,
        "statuses_for_projects": lambda: conn.execute(BATCH, (some, None)).fetchall(),
        "statuses_for_projects, translated": lambda: conn.execute(BATCH, (some, "es")).fetchall(),
        "statuses_for_projects, a tenth of them": lambda: conn.execute(
            BATCH, (some[: PROJECTS // 10], None)
        ).fetchall(),
    }
    compare(conn, sides, STATUS_ROUNDS, plain="a bare join")


def api(conn: Connection, call: Callable[[], object]) -> object:
    """As an account at the API."""
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
    """Run the sides in turn; the plain one as the owner, the others as an account."""
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
        print(f"  {name:<42}{median * 1000:8.2f} ms  x {median / usual:.2f}")


SECTIONS: dict[str, Callable[[Connection], None]] = {"statuses": statuses}

if __name__ == "__main__":
    main()
