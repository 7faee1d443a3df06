"""The commands for going back: backups, and the way down."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from bakehouse import backup, compensate, down, dump, environment, migrations, output
from bakehouse.cli import (
    Env,
    Json,
    LockWait,
    Project,
    Skip,
    Url,
    _connected,
    _files,
    _project,
    _work,
    app,
)
from bakehouse.cli import migrate as migrate_app
from bakehouse.errors import BakehouseError

backup_app = typer.Typer(help="Take backups, and see that they are good.", no_args_is_help=True)
app.add_typer(backup_app, name="backup")


@backup_app.command("take")
def backup_take(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Dump the database and its roles, check the dump, and put it on record."""
    root = _project(project)
    settings = environment.load(root, env or "dev")
    with _connected(database_url, root, "backup take", env, writes=True) as (conn, dsn):
        done = dump.take(conn, dsn, settings, root)
    size = f"{done.bytes / 1024:.0f} kB, {done.rows} rows in {done.tables} tables"
    output.result(asdict(done), f"{done.file}\n{size}, {done.duration_ms} ms\nsha256 {done.sha256}")


@backup_app.command("probe")
def backup_probe(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Ask every source when its newest backup was taken, and say which is believed."""
    root = _project(project)
    settings = environment.load(root, env or "dev")
    with _connected(database_url, root, "backup probe", env) as (conn, _):
        found = list(backup.sources(conn, settings, root))
    believed = backup.newest(found)
    text = output.table(
        ("source", "age", "says"),
        [
            (
                one.source,
                backup.age(one.taken_at) if one.taken_at else "none",
                f"{one.problem or one.detail}{' (believed)' * (one is believed)}",
            )
            for one in found
        ],
    )
    facts = {"sources": [asdict(one) for one in found], "believed": asdict(believed)}
    if believed.taken_at is None:
        output.show(text)
        raise BakehouseError("backup", "no source knows of a backup", "", **facts)
    output.result(facts, text)


@backup_app.command("drill")
def backup_drill(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Restore the newest of our backups on a server of its own, verify and smoke it there."""
    root = _project(project)
    settings = environment.load(root, env or "dev")
    with _connected(database_url, root, "backup drill", env, writes=True) as (conn, _):
        done = dump.drill(conn, settings, root)
    for note in done.notes:
        output.say(f"note: {note}")
    output.result(
        asdict(done),
        f"restored {done.file.name} in {done.restore_ms} ms: {done.objects} objects and"
        f" {done.rows} rows as they were, {done.steps} smoke steps passed\n"
        f"{done.duration_ms} ms in all, and nothing of it is left",
    )


@migrate_app.command("down")
def migrate_down(
    version: Annotated[str, typer.Argument(help="The newest version, which is to be taken back.")],
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    confirm: Annotated[
        str, typer.Option("--confirm", metavar="NAME", help="Outside dev: the database's name.")
    ] = "",
    lock_wait: LockWait = 10,
    json: Json = False,
) -> None:
    """Take the newest migration back with its down script; say first which data that loses."""
    root = _project(project)
    work = _work(root, env, skip, lock_wait)
    with _connected(database_url, root, "migrate down", env, writes=True) as (conn, dsn):
        plan = down.look(conn, work, version)
        for line in plan.lost:
            output.say(f"would be lost: {line}")
        if not (work.in_dev or confirm or plan.refusals) and sys.stdin.isatty():
            confirm = typer.prompt("The name of the database, to go on", err=True)
        lost = down.take_back(conn, dsn, work, plan, confirm, output.say)
    output.result(
        {"version": version, "lost": lost},
        f"took {plan.script.label} back" + "".join(f"\nlost {line}" for line in lost),
    )


@migrate_app.command("compensate")
def migrate_compensate(
    version: Annotated[str, typer.Argument(help="The version that dropped something.")],
    project: Project = None,
    skip: Skip = "",
    json: Json = False,
) -> None:
    """Write a migration that adds back what another one drops; no database is needed."""
    root = _project(project)
    files, left_out = _files(root, skip)
    written = compensate.write(root, migrations.select(files, left_out), version, output.say)
    names = [str(path.relative_to(root)) for path in written.paths]
    lines = [*names, *(f"  again    {name}" for name in written.again)]
    lines += [f"  by hand  {text}" for text in written.by_hand]
    output.result(
        {"files": names, "again": written.again, "by_hand": written.by_hand}, "\n".join(lines)
    )
