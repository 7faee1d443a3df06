"""The shared part of all commands: options, context, and the output of results.

A command is a function. Its first parameter is a context, whose class decides which shared options
the command has. It returns a result.
"""

import getpass
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import psycopg
import typer

from bakehouse import database, output
from bakehouse.database import Connection
from bakehouse.deploy import environment
from bakehouse.deploy.environment import Settings
from bakehouse.deploy.work import Work
from bakehouse.errors import BakehouseError
from bakehouse.migrations.files import Migration, discover, select
from bakehouse.output import Result
from bakehouse.server import cluster, embedded

Skip = Annotated[
    str,
    typer.Option("--skip", envvar="BAKEHOUSE_SKIP", help="Milestones to skip, such as V125,V127."),
]
LockWait = Annotated[
    float, typer.Option("--lock-wait", help="Seconds to wait for another bakehouse command.")
]
Proofs = Annotated[
    Path | None,
    typer.Option(
        "--evidence",
        help="The evidence of staging, for prod: a file or a folder. The default is the staging"
        " database, or evidence/ if its URL is not set.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@dataclass(frozen=True)
class Tool:
    """The context of a command that needs no project."""

    click: typer.Context
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = (
        False
    )

    @property
    def command(self) -> str:
        """The name of the command, such as `migrate up`."""
        return self.click.command_path.partition(" ")[2]


@dataclass(frozen=True)
class Project(Tool):
    """The context of a command that works on the files of a project."""

    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            envvar="BAKEHOUSE_PROJECT",
            help="The folder that holds supabase/."
            " The default is the current folder or the nearest one above it.",
            show_default=False,
        ),
    ] = None

    @cached_property
    def root(self) -> Path:
        here = (self.project or Path.cwd()).resolve()
        for folder in (here,) if self.project else (here, *here.parents):
            if (folder / "supabase" / "migrations").is_dir():
                return folder
        raise BakehouseError(
            "usage",
            f"no project at {here}: a project holds supabase/migrations",
            "Run inside a project, or name it: --project.",
        )

    @property
    def who(self) -> dict[str, str | None]:
        """Who runs the command, for the record."""
        return {
            "os_user": _os_user(),
            "machine": socket.gethostname(),
            "ci": os.environ.get("GITHUB_RUN_ID") or os.environ.get("CI_JOB_ID"),
        }

    @property
    def env_name(self) -> str:
        return "dev"

    @property
    def settings(self) -> Settings:
        return environment.load(self.root, self.env_name)

    def files(self, skip: str = "") -> tuple[list[Migration], frozenset[str]]:
        """Return all migrations, and the milestones to skip."""
        found = discover(self.root / "supabase" / "migrations")
        left_out = milestones(skip)
        select(found, left_out)
        return found, left_out

    def work(
        self,
        skip: str = "",
        wait: float = 10,
        proofs: Path | None = None,
        accepted: Mapping[str, str] | None = None,
    ) -> Work:
        found, left_out = self.files(skip)
        settings = self.settings
        staging = ""
        if settings.name == "prod":
            variable = environment.load(self.root, "staging", required=False).url
            staging = database.parse(os.environ[variable]) if os.environ.get(variable) else ""
        return Work(
            self.root,
            found,
            left_out,
            settings,
            who=self.who,
            variables=os.environ,
            accepted=accepted or {},
            proofs=proofs,
            staging=staging,
            wait=wait,
            tell=output.say,
        )


@dataclass(frozen=True)
class DevDatabase(Project):
    """The context of a command that works only on a dev database."""

    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            envvar="BAKEHOUSE_DATABASE_URL",
            help="The database to work on. The default is the dev server of the project.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None

    @cached_property
    def dsn(self) -> str:
        settings = self.settings
        url = self.database_url or os.environ.get(settings.url)
        if url:
            return database.parse(url)
        if settings.name != "dev":
            raise BakehouseError(
                "usage",
                f"{settings.url}, which holds the URL of {settings.name}, is not set",
                f"Set {settings.url}, which bakehouse.toml names, or pass --database-url.",
            )
        server = embedded.status(self.root)
        if server is None or server.port is None:
            raise BakehouseError(
                "connection",
                "this project's dev server is not running",
                "Start it with `bakehouse up`, or name a database: --database-url.",
            )
        return cluster.dsn(server.port)

    @contextmanager
    def connected(self, writes: bool = False) -> Iterator[Connection]:
        """Connect to the database of the context, for all commands alike."""
        with database.connect(self.dsn, self.command) as conn:
            name = environment.name_of(conn) or "unmarked"
            output.say(f"{name} database at {database.describe(self.dsn)}")
            conn.add_notice_handler(show_warning)
            if writes:
                environment.require(conn, self.settings, self.command)
            yield conn


@dataclass(frozen=True)
class Database(DevDatabase):
    """The context of a command that works on the database of any environment."""

    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            help="staging or prod, as in bakehouse.toml. The default is dev.",
            show_default=False,
        ),
    ] = None

    @property
    def env_name(self) -> str:
        return self.env or "dev"


def _os_user() -> str:
    with suppress(KeyError, OSError):  # a container may run as a user without a name
        return getpass.getuser()
    return f"uid {os.getuid()}"


def milestones(skip: str) -> frozenset[str]:
    return frozenset(part.strip().upper() for part in skip.split(",") if part.strip())


def show_warning(diagnostic: psycopg.errors.Diagnostic) -> None:
    if diagnostic.severity_nonlocalized == "WARNING":
        output.say(f"warning: {diagnostic.message_primary}")


def confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BakehouseError(
            "usage", question, "You cannot confirm, because this is not a terminal. Pass --yes."
        )
    typer.confirm(question, abort=True, err=True)


Context = TypeVar("Context", bound=Tool)
Own = ParamSpec("Own")
Command = Callable[Concatenate[Context, Own], Result]


def command(
    group: typer.Typer, name: str
) -> Callable[[Command[Context, Own]], Command[Context, Own]]:
    """Register a function as a command, with its own options and those of its context."""

    def register(function: Command[Context, Own]) -> Command[Context, Own]:
        first, *own = inspect.signature(function).parameters.values()
        context: type[Tool] = first.annotation
        call: Callable[..., Result] = function
        fields = inspect.signature(context).parameters
        shared = [fields[name] for cls in context.__mro__ for name in inspect.get_annotations(cls)]

        def run(**given: Any) -> None:
            here: Any = context(**{one.name: given.pop(one.name) for one in shared})
            _run(here, lambda: call(here, **given))

        parameters = [*own, *shared]
        only = inspect.Parameter.KEYWORD_ONLY
        signature = inspect.Signature([one.replace(kind=only) for one in parameters])
        run.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
        run.__doc__ = function.__doc__
        group.command(name)(run)
        return function

    return register


def _run(here: Tool, call: Callable[[], Result]) -> None:
    """Run a command. Prints its result, or prints its error and exits with its code."""
    try:
        output.render(call(), here.json)
    except (BakehouseError, psycopg.Error, OSError, OverflowError) as error:
        failure = _as_bakehouse_error(error)
        output.render_error(failure, here.json)
        raise typer.Exit(failure.exit_code) from None


def _as_bakehouse_error(error: Exception) -> BakehouseError:
    if isinstance(error, BakehouseError):
        return error
    if isinstance(error, psycopg.Error):
        said = database.message_of(error)
        return BakehouseError("unexpected", said, error.diag.message_hint or "")
    return BakehouseError("unexpected", str(error))
