"""The runs that go on record: up, plan, repair and accepted drift."""

from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import scalar_row

from bakehouse.database import Connection, fetch, sql_file
from bakehouse.deploy import environment, evidence, facts, gates, webhooks
from bakehouse.deploy.evidence import Observed, Run, RunKind
from bakehouse.deploy.facts import Facts, State, union
from bakehouse.deploy.gates import Verdict
from bakehouse.deploy.work import Work, circumstances, mark_of, save
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, drift, history, rehearse
from bakehouse.migrations.apply import Ran, Tell
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


@dataclass
class _Results:
    """The results of a run so far. They survive an exception."""

    applied: list[Ran] = field(default_factory=list)
    steps: list[smoke.Outcome] = field(default_factory=list)
    failure: BakehouseError | psycopg.Error | None = None


def up(conn: Connection, dsn: str, work: Work, tell: Tell) -> UpResult:
    """Apply the pending files, if the environment allows this. Continue a killed run."""
    if facts.read_progress(conn, work).is_done:
        return UpResult()
    with apply.lock(conn, work.wait, tell):
        state = facts.read_state(conn, work)  # another run may have changed it
        known = facts.gather(conn, work, state)
        verdicts = gates.check(known, work.accepted)
        for verdict in verdicts:
            if verdict.verdict in ("warning", "accepted"):
                tell(f"{verdict.verdict}: {verdict.gate}: {verdict.reason}")
        gates.require(verdicts)
        if state.is_done:
            return UpResult()
        history.ensure(conn)
        _close_killed_runs(conn, work, state, tell)
        return _apply_pending(conn, dsn, work, state, known, verdicts, tell)


def _close_killed_runs(conn: Connection, work: Work, state: State, tell: Tell) -> None:
    had = {row.version for row in state.applied}
    for run in evidence.unfinished(state.runs):
        done = [label for label in run.files if label.partition("_")[0] in had]
        tell(
            f"the run of {run.opened_at} by {run.user} did not finish: {len(done)} of"
            f" {len(run.files)} files are applied; continuing from there"
        )
        signed = replace(run, sign=circumstances(conn, work)["sign"])
        evidence.close(conn, signed, "killed", after=mark_of(history.start(conn)))
        save(conn, work, [run.id])


def _apply_pending(
    conn: Connection,
    dsn: str,
    work: Work,
    state: State,
    known: Facts,
    verdicts: list[Verdict],
    tell: Tell,
) -> UpResult:
    promises = catalog.promises(conn)
    run = _open_up(conn, work, state, known, verdicts)
    results = _Results()
    try:
        if known.breaking and known.pausable:
            webhooks.pause(conn, known.settings, tell)
        seen = None if work.in_dev else state.objects
        for done in apply.run(conn, dsn, state.pending, run.opened["commit"], tell, seen):
            results.applied.append(done)
            tell(f"applied {done.label} ({done.duration_ms} ms)")
        results.steps += walk(conn, work)
        require_smoke(conn, work, known, results.steps)
    except (BakehouseError, psycopg.Error) as error:
        results.failure = error
    if not conn.closed:  # otherwise the next run closes the record
        _close_up(conn, work, run, state, results, promises)
    if results.failure:
        raise results.failure
    return UpResult([done.version for done in results.applied], results.steps, run.id)


def _open_up(
    conn: Connection, work: Work, state: State, known: Facts, verdicts: list[Verdict]
) -> Run:
    pending = state.pending
    observed = known.observed or (None if pending else Observed())
    return evidence.open_run(
        conn,
        "up",
        **circumstances(conn, work),
        tag=known.tag.name,
        files=[file.label for file in pending],
        hashes={file.version: [file.byte_hash, file.sql_hash] for file in pending},
        head=known.head,
        before=mark_of(history.start(conn)),
        observed=observed and asdict(observed),
        backup=asdict(known.backup),
        gates=[asdict(verdict) for verdict in verdicts],
        accepted=dict(work.accepted),
    )


def _close_up(
    conn: Connection,
    work: Work,
    run: Run,
    state: State,
    results: _Results,
    promises: set[str],
) -> None:
    failure, applied = results.failure, results.applied
    after, head = history.reading(conn, ()), history.chain_head(history.applied(conn))
    resumed = evidence.unfinished(state.runs)  # a killed run may have applied some of the files
    if work.in_dev and (applied or resumed):  # in dev, what is there is right
        history.advance(conn, state.expected, after, head)
    untouched = state.pending and not applied and not resumed
    if failure is None or untouched:
        webhooks.end_pause(conn)
    changes = catalog.compare(catalog.made(state.objects), catalog.made(after))
    evidence.close(
        conn,
        run,
        evidence.outcome_of(failure),
        error=str(failure) if failure else None,
        applied=[asdict(done) for done in applied],
        after=mark_of(history.start(conn)),
        breaking=catalog.breaking(changes, promises, catalog.promises(conn), state.objects),
        smoke={
            "steps": len(results.steps),
            "failed": [step.name for step in results.steps if not step.ok],
        },
    )
    save(conn, work, [run.id])


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


def plan(
    conn: Connection, dsn: str, work: Work, tell: Tell
) -> tuple[list[Rehearsal], list[HeavyRead]]:
    """Rehearse the pending files. Outside dev, record the effects. In prod, spare readers."""
    path = work.root / "supabase" / "heavy_reads.sql"
    reads = sql_script(path) if path.is_file() else None
    with apply.lock(conn, work.wait, tell):
        progress = facts.read_progress(conn, work)
        history.require_clean(progress.versions)
        pending = progress.pending
        if not pending:
            return [], []
        asked = {} if work.in_dev else circumstances(conn, work)
        careful = apply.guarded(conn, dsn, tell) if work.settings.name == "prod" else nullcontext()
        seconds = work.settings.rehearsal_seconds
        report, seen = rehearse.rehearse(conn, pending, reads, seconds, careful)
        if asked:
            history.ensure(conn)
            run = evidence.note(
                conn,
                "rehearsal",
                "done",
                **asked,
                files=[file.label for file in pending],
                head=history.head_after(progress.applied, pending),
                before=mark_of(history.start(conn)),
                observed=asdict(_observed(report, pending)),
                report=[asdict(one) for one in report],
                heavy_reads=[asdict(one) for one in seen],
            )
            save(conn, work, [run.id])
        return report, seen


def _observed(report: list[Rehearsal], files: list[Migration]) -> Observed:
    return Observed(
        breaking=union(*(one.breaking for one in report)),
        locked=union(*(one.locked for one in report)),
        rewritten=union(*(one.rewritten for one in report)),
        unseen=tuple(_unseen(report, files)),
        findings=tuple(asdict(finding) for one in report for finding in one.findings),
    )


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
    history.ensure(conn)
    with conn.transaction():
        if adoption is None and action == "adopt":  # in dev, what is there is right
            adoption = Adoption(before=history.start(conn).objects, after=history.reading(conn, ()))
        adoption = adoption or Adoption()
        asked: dict[str, str | None] = {"action": action, "version": version, "to": to}
        asked |= {"how": adoption.how, "reason": adoption.reason} if action == "adopt" else {}
        done = repair_row(conn, action, version, work.files, to, adoption)
        run = _note(conn, work, "repair", **asked, said=done, **adoption.record)
    save(conn, work, [run.id])
    return done


# Drift


def accept_drift(conn: Connection, work: Work, name: str, reason: str, until: date) -> None:
    """Accept what a DBA changed, as it is now, and record that in one transaction."""
    history.ensure(conn)
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
    with conn.transaction():
        fetch(conn, scalar_row, sql_file(__package__, "accept_drift"), *said.values())
        run = _note(conn, work, "drift", **said)
    save(conn, work, [run.id])


def mark(conn: Connection, work: Work, reason: str, addresses: Collection[str] = ()) -> None:
    """Mark the database and record that, in one transaction."""
    with conn.transaction():
        earlier = environment.mark(conn, work.settings, reason, work.who, addresses)
        run = _note(conn, work, "mark", reason=reason, earlier=earlier)
    save(conn, work, [run.id])


def _note(conn: Connection, work: Work, kind: RunKind, **facts: Any) -> Run:
    head = history.chain_head(history.applied(conn))
    facts |= circumstances(conn, work) | {"head": head, "after": {"head": head}}
    return evidence.note(conn, kind, "done", **facts)
