"""Gather the facts that the gates judge. Changes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from psycopg.rows import scalar_row

from bakehouse.database import Connection, connect, fetch, sql_file
from bakehouse.deploy import backup_age, environment, evidence, release, webhooks
from bakehouse.deploy.backup_age import Backup
from bakehouse.deploy.environment import Settings
from bakehouse.deploy.evidence import Observed, Run, union
from bakehouse.deploy.release import Tag
from bakehouse.deploy.work import Work
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, drift, history, rehearse
from bakehouse.migrations.drift import Difference
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import Applied, Baseline, Version

SKEW = 0.1  # hours that two clocks may differ


@dataclass(frozen=True)
class Progress:
    """The applied and pending files, and the earlier runs."""

    applied: list[Applied]
    versions: list[Version]
    entries: list[evidence.Entry]
    runs: list[Run]

    @property
    def head(self) -> str | None:
        return history.chain_head(self.applied)

    @property
    def pending(self) -> list[Migration]:
        return [one.file for one in self.versions if one.pending and one.file]

    @property
    def pending_versions(self) -> list[str]:
        return [file.version for file in self.pending]

    @property
    def is_done(self) -> bool:
        """Whether no file is pending or disputed, and the last run passed its smoke walk."""
        if any(one.blocking or one.pending for one in self.versions):
            return False
        ups = [run for run in self.runs if run.kind == "up"]
        return not ups or ups[-1].outcome not in ("unfinished", "smoke")


@dataclass(frozen=True)
class State(Progress):
    """The progress and the objects of a database, read at one moment."""

    objects: catalog.Objects
    baseline: Baseline | None

    @property
    def expected(self) -> catalog.Objects:
        """The objects of the baseline, or what is there before the first run."""
        return self.baseline.objects if self.baseline else self.objects


def read_progress(conn: Connection, work: Work) -> Progress:
    applied = history.applied(conn)
    versions = history.compare(work.files, applied, work.left_out)
    found = evidence.entries(conn)
    return Progress(applied, versions, found, evidence.runs(found))


def read_state(conn: Connection, work: Work) -> State:
    progress = read_progress(conn, work)
    objects = history.reading(conn, progress.pending_versions)
    return State(**vars(progress), objects=objects, baseline=history.baseline(conn))


@dataclass(frozen=True)
class Facts:
    """The input of the gates. Facts that an environment does not need may be missing."""

    settings: Settings
    now: datetime
    mismatch: str = ""  # why this is not the database of the environment
    disagreements: tuple[str, ...] = ()  # between files, history and catalog
    pending: tuple[str, ...] = ()
    head: str | None = None  # the chain head after the pending files
    fingerprint: str = ""
    findings: tuple[str, ...] = ()  # from the rehearsal
    own: tuple[Run, ...] = ()  # the runs of this database
    faults: tuple[str, ...] = ()  # of the record: edited, missing, not signed as they must be
    unsigned: tuple[str, ...] = ()  # runs that no signature is demanded of
    proofs: tuple[Run, ...] = ()  # the runs of staging
    proofs_problem: str = ""
    backup: Backup = field(default_factory=lambda: Backup("none"))
    tag: Tag = field(default_factory=lambda: Tag(None, None))
    observed: Observed | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    pausable: bool = False  # whether webhooks can be paused here
    holders: tuple[str, ...] = ()  # old transactions on tables that the files lock
    missing_secrets: tuple[str, ...] = ()
    late: tuple[str, ...] = ()  # pending files that are older than an applied one
    smoke: tuple[str, ...] | None = None  # failed steps, or None before the walk
    drift: tuple[str, ...] = ()  # what changed without a file
    accepted_drift: tuple[str, ...] = ()

    @property
    def plans(self) -> list[Run]:
        """The rehearsals of these files here."""
        return [run for run in self.own if run.kind == "rehearsal" and run.head == self.head]

    @property
    def way(self) -> list[Run]:
        """The runs on staging that led from the catalog here to these files."""
        starts = set(evidence.origins(self.own, self.fingerprint))
        return evidence.path(self.proofs, self.head or "", starts)

    @property
    def breaking(self) -> list[str]:
        if self.observed is None:
            return ["nothing was rehearsed, so it counts as breaking"] if self.pending else []
        return self.observed.severe(self.rows, self.settings.large_rows)

    def age(self, then: datetime) -> str:
        hours = (self.now - then) / timedelta(hours=1)
        if hours < -SKEW:
            return "in the future"
        hours = max(hours, 0)
        return f"{hours:.0f} h old" if hours >= 1 else f"{hours * 60:.0f} min old"

    def is_young(self, then: datetime, hours: float) -> bool:
        return -SKEW <= (self.now - then) / timedelta(hours=1) <= hours


def gather(conn: Connection, work: Work, state: State) -> Facts:
    """Read the facts that the gates of this environment need."""
    settings = work.settings
    disagreements = [str(one) for one in state.versions if one.blocking]
    found: list[Difference] = []
    if not work.in_dev and state.baseline:
        found = drift.find(conn, state.objects)
        if state.baseline.head != state.head:
            disagreements.append("another tool has applied a version: `migrate repair adopt`")
    closing = drift.by_change(found)
    invalid = sql_file(__package__, "invalid_indexes")
    steps = history.unfinished(conn, state.pending_versions)
    disagreements += fetch(conn, scalar_row, invalid, list(steps))
    identity = environment.identity(conn)
    facts = Facts(
        settings=settings,
        now=datetime.now(UTC),
        mismatch=environment.mismatch(identity, settings, conn.info.host, conn.info.dbname),
        disagreements=tuple(disagreements),
        pending=tuple(file.label for file in state.pending),
        late=tuple(str(one) for one in state.versions if one.state == "out of order"),
        head=history.head_after(state.applied, state.pending),
        fingerprint=catalog.fingerprint(state.expected),
        own=tuple(state.runs),
        drift=tuple(f"{k}: {', '.join(map(str, v))}" for k, v in closing.items() if v),
        accepted_drift=tuple(str(one) for one in found if one.state == "accepted"),
    )
    if work.in_dev:
        return facts
    facts = _with_faults(work, facts, state)
    return _facts_of_a_deploy(conn, work, facts) if state.pending else facts


def _with_faults(work: Work, facts: Facts, state: State) -> Facts:
    """Add the faults of the record of this database. Its newest entry vouches for all others."""
    here = [run for run in state.runs if run.env == work.settings.name]
    counting = [*here[-1:], *(facts.plans[-1:] if facts.pending else [])]
    faults = [*evidence.broken(state.entries), evidence.missing_end(state.runs, state.applied)]
    facts = replace(facts, faults=tuple(filter(None, faults)))
    return _with_signatures(work, facts, work.settings, counting)


def _with_signatures(work: Work, facts: Facts, by: Settings, runs: Iterable[Run]) -> Facts:
    """Add the runs that no named signer of the environment signed."""
    found = [
        f"{by.name}: {run.kind} of {run.opened_at} is {why}"
        for run in runs
        if (why := evidence.signer_of(run, work.variables, by.signers)[1])
    ]
    if by.signers:
        return replace(facts, faults=union(facts.faults, found))
    return replace(facts, unsigned=union(facts.unsigned, found))


def _facts_of_a_deploy(conn: Connection, work: Work, facts: Facts) -> Facts:
    """Add the facts that only a deploy to staging or prod needs."""
    settings = work.settings
    if settings.name == "prod":
        facts = _with_proofs(work, facts)
    else:
        last = [run for run in facts.plans[-1:] if run.before == facts.fingerprint]
        facts = replace(facts, observed=_observed(last))
    observed = facts.observed or Observed()
    touched = [*observed.locked, *observed.rewritten]
    rows = {table.name: table.rows for table in rehearse.tables(conn).values()}
    errors = [
        str(one)
        for one in observed.findings
        if one.level(settings.large_rows, rows.get(one.table, 0)) == "error"
    ]
    holders_query, age = sql_file(__package__, "lock_holders"), settings.transaction_seconds
    return replace(
        facts,
        rows=rows,
        findings=tuple(errors),
        backup=backup_age.newest(backup_age.sources(conn, settings, work.root)),
        tag=release.tag_of(work.root),
        pausable=webhooks.can_pause(conn),
        holders=tuple(fetch(conn, scalar_row, holders_query, touched, age)),
        missing_secrets=tuple(_missing_secrets(conn, work)),
    )


def _with_proofs(work: Work, facts: Facts) -> Facts:
    """Add the runs of staging, and their effects."""
    try:
        told = [run for run in evidence.runs(_proofs(work)) if run.env == "staging"]
    except BakehouseError as error:
        problem = f"the evidence of staging cannot be used: {error.message}"
        return replace(facts, proofs_problem=problem)
    facts = replace(facts, proofs=tuple(sorted(told, key=lambda run: run.at)))
    staging = environment.load(work.root, "staging", required=False)
    facts = _with_signatures(work, facts, staging, facts.way)
    return replace(facts, observed=_observed(facts.way))


def _proofs(work: Work) -> list[evidence.Entry]:
    """Read the record of staging: from its database if the URL is known, otherwise from files.

    The proofs on restored backups are always files.
    """
    place, names = work.proofs or work.root / "evidence", ["proof", "staging"]
    found: list[evidence.Entry] = []
    if work.staging and work.proofs is None:
        with connect(work.staging, "read evidence") as conn:
            said = environment.name_of(conn)
            if said != "staging":
                raise BakehouseError(
                    "identity", f"the URL leads to a database that is {said or 'not marked'}"
                )
            found = evidence.entries(conn)
            names = ["proof"]
    there = work.proofs is not None or place.is_dir()
    files = evidence.load(place, "staging", *names) if there else []
    problems = evidence.broken(found) + evidence.broken(files, whole=False)
    if problems:
        raise BakehouseError("drift", "; ".join(problems))
    return found + files


def _observed(runs: list[Run]) -> Observed | None:
    """Join the effects of these runs. Returns None if a run had no rehearsal."""
    seen = [run.observed for run in runs if run.observed]
    if not runs or len(seen) != len(runs):
        return None
    # only a rehearsal can leave files out
    unseen = union(*(one.unseen for one in seen if runs[-1].kind == "rehearsal"))
    return evidence.observed(seen, unseen, broke=[run.broke for run in runs])


def _missing_secrets(conn: Connection, work: Work) -> Iterator[str]:
    for name in work.settings.secrets:
        store, _, kind = name.partition("/")
        if not (webhooks.secret_is_set(conn, store, kind) if kind else work.variables.get(name)):
            yield name
