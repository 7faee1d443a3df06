"""Take the newest migration back: count what would be lost, ask for proof that it is meant."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import LiteralString

from psycopg import sql

from bakehouse import apply, backup, catalog, deploy, evidence, gates, history, migrations, rehearse
from bakehouse.apply import Tell
from bakehouse.database import Connection
from bakehouse.deploy import Work
from bakehouse.errors import BakehouseError
from bakehouse.gates import Facts
from bakehouse.migrations import Migration

_TABLES: LiteralString = """
select c.oid::bigint, n.nspname, c.relname, a.attname
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
left join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'm') and c.oid = any(%s::oid[])
order by n.nspname, c.relname, a.attnum
"""
# A table whose rows were changed, or that is gone, is locked until the rollback.
_TOUCHED: LiteralString = """
select distinct l.relation::bigint
from pg_locks as l
where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation >= 16384
  and l.mode not in ('AccessShareLock', 'RowShareLock')
"""


@dataclass(frozen=True)
class Plan:
    """What it is to take a version back."""

    script: Migration
    lost: list[str]  # a line for each table and column, with its rows or values
    refusals: list[str]  # why it may not be done here and now
    backup: backup.Backup


@dataclass(frozen=True)
class _Count:
    name: str
    rows: int
    values: dict[str, int]  # by column


def look(conn: Connection, work: Work, version: str) -> Plan:
    """See what would be lost, and whether the environment lets it; changes nothing."""
    entries = history.compare(work.files, history.read(conn), work.left_out)
    history.require_clean(entries)
    had = [entry for entry in entries if entry.applied]
    if not had or had[-1].version != version or had[-1].file is None:
        newest = f"the newest is {had[-1].version} {had[-1].name}" if had else "none is applied"
        raise BakehouseError(
            "usage", f"only the newest version can be taken back, and {newest}", "Nothing was run."
        )
    script = migrations.down_of(had[-1].file, work.root / "supabase" / "down")
    lost = list(_losses(conn, script))
    if work.in_dev:
        return Plan(script, lost, [], backup.Backup("none"))
    found = backup.newest(backup.sources(conn, work.settings, work.root))
    known = Facts(work.settings, datetime.now(UTC), backup=found)
    fresh, reason = gates.backup(known)
    return Plan(script, lost, [] if fresh else [f"backup: {reason}"], found)


def take_back(
    conn: Connection, dsn: str, work: Work, plan: Plan, confirmed: str, tell: Tell
) -> list[str]:
    """Do it; outside dev only for one who knows the name of the database. Returns what is lost."""
    with apply.lock(conn, work.wait, tell):
        plan = look(conn, work, plan.script.version)  # again: the lock may have been waited for
        refusals = list(plan.refusals)
        if not work.in_dev and confirmed != conn.info.dbname:
            refusals.append("name: this is done by typing the database's name: --confirm NAME")
        if refusals:
            raise BakehouseError(
                "gate",
                "\n  ".join([f"{plan.script.label} is not taken back", *refusals]),
                "Nothing was run.",
                lost=plan.lost,
            )
        _carry(conn, dsn, work, plan, tell)
    return plan.lost


def _carry(conn: Connection, dsn: str, work: Work, plan: Plan, tell: Tell) -> None:
    history.ensure(conn)
    applied = history.read(conn)
    run = evidence.open_run(
        conn,
        "down",
        **deploy.circumstances(conn, work),
        files=[plan.script.label],
        head=history.chain_head(applied[:-1]),
        before=deploy.state(history.chain_head(applied), catalog.read(conn)),
        backup=asdict(plan.backup),
        lost=plan.lost,
    )
    outcome, pausable = "unexpected", not work.in_dev and deploy.can_pause(conn)
    try:
        if pausable:
            deploy.pause(conn, work.settings, tell)
        apply.take_back(conn, dsn, plan.script, tell)
        if not work.in_dev:
            facts = Facts(work.settings, datetime.now(UTC))
            deploy.require_smoke(conn, work, facts, deploy.walk(conn, work))
        outcome = "done"
    except BakehouseError as error:
        outcome = error.kind
        raise
    finally:
        if not conn.closed:
            if outcome != "smoke":
                deploy.end_pause(conn)
            objects = catalog.read(conn)
            history.snapshot(conn, objects)
            after = deploy.state(history.chain_head(history.read(conn)), objects)
            evidence.close(conn, run, outcome=outcome, after=after)
            deploy.save(conn, work, [run.id])


def _losses(conn: Connection, script: Migration) -> Iterator[str]:
    """The rows and values that are there before the script and not after it; it is rolled back."""
    with conn.transaction(force_rollback=True):
        _try(conn, script)
        touched = [int(str(row[0])) for row in conn.execute(_TOUCHED)]
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
    conn.execute(f"set local lock_timeout = '{rehearse.LOCK_TIMEOUT}'".encode())
    rehearse.run(conn, script)


def _count(conn: Connection, tables: list[int]) -> dict[int, _Count]:
    columns: dict[tuple[int, str, str], list[str]] = {}
    for oid, schema, name, column in conn.execute(_TABLES, (tables,)).fetchall():
        known = columns.setdefault((int(str(oid)), str(schema), str(name)), [])
        known += [str(column)] if column is not None else []
    counted = {}
    for (oid, schema, name), names in columns.items():
        wanted = [sql.SQL("count({})").format(sql.Identifier(column)) for column in names]
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join([sql.SQL("count(*)"), *wanted]), sql.Identifier(schema, name)
        )
        rows, *values = map(int, map(str, conn.execute(query).fetchone() or ()))
        counted[oid] = _Count(f"{schema}.{name}", rows, dict(zip(names, values, strict=True)))
    return counted
