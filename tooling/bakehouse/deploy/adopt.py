"""Adopt a migration that another tool ran, after comparing its objects on a scratch server."""

from dataclasses import asdict, replace

from bakehouse.database import Connection, connect
from bakehouse.deploy import dump, facts, gates, run
from bakehouse.deploy.facts import State
from bakehouse.deploy.work import Work
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, history
from bakehouse.migrations.apply import Tell
from bakehouse.migrations.catalog import Objects
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import Version
from bakehouse.migrations.repair import Adoption, adoptable, find
from bakehouse.server import cluster

_NEW = ("pending", "out of order", "foreign")  # the baseline does not have these files yet
_ABOUT_RUNNING = ("rehearsal", "webhooks", "traffic", "smoke")


def adopt(
    conn: Connection, work: Work, version: str, reason: str, unproven: bool, tell: Tell
) -> str:
    """Count a file as applied, if the gate and a comparison allow this. Its SQL is not run."""
    if not reason:
        raise BakehouseError(
            "usage",
            f"adopting a version in {work.settings.name} needs a reason",
            "Nothing was recorded. Pass --reason, which the record keeps.",
        )
    state = facts.read_state(conn, work)
    entry = find(state.versions, version)
    file = adoptable(entry)
    before, after, last = _readings(conn, work, state, entry, file, tell)
    changes = catalog.compare(before, after)
    _require_made(state.objects, changes, last, entry)
    if not changes and not unproven:
        raise BakehouseError(
            "usage",
            f"{file.label} changes no object, so nothing can be compared",
            "Nothing was recorded. If you know that its SQL was run, pass --unproven.",
        )
    verdicts = _require_gates(conn, work, state, entry, before, changes)
    new = entry.state in _NEW
    adoption = Adoption(
        "adopted" if changes else "unproven", reason, *((before, after) if new else ({}, {}))
    )
    return run.repair(
        conn,
        work,
        "adopt",
        version,
        adoption=adoption,
        files=[file.label],
        compared=asdict(changes),
        gates=[asdict(one) for one in verdicts],
    )


def _readings(
    conn: Connection, work: Work, state: State, entry: Version, file: Migration, tell: Tell
) -> list[Objects]:
    """Run the applied files and this one on a scratch server.

    Returns the objects before this file, after it, and after all files.
    """
    tell("running the files on a scratch server")
    others = [one.file for one in state.versions if one.applied and one.file and one is not entry]
    new = entry.state in _NEW
    earlier = [one for one in others if new or one.version < file.version]
    readings: list[Objects] = []
    with cluster.scratch(dump.binaries_for(conn.info.server_version // 10000)) as port:
        dsn = cluster.dsn(port)
        with connect(dsn, "repair adopt") as scratch:
            for part in (earlier, [file], [one for one in others if one not in earlier]):
                for _ in apply.run(scratch, dsn, part, None, tell):
                    pass
                readings.append(history.reading(scratch, ()))
    return readings


def _require_made(here: Objects, changes: catalog.Changes, last: Objects, entry: Version) -> None:
    """Refuse if an object is not as the file, and the files after it, leave the object."""
    made = [name for name in (*changes.added, *changes.changed) if name in last]
    wrong = [
        *(f"missing      {name}" for name in made if name not in here),
        *(f"differs      {name}" for name in made if here.get(name, last[name]) != last[name]),
        *(f"still there  {name}" for name in changes.gone if name in here and name not in last),
    ]
    if wrong:
        raise BakehouseError(
            "drift",
            "\n  ".join(
                [
                    f"{entry.version} was not adopted: the database is not as the file leaves it",
                    *wrong,
                ]
            ),
            "Nothing was recorded. Run the missing part with the other tool, or run the whole file:"
            f" `migrate repair forget {entry.version}`, then `migrate up`.",
        )


def _require_gates(
    conn: Connection,
    work: Work,
    state: State,
    entry: Version,
    before: Objects,
    changes: catalog.Changes,
) -> list[gates.Verdict]:
    """Ask the gates as if this file alone were pending, and its changes not there yet."""
    objects = dict(state.objects)
    others = [one for one in state.versions if one is not entry and not one.pending]
    if entry.state in _NEW:
        objects = {name: objects[name] for name in objects.keys() - set(changes.added)}
        objects |= {name: before[name] for name in (*changes.changed, *changes.gone)}
        entry = entry if entry.pending else replace(entry, state="pending")
    state = replace(
        state,
        applied=[row for row in state.applied if not (entry.pending and row is entry.applied)],
        versions=sorted([*others, entry], key=lambda one: one.version),
        objects=objects,
    )
    known = facts.gather(conn, work, state)
    asked = gates.check(known, work.accepted)
    verdicts = [one for one in asked if one.gate not in _ABOUT_RUNNING]
    gates.require(verdicts)
    return verdicts
