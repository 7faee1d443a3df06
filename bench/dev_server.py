"""Measures the time until a client can connect: from a first start and from a stopped server.

.venv/bin/python bench/dev_server.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bakehouse.server import cluster, embedded

PORT = 54498
ROUNDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        try:
            cold, warm = [], []
            for _ in range(ROUNDS):
                embedded.remove(project)
                cold.append(timed(lambda: connect(project)))
                embedded.stop(project)
                warm.append(timed(lambda: connect(project)))
        finally:
            embedded.remove(project)
    print(f"{'cold start to connectable':<28} {statistics.median(cold):6.2f} s (target 3)")
    print(f"{'warm start to connectable':<28} {statistics.median(warm):6.2f} s (target 1)")


def connect(project: Path) -> None:
    embedded.start(project, PORT)
    psycopg.connect(cluster.dsn(PORT)).close()


def timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
