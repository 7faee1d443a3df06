"""The commands for backups: take one, ask about them, restore one."""

from dataclasses import asdict

import typer

from bakehouse import output
from bakehouse.commands.context import Database, command
from bakehouse.deploy import backup, backup_age
from bakehouse.errors import BakehouseError
from bakehouse.output import Result

app = typer.Typer(help="Take backups, and test that they can be restored.")


@command(app, "take")
def take(here: Database) -> Result:
    """Dump the database and its roles, check the dump, and record the backup."""
    with here.connected(writes=True) as conn:
        file, done = backup.take(conn, here.dsn, here.work())
    facts = done.facts | {"file": file, "tables": len(done.rows), "rows": sum(done.rows.values())}
    size = f"{done.bytes / 1024:.0f} kB, {facts['rows']} rows in {facts['tables']} tables"
    return Result(facts, f"{file}\n{size}, {done.duration_ms} ms\nsha256 {done.sha256}")


@command(app, "probe")
def probe(here: Database) -> Result:
    """List every backup source and its newest backup. The newest of all counts."""
    with here.connected() as conn:
        found = list(backup_age.sources(conn, here.settings, here.root))
    newest = backup_age.newest(found)
    rows = [
        (
            one.source,
            backup_age.age(one.taken_at) if one.taken_at else "none",
            f"{one.problem or one.detail}{' (newest)' if one is newest else ''}",
        )
        for one in found
    ]
    text = output.table(("source", "age", "says"), rows)
    facts = {"sources": [asdict(one) for one in found], "believed": asdict(newest)}
    error = None
    if newest.taken_at is None:
        hint = "Run `bakehouse backup take`, or name other sources in bakehouse.toml."
        error = BakehouseError("backup", "no source has a backup", hint)
    return Result(facts, text, error)


@command(app, "drill")
def drill(here: Database) -> Result:
    """Restore the newest `backup take` dump on a scratch server, and test it there."""
    with here.connected(writes=True) as conn:
        done = backup.drill(conn, here.work())
    for note in done.notes:
        output.say(f"note: {note}")
    return Result(
        asdict(done),
        f"restored {done.file.name} in {done.restore_ms} ms: {done.objects} objects and"
        f" {done.rows} rows as they were, {done.steps} smoke steps passed\n"
        f"{done.duration_ms} ms in all; the scratch server is removed",
    )
