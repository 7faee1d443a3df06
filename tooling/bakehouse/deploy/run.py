"""The runs that go on record: up, plan, repair and accepted drift."""

from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import date

import psycopg
from psycopg.rows import scalar_row

from bakehouse.database import Connection, fetch, sql_file
from bakehouse.deploy import environment, evidence, facts, gates, webhooks
from bakehouse.deploy.evidence import Body, Observed
from bakehouse.deploy.facts import Facts, State
from bakehouse.deploy.gates import Verdict
from bakehouse.deploy.work import Work, begin, end, noted, standing
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, drift, history, rehearse
from bakehouse.migrations.apply import Ran
from bakehouse.migrations.files import Migration, runs_alone, sql_script
from bakehouse.migrations.rehearse import HeavyRead, Rehearsal
from bakehouse.migrations.repair import Action, Adoption
from bakehouse.migrations.repair import repair as repair_row
from bakehouse.shop import smoke

# Up


@dataclass(frozen=True)
class UpResult:
    applied: list[str] = field(default_factory=list)  # versions
    steps: list[smoke.Outcome] = field(default_factory=list)
    run: str = ""


def up(conn: Connection, dsn: str, work: Work) -> UpResult:
    """Apply the pending files, if the environment allows this. Continue a killed run."""
    if facts.read_progress(conn, work).is_done:
        return UpResult()
    with apply.lock(conn, work.wait, work.tell):
        state = facts.read_state(conn, work)  # another run may have changed it
        known = facts.gather(conn, work, state)
        verdicts = gates.check(known, work.accepted)
        for verdict in verdicts:
            if verdict.verdict in ("warning", "accepted"):
                work.tell(f"{verdict.verdict}: {verdict.gate}: {verdict.reason}")
        gates.require(verdicts)
        if state.is_done:
            return UpResult()
        history.ensure(conn)
        _end_killed_runs(conn, work, state)
        return _apply_pending(conn, dsn, work, state, known, verdicts)


def _end_killed_runs(conn: Connection, work: Work, state: State) -> None:
    work.require_key()
    had = {row.version for row in state.applied}
    for run in evidence.unfinished(state.runs):
        done = [label for label in run.files if label.partition("_")[0] in had]
        work.tell(
            f"the run of {run.opened_at} by {run.user} did not finish: {len(done)} of"
            f" {len(run.files)} files are applied; continuing from there"
        )
        end(conn, work, run.id, "killed")


def _apply_pending(
    conn: Connection, dsn: str, work: Work, state: State, known: Facts, verdicts: list[Verdict]
) -> UpResult:
    promises, seen = catalog.promises(conn), None if work.in_dev else state.objects
    run = begin(conn, work, "up", **_asked(work, state.pending, known, verdicts))
    applied: list[Ran] = []
    steps: list[smoke.Outcome] = []
    failure: BakehouseError | psycopg.Error | None = None
    try:
        if known.breaking and known.pausable:
            webhooks.pause(conn, work)
        for done in apply.run(conn, dsn, state.pending, work.commit, work.tell, seen):
            applied.append(done)
            work.tell(f"applied {done.label} ({done.duration_ms} ms)")
        steps = walk(conn, work)
        require_smoke(conn, work, known, steps)
    except (BakehouseError, psycopg.Error) as error:
        failure = error
    if not conn.closed:  # otherwise the next run records the end of this one
        resumed = bool(evidence.unfinished(state.runs))  # which may have applied some of the files
        if failure is None or (state.pending and not applied and not resumed):
            webhooks.end_pause(conn)
        breaking = _broken(conn, work, state, promises, moved=bool(applied) or resumed)
        failed = [step.name for step in steps if not step.ok]
        end(
            conn,
            work,
            run,
            failure,
            breaking=breaking,
            applied=[asdict(one) for one in applied],
            smoke={"steps": len(steps), "failed": failed},
        )
    if failure:
        raise failure
    return UpResult([one.version for one in applied], steps, run)


def _asked(work: Work, pending: list[Migration], known: Facts, verdicts: list[Verdict]) -> Body:
    """Return what the start of a run records: the files, and what let them through."""
    observed = known.observed or (None if pending else Observed())
    return {
        "tag": known.tag.name,
        "files": [file.label for file in pending],
        "hashes": {file.version: [file.byte_hash, file.sql_hash] for file in pending},
        "head": known.head,
        "observed": observed and asdict(observed),
        "backup": asdict(known.backup),
        "gates": [asdict(verdict) for verdict in verdicts],
        "accepted": dict(work.accepted),
    }


def _broken(
    conn: Connection, work: Work, state: State, promises: set[str], moved: bool
) -> list[str]:
    """List what the run broke. In dev, what is there is right, so it becomes the baseline."""
    after = history.reading(conn, ())
    if work.in_dev and moved:
        history.advance(conn, state.expected, after, history.chain_head(history.applied(conn)))
    changes = catalog.compare(catalog.made(state.objects), catalog.made(after))
    return catalog.breaking(changes, promises, catalog.promises(conn), state.objects)


def walk(conn: Connection, work: Work) -> list[smoke.Outcome]:
    """Run the smoke walk, if these files create the tables of orders."""
    return list(smoke.walk(conn)) if smoke.applies_to(work.files) else []


def require_smoke(conn: Connection, work: Work, known: Facts, steps: list[smoke.Outcome]) -> None:
    """Raise an error if a step failed, unless the caller accepts that. Webhooks stay paused."""
    failed = tuple(smoke.failures(steps))
    verdict = gates.judge(gates.SMOKE, replace(known, smoke=failed), work.accepted)
    if verdict.verdict == "refused":
        until = webhooks.paused_until(conn)
        raise BakehouseError(
            "smoke",
            "the smoke walk failed\n  " + "\n  ".join(failed),
            f"Webhooks are paused until {until}; `bakehouse resume` lets them in." if until else "",
        )


# Plan


def plan(conn: Connection, dsn: str, work: Work) -> tuple[list[Rehearsal], list[HeavyRead]]:
    """Rehearse the pending files. Outside dev, record the effects. In prod, spare readers."""
    path = work.root / "supabase" / "heavy_reads.sql"
    reads = sql_script(path) if path.is_file() else None
    with apply.lock(conn, work.wait, work.tell):
        progress = facts.read_progress(conn, work)
        history.require_clean(progress.versions)
        pending = progress.pending
        if not pending:
            return [], []
        in_prod = work.settings.name == "prod"
        careful = apply.guarded(conn, dsn, work.tell) if in_prod else nullcontext()
        work.require_key()
        report, seen = rehearse.rehearse(
            conn, pending, reads, work.settings.rehearsal_seconds, careful
        )
        if not work.in_dev:
            effects = evidence.observed(report, tuple(_unseen(report, pending)))
            with noted(conn, work, "rehearsal", moves=not history.baseline(conn)) as noting:
                noting |= {
                    "files": [file.label for file in pending],
                    "head": history.head_after(progress.applied, pending),
                    "before": standing(conn),
                    "observed": asdict(effects),
                    "report": [asdict(one) for one in report],
                    "heavy_reads": [asdict(one) for one in seen],
                }
        return report, seen


def _unseen(report: list[Rehearsal], files: list[Migration]) -> Iterator[str]:
    """Yield the files without a full rehearsal. A concurrent index build needs no rehearsal."""
    rehearsed = {one.label for one in report if not one.notes}
    for file in files:
        builds_indexes = all(
            runs_alone(s) and s.tokens[0] == "create" and apply.index_of(s)[0] for s in file.body
        )
        if file.label not in rehearsed and not builds_indexes:
            yield file.label


# Repair and mark


def repair(
    conn: Connection,
    work: Work,
    action: Action,
    version: str,
    to: str = "",
    adoption: Adoption | None = None,
) -> str:
    """Repair one row of the history and record the repair, in one transaction."""
    asked: Body = {"action": action, "version": version, "to": to}
    with noted(conn, work, "repair", asked, moves=True) as noting:
        if action == "adopt":
            adoption = adoption or Adoption(  # in dev, what is there is right
                before=history.start(conn).objects, after=history.reading(conn, ())
            )
            noting |= {"how": adoption.how, "reason": adoption.reason, **adoption.record}
        done = repair_row(conn, action, version, work.files, to, adoption or Adoption())
        noting |= {"said": done, **_head(conn)}
    return done


# Drift


def accept_drift(conn: Connection, work: Work, name: str, reason: str, until: date) -> None:
    """Accept what a DBA changed, as it is now, and record that in one transaction."""
    found = drift.find(conn, facts.read_state(conn, work).objects)
    one = next((one for one in found if one.name == name), None)
    for wrong, why, hint in (
        (one is None, f"{name} is not drift", "`bakehouse drift list` names what drifted."),
        (one and not one.ownable, f"{name} may change only by a migration", "Write one, or undo."),
        (not reason, "the reason is empty", "Say why the change may stay."),
        (until < date.today(), f"{until} has passed", "Give a later day: --until."),
    ):
        if wrong:
            raise BakehouseError("usage", why, f"Nothing was accepted. {hint}")
    said = {"object": name, "hash": one and one.hash, "reason": reason, "until": until}
    with noted(conn, work, "drift", said) as noting:
        fetch(conn, scalar_row, sql_file(__package__, "accept_drift"), *said.values())
        noting |= _head(conn)


def mark(conn: Connection, work: Work, reason: str, addresses: Collection[str] = ()) -> None:
    """Mark the database and record that, in one transaction."""
    with noted(conn, work, "mark", {"reason": reason}, moves=True) as noting:
        noting["earlier"] = environment.mark(conn, work.settings, reason, work.who, addresses)
        noting |= _head(conn)


def _head(conn: Connection) -> Body:
    """Return what a change of the history records: the chain head that it leaves."""
    head = history.chain_head(history.applied(conn))
    return {"head": head, "after": {"head": head}}
