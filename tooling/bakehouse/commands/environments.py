"""The commands for environments: env, gate and resume."""

from dataclasses import asdict
from typing import Annotated

import typer

from bakehouse import database, output
from bakehouse.commands.context import (
    Database,
    DevDatabase,
    Proofs,
    Skip,
    Yes,
    command,
    confirm,
)
from bakehouse.deploy import environment, facts, gates, webhooks
from bakehouse.errors import BakehouseError
from bakehouse.output import Result

app = typer.Typer()
env_app = typer.Typer(help="Mark a database as an environment, and show its mark.")
gate_app = typer.Typer(help="Show what an environment requires of a deploy.")


@command(env_app, "mark")
def mark(
    here: DevDatabase,
    env: Annotated[str, typer.Argument(help="dev, staging or prod.")],
    yes: Yes = False,
) -> Result:
    """Mark the database as an environment. Outside dev, guard its history."""
    marked = Database(here.click, here.json, here.project, here.database_url, env)
    with marked.connected() as conn:
        before = environment.name_of(conn)
        if before not in (None, env):
            confirm(f"{database.describe(marked.dsn)} is {before}: make it {env}?", yes)
        environment.mark(conn, marked.settings)
    return Result({"env": env}, f"this database is {env}")


@command(env_app, "show")
def show(here: Database) -> Result:
    """Show the mark of the database: its environment, the user, and the time."""
    with here.connected() as conn:
        identity = environment.identity(conn)
    if identity is None:
        return Result({"env": None}, "not marked")
    when = identity.marked_at[:16].replace("T", " ")
    text = f"{identity.name}, marked {when} by {identity.marked_by}"
    if identity.copied:
        text += f" as {identity.env} in another database"
    return Result(asdict(identity) | {"env": identity.name}, text)


@command(gate_app, "check")
def check(here: Database, skip: Skip = "", proofs: Proofs = None) -> Result:
    """Show the gates of `migrate up`. Exit with 0 if no gate refuses."""
    work = here.work(skip, proofs=proofs)
    with here.connected() as conn:
        known = facts.gather(conn, work, facts.read_state(conn, work))
    verdicts = gates.check(known, {})
    text = output.table(
        ("gate", "verdict", "reason"), [(v.gate, v.verdict, v.reason) for v in verdicts]
    )
    error = None
    try:
        gates.require(verdicts)
    except BakehouseError as refusal:
        error = refusal
    return Result({"gates": [asdict(verdict) for verdict in verdicts]}, text, error)


@command(app, "resume")
def resume(here: Database) -> Result:
    """Accept webhooks again before their pause ends."""
    with here.connected(writes=True) as conn:
        done = webhooks.resume(conn, here.work())
    return Result({"resumed": done}, "webhooks come in" if done else "webhooks were not paused")
