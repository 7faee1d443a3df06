"""The sessions in the pages are true: their commands run, and print the shown output."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from bakehouse.server import binaries
from command import Project, free_port
from docs import pages
from docs.pages import ROOT
from environments import Environments
from postgres import Server

VARIABLE = re.compile(
    r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(?=  done)|\d{8}T\d{6}Z|\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d{14}"
    r"|\b\d+(?= (ms|objects|rows|tables|kB|min|files|pending|smoke)\b)|\b\d+(?= +[0-9a-f]{8}  done)"
)
NEW = "postgresql://postgres@db.new.example.com:5432/restored"


def require_shown(said: str, shown: str) -> None:
    """Compares output. "..." matches any lines, and a number that can vary matches any number."""
    lines = VARIABLE.sub("#", shown).splitlines()
    expected = "".join("(.*\n)+?" if line == "..." else f"{re.escape(line)}\n" for line in lines)
    assert re.fullmatch(expected, VARIABLE.sub("#", said)), f"expected:\n{shown}\nsaid:\n{said}"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Project]:
    """A copy of the project with its dev server up."""
    for part in ("supabase", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    project = Project(tmp_path)
    try:
        ran = project.run_installed("up", "--port", str(free_port()))
        assert ran.code == 0, ran.err
        yield project
    finally:
        project.run_installed("down", "--remove")


@pytest.fixture
def fleet(tmp_path: Path, server: Server, blank_template: str) -> Iterator[Environments]:
    """A clean checkout, with empty databases for staging and prod."""
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


def replay(page: str, fleet: Environments, server: Server) -> None:
    """Run the sessions and scripts of a page. Its databases are named db.<name>.example.com."""
    restored = f"{server.prefix}_restored"
    urls = {**fleet.urls, "new": server.dsn(restored)}
    # tests/tooling/test_upgrade.py types that section
    text = re.sub(r"^## Upgrade Postgres\n.*?(?=^## )", "", pages.read(page), flags=re.M | re.S)
    for code in pages.blocks(text, "console", "sh"):
        if not code.startswith("$ "):
            restore(fleet.project.root, server, code.replace("restored", restored))
            continue
        for command, shown in pages.session(code):
            command = command.replace("--confirm restored", f"--confirm {restored}")
            program, *arguments = shlex.split(command.replace(NEW, shlex.quote(urls["new"])))
            if program == "git":
                fleet.git(*arguments)
                continue
            ran = fleet.project.run(*arguments)
            said = f"{ran.err}{ran.out}".replace(f"{fleet.project.root}/", "")
            for name, url in urls.items():
                place = conninfo_to_dict(url)
                here = f"{place['host']}:{place['port']}/{place['dbname']}"
                database = "restored" if name == "new" else "postgres"
                said = said.replace(here, f"db.{name}.example.com:5432/{database}")

            require_shown(said, shown)


def restore(root: Path, server: Server, script: str) -> None:
    """Run the script on the test server, with the newest backup."""
    superuser = conninfo_to_dict(server.superuser)
    taken = max((root / "backups").glob("prod-*.dump")).stem
    done = subprocess.run(
        ["bash", "-euc", re.sub(r"prod-\d{8}T\d{6}Z", taken, script)],
        cwd=root,
        env={
            **os.environ,
            "PATH": f"{binaries.find_binaries().bin_dir}:{os.environ['PATH']}",
            "PGHOST": str(superuser["host"]),
            "PGPORT": str(superuser["port"]),
            "PGUSER": str(superuser["user"]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_session_in_the_readme_runs_as_shown(checkout: Project) -> None:
    (code,) = pages.blocks(pages.read("README.md"), "console")
    for command, shown in pages.session(code):
        ran = checkout.run_installed(*shlex.split(command)[1:])

        assert ran.code == 0, ran.err
        require_shown(ran.out, shown)


@pytest.mark.slow
def test_a_release_is_deployed_and_its_backup_restored_as_shown(
    fleet: Environments, server: Server
) -> None:
    replay("docs/deploying.md", fleet, server)
    replay("docs/operating.md", fleet, server)

    server.drop(f"{server.prefix}_restored")
