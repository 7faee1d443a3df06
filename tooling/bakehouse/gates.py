"""What an environment demands of a migration: from facts to a verdict and a reason, each alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bakehouse import evidence
from bakehouse.backup import Backup
from bakehouse.environment import Settings
from bakehouse.errors import BakehouseError
from bakehouse.evidence import Run
from bakehouse.release import Tag

_SKEW = 0.1  # hours by which two clocks may differ


@dataclass(frozen=True)
class Observed:
    """What a rehearsal, or the real thing elsewhere, saw the pending files do."""

    breaking: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()  # files that could not be rehearsed
    findings: tuple[dict[str, Any], ...] = ()  # of the lint, whatever the size of the table

    def severe(self, rows: Mapping[str, int], large: int) -> list[str]:
        """What makes a deploy breaking, on tables of this size."""
        return [
            *self.breaking,
            *(f"rewrites {t} ({rows[t]} rows)" for t in self.rewritten if rows.get(t, 0) >= large),
            *(f"locks {t} ({rows[t]} rows)" for t in self.locked if rows.get(t, 0) >= large),
            *(f"not rehearsed: {file}" for file in self.unseen),
        ]


@dataclass(frozen=True)
class Facts:
    """All that the gates know; what an environment does not ask for may be left out."""

    settings: Settings
    now: datetime
    mismatch: str = ""  # why this is not the database to work on
    disagreements: tuple[str, ...] = ()  # of files, history and catalogue
    pending: tuple[str, ...] = ()
    head: str | None = None  # the chain head that the pending files lead to
    fingerprint: str = ""
    findings: tuple[str, ...] = ()  # of the lint
    own: tuple[Run, ...] = ()  # the runs of this database
    proofs: tuple[Run, ...] = ()  # and of staging
    proofs_problem: str = ""
    backup: Backup = field(default_factory=lambda: Backup("none"))
    tag: Tag = field(default_factory=lambda: Tag(None, None))
    observed: Observed | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    pausable: bool = False  # whether webhooks can be held back here
    holders: tuple[str, ...] = ()  # old transactions on tables that will be locked
    missing_secrets: tuple[str, ...] = ()
    smoke: tuple[str, ...] | None = None  # steps that failed; None before the walk

    @property
    def breaking(self) -> list[str]:
        if self.observed is None:
            return ["nothing was rehearsed: taken for breaking"] if self.pending else []
        return self.observed.severe(self.rows, self.settings.large_rows)

    def age(self, then: datetime) -> str:
        hours = (self.now - then) / timedelta(hours=1)
        if hours < -_SKEW:
            return "in the future"
        hours = max(hours, 0)
        return f"{hours:.0f} h old" if hours >= 1 else f"{hours * 60:.0f} min old"


@dataclass(frozen=True)
class Verdict:
    gate: str
    verdict: str  # passed, warning, accepted or refused
    reason: str


def identity(facts: Facts) -> tuple[bool, str]:
    return not facts.mismatch, facts.mismatch or f"the database says it is {facts.settings.name}"


def history(facts: Facts) -> tuple[bool, str]:
    found = "; ".join(facts.disagreements)
    return not found, found or f"files and database agree, {len(facts.pending)} pending"


def lint(facts: Facts) -> tuple[bool, str]:
    return not facts.findings, "; ".join(facts.findings) or "no findings"


def rehearsal(facts: Facts) -> tuple[bool, str]:
    plans = [run for run in facts.own if run.kind == "rehearsal" and run.head == facts.head]
    if not plans:
        return False, f"these files were not rehearsed: migrate plan --env {facts.settings.name}"
    newest = plans[-1]
    if newest.before != facts.fingerprint:
        return False, "the database has changed since these files were rehearsed"
    age = facts.age(newest.at)
    return _young(facts, newest.at, facts.settings.rehearsal_hours), f"rehearsed, {age}"


def backup(facts: Facts) -> tuple[bool, str]:
    found = facts.backup
    if found.taken_at is None:
        return False, found.problem or "there is none"
    limit = facts.settings.backup_hours
    said = f"the newest is {facts.age(found.taken_at)}, says {found.source} (limit {limit:g} h)"
    return _young(facts, found.taken_at, limit), said


def promotion(facts: Facts) -> tuple[bool, str]:
    if facts.proofs_problem:
        return False, facts.proofs_problem
    starts = set(evidence.origins(facts.own, facts.fingerprint))
    way = evidence.path(facts.proofs, facts.head or "", starts)
    if way:
        last, days = way[-1], facts.settings.promotion_days
        smoked = last.closed and not last.closed["smoke"]["failed"]
        if not smoked or not all(run.opened["observed"] for run in way):
            return False, "staging applied these files, but did not rehearse and smoke them all"
        return _young(facts, last.at, days * 24), f"proved on staging, {facts.age(last.at)}"
    ended = [run for run in facts.proofs if run.kind == "up" and run.head == facts.head]
    if any(run.outcome == "done" for run in ended):
        return False, "staging applied these files to a catalogue that is not the one here"
    if ended:
        return False, f"these files did not get through staging: {ended[-1].outcome}"
    return False, "staging has not applied these files"


def tag(facts: Facts) -> tuple[bool, str]:
    found = facts.tag
    return not found.problems, "; ".join(found.problems) or f"this is {found.name}, to the byte"


def webhooks(facts: Facts) -> tuple[bool, str]:
    found = facts.breaking
    if not found:
        return True, "nothing breaking: they stay on"
    what = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    if not facts.pausable:
        return False, f"they cannot be paused here, and this is breaking: {what}"
    minutes = facts.settings.pause_minutes
    return True, f"will be paused for up to {minutes:g} min: {what}"


def traffic(facts: Facts) -> tuple[bool, str]:
    return not facts.holders, "; ".join(facts.holders) or "no old transaction in the way"


def secrets(facts: Facts) -> tuple[bool, str]:
    missing = ", ".join(facts.missing_secrets)
    there = ", ".join(facts.settings.secrets) or "none is asked for"
    return not missing, f"missing: {missing}" if missing else there


def smoke(facts: Facts) -> tuple[bool, str]:
    if facts.smoke is None:
        return True, "walks after the last file"
    return not facts.smoke, "; ".join(facts.smoke) or "every step passed"


def _young(facts: Facts, then: datetime, hours: float) -> bool:
    return -_SKEW <= (facts.now - then) / timedelta(hours=1) <= hours


Gate = Callable[[Facts], tuple[bool, str]]
MUST, WARN, OFF = "must", "warn", "off"

DEMANDS: tuple[tuple[Gate, dict[str, str]], ...] = tuple(
    (gate, dict(zip(("dev", "staging", "prod"), demands, strict=True)))
    for gate, *demands in (
        (identity, MUST, MUST, MUST),
        (history, MUST, MUST, MUST),
        (lint, WARN, MUST, MUST),
        (rehearsal, OFF, MUST, OFF),
        (backup, OFF, MUST, MUST),
        (promotion, OFF, OFF, MUST),
        (tag, OFF, WARN, MUST),
        (webhooks, OFF, WARN, MUST),
        (traffic, OFF, WARN, MUST),
        (secrets, OFF, MUST, MUST),
        (smoke, MUST, MUST, MUST),
    )
)
ALWAYS = (identity, history, smoke)  # the others ask about files to apply
FINAL = ("identity", "history", "promotion")  # nobody can accept these away


def check(facts: Facts, accepted: Mapping[str, str]) -> list[Verdict]:
    """Every gate that the environment has, whether or not one before it refused."""
    return [
        judge(gate, facts, accepted, demands[facts.settings.name] == WARN)
        for gate, demands in DEMANDS
        if demands[facts.settings.name] != OFF
    ]


def judge(gate: Gate, facts: Facts, accepted: Mapping[str, str], lenient: bool) -> Verdict:
    name = gate.__name__
    if not facts.pending and gate not in ALWAYS:
        return Verdict(name, "passed", "nothing is pending")
    ok, reason = gate(facts)
    if ok:
        return Verdict(name, "passed", reason)
    if lenient:
        return Verdict(name, "warning", reason)
    if name in accepted and name not in FINAL:
        return Verdict(name, "accepted", f"{reason} (accepted: {accepted[name]})")
    return Verdict(name, "refused", reason)


def require(verdicts: list[Verdict]) -> None:
    """Refuse with every reason there is."""
    refused = [verdict for verdict in verdicts if verdict.verdict == "refused"]
    if not refused:
        return
    kind = {"identity": "identity", "history": "drift"}.get(refused[0].gate, "gate")
    lines = [f"{verdict.gate}: {verdict.reason}" for verdict in refused]
    raise BakehouseError(
        kind,
        "\n  ".join(["the gate is closed", *lines]),
        _HINTS.get(kind, "Nothing was run. `bakehouse gate check` shows the whole checklist."),
        gates=[vars(verdict) for verdict in verdicts],
    )


_HINTS = {
    "drift": "Nothing was run. `migrate status` shows all, `migrate repair` mends a row;"
    " in dev, `bakehouse reset` starts again from the files.",
}
