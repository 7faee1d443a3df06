"""How fast migrations apply, compared with the shortest psycopg loop that does the same.

    .venv/bin/python bench/migrate.py

Both sides run in turn on the same durable server, so that the ratios hold on a noisy machine.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bakehouse import database
from bakehouse.deploy import environment
from bakehouse.deploy.environment import EnvironmentName, Settings
from bakehouse.server import cluster, embedded

BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))
FILES = 200
ROUNDS = 7
PORT = 54499
IMPORTS = "import psycopg, typer"

MIGRATION = """-- M0 table {n}
--
-- Needs: nothing

begin;
set local lock_timeout = '5s';

create table if not exists public.t{n} (
  id bigint generated always as identity primary key,
  amount int not null default {n},
  note text
);
create index if not exists t{n}_amount_idx on public.t{n} (amount);
comment on table public.t{n} is 'Table {n}.';

commit;
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        project = Path(folder)
        project.chmod(0o755)
        files = project / "supabase" / "migrations"
        files.mkdir(parents=True)
        for n in range(FILES):
            (files / f"{20260101000000 + n}_M0_t{n}.sql").write_text(MIGRATION.format(n=n))
        (project / "bakehouse.toml").write_text(
            '[staging]\nurl = "NONE"\nhost = "127.0.0.1"\ndatabase = "bench"\n'
        )
        embedded.start(project, PORT)
        try:
            measure(files)
        finally:
            embedded.remove(project)


def measure(files: Path) -> None:
    loops, ours, nothing, imports, plans, checks = [], [], [], [], [], []
    for _ in range(ROUNDS):
        loops.append(timed(least_loop, fresh(), files))
        url = fresh()
        plans.append(timed(command, files, url, "plan"))
        ours.append(timed(command, files, url, "up"))
        nothing.append(timed(command, files, url, "up"))
        checks.append(check(files, url))
        imports.append(timed(python, IMPORTS))
    start = statistics.median(imports)
    processes = [loop + start for loop in loops]
    report("python -c 'import psycopg, typer'", imports)
    report(f"least psycopg loop, {FILES} files", loops)
    report("  as a process, that start included", processes)
    report("bakehouse migrate up", ours, processes)
    report("  less that start", [took - start for took in ours], loops)
    report("bakehouse migrate up, nothing to do", nothing, imports)
    report("bakehouse migrate plan", plans, processes)
    report("bakehouse gate check --env staging", checks)


def fresh() -> str:
    """A new database. It is created and synced before the measurement."""
    with psycopg.connect(cluster.superuser_dsn(PORT), autocommit=True) as conn:
        conn.execute("drop database if exists bench with (force)")
        conn.execute("create database bench owner postgres")
        conn.execute("checkpoint")
    url = cluster.dsn(PORT, "bench")
    mark(url, "dev")
    return url


def check(files: Path, url: str) -> float:
    """Asks all gates of staging about one new file, which is refused as not rehearsed."""
    mark(url, "staging")
    late = files / "20990101000000_M0_late.sql"
    late.write_text("select 1;\n")
    took = timed(run, [BAKEHOUSE, "gate", "check", "--env", "staging", "--database-url", url,
                       "--project", str(files.parents[1])], 5)  # fmt: skip
    late.unlink()
    return took


def mark(url: str, env: EnvironmentName) -> None:
    with database.connect(url, "bench") as conn:
        environment.mark(conn, Settings(env))


def least_loop(dsn: str, files: Path) -> None:
    """Applies each file in a transaction with a history row, and does nothing else."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "create table public.history (version text primary key, statements text[], name text)"
        )
        for path in sorted(files.iterdir()):
            text = path.read_text().replace("begin;\n", "").replace("commit;\n", "")
            version, _, name = path.stem.partition("_")
            with conn.transaction():
                conn.execute(text.encode())
                conn.execute(
                    "insert into public.history values (%s, %s, %s)", (version, [text], name)
                )


def command(files: Path, dsn: str, action: str) -> None:
    run([BAKEHOUSE, "migrate", action, "--project", str(files.parents[1]), "--database-url", dsn])


def python(code: str) -> None:
    run([sys.executable, "-c", code])


def run(argv: list[str], code: int = 0) -> None:
    # users have .pyc files too, so let Python write them
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(argv, capture_output=True, env=variables, text=True)
    assert ran.returncode == code, ran.stderr


def timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def report(name: str, times: list[float], base: list[float] | None = None) -> None:
    middle = statistics.median(times)
    ratios = [took / other for took, other in zip(times, base or times, strict=True)]
    ratio = f"x {statistics.median(ratios):.2f}" if base else ""
    print(f"{name:<45} {middle:7.3f} s  ({min(times):.3f} to {max(times):.3f})  {ratio}")


if __name__ == "__main__":
    main()
