"""A project under git with three real databases: dev, staging and prod."""

import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg

from bakehouse import database
from bakehouse.deploy import environment
from bakehouse.deploy.environment import Settings
from tool import Project, Ran

_FILE = (
    "-- M9 leftover\n--\n-- Needs: M0 M2\n\nbegin;\nset local role bakehouse_owner;\n"
    "{}\nselect app.assert_grants();\ncommit;\n"
)
MAKE = _FILE.format(
    "create table app.leftover ();\nalter table app.leftover enable row level security;"
)
DROP = _FILE.format("drop table app.leftover;")


def mark(dsn: str) -> str:
    """Let the database say that it is dev."""
    with database.connect(dsn, "tests") as conn:
        environment.mark(conn, Settings("dev"))
    return dsn


def wait_for(dsn: str, question: str) -> None:
    """Until the count that it asks for is not 0."""
    deadline = time.monotonic() + 20
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(question.encode()).fetchone() == (0,):
            assert time.monotonic() < deadline, question
            time.sleep(0.05)


def judged(ran: Ran) -> list[tuple[str, str]]:
    return [(gate["gate"], gate["verdict"]) for gate in ran.json["gates"]]


@dataclass(frozen=True)
class Estate:
    """A project under git, and its databases."""

    project: Project
    urls: dict[str, str]

    def run(self, *arguments: str, env: str) -> Ran:
        return self.project.run(*arguments, "--env", env)

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=Release", "-c", "user.email=release@example.com")
        command = ["git", "-C", str(self.project.root), *who, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def knowing(self, name: str) -> "Estate":
        """The same with one more variable set."""
        return replace(
            self, project=replace(self.project, variables={**self.project.variables, name: "known"})
        )

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--message", "A change")

    def prove(self) -> None:
        """Carry what is pending to staging."""
        self.back_up()
        for command in ("plan", "up"):
            ran = self.run("migrate", command, env="staging")
            assert ran.code == 0, ran.err

    def launch(self) -> None:
        """The first release, all the way to prod; the second waits, proved and tagged."""
        self.prove()
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
        """Prod refuses for this reason and no other; nothing is changed; `check` says the same."""
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
