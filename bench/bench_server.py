"""A durable server for one bench. It is migrated, marked as dev, and removed at the end."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakehouse.server import cluster, embedded

PROJECT = Path(__file__).parents[1]
BAKEHOUSE = str(Path(sys.executable).with_name("bakehouse"))


@contextmanager
def migrated(port: int, project: Path = PROJECT) -> Iterator[str]:
    """Yields the DSN of a database with the migrations of a project."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        embedded.start(home, port)
        try:
            dsn = cluster.dsn(port)
            where = ["--project", str(project), "--database-url", dsn]
            for command in (["env", "mark", "dev"], ["migrate", "up"]):
                subprocess.run([BAKEHOUSE, *command, *where], check=True, capture_output=True)
            yield dsn
        finally:
            embedded.remove(home)
