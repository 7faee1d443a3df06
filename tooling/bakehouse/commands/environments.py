"""The commands for environments: env, gate, resume and drift."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

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
from bakehouse.deploy import environment, facts, gates, run, webhooks
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, drift
from bakehouse.output import Result

app = typer.Typer()
env_app = typer.Typer(help="Mark a database as an environment, and show its mark.")
drift_app = typer.Typer(help="Show what changed without a file, and accept it for a time.")
gate_app = typer.Typer(help="Show what an environment requires of a deploy.")


@command(env_app, "mark")
def mark(
    here: DevDatabase,
    env: Annotated[str, typer.Argument(help="dev, staging or prod.")],
    yes: Yes = False,
    name: Annotated[
        str,
        typer.Option(
            "--confirm",
            metavar="NAME",
            help="The name of the database, to change a mark of staging or prod.",
        ),
    ] = "",
    reason: Annotated[
        str, typer.Option("--reason", help="Why a mark of staging or prod changes, for the record.")
    ] = "",
    address: Annotated[
        list[str],
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="An address that holds, beside that of this connection. Can be repeated."
            " Addresses that are not named hold no longer. Without the option, all hold.",
        ),
    ] = [],  # noqa: B006  # typer copies it
) -> Result:
    """Mark the database as an environment. Outside dev, guard its history.

    The address of this connection goes on record too. Outside dev, a database at any other address
    counts as a copy.
    """
    marked = Database(here.click, here.json, here.project, here.database_url, env)
    with marked.connected() as conn:
        before = environment.identity(conn)
        named = {*address, environment.address_of(conn)} if address else ()
        if before and before.changes(env, named):
            _confirm_change(conn.info.dbname, before.env, name, reason)
        elif before and before.name != env:
            confirm(f"{database.describe(marked.dsn)} is {before.name}: make it {env}?", yes)
        run.mark(conn, marked.work(), reason.strip(), address)
    return Result({"env": env}, f"this database is {env}")


def _confirm_change(database: str, env: str, name: str, reason: str) -> None:
    """Demand the name of the database and a reason: a reset may follow."""
    if name and name != database:
        raise BakehouseError(
            "usage", f"this database is not called {name}", "Nothing was marked: check the URL."
        )
    if not name or not reason.strip():
        option = "--reason, which the record keeps" if name else "--confirm with its name"
        raise BakehouseError(
            "usage",
            f"{database} is marked as {env}, and --yes does not confirm this change",
            f"Nothing was marked. If you mean this database, pass {option}.",
        )


@command(env_app, "show")
def show(here: Database) -> Result:
    """Show the mark of the database: its environment, the user, and the time."""
    with here.connected() as conn:
        identity = environment.identity(conn)
    if identity is None:
        return Result({"env": None}, "not marked")
    lines = [_described(identity.name, asdict(identity))]
    if identity.copied:
        lines[:] = [f"{lines[0]} as {identity.env}", identity.why]
    elif identity.env != "dev":
        lines.append(f"at {', '.join(identity.addresses)}")
    lines += [f"before: {_described(one['env'], one)}" for one in reversed(identity.earlier)]
    return Result(asdict(identity) | {"env": identity.name}, "\n".join(lines))


def _described(name: str, mark: dict[str, Any]) -> str:
    when = mark["marked_at"][:16].replace("T", " ")
    reason = f" ({mark['reason']})" if mark.get("reason") else ""
    return f"{name}, marked {when} by {mark['marked_by']}{reason}"


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


@command(drift_app, "list")
def list_drift(here: Database) -> Result:
    """List what differs from the last migration, and what of it is accepted."""
    work = here.work()
    with here.connected() as conn:
        found = drift.find(conn, facts.read_state(conn, work).objects)
    rows = [(d.name, d.change, d.state, d.until or "", d.accepted_by, d.reason) for d in found]
    text = output.table(("object", "change", "state", "until", "by", "reason"), rows)
    return Result({"drift": [asdict(one) for one in found]}, text if found else "no drift")


@command(drift_app, "accept")
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
