"""The dev server of a project: one cluster, in `<project>/.bakehouse`."""

import os
from dataclasses import dataclass
from pathlib import Path

from bakehouse.server import cluster, places
from bakehouse.server.account import Account
from bakehouse.server.binaries import Binaries, find_binaries
from bakehouse.server.cluster import PORT, Cluster


@dataclass(frozen=True)
class Started:
    port: int
    data: Path
    log: Path
    binaries: Binaries | None = None  # None if the server was already running
    fresh: bool = False  # the cluster is new
    stale: bool = False  # a pid file was left by a crash
    notes: tuple[str, ...] = ()  # one line each

    @property
    def running(self) -> bool:
        """Whether the server ran already."""
        return self.binaries is None


@dataclass(frozen=True)
class Status:
    data: Path
    log: Path
    version: int  # the major version that made the data
    pid: int | None  # None if stopped
    port: int | None


def start(project: Path, port: int = PORT, binaries: Binaries | None = None) -> Started:
    """Start the server. The first start creates the cluster with the platform in it."""
    project = project.resolve()
    log = places.home_of(project) / "postgres.log"
    with places.locked(project):
        data = places.find_data(project)
        running = cluster.settled_in(data) if data else None
        if data and running:
            other = f"it runs on port {running.port}, not {port}: `bakehouse down` stops it"
            known = () if running.port == port else (other,)
            return Started(running.port, data, log, notes=known)

        cluster.require_free(port)
        account = places.account_of(project)
        binaries = _reachable(binaries or find_binaries(), project, account)
        stale, fresh, notes = False, data is None, []
        if data is None:
            data = places.choose_place(project, account)
            cluster.create(Cluster(data, binaries, account, port, log))
        else:
            cluster.require_version(data, binaries)
            stale = cluster.remove_stale_pid(data)
        cluster.launch(Cluster(data, binaries, account, port, log))
        if data.parent != log.parent:
            notes.append(f"the user {account.name} cannot reach {project}: the data is in {data}")
        if stale:
            notes.append("the server had crashed: removed its stale postmaster.pid")
        return Started(port, data, log, binaries, fresh, stale, tuple(notes))


def _reachable(binaries: Binaries, project: Path, account: Account) -> Binaries:
    if account.can_reach(binaries.bin_dir / "postgres"):
        return binaries
    return cluster.copied(binaries, account, places.make_fallback(project, account))


def stop(project: Path) -> bool:
    """Stop the server. Returns False if it did not run."""
    project = project.resolve()
    if not places.home_of(project).exists():
        return False
    with places.locked(project):
        data = places.find_data(project)
        return data is not None and cluster.halt(data)


def remove(project: Path) -> bool:
    """Stop the server and delete all its data. Returns False if there was no data."""
    project = project.resolve()
    home = places.home_of(project)
    if not home.exists():
        return False
    with places.locked(project):
        data = places.find_data(project)
        cluster.discard_unfinished(home / "pgdata")
        cluster.discard(home / "pgdata")
        if os.geteuid() == 0 and places.fallback_of(project).exists():
            fallback = places.make_fallback(project, places.account_of(project))
            cluster.discard_unfinished(fallback / "pgdata")
            cluster.discard(fallback / "pgdata")
            cluster.discard(fallback)
        for name in ("postgres.log", "lock"):
            (home / name).unlink(missing_ok=True)
    if not any(home.iterdir()):
        home.rmdir()
    return data is not None


def status(project: Path) -> Status | None:
    """Return the state of the server, or None before its first start."""
    project = project.resolve()
    data = places.find_data(project)
    if data is None:
        return None
    running = cluster.running_in(data)
    log = places.home_of(project) / "postgres.log"
    pid, port = (running.pid, running.port) if running else (None, None)
    return Status(data, log, cluster.data_version(data), pid, port)
