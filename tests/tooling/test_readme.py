"""The commands of the README run and answer as shown, and its tables are complete."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.database import Connection
from bakehouse.errors import EXIT_CODES
from bakehouse.migrations import sqltext
from calls import acting_as
from command import Project, free_port
from environments import Environments
from postgres import Server
from rows import value, values

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
VARIABLE = re.compile(
    r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(?=  done)|\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT\d\d:\d\d|\d{14}"
    r"|\b\d+(?= (ms|objects|rows|tables|kB|min|files|pending|smoke)\b)|\b\d+(?= +[0-9a-f]{8}  done)"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Project]:
    """A copy of the project with a running dev server."""
    for part in ("supabase", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    project = Project(tmp_path)
    try:
        ran = project.run("up", "--port", str(free_port()))
        assert ran.code == 0, ran.err
        yield project
    finally:
        project.run("down", "--remove")


@pytest.fixture
def fleet(tmp_path: Path, server: Server, blank_template: str) -> Iterator[Environments]:
    """A clean checkout with a new staging and a new prod."""
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    (tmp_path / ".gitignore").write_text("evidence/\nbackups/\n")
    urls = {env: server.dsn(server.copy(blank_template)) for env in ("staging", "prod")}
    project = Project(tmp_path).configure("staging", urls["staging"])
    project = project.configure("prod", urls["prod"], 'secrets = ["PAGER_KEY"]')
    environments = Environments(project, urls).knowing("PAGER_KEY")
    environments.git("init", "--quiet")
    environments.commit()
    with server.one_at_a_time():
        yield environments
    for url in urls.values():
        server.drop(str(conninfo_to_dict(url)["dbname"]))


def session(kind: str) -> list[tuple[str, str]]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)
    parts = re.split(r"^\$ (.*)\n", "".join(blocks), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_session_in_the_readme_runs_as_shown(checkout: Project) -> None:
    for command, shown in session("console"):
        ran = checkout.run(*shlex.split(command)[1:])

        assert ran.code == 0, ran.err
        assert VARIABLE.sub("#", ran.out) == VARIABLE.sub("#", shown)


@pytest.mark.slow
def test_the_release_in_the_readme_runs_as_shown(fleet: Environments) -> None:
    for command, shown in session("text"):
        program, *arguments = shlex.split(command)
        if program == "git":
            fleet.git(*arguments)
            continue
        ran = fleet.project.run(*arguments)
        said = f"{ran.err}{ran.out}".replace(f"{fleet.project.root}/", "")
        for env, url in fleet.urls.items():
            place = conninfo_to_dict(url)
            here = f"{place['host']}:{place['port']}/{place['dbname']}"
            said = said.replace(here, f"db.{env}.example.com:5432/postgres")
        lines = VARIABLE.sub("#", shown).splitlines()
        expected = "".join("(.*\n)+?" if x == "..." else f"{re.escape(x)}\n" for x in lines)

        assert re.fullmatch(expected, VARIABLE.sub("#", said)), f"{expected}\n{said}"


def test_the_sql_in_the_readme_runs_as_the_roles_it_names(db: Connection) -> None:
    found = re.search(r"```sql\n(.*?)```", README, re.DOTALL)
    assert found
    first, *calls = sqltext.split(found[1])
    db.execute(first.text.encode())
    admin = values(db, "select user_id from public.staff_shared where full_name = 'First Admin'")[0]

    with acting_as(db, "authenticated", admin):
        for call in calls:
            db.execute(call.text.encode())

    assert len(calls) == 3
    assert value(db, "select app.setting('bannos', 'inventory_tracking_enabled')") is True


def test_every_exit_code_is_in_the_readme() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", README, re.MULTILINE)

    assert {kind: int(code) for code, kind in rows} == EXIT_CODES


@pytest.mark.parametrize("group", ["", "migrate", "env", "docs", "gate", "release", "backup"])
def test_every_command_is_in_the_readme(project: Project, group: str) -> None:
    said = project.run(*group.split(), "--help").out
    commands = re.findall(r"^│ (\w+) ", said, re.MULTILINE)

    assert commands
    for command in set(commands) - {
        "migrate",
        "env",
        "docs",
        "gate",
        "release",
        "backup",
        "version",
    }:
        assert f"`{' '.join(f'bakehouse {group} {command}'.split())}" in README


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets | {"any"}
