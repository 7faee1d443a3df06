"""Prove the pending files of prod on a restored backup, while staging is ahead of prod."""

from dataclasses import replace

from psycopg import sql
from psycopg.conninfo import make_conninfo

from bakehouse.database import Connection, connect, execute
from bakehouse.deploy import backup, environment, run
from bakehouse.deploy.dump import Recorded
from bakehouse.deploy.run import UpResult
from bakehouse.deploy.work import Work
from bakehouse.errors import BakehouseError
from bakehouse.migrations import catalog, history
from bakehouse.server import cluster, platform


def prove(conn: Connection, work: Work) -> tuple[Recorded, UpResult]:
    """Rehearse, apply and smoke the pending files on the newest backup, as staging would."""
    if work.settings.name != "prod":
        raise BakehouseError(
            "usage", "only files for prod are proved on a backup", "Name prod: --env prod."
        )
    last = backup.newest(conn)
    file = backup.intact(conn, work, last)
    work.tell(f"restoring {last.file} on a scratch server")
    with backup.restored(file, last) as (scratch, _):
        dsn = _dsn_of(scratch, last.role)
        with connect(dsn, "release prove") as there:
            _require_current(conn, there, last.file)
            stand_in = _as_staging(there, work, last.file)
            environment.mark(there, stand_in.settings, stand_in.restored, work.who)
            run.plan(there, dsn, stand_in)
            return last, run.up(there, dsn, stand_in)


def _dsn_of(scratch: Connection, role: str) -> str:
    """Let the migration role of prod log in on the scratch server."""
    name = sql.Identifier(role)
    scratch.execute(sql.SQL("alter role {} login password {}").format(name, cluster.PASSWORD))
    scratch.execute(
        sql.SQL("alter database {} owner to {}").format(sql.Identifier(scratch.info.dbname), name)
    )
    for one in platform.missing(scratch, role):
        execute(scratch, one.repair)
    return make_conninfo(scratch.info.dsn, user=role, password=cluster.PASSWORD)


def _require_current(conn: Connection, there: Connection, file: str) -> None:
    """Refuse a backup that is not as prod is now."""
    changes = catalog.compare(
        catalog.made(catalog.objects(conn)), catalog.made(catalog.objects(there))
    )
    names = [name for names in vars(changes).values() for name in names]
    if names or history.applied(conn) != history.applied(there):
        what = f"these objects differ: {', '.join(names[:20])}" if names else "its history differs"
        raise BakehouseError(
            "backup",
            f"{file} is not as prod is now: {what}",
            "Nothing was proved. Run `bakehouse backup take --env prod`, then try again.",
        )


def _as_staging(there: Connection, work: Work, file: str) -> Work:
    """Return the same work on the scratch server, which stands in for staging."""
    settings = environment.load(work.root, "staging", required=False)
    host, database = there.info.host, there.info.dbname
    return replace(
        work,
        settings=replace(settings, secrets=(), host=(host,), database=database),
        accepted={**work.accepted, "backup": f"this is the backup {file}"},
        restored=file,
    )
