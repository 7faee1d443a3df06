"""When the newest backup was taken, and who says so."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime

from bakehouse.environment import Settings


@dataclass(frozen=True)
class Backup:
    source: str
    taken_at: datetime | None = None
    problem: str = ""


def newest(settings: Settings) -> Backup:
    """What the environment's probe says: a command that prints a time, as ISO 8601 has it."""
    if not settings.backup_probe:
        return Backup("none", problem="bakehouse.toml names no backup_probe")
    try:
        ran = subprocess.run(settings.backup_probe, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Backup("probe", problem=f"the probe did not run: {error}")
    if ran.returncode:
        return Backup("probe", problem=f"the probe failed with exit code {ran.returncode}")
    try:
        said = datetime.fromisoformat(ran.stdout.strip())
    except ValueError:
        return Backup("probe", problem="the probe printed no time")
    return Backup("probe", said if said.tzinfo else said.replace(tzinfo=UTC))
