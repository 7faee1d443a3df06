"""The `bakehouse` command as users run it: a process, in a project folder."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bakehouse.main import main

BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))
NOWHERE = "postgresql://someone:s3cret-word@127.0.0.1:1/nowhere"

# A server that has imported the command forks each process: imports cost more than most commands.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["bakehouse.main"])


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
class Running:
    """The process of a command, with the methods of Popen that tests use."""

    process: BaseProcess
    out: "Connection[None, None]"
    err: "Connection[None, None]"

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process.pid
        os.kill(self.process.pid, number)

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        deadline = time.monotonic() + timeout
        said = {self.out: b"", self.err: b""}
        while unread := [stream for stream in said if not stream.closed]:
            ready = wait(unread, deadline - time.monotonic())
            assert ready, f"no end after {timeout} s: {said}"
            for stream in unread:
                if stream in ready:
                    read = os.read(stream.fileno(), 65536)
                    said[stream] += read
                    if not read:
                        stream.close()
        self.process.join(timeout)
        return said[self.out].decode(), said[self.err].decode()


def _become(
    run: Callable[[], object],
    arguments: list[str],
    root: Path,
    environment: dict[str, str],
    out: "Connection[None, None]",
    err: "Connection[None, None]",
) -> None:
    """Turns a forked process into the command."""
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [BAKEHOUSE, *arguments]
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, out.fileno(), err.fileno())):
        os.dup2(stream, number)
    out.close()
    err.close()
    run()


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

    def environment(self, url: str = "") -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("BAKEHOUSE")}
        return inherited | {**self.variables} | ({"BAKEHOUSE_DATABASE_URL": url} if url else {})

    def start(self, *arguments: str, url: str = "", run: Callable[[], object] = main) -> Running:
        (out, child_out), (err, child_err) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
        facts = (run, arguments, self.root, self.environment(url), child_out, child_err)
        process = FORKS.Process(target=_become, args=facts, daemon=True)
        process.start()
        child_out.close()
        child_err.close()
        return Running(process, out, err)

    def run(self, *arguments: str, url: str = "") -> Ran:
        running = self.start(*arguments, url=url)
        out, err = running.communicate()
        assert running.returncode is not None
        return Ran(running.returncode, out, err)

    def run_installed(self, *arguments: str) -> Ran:
        """Runs the script that users start, with all its imports."""
        done = subprocess.run(
            [BAKEHOUSE, *arguments],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def query(dsn: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        done = conn.execute(text.encode())
        return done.fetchall() if done.description else []
