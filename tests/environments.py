"""A project under git with three real databases: dev, staging and prod."""

import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bakehouse import database
from bakehouse.deploy import environment
from bakehouse.deploy.environment import Settings
from command import Project, Ran
from postgres import Server

ROOT = Path(__file__).parents[1]

_FILE = (
    "-- M9 leftover\n--\n-- Needs: M0 M2\n\nbegin;\nset local role bakehouse_owner;\n"
    "{}\nselect app.assert_grants();\ncommit;\n"
)
MAKE = _FILE.format(
    "create table app.leftover ();\nalter table app.leftover enable row level security;"
)
DROP = _FILE.format("drop table app.leftover;")


def mark(dsn: str) -> str:
    """Marks the database as dev."""
    with database.connect(dsn, "tests") as conn:
        environment.mark(conn, Settings("dev"))
    return dsn


def wait_for(dsn: str, question: str) -> None:
    """Waits until the count that the query returns is not 0."""
    deadline = time.monotonic() + 20
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(question.encode()).fetchone() == (0,):
            assert time.monotonic() < deadline, question
            time.sleep(0.05)


def judged(ran: Ran) -> list[tuple[str, str]]:
    return [(gate["gate"], gate["verdict"]) for gate in ran.json["gates"]]


def prepared(root: Path, server: Server, template: str) -> "Environments":
    """A committed copy of this project with three marked databases, nothing applied yet."""
    shutil.copytree(ROOT / "supabase", root / "supabase")
    (root / ".gitignore").write_text("evidence/\ntaken\n")
    project = Project(root)
    urls = {env: server.dsn(server.copy(template)) for env in ("dev", "staging", "prod")}
    probe = 'backup_probe = ["cat", "taken"]'
    project = project.configure("dev", urls["dev"])
    project = project.configure("staging", urls["staging"], probe)
    secrets = 'secrets = ["bannos/webhook", "PAGER_KEY"]'
    project = project.configure("prod", urls["prod"], probe, secrets, "transaction_seconds = 2")
    project.write("20990101000000_M9_leftover.sql", MAKE)
    environments = Environments(project, urls)
    environments.git("init", "--quiet")
    environments.commit()
    for env in urls:
        assert project.run("env", "mark", env).code == 0
    return environments


@dataclass(frozen=True)
class Environments:
    """A project under git, and its databases."""

    project: Project
    urls: dict[str, str]

    @property
    def databases(self) -> dict[str, str]:
        return {env: str(conninfo_to_dict(url)["dbname"]) for env, url in self.urls.items()}

    def run(self, *arguments: str, env: str) -> Ran:
        return self.project.run(*arguments, "--env", env)

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=Release", "-c", "user.email=release@example.com")
        command = ["git", "-C", str(self.project.root), *who, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def knowing(self, name: str) -> "Environments":
        """Returns the same environments with one more variable set."""
        return replace(
            self, project=replace(self.project, variables={**self.project.variables, name: "known"})
        )

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--message", "A change")

    def prove(self) -> None:
        """Takes a backup, rehearses on staging and applies there."""
        self.back_up()
        for command in ("plan", "up"):
            ran = self.run("migrate", command, env="staging")
            assert ran.code == 0, ran.err

    def launch(self) -> None:
        """Releases the proved files to prod. Then proves and tags a second release."""
        self.git("tag", "-a", "v1.0.0", "-m", "v1.0.0")
        ran = self.run("migrate", "up", "--accept-secrets", "no shop yet", env="prod")
        assert ran.code == 0, ran.err
        self.project.write("20990101000001_M9_gone.sql", DROP)
        self.commit()
        self.git("tag", "-a", "v1.1.0", "-m", "v1.1.0")
        self.prove()

    def back_up(self, hours_ago: float = 0) -> None:
        taken = datetime.now(UTC) - timedelta(hours=hours_ago)
        (self.project.root / "taken").write_text(taken.isoformat())

    def refused(self, reason: str, code: int = 5) -> None:
        """Checks that prod and `gate check` refuse for this reason alone. Prod stays unchanged."""
        before = self.query("prod", "select count(*) from bakehouse.evidence")
        ran = self.run("migrate", "up", "--json", env="prod")
        said = [gate["reason"] for gate in ran.json["gates"] if gate["verdict"] == "refused"]
        checked = self.run("gate", "check", "--json", env="prod")

        assert ran.code == code, ran.err
        assert len(said) == 1, said
        assert reason in said[0], said
        assert (checked.code, judged(checked)) == (code, judged(ran))
        assert self.query("prod", "select count(*) from bakehouse.evidence") == before

    def query(self, env: str, text: str) -> object:
        with psycopg.connect(self.urls[env], autocommit=True) as conn:
            done = conn.execute(text.encode())
            row = done.fetchone() if done.description else None
            return row[0] if row else None


@dataclass(frozen=True)
class Saved:
    """A saved state of the environments: a copy of the folder and of each database."""

    environments: Environments
    folder: Path
    templates: dict[str, str]

    @classmethod
    def save(cls, server: Server, environments: Environments, folder: Path) -> "Saved":
        shutil.copytree(environments.project.root, folder)
        databases = environments.databases
        return cls(
            environments, folder, {env: server.copy(name) for env, name in databases.items()}
        )

    def restore(self, server: Server, root: Path) -> Environments:
        """Restores the databases, with a new copy of the folder."""
        shutil.copytree(self.folder, root, dirs_exist_ok=True)
        for env, name in self.environments.databases.items():
            server.restore(name, self.templates[env])
        return replace(self.environments, project=replace(self.environments.project, root=root))
