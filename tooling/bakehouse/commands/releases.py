"""The commands for releases, and the log of every run."""

import os
from typing import Annotated, Any

import typer

from bakehouse import output
from bakehouse.commands.context import Database, LockWait, Project, Skip, command, milestones
from bakehouse.commands.migrate import Deploy
from bakehouse.deploy import environment, evidence, release
from bakehouse.deploy import prove as proofs
from bakehouse.errors import BakehouseError
from bakehouse.migrations import history
from bakehouse.migrations.files import select
from bakehouse.output import Result

app = typer.Typer()
_EDITED = "Compare the database with the files in evidence/, which are copies of the record."
release_app = typer.Typer(help="Prepare a release, and check if it is live.")


@command(app, "log")
def log(
    here: Database,
    save: Annotated[bool, typer.Option("--save", help="Write missing files to evidence/.")] = False,
) -> Result:
    """Show every run on record, oldest first, and check that the record was not edited."""
    folder = here.root / "evidence"
    with here.connected() as conn:
        entries, identity = evidence.entries(conn), environment.identity(conn)
    told = evidence.runs(entries)
    problems = evidence.broken(entries)
    if here.env and folder.is_dir():
        known = {entry.hash for entry in entries}
        problems += [
            f"the database lacks the entry {entry.hash[:8]} of a file"
            for entry in evidence.load(folder, here.env)
            if entry.hash not in known and identity and entry.at >= identity.began
        ]
    named = here.settings.signers
    signers = {run.id: "".join(evidence.signer_of(run, os.environ, named)) for run in told}
    rows = [{"opened": run.opened, "closed": run.closed, "signer": signers[run.id]} for run in told]
    facts: dict[str, Any] = {"runs": rows, "problems": problems}
    text = output.table(
        ("opened", "run", "env", "by", "files", "head", "outcome", "signed by"),
        [(*_log_line(run), signers[run.id]) for run in told],
    )
    if problems:
        lines = "\n  ".join(["the record was edited", *problems])
        return Result(facts, text, BakehouseError("drift", lines, _EDITED))
    written = evidence.save(folder, entries) if save else []
    return Result(facts | {"written": written}, text if told else "no run is on record")


def _log_line(run: evidence.Run) -> tuple[object, ...]:
    head = (run.head or "")[:8]
    adopted = run.opened.get("action") == "adopt" and run.outcome == "done"
    outcome = "adopted" if adopted else run.outcome
    return run.opened_at, run.kind, run.env, run.user, len(run.files), head, outcome


@command(release_app, "verify")
def verify(
    here: Database,
    tag: Annotated[str, typer.Argument(help="The tag of the release, such as v1.2.0.")],
    skip: Skip = "",
) -> Result:
    """Check that the database has the files of a tag, and no others."""
    left_out = milestones(skip)
    with release.files_of(here.root, tag) as files, here.connected() as conn:
        select(files, left_out)
        applied = history.applied(conn)
        versions = history.compare(files, applied, left_out)
        problems = evidence.broken(evidence.entries(conn))
    right = ("applied", "adopted", "reformatted", "skipped")
    wrong = [one for one in versions if one.state not in right]
    problems += [f"{one.version} {one.name}: {one.state} {one.detail}".rstrip() for one in wrong]
    head = history.chain_head(applied)
    adopted = [str(one) for one in versions if one.state == "adopted"]
    facts: dict[str, Any] = {"tag": tag, "chain_head": head, "problems": problems}
    facts["adopted"] = adopted
    if problems:
        lines = "\n  ".join([f"{tag} is not live", *problems])
        hint = f"Check out {tag}: `bakehouse migrate status` then shows every version."
        return Result(facts, error=BakehouseError("drift", lines, hint))
    said = f"live: {output.count(len(applied), 'file')}"
    if adopted:
        said = "\n  ".join(
            [f"adopted: not every file was run here, {len(applied)} files", *adopted]
        )
    return Result(facts, f"{tag} is {said}\nchain head  {head}")


@command(release_app, "prove")
def prove(here: Deploy, skip: Skip = "", lock_wait: LockWait = 10) -> Result:
    """Prove the pending files for prod on its newest backup, in place of staging.

    Restores the newest `backup take` dump on a scratch server. The files are rehearsed, applied and
    smoke-tested there. The gate promotion of prod accepts the evidence, which is a file.
    """
    work = here.work(skip, lock_wait, accepted=here.accepted)
    with here.connected() as conn:
        backup, done = proofs.prove(conn, work)
    proved = output.count(len(done.applied), "migration")
    text = f"proved {proved} on {backup.file}" if done.applied else "nothing to do"
    return Result({"applied": done.applied, "backup": backup.file, "run": done.run}, text)


@command(release_app, "prepare")
def prepare(
    here: Project,
    tag: Annotated[str, typer.Argument(help="The new tag, such as v1.2.0.")],
    skip: Skip = "",
) -> Result:
    """Check the tree, write the list of migrations, and print the commands to run."""
    notes = release.prepare(here.root, tag, *here.files(skip))
    commands = [
        f"git tag -a {tag} -F {notes.path.relative_to(here.root)}",
        "bakehouse migrate plan --env staging",
        "bakehouse migrate up --env staging",
        "bakehouse gate check --env prod",
        "bakehouse migrate up --env prod",
        f"bakehouse release verify {tag} --env prod",
        f"git push origin {tag}",
    ]
    facts = {
        "since": notes.since,
        "migrations": notes.migrations,
        "chain_head": notes.head,
        "commands": commands,
    }
    return Result(facts, notes.text + "\nNow type:\n  " + "\n  ".join(commands))
