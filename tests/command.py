"""The `bakehouse` command as users run it: a process, in a project folder."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))
NOWHERE = "postgresql://someone:s3cret-word@127.0.0.1:1/nowhere"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.out)
        return facts


@dataclass(frozen=True)
class Project:
    """A folder with migrations, in which the command runs."""

    root: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def configure(self, env: str, url: str, *settings: str) -> "Project":
        """Adds an environment to bakehouse.toml. Returns the project that knows its URL."""
        place, variable = conninfo_to_dict(url), f"BAKEHOUSE_{env.upper()}_URL"
        lines = [f"[{env}]", f'url = "{variable}"', f'host = "{place["host"]}"']
        lines += [f'database = "{place["dbname"]}"', *settings, ""]
        with (self.root / "bakehouse.toml").open("a") as toml:
            toml.write("\n".join(lines))
        return replace(self, variables={**self.variables, variable: url})

    def write(self, name: str, sql: str) -> Path:
        path = self.root / "supabase" / "migrations" / name
        path.write_text(sql)
        return path

    def start(self, *arguments: str, url: str = "") -> "subprocess.Popen[str]":
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAKEHOUSE")}
        environment |= self.variables
        if url:
            environment["BAKEHOUSE_DATABASE_URL"] = url
        return subprocess.Popen(
            [BAKEHOUSE, *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, url: str = "") -> Ran:
        process = self.start(*arguments, url=url)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def query(dsn: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        done = conn.execute(text.encode())
        return done.fetchall() if done.description else []
