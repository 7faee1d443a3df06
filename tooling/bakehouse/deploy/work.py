"""The input of a run: the files, the environment, and the choices of the caller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from bakehouse import __version__
from bakehouse.database import Connection, fetch
from bakehouse.deploy import evidence, release, signing
from bakehouse.deploy.environment import Settings
from bakehouse.migrations import catalog, history
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import Baseline


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


def circumstances(conn: Connection, work: Work) -> dict[str, Any]:
    """Return what every run records: environment, people, database, tool and commit.

    Refuses if the environment names signers and the key of none is here.
    """
    signing.require_key(work.variables, work.settings.signers)
    [target] = fetch(
        conn,
        dict_row,
        "select session_user::text as user, current_database()::text as database,"
        " (select system_identifier::text from pg_control_system()) as system_identifier",
    )
    return {
        **({"restored": work.restored} if work.restored else {}),
        "sign": lambda text: signing.sign(text, work.variables),
        "env": work.settings.name,
        "by": {"database_user": target.pop("user"), **work.who},
        "target": target,
        "tool": __version__,
        "commit": (release.git(work.root, "rev-parse", "HEAD") or "").strip() or None,
    }


def mark_of(baseline: Baseline) -> dict[str, Any]:
    """Return what a run records about the database before and after it."""
    return {"head": baseline.head, "fingerprint": catalog.fingerprint(baseline.objects)}


def save(conn: Connection, work: Work, runs: list[str]) -> None:
    """Write the evidence of these runs to files, and keep the SQL of each object, outside dev.

    Tells what is not written.
    """
    if work.in_dev:
        return
    history.remember(conn)
    found = evidence.entries(conn)
    for entry in found:
        if entry.body["run"] in runs and "unsigned" in entry.body:
            work.tell(f"warning: the end of the run is not signed: {entry.body['unsigned']}")
    try:
        evidence.save(work.root / "evidence", found, runs)
    except OSError as error:
        later = f"`bakehouse log --env {work.settings.name} --save`"
        work.tell(
            "warning: the run is on record in the database, but not in a file:"
            f" {error.filename}: {error.strerror}. {later} writes the file later."
        )
