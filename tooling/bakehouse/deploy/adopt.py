"""Adopt a migration that another tool ran, after comparing its objects on a scratch server."""

from dataclasses import asdict, replace

from bakehouse.database import Connection, connect
from bakehouse.deploy import dump, facts, gates, run
from bakehouse.deploy.facts import State
from bakehouse.deploy.work import Work
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, catalog, history
from bakehouse.migrations.catalog import Changes, Objects
from bakehouse.migrations.files import Migration
from bakehouse.migrations.history import How, Version
from bakehouse.migrations.repair import Adoption, adoptable, find
from bakehouse.server import cluster

_ABOUT_RUNNING = ("rehearsal", "webhooks", "traffic", "smoke")


def adopt(conn: Connection, work: Work, version: str, reason: str, unproven: bool) -> str:
    """Count a file as applied, if the gate and a comparison allow this. Its SQL is not run."""
    if not reason:
        said = f"adopting a version in {work.settings.name} needs a reason"
        raise BakehouseError("usage", said, "Nothing was recorded. Pass --reason.")
    state = facts.read_state(conn, work)
    entry = find(state.versions, version)
    file = adoptable(entry)
    new = entry.state != "unverified" and entry.state != "applied"
    before, after = _readings(conn, work, state, file) if new else ({}, {})
    changes = catalog.compare(before, after)
    _require_made(state.objects, changes, after, file)
    if not changes and not unproven:
        raise BakehouseError(
            "usage",
            f"no object shows that {file.label} was run",
            "Nothing was recorded. If you know that its SQL was run, pass --unproven.",
        )
    known = facts.gather(conn, work, _before(state, entry, before, changes))
    asked = gates.check(known, work.accepted)
    verdicts = [one for one in asked if one.gate not in _ABOUT_RUNNING]
    gates.require(verdicts)
    record = {"files": [file.label], "compared": asdict(changes), "gates": [*map(asdict, verdicts)]}
    how: How = "adopted" if changes else "unproven"
    adoption = Adoption(how, reason, before, after, record)
    return run.repair(conn, work, "adopt", version, adoption=adoption)


def _readings(
    conn: Connection, work: Work, state: State, file: Migration
) -> tuple[Objects, Objects]:
    """Run all applied files, then this one, on a scratch server. Read before and after it."""
    work.tell("running the files on a scratch server")
    others = [one.file for one in state.versions if one.applied and one.file and one.file != file]
    with cluster.scratch(dump.binaries_for(conn.info.server_version // 10000)) as port:
        dsn = cluster.dsn(port)
        with connect(dsn, "repair adopt") as scratch:
            list(apply.run(scratch, dsn, others, None, work.tell))
            before = history.reading(scratch, ())
            list(apply.run(scratch, dsn, [file], None, work.tell))
            return before, history.reading(scratch, ())


def _require_made(here: Objects, changes: Changes, after: Objects, file: Migration) -> None:
    """Refuse if an object is not as the file leaves it."""
    made = {name: after[name] for name in (*changes.added, *changes.changed)}
    found = {name: here[name] for name in (*made, *changes.gone) if name in here}
    wrong = catalog.compare(made, found)
    kinds = (("missing", wrong.gone), ("differs", wrong.changed), ("still there", wrong.added))
    lines = [f"\n  {kind:<11}  {name}" for kind, names in kinds for name in names]
    if wrong:
        raise BakehouseError(
            "drift",
            f"the database is not as {file.label} leaves it" + "".join(lines),
            "Nothing was recorded. Run the missing part with the other tool, or run the whole file:"
            f" `migrate repair forget {file.version}`, then `migrate up`.",
        )


def _before(state: State, entry: Version, before: Objects, changes: Changes) -> State:
    """Return the state in which this file alone is pending, and its changes are not there yet."""
    others = [one for one in state.versions if one is not entry and not one.pending]
    if entry.state == "foreign":
        entry = replace(entry, state="pending")
    objects = {k: v for k, v in state.objects.items() if k not in changes.added}
    return replace(
        state,
        applied=[row for row in state.applied if not (entry.pending and row is entry.applied)],
        versions=sorted([*others, entry], key=lambda one: one.version),
        objects=objects | {name: before[name] for name in (*changes.changed, *changes.gone)},
    )
