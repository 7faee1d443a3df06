"""The commands of `bakehouse migrate`."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from textwrap import indent
from typing import Annotated, Any

import typer

from bakehouse import output
from bakehouse.commands.context import (
    Database,
    LockWait,
    Project,
    Proofs,
    Skip,
    Yes,
    command,
    confirm,
)
from bakehouse.deploy import adopt as adopts
from bakehouse.deploy import down as downs
from bakehouse.deploy import gates, run
from bakehouse.deploy.facts import read_state
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, compensate, drift, history
from bakehouse.migrations.files import create, select
from bakehouse.migrations.history import Version
from bakehouse.migrations.rehearse import Rehearsal
from bakehouse.migrations.repair import Action
from bakehouse.output import Result, count

app = typer.Typer(help="Apply migrations, and show what is applied.")


def _accepting(cls: type[Database]) -> type[Database]:
    """Add an option for each gate whose refusal can be accepted."""
    for gate in (gate.name for gate in gates.GATES if not gate.final):
        option = typer.Option(
            f"--accept-{gate}",
            metavar="REASON",
            help=f"Continue even if the gate {gate} refuses. The reason is recorded.",
        )
        cls.__annotations__[f"accept_{gate}"] = Annotated[str, option]
        setattr(cls, f"accept_{gate}", "")
    return cls


@dataclass(frozen=True)
@_accepting
class Deploy(Database):
    """A database, and the refusals of gates that the caller accepts."""

    @property
    def accepted(self) -> dict[str, str]:
        reasons = {gate.name: getattr(self, f"accept_{gate.name}", "") for gate in gates.GATES}
        return {name: reason for name, reason in reasons.items() if reason}


@command(app, "up")
def up(here: Deploy, skip: Skip = "", lock_wait: LockWait = 10, proofs: Proofs = None) -> Result:
    """Apply the pending files, if the environment allows this: each one whole or not at all."""
    work = here.work(skip, lock_wait, proofs, here.accepted)
    with here.connected(writes=True) as conn:
        done = run.up(conn, here.dsn, work)
    text = f"applied {count(len(done.applied), 'migration')}" if done.applied else "nothing to do"
    steps = [asdict(step) for step in done.steps]
    return Result({"applied": done.applied, "smoke": steps, "run": done.run}, text)


@command(app, "status")
def status(
    here: Database,
    skip: Skip = "",
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 3 if a file is pending.")
    ] = False,
) -> Result:
    """Show the state of every version in the files and in the database."""
    files, left_out = here.files(skip)
    with here.connected() as conn:
        applied = history.applied(conn)
    versions = history.compare(files, applied, left_out)
    head = history.chain_head(applied)
    header = ("version", "migration", "state", "applied", "by", "note")
    text = output.table(header, map(_status_line, versions))
    text += f"\n\nchain head  {head or 'unknown: adopt what another tool applied'}"
    facts: dict[str, Any] = {"chain_head": head, "migrations": list(map(_status_facts, versions))}
    return Result(facts, text, _status_error(versions) if check else None)


def _status_line(one: Version) -> tuple[str, ...]:
    row = one.applied
    when = f"{row.applied_at:%Y-%m-%d %H:%M}" if row and row.applied_at else ""
    return one.version, one.name, one.state, when, (row and row.applied_by) or "", one.detail


def _status_facts(one: Version) -> dict[str, Any]:
    facts = {key: getattr(one, key) for key in ("version", "name", "state", "detail")}
    for key in ("applied_at", "applied_by", "duration_ms"):
        facts[key] = getattr(one.applied, key, None)
    return facts


def _status_error(versions: list[Version]) -> BakehouseError | None:
    drift = [one.version for one in versions if one.blocking or one.state == "out of order"]
    pending = [one.version for one in versions if one.state == "pending"]
    if drift:
        return BakehouseError("drift", f"drift: {', '.join(drift)}")
    if pending:
        return BakehouseError("pending", f"pending: {', '.join(pending)}")
    return None


@command(app, "plan")
def plan(
    here: Database,
    skip: Skip = "",
    lock_wait: LockWait = 10,
    seconds: Annotated[
        float, typer.Option("--rehearsal-seconds", help="The limit of a statement, for this run.")
    ] = 0,
) -> Result:
    """Rehearse the pending files: run them, report their effects, roll them back.

    The files hold their locks until the rollback. Numbers taken from sequences stay used.
    """
    work = here.work(skip, lock_wait)
    if seconds:
        work = replace(work, settings=replace(work.settings, rehearsal_seconds=seconds))
    with here.connected(writes=True) as conn:
        report, reads = run.plan(conn, here.dsn, work)
    lines = [
        *_rehearsal_lines(report, work.settings.large_rows),
        *(f"heavy read  {read.duration_ms} ms  {read.name}" for read in reads),
    ]
    return Result(
        {"migrations": [asdict(one) for one in report], "reads": [asdict(one) for one in reads]},
        "\n".join(lines) or "nothing to do",
    )


def _rehearsal_lines(report: list[Rehearsal], large: int) -> Iterator[str]:
    for one in report:
        yield f"{one.label}  {one.duration_ms} ms"
        for word, things in (
            ("note", one.notes),
            ("breaking", one.breaking),
            ("lint", [f"{finding.level(large)}: {finding}" for finding in one.findings]),
            ("locks", one.locks),
            ("rewrites", one.rewrites),
            ("gone", one.changes.gone),
            ("changed", one.changes.changed),
            ("added", one.changes.added),
        ):
            for thing in things:
                yield f"  {word:<8} {thing}"


@command(app, "new")
def new(
    here: Project,
    milestone: Annotated[str, typer.Argument(help="M or V and a number, such as M5.")],
    concept: Annotated[list[str], typer.Argument(help="The concept, in one to three words.")],
) -> Result:
    """Create an empty migration, later than all others, and its down script."""
    paths = create(here.root / "supabase", milestone, " ".join(concept))
    names = [str(path.relative_to(here.root)) for path in paths]
    return Result({"files": names}, "\n".join(names))


@command(app, "verify")
def verify(here: Database) -> Result:
    """Check that the database is still as its last migration left it."""
    work = here.work()
    with here.connected() as conn:
        state = read_state(conn, work)
        history.require_clean(state.versions)
        known = state.baseline
        found = drift.find(conn, state.objects)
        sql = drift.sql_of(conn, found) if found else {}
    if known is None:
        raise BakehouseError(
            "drift",
            "the objects of this database are not on record, so nothing can be compared",
            "`bakehouse migrate up` and `migrate repair` record the objects.",
        )
    closing = {k: [d.name for d in v] for k, v in drift.by_change(found).items()}
    lines = [f"  {d.change:<8} {d}\n{indent(sql[d.name], ' ' * 11)}" for d in found]
    facts: dict[str, Any] = {"drift": [asdict(d) | {"sql": sql[d.name]} for d in found]}
    if any(closing.values()) or known.head != state.head:
        hint = "If the change is wanted, write it as a migration, or accept it: `bakehouse drift`."
        if known.head != state.head:
            hint = "Another tool has applied a version since: `migrate repair adopt`."
        said = "\n".join(["the database is not as the last migration left it", *lines])
        raise BakehouseError("drift", said, hint, **closing, **facts)
    facts |= {"fingerprint": catalog.fingerprint(known.objects), "chain_head": known.head}
    text = f"{len(known.objects)} objects are as the last migration left them"
    said = "\n".join([text, f"fingerprint {facts['fingerprint']}", *lines])
    return Result({"objects": len(known.objects)} | facts, said)


@command(app, "repair")
def repair(
    here: Deploy,
    action: Annotated[
        Action, typer.Argument(help="adopt, rehash, rename or forget.", show_default=False)
    ],
    version: Annotated[str, typer.Argument(help="The version to repair.")],
    to: Annotated[str, typer.Argument(help="For rename: the new version.")] = "",
    yes: Yes = False,
    reason: Annotated[
        str, typer.Option("--reason", help="For adopt: why another tool ran the file.")
    ] = "",
    unproven: Annotated[
        bool,
        typer.Option("--unproven", help="For adopt: accept a file that changes no object."),
    ] = False,
    proofs: Proofs = None,
) -> Result:
    """Repair one row of the history, and record that. The schema stays unchanged.

    - adopt: count the file as applied, without running it. In staging and prod, the file must pass
    the gate, and the database must have the objects that the file makes on a scratch server.

    - rehash: accept the present text of the file as what was applied.

    - rename: give the row to the file of another version with the same SQL.

    - forget: count the version as not applied.
    """
    work = here.work(proofs=proofs, accepted=here.accepted)
    with here.connected(writes=True) as conn, apply.lock(conn, 10, output.say):
        for file in work.files:
            if action == "rehash" and file.version == version:
                for line in history.difference(conn, file):
                    output.say(line)
        confirm(f"{action} {version}{' ' + to if to else ''}?", yes)
        if action == "adopt" and not work.in_dev:
            done = adopts.adopt(conn, work, version, reason.strip(), unproven)
        else:
            done = run.repair(conn, work, action, version, to)
    return Result({"action": action, "version": version}, done)


@command(app, "down")
def down(
    here: Database,
    version: Annotated[str, typer.Argument(help="The newest version, to roll back.")],
    skip: Skip = "",
    name: Annotated[
        str,
        typer.Option(
            "--confirm", metavar="NAME", help="The database name, to confirm outside dev."
        ),
    ] = "",
    lock_wait: LockWait = 10,
) -> Result:
    """Roll back the newest migration, after showing which data would be lost."""
    work = here.work(skip, lock_wait)
    with here.connected(writes=True) as conn:
        found = downs.look(conn, work, version)
        for line in found.lost:
            output.say(f"would be lost: {line}")
        if not (work.in_dev or name or found.refusals) and sys.stdin.isatty():
            name = typer.prompt("Confirm with the name of the database", err=True)
        lost = downs.roll_back(conn, here.dsn, work, found, name)
    return Result(
        {"version": version, "lost": lost},
        f"rolled back {found.script.label}" + "".join(f"\nlost {line}" for line in lost),
    )


@command(app, "compensate")
def compensate_command(
    here: Project,
    version: Annotated[str, typer.Argument(help="The version of the migration.")],
    skip: Skip = "",
) -> Result:
    """Write a migration that adds back what another one drops. Needs no database."""
    files, left_out = here.files(skip)
    paths, again, by_hand = compensate.write(
        here.root, select(files, left_out), version, output.say
    )
    names = [str(path.relative_to(here.root)) for path in paths]
    lines = [*names, *(f"  again    {name}" for name in again)]
    lines += [f"  by hand  {text}" for text in by_hand]
    facts = {"files": names, "again": again, "by_hand": by_hand}
    return Result(facts, "\n".join(lines))
