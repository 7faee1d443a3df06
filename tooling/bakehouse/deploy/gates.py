"""The gates of an environment. Each gate judges facts, and gives a reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bakehouse.deploy import evidence
from bakehouse.deploy.facts import Facts
from bakehouse.errors import BakehouseError, Kind
from bakehouse.migrations.history import DISAGREEMENT

GateName = (
    Literal["identity", "history", "drift", "order", "evidence", "lint", "rehearsal", "backup"]
    | Literal["drill", "promotion", "tag", "webhooks", "traffic", "secrets", "smoke"]
)
Demand = Literal["must", "warn", "off"]
Decision = Literal["passed", "warning", "accepted", "refused"]
Answer = tuple[bool | Literal["warning"], str]


@dataclass(frozen=True)
class Verdict:
    gate: GateName
    verdict: Decision
    reason: str


def identity(facts: Facts) -> Answer:
    return not facts.mismatch, facts.mismatch or f"the database says it is {facts.settings.name}"


def history(facts: Facts) -> Answer:
    found = "; ".join(facts.disagreements)
    return not found, found or f"files and database agree, {len(facts.pending)} pending"


def drift(facts: Facts) -> Answer:
    if facts.drift:
        said = "; ".join(facts.drift)
        return False, f"the database is not as the last migration left it, {said}"
    return True, "; ".join(facts.accepted_drift) or "no change without a migration"


def order(facts: Facts) -> Answer:
    late = "; ".join(facts.late)
    hint = "give the file a later version, or accept the order: --accept-order REASON"
    return not late, f"{late}: {hint}" if late else "no pending file is older than an applied one"


def lint(facts: Facts) -> Answer:
    return not facts.findings, "; ".join(facts.findings) or "no findings"


def rehearsal(facts: Facts) -> Answer:
    if not facts.plans:
        return False, f"these files were not rehearsed: migrate plan --env {facts.settings.name}"
    newest = facts.plans[-1]
    if newest.before != facts.fingerprint:
        return False, "the database has changed since these files were rehearsed"
    limit = facts.settings.rehearsal_hours
    return facts.is_young(newest.at, limit), f"rehearsed, {facts.age(newest.at)}"


def backup(facts: Facts) -> Answer:
    found = facts.backup
    if found.taken_at is None:
        return False, found.problem or "there is no backup"
    limit = facts.settings.backup_hours
    said = f"the newest is {facts.age(found.taken_at)}, says {found.source} (limit {limit:g} h)"
    return facts.is_young(found.taken_at, limit), said


def drill(facts: Facts) -> Answer:
    drills = [run for run in facts.own if run.kind == "drill" and run.env == facts.settings.name]
    if not drills:
        return False, "no backup was ever restored: `bakehouse backup drill`"
    last, days = drills[-1], facts.settings.drill_days
    if last.outcome != "done":
        return False, f"the last drill failed, {facts.age(last.at)}"
    said = f"the last drill is {facts.age(last.at)} (limit {days:g} days)"
    return facts.is_young(last.at, days * 24), said


def record(facts: Facts) -> Answer:
    if facts.faults:
        return False, "; ".join(facts.faults)
    if facts.unsigned:
        return "warning", "; ".join(facts.unsigned)
    return True, "the record is whole and signed"


def promotion(facts: Facts) -> Answer:
    if facts.proofs_problem:
        return False, facts.proofs_problem
    if way := facts.way:
        last, hours = way[-1], facts.settings.promotion_days * 24
        if not last.smoked or not all(run.observed or run.unrehearsed for run in way):
            return False, "staging applied these files, but did not rehearse and smoke them all"
        where = f"the restored backup {last.restored}" if last.restored else "staging"
        said = [f"proved on {where}, {facts.age(last.at)}"]
        said += [f"not rehearsed on {where}: {run.unrehearsed}" for run in way if run.unrehearsed]
        return facts.is_young(last.at, hours), "; ".join(said)
    if adopted := evidence.adopted(facts.proofs, facts.pending):
        return False, f"staging adopted {', '.join(adopted)} and never ran the SQL"
    ended = [run for run in facts.proofs if run.kind == "up" and run.head == facts.head]
    if any(run.outcome == "done" for run in ended):
        return False, "staging applied these files to a catalog that is not the one here"
    if ended:
        return False, f"these files did not get through staging: {ended[-1].outcome}"
    return False, "staging has not applied these files"


def tag(facts: Facts) -> Answer:
    found = facts.tag
    return not found.problems, "; ".join(found.problems) or f"this is {found.name}, byte for byte"


def webhooks(facts: Facts) -> Answer:
    found = facts.breaking
    if not found:
        return True, "nothing breaking: they stay on"
    what = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    if not facts.pausable:
        return False, f"they cannot be paused here, and this is breaking: {what}"
    minutes = facts.settings.pause_minutes
    return True, f"will be paused for up to {minutes:g} min: {what}"


def traffic(facts: Facts) -> Answer:
    return not facts.holders, "; ".join(facts.holders) or "no old transaction in the way"


def secrets(facts: Facts) -> Answer:
    missing = ", ".join(facts.missing_secrets)
    found = ", ".join(facts.settings.secrets) or "none is needed"
    return not missing, f"missing: {missing}" if missing else found


def smoke(facts: Facts) -> Answer:
    if facts.smoke is None:
        return True, "walks after the last file"
    return not facts.smoke, "; ".join(facts.smoke) or "every step passed"


@dataclass(frozen=True)
class Gate:
    """A gate, and how strict each environment is: must, warn or off."""

    name: GateName
    ask: Callable[[Facts], Answer]
    dev: Demand
    staging: Demand
    prod: Demand
    when_idle: bool = False  # the gate is asked even if no file is pending
    final: bool = False  # a refusal cannot be accepted

    def demand(self, facts: Facts) -> Demand:
        return {"dev": self.dev, "staging": self.staging, "prod": self.prod}[facts.settings.name]


SMOKE = Gate("smoke", smoke, "must", "must", "must", when_idle=True)
GATES = (
    Gate("identity", identity, "must", "must", "must", when_idle=True, final=True),
    Gate("history", history, "must", "must", "must", when_idle=True, final=True),
    Gate("drift", drift, "off", "must", "must", when_idle=True, final=True),
    Gate("order", order, "must", "must", "must"),
    Gate("evidence", record, "off", "must", "must", when_idle=True, final=True),
    Gate("lint", lint, "warn", "must", "must"),
    Gate("rehearsal", rehearsal, "off", "must", "off"),
    Gate("backup", backup, "off", "must", "must"),
    Gate("drill", drill, "off", "warn", "warn", final=True),  # only warns
    Gate("promotion", promotion, "off", "off", "must", final=True),
    Gate("tag", tag, "off", "warn", "must"),
    Gate("webhooks", webhooks, "off", "warn", "must"),
    Gate("traffic", traffic, "off", "warn", "must"),
    Gate("secrets", secrets, "off", "must", "must"),
    SMOKE,
)


def check(facts: Facts, accepted: Mapping[str, str]) -> list[Verdict]:
    """Ask every gate of the environment, even after a refusal."""
    return [judge(gate, facts, accepted) for gate in GATES if gate.demand(facts) != "off"]


def judge(gate: Gate, facts: Facts, accepted: Mapping[str, str]) -> Verdict:
    if not facts.pending and not gate.when_idle:
        return Verdict(gate.name, "passed", "nothing is pending")
    ok, reason = gate.ask(facts)
    if ok is True:
        return Verdict(gate.name, "passed", reason)
    if ok == "warning" or gate.demand(facts) == "warn":
        return Verdict(gate.name, "warning", reason)
    if gate.name in accepted and not gate.final:
        return Verdict(gate.name, "accepted", f"{reason} (accepted: {accepted[gate.name]})")
    return Verdict(gate.name, "refused", reason)


def require(verdicts: list[Verdict]) -> None:
    """Stop if a gate refuses. The error names every refusal."""
    refused = [verdict for verdict in verdicts if verdict.verdict == "refused"]
    if not refused:
        return
    kinds: dict[GateName, Kind] = {"identity": "identity"}
    kinds |= dict.fromkeys(("history", "order", "drift"), "drift")
    kind = kinds.get(refused[0].gate, "gate")
    lines = [f"{verdict.gate}: {verdict.reason}" for verdict in refused]
    hint = "`bakehouse gate check` shows the whole checklist."
    raise BakehouseError(
        kind,
        "\n  ".join(["the gate is closed", *lines]),
        f"Nothing was run. {DISAGREEMENT if kind == 'drift' else hint}",
        gates=[vars(verdict) for verdict in verdicts],
    )
