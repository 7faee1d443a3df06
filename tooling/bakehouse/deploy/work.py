"""The input of a run: the files, the environment, the choices of the caller. Record a run."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from psycopg.rows import dict_row

from bakehouse import __version__
from bakehouse.database import Connection, fetch
from bakehouse.deploy import evidence, release, signing
from bakehouse.deploy.environment import Settings
from bakehouse.deploy.evidence import Body, Ending, RunKind
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, history
from bakehouse.migrations.files import Migration


@dataclass(frozen=True)
class Work:
    """The files, the environment, and the choices of the caller."""

    root: Path
    files: list[Migration]
    left_out: frozenset[str]
    settings: Settings
    who: Mapping[str, str | None] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)  # in which secrets are looked up
    accepted: Mapping[str, str] = field(default_factory=dict)  # the gate, and the reason to accept
    proofs: Path | None = None  # where the evidence files of staging are
    staging: str = ""  # the connection string of staging
    wait: float = 10
    restored: str = ""  # the backup, where a restored one stands in for staging
    tell: Callable[[str], None] = print

    @property
    def in_dev(self) -> bool:
        return self.settings.name == "dev"

    @cached_property
    def commit(self) -> str | None:
        """The commit of the checkout."""
        return (release.git(self.root, "rev-parse", "HEAD") or "").strip() or None

    def require_key(self) -> None:
        """Refuse if the environment names signers and the key of none is here."""
        signing.require_key(self.variables, self.settings.signers)


def begin(conn: Connection, work: Work, kind: RunKind, **facts: object) -> str:
    """Record that a run is about to begin. Returns its id."""
    history.ensure(conn)
    return _open(conn, work, {"kind": kind, "event": "opened", "before": standing(conn)} | facts)


def end(
    conn: Connection, work: Work, run: str, outcome: Ending | BaseException | None, **facts: object
) -> None:
    """Record how a run ended, or the error that ended it, even if the key fails now."""
    body = {"run": run, "event": "closed", **ending_of(outcome), "after": standing(conn), **facts}
    try:
        evidence.append(conn, body, work.variables)
    except BakehouseError as error:
        evidence.append(conn, body | {"unsigned": str(error)}, {})
        work.tell(f"warning: the end of the run is not signed: {error}")
    _save(conn, work, run, moved=True)


@contextmanager
def noted(
    conn: Connection, work: Work, kind: RunKind, facts: Body | None = None, moves: bool = False
) -> Iterator[Body]:
    """Do the block and record it as a whole run, in one transaction. The block may add facts.

    `moves`: the block moves the baseline.
    """
    facts = {} if facts is None else facts
    with conn.transaction():
        history.ensure(conn)
        yield facts
        run = _open(conn, work, {"kind": kind, "event": "closed", "outcome": "done"} | facts)
    _save(conn, work, run, moves)


def ending_of(outcome: Ending | BaseException | None) -> Body:
    """Return what a run records about its outcome. None is a success."""
    if isinstance(outcome, BaseException):
        kind = outcome.kind if isinstance(outcome, BakehouseError) else "unexpected"
        return {"outcome": kind, "error": str(outcome)}
    return {"outcome": outcome or "done", "error": None}


def standing(conn: Connection) -> Body:
    """Return what a run records about the database before and after it."""
    baseline = history.start(conn)
    return {"head": baseline.head, "fingerprint": catalog.fingerprint(baseline.objects)}


def _open(conn: Connection, work: Work, facts: Body) -> str:
    """Add the first entry of a run: environment, people, database, tool, commit, and these facts.

    Returns the id of the run.
    """
    work.require_key()
    [target] = fetch(
        conn,
        dict_row,
        "select session_user::text as user, current_database()::text as database,"
        " (select system_identifier::text from pg_control_system()) as system_identifier",
    )
    run = str(uuid.uuid4())
    body: Body = {
        "run": run,
        **({"restored": work.restored} if work.restored else {}),
        "env": work.settings.name,
        "by": {"database_user": target.pop("user"), **work.who},
        "target": target,
        "tool": __version__,
        "commit": work.commit,
        **facts,
    }
    evidence.append(conn, body, work.variables)
    return run


def _save(conn: Connection, work: Work, run: str, moved: bool) -> None:
    """Write the evidence of a run to a file, outside dev. Tells what is not written.

    Keeps the SQL of each object too, if the baseline has moved.
    """
    if work.in_dev:
        return
    if moved:
        history.remember(conn)
    try:
        evidence.save(work.root / "evidence", evidence.entries(conn, run))
    except OSError as error:
        later = f"`bakehouse log --env {work.settings.name} --save`"
        work.tell(
            "warning: the run is on record in the database, but not in a file:"
            f" {error.filename}: {error.strerror}. {later} writes the file later."
        )
