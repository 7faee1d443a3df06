"""Roll back the newest migration: count what would be lost, and ask for confirmation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb

from bakehouse.database import Connection, execute, fetch, sql_file
from bakehouse.deploy import backup_age, facts, gates, webhooks
from bakehouse.deploy.backup_age import Backup
from bakehouse.deploy.facts import Facts
from bakehouse.deploy.run import require_smoke, walk
from bakehouse.deploy.work import Work, begin, end
from bakehouse.errors import BakehouseError
from bakehouse.migrations import apply, history, rehearse
from bakehouse.migrations.files import Migration, down_of


@dataclass(frozen=True)
class Plan:
    """The cost of rolling a version back, and the reasons against it."""

    script: Migration
    lost: list[str]  # the rows of each table and the values of each column
    refusals: list[str]  # the reasons of the environment to refuse
    backup: Backup


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
    lost = _losses(conn, script)
    if work.in_dev:
        return Plan(script, lost, [], Backup("none"))
    found = backup_age.newest(backup_age.sources(conn, work.settings, work.root))
    fresh, reason = gates.backup(Facts(work.settings, datetime.now(UTC), backup=found))
    return Plan(script, lost, [] if fresh else [f"backup: {reason}"], found)


def roll_back(conn: Connection, dsn: str, work: Work, plan: Plan, confirmed: str) -> list[str]:
    """Roll the version back; outside dev, `confirmed` must be the name of the database.

    Returns what was lost.
    """
    with apply.lock(conn, work.wait, work.tell):
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
        _run_on_record(conn, dsn, work, plan)
    return plan.lost


def _run_on_record(conn: Connection, dsn: str, work: Work, plan: Plan) -> None:
    """Run the script. Webhooks stay paused only if the smoke walk fails."""
    run = begin(
        conn,
        work,
        "down",
        files=[plan.script.label],
        head=history.chain_head(history.applied(conn)[:-1]),
        backup=asdict(plan.backup),
        lost=plan.lost,
    )
    failure: BaseException | None = None
    try:
        if not work.in_dev and webhooks.can_pause(conn):
            webhooks.pause(conn, work)
        apply.run_down(conn, dsn, plan.script, work.tell, history.reading(conn, ()))
        if not work.in_dev:
            require_smoke(conn, work, Facts(work.settings, datetime.now(UTC)), walk(conn, work))
    except BaseException as error:
        failure = error
        raise
    finally:
        if not conn.closed:
            if not (isinstance(failure, BakehouseError) and failure.kind == "smoke"):
                webhooks.end_pause(conn)
            end(conn, work, run, failure)


def _losses(conn: Connection, script: Migration) -> list[str]:
    """Count what the script deletes. A first run finds its tables. Both runs are rolled back."""
    count = sql_file(__package__, "count_values")
    with _rehearsed(conn, script):
        touched = fetch(conn, scalar_row, sql_file(__package__, "touched_tables"))
    before = fetch(conn, dict_row, count, touched)
    with _rehearsed(conn, script):
        after = fetch(conn, dict_row, count, touched)
    return fetch(conn, scalar_row, sql_file(__package__, "losses"), Jsonb(before), Jsonb(after))


@contextmanager
def _rehearsed(conn: Connection, script: Migration) -> Iterator[None]:
    with conn.transaction(force_rollback=True):
        execute(conn, f"set local lock_timeout = '{rehearse.LOCK_TIMEOUT}'")
        rehearse.run(conn, script)
        yield
