"""The commands for the dev server, and the one that prepares a plain Postgres."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from bakehouse import database, output
from bakehouse.commands.context import (
    DevDatabase,
    Project,
    Skip,
    Tool,
    Yes,
    command,
    confirm,
    show_warning,
)
from bakehouse.commands.shop import smoke_error, smoke_table
from bakehouse.database import Connection
from bakehouse.deploy import environment, run
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, history
from bakehouse.migrations.files import sql_script
from bakehouse.output import Result, count
from bakehouse.server import cluster, embedded, platform
from bakehouse.shop import smoke

app = typer.Typer()
_Port = Annotated[
    int,
    typer.Option(
        "--port", envvar="BAKEHOUSE_PORT", min=1, max=65535, help="The port of the dev server."
    ),
]


@command(app, "up")
def up(here: Project, port: _Port = cluster.PORT, skip: Skip = "") -> Result:
    """Start the dev server, migrate, seed, run the smoke walk, and print how to connect."""
    work = here.work(skip)
    started = embedded.start(here.root, port)
    for note in started.notes:
        output.say(note)
    dsn = cluster.dsn(started.port)
    with database.connect(dsn, here.command) as conn:
        conn.add_notice_handler(show_warning)
        if environment.identity(conn) is None:
            run.mark(conn, work, "")
        environment.require(conn, here.settings, here.command)
        done = run.up(conn, dsn, work)
        _seed(conn, here.root)
        versions = history.compare(work.files, history.applied(conn), work.left_out)
        steps = done.steps or list(smoke.walk(conn))
    url = f"postgresql://postgres@127.0.0.1:{started.port}/postgres"
    rows = [
        (one.version, one.name, "now" if one.version in done.applied else one.state)
        for one in versions
    ]
    return Result(
        {
            "url": url,
            "applied": done.applied,
            "versions": [one.version for one in versions],
            "smoke": [asdict(step) for step in steps],
        },
        output.table(("version", "migration", "applied"), rows)
        + f"\n\nseeded with supabase/seed_dev.sql\n\n{smoke_table(steps)}\n\n"
        + f"connect  psql {url}\n"
        + "         the password is the same as the user's name; API roles: set role authenticated",
        smoke_error(steps),
    )


@command(app, "down")
def down(
    here: Project,
    remove: Annotated[bool, typer.Option("--remove", help="Also delete the data.")] = False,
) -> Result:
    """Stop the dev server. Its data stays unless you pass --remove."""
    stopped = embedded.remove(here.root) if remove else embedded.stop(here.root)
    done = "stopped the dev server" if stopped else "the dev server was not running"
    removed = ", removed" if remove else ""
    return Result({"stopped": stopped, "removed": remove}, done + removed)


@command(app, "reset")
def reset(
    here: DevDatabase,
    skip: Skip = "",
    yes: Yes = False,
    once_prod: Annotated[
        str,
        typer.Option(
            "--once-prod", metavar="REASON", help="Why to reset a database that once was prod."
        ),
    ] = "",
) -> Result:
    """Dev only: delete all bakehouse data of the database, then migrate and seed it again."""
    work = here.work(skip)
    with here.connected(writes=True) as conn:
        was_prod = environment.was_prod(conn)
        if was_prod and not once_prod.strip():
            raise BakehouseError(
                "usage",
                f"{conn.info.dbname} was prod once, and --yes does not confirm this",
                "Nothing was deleted. If you mean this database, pass --once-prod with a reason.",
            )
        confirm(f"Delete all bakehouse data in {database.describe(here.dsn)}?", yes)
        if was_prod:
            environment.mark(conn, here.settings, f"reset: {once_prod.strip()}", here.who)
        with apply.lock(conn, 10, output.say):
            history.wipe(conn)
        applied = run.up(conn, here.dsn, work).applied
        _seed(conn, here.root)
    text = f"emptied, {count(len(applied), 'migration')} applied, seeded"
    return Result({"applied": applied}, text)


@command(app, "seed")
def seed(here: DevDatabase) -> Result:
    """Dev only: run supabase/seed_dev.sql. A second run changes nothing."""
    with here.connected(writes=True) as conn:
        _seed(conn, here.root)
    return Result({}, "seeded")


def _seed(conn: Connection, root: Path) -> None:
    path = root / "supabase" / "seed_dev.sql"
    if path.is_file():
        file = sql_script(path)
        try:
            database.execute(conn, file.text)
        except psycopg.Error as error:
            conn.execute("rollback")
            position = error.diag.statement_position
            place = int(position) - 1 if position else None
            raise apply.explain(error, file, place, "failed", "The seed was rolled back.") from None


@command(app, "bootstrap")
def bootstrap(
    here: Tool,
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            envvar="BAKEHOUSE_SUPERUSER_URL",
            help="The database URL on plain Postgres, as a superuser, or as a role with CREATEROLE"
            " and CREATEDB.",
        ),
    ],
    migration_role: Annotated[
        str, typer.Option("--migration-role", help="The role that will run migrations.")
    ],
) -> Result:
    """Plain Postgres only: create the roles, schemas and functions that Supabase provides."""
    dsn = database.parse(database_url)
    with (
        database.connect(dsn, here.command) as conn,
        history.surrounding(conn, migration_role),
    ):
        platform.bootstrap(conn, migration_role)
    return Result(
        {"migration_role": migration_role},
        f"ready; give {migration_role} a password (alter role ... password) and migrate as it",
    )
