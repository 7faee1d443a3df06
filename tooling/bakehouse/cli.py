"""The commands: parse, call, print."""

import getpass
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import psycopg
import typer

from bakehouse import (
    __version__,
    apply,
    catalog,
    database,
    deploy,
    doctor,
    embedded,
    environment,
    evidence,
    gates,
    history,
    label,
    migrations,
    output,
    platform,
    reference,
    rehearse,
    release,
    smoke,
)
from bakehouse.database import Connection
from bakehouse.errors import BakehouseError
from bakehouse.migrations import Migration

app = typer.Typer(
    help="Carry the SQL of this project to a Postgres database, and run one for dev.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
migrate = typer.Typer(help="Apply migrations, and see what is applied.", no_args_is_help=True)
env_app = typer.Typer(help="Which environment a database is.", no_args_is_help=True)
docs = typer.Typer(help="Write what can be read off the database.", no_args_is_help=True)
gate_app = typer.Typer(help="What an environment demands.", no_args_is_help=True)
release_app = typer.Typer(help="Tag a release, and see whether it is live.", no_args_is_help=True)
app.add_typer(migrate, name="migrate")
app.add_typer(env_app, name="env")
app.add_typer(gate_app, name="gate")
app.add_typer(release_app, name="release")
app.add_typer(docs, name="docs")


def _json(value: bool) -> None:
    output.as_json = value


def _milestones(value: str) -> frozenset[str]:
    return frozenset(part.strip().upper() for part in value.split(",") if part.strip())


Json = Annotated[
    bool, typer.Option("--json", callback=_json, help="Print one JSON object for programs.")
]
Project = Annotated[
    Path | None,
    typer.Option(
        "--project",
        envvar="BAKEHOUSE_PROJECT",
        help="The folder that holds supabase/; found upwards from here by default.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="BAKEHOUSE_DATABASE_URL",
        help="The database to work on; this project's dev server by default.",
        show_default=False,
        show_envvar=True,
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        help="staging or prod, as bakehouse.toml has it; never assumed. Without it: dev.",
        show_default=False,
    ),
]
Skip = Annotated[
    str,
    typer.Option(
        "--skip", envvar="BAKEHOUSE_SKIP", help="Milestones to leave out, such as M6,M7,M8."
    ),
]
LockWait = Annotated[
    float, typer.Option("--lock-wait", help="Seconds to wait for another bakehouse command.")
]
Port = Annotated[
    int, typer.Option("--port", envvar="BAKEHOUSE_PORT", help="Where the dev server listens.")
]
Proofs = Annotated[
    Path | None,
    typer.Option(
        "--evidence",
        help="prod: staging's evidence, a file or a folder. By default staging itself is asked,"
        " or the project's evidence/ where its URL is not set.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _accept(gate: str) -> Any:
    return typer.Option(
        f"--accept-{gate}", metavar="REASON", help=f"Go on although {gate} refuses; recorded."
    )


def _project(given: Path | None) -> Path:
    here = (given or Path.cwd()).resolve()
    for folder in (here,) if given else (here, *here.parents):
        if (folder / "supabase" / "migrations").is_dir():
            return folder
    raise BakehouseError(
        "usage",
        f"no project at {here}: a project holds supabase/migrations",
        "Run inside a project, or name it: --project.",
    )


def _dsn(url: str | None, project: Path, env: str | None = None) -> str:
    settings = environment.load(project, env or "dev")
    url = url or os.environ.get(settings.url)
    if url:
        return database.parse(url)
    if settings.name != "dev":
        raise BakehouseError(
            "usage",
            f"{settings.url}, which holds the URL of {settings.name}, is not set",
            "bakehouse.toml names the variable.",
        )
    server = embedded.status(project)
    if server is None or server.port is None:
        raise BakehouseError(
            "connection",
            "this project's dev server is not running",
            "Start it with `bakehouse up`, or name a database: --database-url.",
        )
    return embedded.dsn(server.port)


@contextmanager
def _connected(
    url: str | None, project: Path, purpose: str, env: str | None = None, writes: bool = False
) -> Iterator[tuple[Connection, str]]:
    """The one door to a database: every command that talks to one comes through here."""
    dsn = _dsn(url, project, env)
    with database.connect(dsn, purpose) as conn:
        output.say(f"{environment.says(conn) or 'unmarked'} database at {database.describe(dsn)}")
        conn.add_notice_handler(_on_notice)
        if writes:
            environment.require(conn, environment.load(project, env or "dev"), purpose)
        yield conn, dsn


def _on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    if diagnostic.severity_nonlocalized == "WARNING":
        output.say(f"warning: {diagnostic.message_primary}")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BakehouseError("usage", question, "Nobody is here to ask: say --yes.")
    typer.confirm(question, abort=True, err=True)


def _files(project: Path, skip: str) -> tuple[list[Migration], frozenset[str]]:
    files = migrations.discover(project / "supabase" / "migrations")
    left_out = _milestones(skip)
    migrations.select(files, left_out)
    return files, left_out


# --- the dev server ---------------------------------------------------------------------------


@app.command()
def up(
    project: Project = None,
    port: Port = embedded.PORT,
    skip: Skip = "",
    json: Json = False,
) -> None:
    """Start the dev server, migrate, seed, smoke; print how to connect."""
    root = _project(project)
    work = _work(root, None, skip)
    started = embedded.start(root, port)
    for note in started.notes:
        output.say(note)
    dsn = embedded.dsn(started.port)
    with database.connect(dsn, "up") as conn:
        conn.add_notice_handler(_on_notice)
        if environment.read(conn) is None:
            environment.mark(conn, environment.load(root, "dev"))
        environment.require(conn, environment.load(root, "dev"), "up")
        done = deploy.up(conn, dsn, work, output.say)
        _run_seed(conn, root)
        rows = [
            (entry.version, entry.name, "now" if entry.version in done.applied else entry.state)
            for entry in history.compare(work.files, history.read(conn), work.left_out)
        ]
        steps = done.steps or _run_smoke(conn)
    url = f"postgresql://postgres@127.0.0.1:{started.port}/postgres"
    output.result(
        {
            "url": url,
            "applied": done.applied,
            "versions": [row[0] for row in rows],
            "smoke": [asdict(step) for step in steps],
        },
        output.table(("version", "migration", "applied"), rows)
        + f"\n\nseeded with supabase/seed_dev.sql\n\n{_walked(steps)}\n\n"
        + f"connect  psql {url}\n"
        + "         the password is the same as the user's name; API roles: set role authenticated",
    )


@app.command()
def down(
    project: Project = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete its data as well.")] = False,
    json: Json = False,
) -> None:
    """Stop the dev server; its data stays unless you say --remove."""
    root = _project(project)
    stopped = embedded.remove(root) if remove else embedded.stop(root)
    done = "stopped the dev server" if stopped else "the dev server was not running"
    output.result({"stopped": stopped, "removed": remove}, done + (", removed" * remove))


@app.command()
def reset(
    project: Project = None,
    database_url: Url = None,
    skip: Skip = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Dev only: take all of bakehouse out of the database, then migrate and seed it again."""
    root = _project(project)
    work = _work(root, None, skip)
    with _connected(database_url, root, "reset", writes=True) as (conn, dsn):
        _confirm(f"Delete all bakehouse data in {database.describe(dsn)}?", yes)
        with apply.lock(conn, 10, output.say):
            history.wipe(conn)
        applied = deploy.up(conn, dsn, work, output.say).applied
        _run_seed(conn, root)
    output.result({"applied": applied}, f"emptied, {len(applied)} migrations applied, seeded")


@app.command()
def seed(project: Project = None, database_url: Url = None, json: Json = False) -> None:
    """Dev only: run supabase/seed_dev.sql, which changes nothing the second time."""
    root = _project(project)
    with _connected(database_url, root, "seed", writes=True) as (conn, _):
        _run_seed(conn, root)
    output.result({}, "seeded")


@app.command("smoke")
def smoke_command(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the steps here as JUnit XML, for CI.")
    ] = None,
    json: Json = False,
) -> None:
    """Walk an order from webhook to box, in a transaction that is rolled back."""
    root = _project(project)
    with _connected(database_url, root, "smoke", env, writes=True) as (conn, _):
        steps = _run_smoke(conn, junit)
    output.result({"smoke": [asdict(step) for step in steps]}, _walked(steps))


@app.command("label")
def label_command(
    order_id: Annotated[str, typer.Argument(help="Such as bannos-18617-B.")],
    account: Annotated[
        UUID,
        typer.Option("--as", envvar="BAKEHOUSE_ACCOUNT", help="The account of who prints it."),
    ],
    format: Annotated[Literal["png", "zpl"], typer.Option("--format")] = "png",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The file; ORDER_ID.png or .zpl by default.", show_default=False
        ),
    ] = None,
    paper: Annotated[
        Literal["58mm", "80mm", "custom"] | None,
        typer.Option("--paper", help="Its width, if not as the store's settings have it."),
    ] = None,
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Print an order's barcode into a file, as print_barcode does for that account."""
    path = out or Path(f"{order_id}.{format}")
    with (
        _connected(database_url, _project(project), "label", env, writes=True) as (conn, _),
        conn.transaction(),
    ):
        facts, settings = label.fetch(conn, account, order_id)
        made = label.arrange(facts, label.WIDTHS[paper or settings["ticketSize"]])
        data = label.png(made) if format == "png" else label.zpl(made, settings["copies"])
        path.write_bytes(data)  # before the print is recorded, which is when this commits
    output.result({"path": str(path)} | facts, f"wrote {path}")


@app.command("doctor")
def doctor_command(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Look for what would stop the other commands, and say how to mend it."""
    root = _project(project)
    found = doctor.examine(root, lambda: _dsn(database_url, root, env))
    checks = [asdict(check) for check in found]
    rows = [(check["state"], check["name"], check["detail"]) for check in checks]
    text = output.table(("state", "check", "found"), rows)
    if any(check["state"] == "bad" for check in checks):
        output.show(text)
        raise BakehouseError("unexpected", "not all is well", checks=checks)
    output.result({"checks": checks}, text)


@app.command()
def bootstrap(
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            envvar="BAKEHOUSE_SUPERUSER_URL",
            help="A superuser's connection to the database, on plain Postgres.",
        ),
    ],
    migration_role: Annotated[
        str, typer.Option("--migration-role", help="The role that will run migrations.")
    ],
    json: Json = False,
) -> None:
    """Plain Postgres only: create the roles, schemas and functions that Supabase provides."""
    with database.connect(database.parse(database_url), "bootstrap") as conn:
        platform.bootstrap(conn, migration_role)
    output.result(
        {"migration_role": migration_role},
        f"ready; give {migration_role} a password (alter role ... password) and migrate as it",
    )


def _run_seed(conn: Connection, root: Path) -> None:
    path = root / "supabase" / "seed_dev.sql"
    if path.is_file():
        file = Migration("", "seed_dev", path, path.read_text())
        try:
            conn.execute(file.text.encode())
        except psycopg.Error as error:
            conn.execute("rollback")
            position = error.diag.statement_position
            place = int(position) - 1 if position else None
            raise apply.explain(error, file, place, "failed", "The seed was rolled back.") from None


def _run_smoke(conn: Connection, junit: Path | None = None) -> list[smoke.Outcome]:
    """Walk; a walk that fails is shown and raised."""
    steps = list(smoke.walk(conn))
    if junit:
        junit.write_bytes(smoke.junit(steps))
    if failed := smoke.failures(steps):
        output.show(_walked(steps))
        raise BakehouseError("smoke", "the smoke walk failed\n  " + "\n  ".join(failed))
    return steps


def _walked(steps: list[smoke.Outcome]) -> str:
    rows = [
        (f"{step.duration_ms:7.1f} ms", step.role or "-", " ".join((step.name, step.detail)))
        for step in steps
    ]
    return output.table(("   time", "as", "smoke step"), rows)


# --- migrations -------------------------------------------------------------------------------


@migrate.command("up")
def migrate_up(
    context: typer.Context,
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    lock_wait: LockWait = 10,
    proofs: Proofs = None,
    accept_lint: Annotated[str, _accept("lint")] = "",
    accept_rehearsal: Annotated[str, _accept("rehearsal")] = "",
    accept_backup: Annotated[str, _accept("backup")] = "",
    accept_tag: Annotated[str, _accept("tag")] = "",
    accept_webhooks: Annotated[str, _accept("webhooks")] = "",
    accept_traffic: Annotated[str, _accept("traffic")] = "",
    accept_secrets: Annotated[str, _accept("secrets")] = "",
    accept_smoke: Annotated[str, _accept("smoke")] = "",
    json: Json = False,
) -> None:
    """Apply what is pending, if the environment lets it: each file whole or not at all."""
    root = _project(project)
    given = {name.partition("accept_")[2]: reason for name, reason in context.params.items()}
    accepted = {gate: reason for gate, reason in given.items() if gate and reason}
    work = _work(root, env, skip, lock_wait, proofs, accepted)
    with _connected(database_url, root, "migrate up", env, writes=True) as (conn, dsn):
        done = deploy.up(conn, dsn, work, output.say)
    text = f"applied {len(done.applied)} migrations" if done.applied else "nothing to do"
    steps = [asdict(step) for step in done.steps]
    output.result({"applied": done.applied, "smoke": steps, "run": done.run}, text)


def _work(
    root: Path,
    env: str | None,
    skip: str = "",
    wait: float = 10,
    proofs: Path | None = None,
    accepted: dict[str, str] | None = None,
) -> deploy.Work:
    files, left_out = _files(root, skip)
    settings = environment.load(root, env or "dev")
    staging = ""
    if settings.name == "prod":
        variable = environment.load(root, "staging", required=False).url
        staging = database.parse(os.environ[variable]) if os.environ.get(variable) else ""
    return deploy.Work(
        root,
        files,
        left_out,
        settings,
        who={
            "os_user": getpass.getuser(),
            "machine": socket.gethostname(),
            "ci": os.environ.get("GITHUB_RUN_ID") or os.environ.get("CI_JOB_ID"),
        },
        variables=os.environ,
        accepted=accepted or {},
        proofs=proofs,
        staging=staging,
        wait=wait,
    )


@migrate.command()
def status(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    check: Annotated[
        bool, typer.Option("--check", help="Exit 3 when something is pending.")
    ] = False,
    json: Json = False,
) -> None:
    """Show every version: in the files, in the database, and whether they agree."""
    root = _project(project)
    files, left_out = _files(root, skip)
    with _connected(database_url, root, "migrate status", env) as (conn, _):
        applied = history.read(conn)
    entries = history.compare(files, applied, left_out)
    head = history.chain_head(applied)
    facts: dict[str, Any] = {"chain_head": head}
    facts["migrations"] = [_entry_facts(entry) for entry in entries]
    text = output.table(
        ("version", "migration", "state", "applied", "by", "note"),
        [
            (
                entry.version,
                entry.name,
                entry.state,
                f"{row.applied_at:%Y-%m-%d %H:%M}"
                if (row := entry.applied) and row.applied_at
                else "",
                (row.applied_by or "") if row else "",
                entry.detail,
            )
            for entry in entries
        ],
    )
    text += f"\n\nchain head  {head or 'unknown: adopt what another tool applied'}"
    pending = [entry.version for entry in entries if entry.state == "pending"]
    drift = [entry.version for entry in entries if entry.state in history.BLOCKING]
    if check and (drift or pending):
        output.show(text)
        kind, what = ("drift", drift) if drift else ("pending", pending)
        raise BakehouseError(kind, f"{kind}: {', '.join(what)}", **facts)
    output.result(facts, text)


def _entry_facts(entry: history.Entry) -> dict[str, Any]:
    row = entry.applied
    return {
        "version": entry.version,
        "name": entry.name,
        "state": entry.state,
        "detail": entry.detail,
        "applied_at": row and row.applied_at,
        "applied_by": row and row.applied_by,
        "duration_ms": row and row.duration_ms,
    }


@migrate.command()
def plan(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    lock_wait: LockWait = 10,
    json: Json = False,
) -> None:
    """Rehearse what is pending: run it, report what it did, roll it back.

    Locks that the files take are held until the rollback, and sequences they use move on.
    """
    root = _project(project)
    work = _work(root, env, skip, lock_wait)
    with _connected(database_url, root, "migrate plan", env, writes=True) as (conn, _):
        report, reads = deploy.plan(conn, work, output.say)
    lines = [
        *_rehearsal_lines(report, work.settings.large_rows),
        *(f"heavy read  {read.duration_ms} ms  {read.name}" for read in reads),
    ]
    output.result(
        {"migrations": [asdict(one) for one in report], "reads": [asdict(one) for one in reads]},
        "\n".join(lines) or "nothing to do",
    )


def _rehearsal_lines(report: list[rehearse.Rehearsal], large: int) -> Iterator[str]:
    for one in report:
        yield f"{one.label}  {one.duration_ms} ms"
        for word, things in (
            ("note", one.notes),
            ("breaking", one.breaking),
            ("lint", [f"{finding.level(large)}: {finding}" for finding in one.findings]),
            ("locks", one.locks),
            ("rewrites", one.rewrites),
            ("gone", one.changes.gone),
            ("changed", one.changes.changed),
            ("added", one.changes.added),
        ):
            for thing in things:
                yield f"  {word:<8} {thing}"


@migrate.command()
def new(
    milestone: Annotated[str, typer.Argument(help="M or V and a number, such as M5.")],
    concept: Annotated[list[str], typer.Argument(help="What it is about, in a word or three.")],
    project: Project = None,
    json: Json = False,
) -> None:
    """Start a migration and its down script, later than all others."""
    root = _project(project)
    folder = root / "supabase"
    paths = migrations.create(folder / "migrations", folder / "down", milestone, " ".join(concept))
    names = [str(path.relative_to(root)) for path in paths]
    output.result({"files": names}, "\n".join(names))


@migrate.command()
def verify(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Check that the database still is what its migrations made of it."""
    root = _project(project)
    files, _ = _files(root, "")
    with _connected(database_url, root, "migrate verify", env) as (conn, _):
        applied = history.read(conn)
        history.require_clean(history.compare(files, applied))
        known = history.last_snapshot(conn)
        objects = catalog.read(conn)
    if known is None:
        raise BakehouseError(
            "drift",
            "there is no record of this database's objects",
            "`bakehouse migrate up` makes one when it applies a file; so does a repair.",
        )
    head, before = known
    changes = catalog.compare(before, objects)
    if changes or head != history.chain_head(applied):
        why = "" if changes else "another tool has applied a version since; `migrate repair adopt`"
        lines = [
            f"  {word:<8} {thing}" for word, things in asdict(changes).items() for thing in things
        ]
        raise BakehouseError(
            "drift",
            "\n".join(["the database is not as the last migration left it", *lines]),
            why or "If that is meant, write it as a migration.",
            **asdict(changes),
        )
    fingerprint = catalog.fingerprint(objects)
    output.result(
        {"fingerprint": fingerprint, "objects": len(objects), "chain_head": head},
        f"{len(objects)} objects are as the last migration left them\nfingerprint {fingerprint}",
    )


@migrate.command()
def repair(
    action: Annotated[
        str, typer.Argument(help="adopt, rehash, rename or forget.", show_default=False)
    ],
    version: Annotated[str, typer.Argument(help="The version whose row to mend.")],
    to: Annotated[str, typer.Argument(help="With rename: the version of its file.")] = "",
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Mend one row of the history, never the schema; a record of it is kept.

    adopt: the file counts as applied, without running it.
    rehash: the file as it reads now is what was applied.
    rename: the row belongs to the file of another version with the same SQL.
    forget: the version is no longer applied.
    """
    if action not in history.ACTIONS:
        raise BakehouseError(
            "usage", f"no repair is called '{action}'", f"One of: {', '.join(history.ACTIONS)}."
        )
    root = _project(project)
    work = _work(root, env)
    with (
        _connected(database_url, root, "migrate repair", env, writes=True) as (conn, _),
        apply.lock(conn, 10, output.say),
    ):
        if action == "rehash":
            _show_difference(conn, work.files, version)
        _confirm(f"{action} {version}{' ' + to if to else ''}?", yes)
        done = deploy.repair(conn, work, action, version, to)
    output.result({"action": action, "version": version}, done)


def _show_difference(conn: Connection, files: list[Migration], version: str) -> None:
    import difflib  # here, not above: a tool that is run often starts with what it always needs

    file = next((file for file in files if file.version == version), None)
    if file:
        before = history.recorded_text(conn, version)
        now = ";\n".join(statement.text for statement in file.statements) + ";"
        for line in difflib.unified_diff(
            before.splitlines(), now.splitlines(), "applied", file.path.name, lineterm=""
        ):
            output.say(line)


# --- work -------------------------------------------------------------------------------------


@app.command("work")
def work_command(
    topic: Annotated[list[str], typer.Option("--topic", help="What to work on; repeatable.")],
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing is ready.")] = False,
    batch: Annotated[int, typer.Option("--batch", help="Jobs to take at once.")] = 10,
    lease: Annotated[float, typer.Option("--lease", help="Seconds to hold them for.")] = 120,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for a shop.")] = 30,
    shop_url_template: Annotated[
        str | None,
        typer.Option(
            "--shop-url-template",
            help="Where the API of a shop is, {domain} standing for it; Shopify by default.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Do the jobs of the work queue, until told to stop: it finishes the one at hand."""
    from bakehouse import work

    endpoint = shop_url_template or work.ENDPOINT
    settings = work.Settings(topic, batch, lease, timeout, endpoint)
    with _connected(database_url, _project(project), "work", env, writes=True) as (conn, _):
        worker = work.Worker(conn, settings, output.say, _show_work)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run(once)
    if sys.stderr.isatty():
        output.say("")
    output.result(
        {"done": worker.done, "failed": worker.failed},
        f"{worker.done} done, {worker.failed} failed",
    )


def _show_work(done: int, failed: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} done, {failed} failed", end="", file=sys.stderr, flush=True)


@app.command()
def tick(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Do what is due by the clock; for where pg_cron does not. As often as you like."""
    with _connected(database_url, _project(project), "tick", env, writes=True) as (conn, _):
        row = conn.execute("select app.tick()").fetchone()
    done: dict[str, Any] = dict(row[0]) if row and isinstance(row[0], dict) else {}
    output.result(
        {"tasks": done},
        output.table(("task", "result"), sorted(done.items())) if done else "another one is at it",
    )


# --- environments -----------------------------------------------------------------------------


@env_app.command("mark")
def env_mark(
    env: Annotated[str, typer.Argument(help="dev, staging or prod.")],
    project: Project = None,
    database_url: Url = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Write into the database which environment it is; outside dev, guard its history."""
    root = _project(project)
    settings = environment.load(root, env)
    with _connected(database_url, root, "env mark", env) as (conn, dsn):
        before = environment.says(conn)
        if before not in (None, env):
            _confirm(f"{database.describe(dsn)} is {before}: make it {env}?", yes)
        environment.mark(conn, settings)
    output.result({"env": env}, f"this database is {env}")


@env_app.command("show")
def env_show(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    json: Json = False,
) -> None:
    """Say which environment the database calls itself, since when, and by whom."""
    with _connected(database_url, _project(project), "env show", env) as (conn, _):
        identity = environment.read(conn)
    if identity is None:
        output.result({"env": None}, "not marked")
        return
    when = identity.marked_at[:16].replace("T", " ")
    text = f"{identity.name}, marked {when} by {identity.marked_by}"
    text += f" as {identity.env} elsewhere" * identity.copied
    output.result(asdict(identity) | {"env": identity.name}, text)


# --- the gate ---------------------------------------------------------------------------------


@gate_app.command("check")
def gate_check(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    proofs: Proofs = None,
    json: Json = False,
) -> None:
    """Print the checklist that `migrate up` enforces; exit 0 when it would go ahead."""
    root = _project(project)
    work = _work(root, env, skip, proofs=proofs)
    with _connected(database_url, root, "gate check", env) as (conn, _):
        facts = deploy.gather(conn, work)
    verdicts = gates.check(facts, {})
    text = output.table(
        ("gate", "verdict", "reason"), [(v.gate, v.verdict, v.reason) for v in verdicts]
    )
    output.show(text)
    gates.require(verdicts)
    output.result({"gates": [asdict(verdict) for verdict in verdicts]})


@app.command()
def resume(
    project: Project = None, env: Env = None, database_url: Url = None, json: Json = False
) -> None:
    """Let webhooks in again before their pause ends by itself."""
    root = _project(project)
    with _connected(database_url, root, "resume", env, writes=True) as (conn, _):
        done = deploy.resume(conn, _work(root, env))
    output.result({"resumed": done}, "webhooks come in" if done else "webhooks were not paused")


@app.command("log")
def log_command(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    save: Annotated[bool, typer.Option("--save", help="Write the files that are missing.")] = False,
    json: Json = False,
) -> None:
    """Show every run on record, oldest first, and check that the record was not edited."""
    root = _project(project)
    folder = root / "evidence"
    with _connected(database_url, root, "log", env) as (conn, _):
        entries = evidence.entries(conn)
    told = evidence.runs(entries)
    problems = evidence.broken(entries)
    if env and folder.is_dir():
        known = {entry.hash for entry in entries}
        lost = [entry for entry in evidence.load(folder, env) if entry.hash not in known]
        problems += [f"a file has {entry.hash[:8]}, the database has not" for entry in lost]
    facts: dict[str, Any] = {"runs": [asdict(run) for run in told], "problems": problems}
    text = output.table(
        ("opened", "run", "env", "by", "files", "head", "outcome"),
        [
            (
                run.opened["at"][:16],
                run.kind,
                run.opened["env"],
                run.opened["by"]["database_user"],
                len(run.opened.get("files", ())),
                (run.head or "")[:8],
                run.outcome,
            )
            for run in told
        ],
    )
    if problems:
        output.show(text)
        raise BakehouseError("drift", "the record was edited\n  " + "\n  ".join(problems), **facts)
    written = evidence.save(folder, entries) if save else []
    output.result(facts | {"written": written}, text if told else "no run is on record")


@release_app.command("verify")
def release_verify(
    tag: Annotated[str, typer.Argument(help="The tag of the release, such as v1.2.0.")],
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    skip: Skip = "",
    json: Json = False,
) -> None:
    """Say whether the files of a tag, and nothing else, are what the database has."""
    root = _project(project)
    with (
        release.files_of(root, tag) as files,
        _connected(database_url, root, "release verify", env) as (conn, _),
    ):
        migrations.select(files, _milestones(skip))
        applied = history.read(conn)
        entries = history.compare(files, applied, _milestones(skip))
        problems = evidence.broken(evidence.entries(conn))
    wrong = [e for e in entries if e.state not in ("applied", "reformatted", "skipped")]
    problems += [f"{e.version} {e.name}: {e.state} {e.detail}".rstrip() for e in wrong]
    head = history.chain_head(applied)
    facts: dict[str, Any] = {"tag": tag, "chain_head": head, "problems": problems}
    if problems:
        raise BakehouseError("drift", f"{tag} is not live\n  " + "\n  ".join(problems), **facts)
    output.result(facts, f"{tag} is live: {len(applied)} files\nchain head  {head}")


@release_app.command("prepare")
def release_prepare(
    tag: Annotated[str, typer.Argument(help="The tag to be, such as v1.2.0.")],
    project: Project = None,
    skip: Skip = "",
    json: Json = False,
) -> None:
    """Check the tree, write the list of migrations, and say which commands to type."""
    root = _project(project)
    files, left_out = _files(root, skip)
    before, new = release.prepare(root, tag, files)
    head = history.head_after([], migrations.select(files, left_out))
    notes = root / "evidence" / f"{tag}.txt"
    notes.parent.mkdir(exist_ok=True)
    listed = [file.path.name for file in new] or ["none"]
    lines = [tag, "", f"Migrations since {before or 'the beginning'}:", *listed]
    notes.write_text("\n".join([*lines, "", f"Chain head {head}", ""]))
    commands = [
        f"git tag -a {tag} -F {notes.relative_to(root)}",
        "bakehouse migrate plan --env staging",
        "bakehouse migrate up --env staging",
        "bakehouse gate check --env prod",
        "bakehouse migrate up --env prod",
        f"bakehouse release verify {tag} --env prod",
        f"git push origin {tag}",
    ]
    facts = {"since": before, "migrations": listed, "chain_head": head, "commands": commands}
    output.result(facts, notes.read_text() + "\nNow type:\n  " + "\n  ".join(commands))


# --- documentation ----------------------------------------------------------------------------


@docs.command("rpc")
def docs_rpc(
    project: Project = None,
    env: Env = None,
    database_url: Url = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 4 when the file is stale.")] = False,
    json: Json = False,
) -> None:
    """Write docs/rpc.md: every function that can be called, from the database and the examples."""
    root = _project(project)
    path = root / "docs" / "rpc.md"
    with _connected(database_url, root, "docs rpc", env) as (conn, _):
        page = reference.render(reference.read(conn, root / "docs" / "examples"))
    stale = not path.is_file() or path.read_text() != page
    if stale and check:
        raise BakehouseError("drift", "docs/rpc.md is stale", "Write it: `bakehouse docs rpc`.")
    if stale:
        path.write_text(page)
    output.result({"changed": stale}, "wrote docs/rpc.md" if stale else "docs/rpc.md is current")


@app.command()
def version(json: Json = False) -> None:
    """Print the version of this tool."""
    output.result({"version": __version__}, __version__)


def main(run: Callable[[], object] = app) -> None:
    from bakehouse import cli_recovery  # here: it is built on what is above

    assert cli_recovery
    try:
        run()
    except BakehouseError as error:
        output.failure(error)
        raise SystemExit(error.exit_code) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).strip() or type(error).__name__
        output.failure(BakehouseError("unexpected", said, error.diag.message_hint or ""))
        raise SystemExit(1) from None
    except OSError as error:
        output.failure(BakehouseError("unexpected", str(error)))
        raise SystemExit(1) from None
