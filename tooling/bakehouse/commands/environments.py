"""The commands for environments: env, gate and resume."""

from dataclasses import asdict
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
            help="One more address of the database, such as a pooler. Can be repeated.",
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
        if before and before.changes(env, address):
            _confirm_change(conn.info.dbname, before.env, name, reason)
        elif before and before.name != env:
            confirm(f"{database.describe(marked.dsn)} is {before.name}: make it {env}?", yes)
        environment.mark(conn, marked.settings, reason.strip(), here.who, address)
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
