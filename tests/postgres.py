"""The Postgres servers that tests run on."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from testing.postgresql import Postgresql

from bakehouse import database
from bakehouse.migrations import apply
from bakehouse.migrations.files import discover
from bakehouse.server import platform
from bakehouse.server.account import Account, unprivileged
from bakehouse.server.binaries import (
    Binaries,
    find_binaries,
    inspect_binaries,
    installed_binaries,
)
from bakehouse.server.cluster import SUPERUSER, copied, initdb_options
from rows import value

MIGRATIONS = Path(__file__).parents[1] / "supabase" / "migrations"
MAJORS = Path(__file__).parent / "majors" / "node_modules"
MEMORY = Path("/dev/shm")  # noqa: S108  # the folders in it are private
ROOM = 4 << 30  # bytes, for the servers of all workers


class Embedded(Postgresql):  # type: ignore[misc]  # the package has no types
    """A server from the embedded binaries, in its own directory, under an unprivileged user."""

    def __init__(self, binaries: Binaries, account: Account, home: Path) -> None:
        self.account = account
        super().__init__(
            base_dir=str(home),
            initdb=binaries.tool("initdb"),
            postgres=binaries.tool("postgres"),
            initdb_args=" ".join(initdb_options(binaries.version)) + " -A trust -N",
            # -F: no fsync. A template cannot be copied while autovacuum works in the template.
            postgres_args="-F -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            " -c wal_level=logical -c autovacuum=off -c logging_collector=off",
        )

    def initialize_database(self) -> None:
        data = self.get_data_directory()
        os.chown(data, self.account.uid, self.account.gid)
        command = [self.initdb, "-D", data, *self.settings["initdb_args"].split()]
        subprocess.run(self.account.command(command), check=True, capture_output=True)

    def get_server_commandline(self) -> list[str]:
        port = ["-p", str(self.settings["port"])]
        options = self.settings["postgres_args"].split()
        data = self.get_data_directory()
        return self.account.command([self.postgres, "-D", data, *port, *options])

    def dsn(self, **parameters: Any) -> dict[str, Any]:
        known = {"host": "127.0.0.1", "port": self.settings["port"], "user": SUPERUSER}
        return known | {"dbname": "postgres"} | parameters

    def is_server_available(self) -> bool:
        try:
            psycopg.connect(**self.dsn()).close()
        except psycopg.OperationalError:
            return False
        return True

    def poststart(self) -> None:
        """Databases come from templates. The package itself would create one named test."""

    def terminate(self, *_: object) -> None:
        # skip the checkpoint, because the data is not needed again
        super(Postgresql, self).terminate(signal.SIGQUIT)


@dataclass(frozen=True)
class Server:
    superuser: str  # conninfo
    migrator: str  # conninfo
    migration_role: str
    password: str | None  # for the migration role and authenticator, if the server needs one
    prefix: str  # begins the database names of this run and worker

    def superuser_dsn(self, database: str) -> str:
        return make_conninfo(self.superuser, dbname=database)

    def dsn(self, database: str) -> str:
        return make_conninfo(self.migrator, dbname=database)

    def bootstrap(self, database: str, regime: str = "explicit") -> None:
        with psycopg.connect(self.superuser_dsn(database), autocommit=True) as conn:
            platform.bootstrap(conn, self.migration_role, self.password, regime)

    def create(self) -> str:
        """Creates an empty database. Returns its name."""
        name = self._name()
        self._administer("create database {} template template0", name)
        return name

    def copy(self, template: str) -> str:
        """Copies a template to which no session is connected. Returns the name of the copy."""
        name, owner = self._name(), self.migration_role
        # copying the files takes half as long as writing them to the WAL
        self._administer(
            "create database {} template {} owner {} strategy file_copy", name, template, owner
        )
        return name

    def restore(self, database: str, template: str) -> None:
        """Replaces a database by a copy of the template, with the same name and OID."""
        with psycopg.connect(self.superuser) as conn:
            oid = value(conn, "select oid from pg_database where datname = %s", database)
        self.drop(database)
        self._administer(
            "create database {} template {} owner {} strategy file_copy oid {}",
            *(database, template, self.migration_role, oid),
        )

    def drop(self, database: str) -> None:
        self._administer("drop database if exists {} with (force)", database)

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Runs only one block at a time: two migrations cannot create the same role at once."""
        with psycopg.connect(self.superuser) as conn:
            conn.execute("select pg_advisory_xact_lock(hashtext('bakehouse tests'))")
            yield

    def _name(self) -> str:
        return f"{self.prefix}_{uuid.uuid4().hex[:8]}"

    def _administer(self, statement: LiteralString, *names: str | int) -> None:
        words = [
            sql.Identifier(name) if isinstance(name, str) else sql.Literal(name) for name in names
        ]
        with psycopg.connect(self.superuser, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*words))


def migrate(dsn: str) -> None:
    """Applies all migrations, with the engine that users run."""
    with database.connect(dsn, "tests") as conn:
        for _ in apply.run(conn, dsn, discover(MIGRATIONS), None, print):
            pass


def binaries_of(major: int) -> Binaries:
    """Returns the programs of this major, or skips the test."""
    found = [inspect_binaries(place) for place in MAJORS.glob("postgres-*/native/bin")]
    for binaries in (*installed_binaries(), *found):
        if binaries and binaries.version == major:
            return binaries
    pytest.skip(f"Postgres {major} is not on this machine")


def system_binaries(other_than: int = 0) -> Binaries | None:
    """Returns the newest Postgres of this machine that is in no wheel, except this major."""
    found = [one for one in installed_binaries() if not one.source.startswith("the wheel")]
    return next((one for one in found if one.version != other_than), None)


def _folder() -> Path | None:
    """Returns memory if there is room: a database is copied there in a tenth of the time."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None


@contextmanager
def embedded_server(prefix: str, chosen: Binaries | None = None) -> Iterator[Server]:
    account = unprivileged()
    with (
        tempfile.TemporaryDirectory(prefix="bakehouse-tests-") as programs,
        tempfile.TemporaryDirectory(prefix="bakehouse-tests-", dir=_folder()) as home,
    ):
        for folder in (programs, home):
            os.chown(folder, account.uid, account.gid)
        named = os.environ.get("BAKEHOUSE_TEST_BINARIES")
        binaries = chosen or (inspect_binaries(Path(named)) if named else find_binaries())
        assert binaries, f"no Postgres in {named}"
        if not account.can_reach(binaries.bin_dir / "postgres"):
            binaries = copied(binaries, account, Path(programs))
        cluster = Embedded(binaries, account, Path(home))
        try:
            superuser = make_conninfo(**cluster.dsn())
            role = "postgres"
            yield Server(superuser, make_conninfo(superuser, user=role), role, None, prefix)
        finally:
            cluster.stop()


@contextmanager
def foreign_server(url: str, prefix: str, run: str) -> Iterator[Server]:
    """Uses a running server. Drops the databases of this worker at the end."""
    role = "bakehouse_migrator"  # `postgres` is the superuser of most servers
    password = hashlib.sha256(f"{url} {run}".encode()).hexdigest()  # all workers share the role
    superuser = make_conninfo(url)
    server = Server(
        superuser, make_conninfo(superuser, user=role, password=password), role, password, prefix
    )
    try:
        yield server
    finally:
        with psycopg.connect(superuser, autocommit=True) as conn:
            left = conn.execute(
                "select datname from pg_database where starts_with(datname, %s)", (f"{prefix}_",)
            ).fetchall()
        for (database,) in left:
            server.drop(database)
