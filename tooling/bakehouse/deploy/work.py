"""The input of a run: the files, the environment, and the choices of the caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from bakehouse import __version__
from bakehouse.database import Connection, fetch
from bakehouse.deploy import evidence, release
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

    @property
    def in_dev(self) -> bool:
        return self.settings.name == "dev"


def circumstances(conn: Connection, work: Work) -> dict[str, Any]:
    """Return what every run records: environment, people, database, tool and commit."""
    [target] = fetch(
        conn,
        dict_row,
        "select session_user::text as user, current_database()::text as database,"
        " (select system_identifier::text from pg_control_system()) as system_identifier",
    )
    return {
        **({"restored": work.restored} if work.restored else {}),
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
    """Write the evidence of these runs to files, and keep the SQL of each object, outside dev."""
    if not work.in_dev:
        history.remember(conn)
        evidence.save(work.root / "evidence", evidence.entries(conn), runs)
