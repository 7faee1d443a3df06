"""The real Supabase CLI and bakehouse on one database: each accepts the changes of the other."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bakehouse.migrations import catalog, history, watch
from bakehouse.server import cluster, embedded
from command import Project, free_port
from postgres import system_binaries

ROOT = Path(__file__).parents[2]
CLI = Path(__file__).parent / "node_modules" / ".bin" / "supabase"
PLAIN = "create table public.theirs (id int primary key);\n"
WRAPPED = f"-- wrapped\nbegin;\n{PLAIN}commit;\n"

pytestmark = pytest.mark.skipif(
    not CLI.exists() or shutil.which("node") is None,
    reason="the Supabase CLI is not installed: `make test-supabase` does it where Node is",
)


class SupabaseProject(Project):
    """A copy of this project with its own dev server."""

    def supabase(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CLI, *arguments], cwd=self.root, capture_output=True, text=True, input=""
        )

    @property
    def url(self) -> str:
        status = embedded.status(self.root)
        assert status
        assert status.port
        return f"postgresql://postgres:postgres@127.0.0.1:{status.port}/postgres"

    def objects(self) -> dict[str, str]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return catalog.objects(conn)

    def wipe(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            history.wipe(conn)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupabaseProject]:
    project = SupabaseProject(tmp_path_factory.mktemp("supabase"))
    port = free_port()
    shutil.copytree(ROOT / "supabase", project.root / "supabase")
    config = project.root / "supabase" / "config.toml"
    config.write_text(config.read_text().replace("54322", str(port)))
    started = project.run("up", "--port", str(port))
    assert started.code == 0, started.err
    yield project
    project.run("down", "--remove")


@pytest.fixture
def both(server: SupabaseProject) -> Iterator[SupabaseProject]:
    """This project, with a database that bakehouse migrated."""
    yield server
    for path in (server.root / "supabase" / "migrations").iterdir():
        if not (ROOT / "supabase" / "migrations" / path.name).exists():
            path.unlink()
    server.wipe()
    with psycopg.connect(server.url) as conn:
        conn.execute("drop table if exists public.theirs, public.ours")
    assert server.run("migrate", "up").code == 0


def test_the_cli_agrees_with_a_database_that_bakehouse_migrated(both: SupabaseProject) -> None:
    listed = both.supabase("migration", "list")
    upped = both.supabase("migration", "up")
    pushed = both.supabase("db", "push", f"--remote={both.url}", "--yes")

    for file in (both.root / "supabase" / "migrations").glob("*.sql"):
        assert listed.stdout.count(f"`{file.name[:14]}`") == 2, listed.stdout
    assert "up to date" in upped.stdout + upped.stderr
    assert "up to date" in pushed.stdout + pushed.stderr, pushed
    assert upped.returncode == pushed.returncode == 0


def test_bakehouse_agrees_with_a_database_that_the_cli_migrated(both: SupabaseProject) -> None:
    ours = both.objects()
    both.wipe()

    upped = both.supabase("migration", "up")
    again = both.supabase("db", "push", f"--remote={both.url}", "--yes", "--include-seed")
    status = both.run("migrate", "status", "--check", "--json")
    nothing = both.run("migrate", "up")

    assert (upped.returncode, again.returncode) == (0, 0), upped.stderr + again.stderr
    assert both.objects() == ours
    assert status.code == 0, status.err
    assert {row["state"] for row in status.json["migrations"]} == {"applied"}
    assert status.json["chain_head"]
    assert nothing.out == "nothing to do\n"
    with psycopg.connect(both.url) as conn:
        assert conn.execute("select count(*) from public.orders").fetchone() == (2,)


def test_the_seed_of_an_unmarked_database_says_which_command_marks_it(
    both: SupabaseProject,
) -> None:
    as_superuser(both, "create database unmarked template template0")
    url = both.url.removesuffix("postgres") + "unmarked"
    superuser = make_conninfo(url, user=cluster.SUPERUSER)
    role = ("--migration-role", "postgres")
    assert both.run("bootstrap", *role, "--database-url", superuser).code == 0
    push = ("db", "push", f"--remote={url}", "--yes", "--include-seed")

    refused = both.supabase(*push)
    marked = both.run("env", "mark", "dev", "--database-url", url)
    again = both.supabase(*push)

    assert refused.returncode == 1
    assert "not marked: run `bakehouse env mark dev --database-url URL`" in refused.stderr
    assert (marked.code, again.returncode) == (0, 0), marked.err + again.stderr
    with psycopg.connect(url) as conn:
        assert conn.execute("select count(*) from public.orders").fetchone() == (2,)


@pytest.mark.parametrize("text", [PLAIN, WRAPPED], ids=["plain", "with begin and commit"])
def test_a_file_applied_by_one_cli_counts_as_applied_for_the_other(
    both: SupabaseProject, text: str
) -> None:
    both.write("20990101000000_M0_theirs.sql", text)
    theirs = both.supabase("migration", "up")
    status = both.run("migrate", "status", "--json").json
    drift = both.run("migrate", "verify")
    adopted = both.run("migrate", "repair", "adopt", "20990101000000", "--yes")
    both.write("20990101000001_M0_ours.sql", text.replace("theirs", "ours"))
    ours = both.run("migrate", "up", "--json")
    listed = both.supabase("migration", "up")

    assert theirs.returncode == 0, theirs.stderr
    assert status["migrations"][-1]["state"] == "applied"
    assert status["migrations"][-1]["detail"] == "by another tool"
    assert (drift.code, adopted.code) == (4, 0)
    assert both.run("migrate", "verify").code == 0
    assert ours.json["applied"] == ["20990101000001"]
    assert "up to date" in listed.stdout + listed.stderr


def test_the_cli_rebuilds_our_files_from_the_history(both: SupabaseProject) -> None:
    folder = both.root / "supabase" / "migrations"
    kept = {path.name: path.read_text() for path in folder.glob("*.sql")}
    for name in kept:
        (folder / name).unlink()
    try:
        fetched = both.supabase("migration", "fetch")
        status = both.run("migrate", "status", "--json").json
    finally:
        for name, text in kept.items():
            (folder / name).write_text(text)

    assert fetched.returncode == 0, fetched.stderr
    assert {row["state"] for row in status["migrations"]} == {"reformatted"}


def test_the_advisors_of_supabase_find_nothing(both: SupabaseProject) -> None:
    advised = both.supabase("db", "advisors", "--fail-on", "warn")

    assert advised.returncode == 0, advised.stdout + advised.stderr


def test_our_advice_has_the_names_of_the_advisors(both: SupabaseProject) -> None:
    with psycopg.connect(both.url) as conn:
        conn.execute(
            "create table public.theirs (id int primary key);"
            "alter table public.theirs enable row level security;"
            "create policy p on public.theirs for update to authenticated using (true);"
            "create policy q on public.theirs for select to authenticated using"
            " (current_setting('request.jwt.claims', true)::jsonb -> 'user_metadata' is not null);"
            "create table public.ours (id int primary key);"
            "create policy p on public.ours for select to authenticated using (id > 0);"
            "grant select on public.ours, public.theirs to authenticated;"
        )
        advice = watch.advice(conn)
    found = json.loads(
        both.supabase("db", "advisors", "--type", "security", "--output-format", "json").stdout
    )

    theirs = {(one["name"], one["metadata"]["name"]) for one in found["results"]}
    ours = {(one[0], one[1].split(".")[-1]) for one in advice if one[0] != "api_role_can_write"}
    assert ours == {(rule, name) for rule, name in theirs if name in ("ours", "theirs")}
    assert len({rule for rule, _ in ours}) == 4


def test_types_are_generated_for_the_api_and_nothing_else(
    both: SupabaseProject,
) -> None:
    types = both.supabase("gen", "types", f"--remote={both.url}")

    assert types.returncode == 0, types.stderr
    assert '"stage_events": {' in types.stdout
    assert "staff_pay" not in types.stdout


def test_lint_finds_nothing_where_plpgsql_check_is_installed(
    both: SupabaseProject, tmp_path: Path
) -> None:
    other = system_binaries()
    if other is None or not list(other.bin_dir.parent.glob("lib/plpgsql_check.*")):
        pytest.skip("no system Postgres with plpgsql_check")
    shutil.copytree(both.root / "supabase", tmp_path / "supabase")
    project = SupabaseProject(tmp_path)
    port = free_port()
    embedded.start(tmp_path, port, other)
    try:
        with psycopg.connect(cluster.superuser_dsn(port), autocommit=True) as conn:
            conn.execute("create extension plpgsql_check with schema extensions")
        assert project.run("env", "mark", "dev", url=project.url).code == 0
        assert project.run("migrate", "up", url=project.url).code == 0
        linted = project.supabase(
            "db",
            "lint",
            f"--remote={project.url}",
            "--schema",
            "public,app",
            "--output-format",
            "json",
            "--fail-on",
            "warning",
        )
    finally:
        embedded.remove(tmp_path)

    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert json.loads(linted.stdout) is not None


@pytest.fixture
def hosted(both: SupabaseProject, tmp_path: Path) -> Iterator[SupabaseProject]:
    """The same database for another project, for which it is not the local one.

    As on a hosted project, the migration role may empty the platform's tables: the CLI's wipe does.
    """
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    assert both.run("seed").code == 0
    as_superuser(both, "grant truncate on all tables in schema auth, storage to postgres")
    yield SupabaseProject(tmp_path, {"BAKEHOUSE_DATABASE_URL": both.url})
    as_superuser(both, "revoke truncate on all tables in schema auth, storage from postgres")
    confirmed = ("--confirm", "postgres", "--reason", "the next test")
    assert both.run("env", "mark", "dev", *confirmed).code == 0


def as_superuser(both: SupabaseProject, statement: str) -> None:
    with psycopg.connect(both.url, user=cluster.SUPERUSER, autocommit=True) as conn:
        conn.execute(statement.encode())


def data(both: SupabaseProject) -> object:
    with psycopg.connect(both.url) as conn:
        return conn.execute(
            "select (select count(*) from public.orders),"
            " (select count(*) from supabase_migrations.schema_migrations),"
            " to_regclass('bakehouse.migrations') is not null"
        ).fetchone()


REVERT = ("migration", "repair", "--status", "reverted")


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
@pytest.mark.parametrize(
    "command",
    [
        ("db", "reset"),
        ("migration", "down", "--last", "1"),
        (*REVERT, "20260101000400"),
        (*REVERT, "20990101000000"),
        REVERT,
    ],
    ids=" ".join,
)
def test_a_marked_database_can_be_wiped_only_in_dev(
    both: SupabaseProject, hosted: SupabaseProject, env: str, command: tuple[str, ...]
) -> None:
    marked = hosted.configure(env, both.url)
    assert marked.run("env", "mark", env, "--yes").code == 0
    before = data(both), both.objects()

    ran = hosted.supabase(*command, "--yes", f"--remote={both.url}")

    if env == "dev":
        assert "is guarded" not in ran.stdout + ran.stderr
        assert ran.returncode == 0, ran.stderr
        assert (data(both) == before[0]) == ("20990101000000" in command)
    else:
        assert ran.returncode == 1
        assert f"The history of this {env} database is guarded against" in ran.stdout + ran.stderr
        assert (data(both), both.objects()) == before
        assert marked.run("migrate", "status", "--check", "--env", env).code == 0


@pytest.mark.parametrize("text", [PLAIN, WRAPPED], ids=["plain", "with begin and commit"])
def test_a_file_that_the_cli_runs_on_staging_closes_the_gate_until_it_is_adopted(
    both: SupabaseProject, text: str
) -> None:
    name = "staging_" + hashlib.sha256(text.encode()).hexdigest()[:8]
    as_superuser(both, f"create database {name} template template0")
    url = both.url.removesuffix("postgres") + name
    superuser = make_conninfo(url, user=cluster.SUPERUSER)
    role = ("--migration-role", "postgres", "--database-url", superuser)
    assert both.run("bootstrap", *role).code == 0
    (both.root / "bakehouse.toml").write_text("")
    staging = SupabaseProject(both.root).configure("staging", url)
    staging = SupabaseProject(staging.root, staging.variables)
    accept = ("--accept-backup", "none yet", "--accept-secrets", "none yet", "--env", "staging")
    assert staging.run("env", "mark", "staging").code == 0
    assert staging.run("migrate", "plan", "--env", "staging").code == 0
    assert staging.run("migrate", "up", *accept).code == 0
    staging.write("20990101000000_M0_theirs.sql", text)

    pushed = staging.supabase("db", "push", f"--remote={url}", "--yes")
    repaired = staging.supabase(
        "migration", "repair", "--status", "applied", "20260101000000", f"--remote={url}", "--yes"
    )
    status = staging.run("migrate", "status", "--env", "staging", "--json").json["migrations"][-1]
    closed = staging.run("gate", "check", "--env", "staging", "--json")
    with psycopg.connect(url) as conn:
        alerts = conn.execute("select code, severity from app.alerts()").fetchall()
    reason = ("--reason", "pushed by hand", "--yes")
    adopted = staging.run("migrate", "repair", "adopt", "20990101000000", *reason, *accept)
    opened = staging.run("gate", "check", "--env", "staging")
    with psycopg.connect(url) as conn:
        quiet = conn.execute("select code from app.foreign_alerts()").fetchall()

    assert pushed.returncode == 0, pushed.stderr
    assert repaired.returncode != 0
    assert "guarded against update" in repaired.stdout + repaired.stderr
    assert status["state"] == "foreign"
    assert closed.code == 4
    assert ("FOREIGN_MIGRATION", "critical") in alerts
    assert (adopted.code, opened.code, quiet) == (0, 0, []), adopted.err + opened.out
