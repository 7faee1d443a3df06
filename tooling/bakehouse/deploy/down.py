"""Roll back the newest migration: count what would be lost, and ask for confirmation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from psycopg import sql
from psycopg.rows import class_row, scalar_row, tuple_row

from bakehouse.database import Connection, execute, fetch, sql_file
from bakehouse.deploy import backup_age, evidence, facts, gates, webhooks
from bakehouse.deploy.backup_age import Backup
from bakehouse.deploy.facts import Facts
from bakehouse.deploy.run import require_smoke, walk
from bakehouse.deploy.work import Work, circumstances, mark_of, save
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, history, rehearse
from bakehouse.migrations.apply import Tell
from bakehouse.migrations.files import Migration, down_of


@dataclass(frozen=True)
class Plan:
    """The cost of rolling a version back, and the reasons against it."""

    script: Migration
    lost: list[str]  # the rows of each table and the values of each column
    refusals: list[str]  # the reasons of the environment to refuse
    backup: Backup


@dataclass(frozen=True)
class _Table:
    oid: int
    schema: str
    name: str
    columns: list[str]


@dataclass(frozen=True)
class _Count:
    name: str
    rows: int
    values: dict[str, int]  # by column


def look(conn: Connection, work: Work, version: str) -> Plan:
    """Find out what would be lost, and if the environment allows this. Changes nothing."""
    progress = facts.read_progress(conn, work)
    history.require_clean(progress.versions)
    applied = [one for one in progress.versions if one.applied]
    if not applied or applied[-1].version != version or applied[-1].file is None:
        last = applied[-1] if applied else None
        newest = f"the newest is {last.version} {last.name}" if last else "none is applied"
        raise BakehouseError(
            "usage", f"only the newest version can be rolled back, and {newest}", "Nothing was run."
        )
    script = down_of(applied[-1].file, work.root / "supabase" / "down")
    lost = list(_losses(conn, script))
    if work.in_dev:
        return Plan(script, lost, [], Backup("none"))
    found = backup_age.newest(backup_age.sources(conn, work.settings, work.root))
    fresh, reason = gates.backup(Facts(work.settings, datetime.now(UTC), backup=found))
    return Plan(script, lost, [] if fresh else [f"backup: {reason}"], found)


def roll_back(
    conn: Connection, dsn: str, work: Work, plan: Plan, confirmed: str, tell: Tell
) -> list[str]:
    """Roll the version back; outside dev, `confirmed` must be the name of the database.

    Returns what was lost.
    """
    with apply.lock(conn, work.wait, tell):
        plan = look(conn, work, plan.script.version)  # another run may have changed it
        refusals = list(plan.refusals)
        if not work.in_dev and confirmed != conn.info.dbname:
            refusals.append("name: confirm with the name of the database: --confirm NAME")
        if refusals:
            raise BakehouseError(
                "gate",
                "\n  ".join([f"{plan.script.label} was not rolled back", *refusals]),
                "Nothing was run.",
                lost=plan.lost,
            )
        with _on_record(conn, work, plan):
            _run_script(conn, dsn, work, plan, tell)
    return plan.lost


def _run_script(conn: Connection, dsn: str, work: Work, plan: Plan, tell: Tell) -> None:
    if not work.in_dev and webhooks.can_pause(conn):
        webhooks.pause(conn, work.settings, tell)
    apply.run_down(conn, dsn, plan.script, tell, history.reading(conn, ()))
    if not work.in_dev:
        require_smoke(conn, work, Facts(work.settings, datetime.now(UTC)), walk(conn, work))


@contextmanager
def _on_record(conn: Connection, work: Work, plan: Plan) -> Iterator[None]:
    """Record the run around the block. Ends the pause of webhooks unless the smoke walk failed."""
    history.ensure(conn)
    applied = history.applied(conn)
    run = evidence.open_run(
        conn,
        "down",
        **circumstances(conn, work),
        files=[plan.script.label],
        head=history.chain_head(applied[:-1]),
        before=mark_of(history.start(conn)),
        backup=asdict(plan.backup),
        lost=plan.lost,
    )
    outcome: evidence.Ending = "unexpected"
    try:
        yield
        outcome = "done"
    except BakehouseError as error:
        outcome = error.kind
        raise
    finally:
        if not conn.closed:
            if outcome != "smoke":
                webhooks.end_pause(conn)
            evidence.close(conn, run, outcome, after=mark_of(history.start(conn)))
            save(conn, work, [run.id])


def _losses(conn: Connection, script: Migration) -> Iterator[str]:
    """Count what the script deletes. A first run finds its tables. Both runs are rolled back."""
    with conn.transaction(force_rollback=True):
        _try(conn, script)
        touched = fetch(conn, scalar_row, sql_file(__package__, "touched_tables"))
    before = _count(conn, touched)
    with conn.transaction(force_rollback=True):
        _try(conn, script)
        after = _count(conn, touched)
    for table, was in before.items():
        now = after.get(table)
        if now is None:
            yield f"table {was.name}: {was.rows} rows"
            continue
        if now.rows < was.rows:
            yield f"table {was.name}: {was.rows - now.rows} of {was.rows} rows"
        for column, values in was.values.items():
            left = now.values.get(column, 0)
            if values > left and (column not in now.values or now.rows == was.rows):
                yield f"column {was.name}.{column}: {values - left} values"


def _try(conn: Connection, script: Migration) -> None:
    execute(conn, f"set local lock_timeout = '{rehearse.LOCK_TIMEOUT}'")
    rehearse.run(conn, script)


def _count(conn: Connection, oids: list[int]) -> dict[int, _Count]:
    """Count the rows of each table, and the values in each of its columns."""
    counted = {}
    for table in fetch(conn, class_row(_Table), sql_file(__package__, "columns_of"), oids):
        wanted = [sql.SQL("count({})").format(sql.Identifier(column)) for column in table.columns]
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join([sql.SQL("count(*)"), *wanted]),
            sql.Identifier(table.schema, table.name),
        )
        [(rows, *values)] = fetch(conn, tuple_row, query.as_bytes(conn))
        by_column = dict(zip(table.columns, values, strict=True))
        counted[table.oid] = _Count(f"{table.schema}.{table.name}", rows, by_column)
    return counted
