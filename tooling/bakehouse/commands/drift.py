"""The commands of `bakehouse drift`."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from bakehouse import output
from bakehouse.commands.context import Database, command
from bakehouse.deploy import facts, run
from bakehouse.migrations import apply, drift
from bakehouse.output import Result

app = typer.Typer(help="Show what changed without a migration, and accept it for a time.")


@command(app, "list")
def list_drift(here: Database) -> Result:
    """List what differs from the last migration, and what of it is accepted."""
    work = here.work()
    with here.connected() as conn:
        found = drift.find(conn, facts.read_state(conn, work).objects)
    rows = [(d.name, d.change, d.state, d.until or "", d.accepted_by, d.reason) for d in found]
    text = output.table(("object", "change", "state", "until", "by", "reason"), rows)
    return Result({"drift": [asdict(one) for one in found]}, text if found else "no drift")


@command(app, "accept")
def accept(
    here: Database,
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="As `drift list` names it.")],
    reason: Annotated[str, typer.Argument(help="Why it may stay. The reason is recorded.")],
    until: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m-%d"], help="The last day on which the gate accepts it."),
    ],
) -> Result:
    """Accept a change that a DBA may make by hand, until a date or until a file brings it in.

    The gate closes again if the object changes once more.
    """
    work = here.work()
    with here.connected(writes=True) as conn, apply.lock(conn, 10, output.say):
        run.accept_drift(conn, work, name, reason.strip(), until.date())
    return Result({"object": name, "until": until.date()}, f"accepted until {until:%Y-%m-%d}")
