"""Upgrades of Postgres: what operating.md says is typed here, from 15 to each later major."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bakehouse.server.account import unprivileged
from bakehouse.server.binaries import Binaries
from bakehouse.server.cluster import SUPERUSER, copied
from command import BAKEHOUSE, Project
from docs import pages
from docs.pages import ROOT
from postgres import Embedded, binaries_of

KINDS = Path(__file__).with_name("kinds.sql")
SECTION = pages.section(pages.read("docs/operating.md"), "Upgrade Postgres")
FIRST, DUMP, PG_UPGRADE, LOGICAL, LAST = (
    "\n".join(pages.blocks(part, "sh")) for part in SECTION.split("\n### ")
)

pytestmark = pytest.mark.slow


class Bakery(Embedded):
    """A server of one major, whose database `bakery` is a prod."""

    def __init__(self, binaries: Binaries, home: Path) -> None:
        self.binaries, self.home = binaries, home
        super().__init__(binaries, unprivileged(), home)

    def initialize_database(self) -> None:
        if not (self.home / "data" / "PG_VERSION").exists():
            super().initialize_database()

    @property
    def server(self) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.settings['port']}"

    @property
    def superuser(self) -> str:
        return f"{self.server}/bakery"

    @property
    def url(self) -> str:
        return make_conninfo(self.superuser, user="postgres")

    def query(self, text: str) -> object:
        with psycopg.connect(self.superuser, autocommit=True) as conn:
            done = conn.execute(text.encode())
            row = done.fetchone() if done.description else None
            return row[0] if row else None


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    account = unprivileged()
    with tempfile.TemporaryDirectory(prefix="bakehouse-tests-") as folder:
        os.chown(folder, account.uid, account.gid)
        yield Path(folder)


def started(major: int, home: Path, like: Path | None = None) -> Bakery:
    """Starts a new server, or a copy of one that was stopped."""
    account, binaries = unprivileged(), binaries_of(major)
    if not account.can_reach(binaries.bin_dir / "postgres"):
        binaries = copied(binaries, account, home)
    place = Path(tempfile.mkdtemp(dir=home))
    if like:
        shutil.copytree(like, place, dirs_exist_ok=True)
    for path in (place, *place.rglob("*")):
        account.own(path)
    return Bakery(binaries, place)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    return Project(tmp_path)


def prod(project: Project, bakery: Bakery) -> Project:
    """The project, whose bakehouse.toml says that prod is there."""
    (project.root / "bakehouse.toml").unlink(missing_ok=True)
    return project.configure("prod", bakery.url)


def begun(home: Path, root: Path) -> tuple[Bakery, Project]:
    """Starts a server of Postgres 15 with an empty database, bootstrapped and marked as dev."""
    bakery, project = started(15, home), Project(root)
    with psycopg.connect(f"{bakery.server}/postgres", autocommit=True) as conn:
        conn.execute("create database bakery template template0")
    role = ("--migration-role", "postgres")
    for command in (
        ("bootstrap", *role, "--database-url", bakery.superuser),
        ("env", "mark", "dev"),
    ):
        ran = project.run(*command, url=bakery.url)
        assert ran.code == 0, ran.err
    return bakery, project


def drop_what_no_other_server_has(bakery: Bakery) -> None:
    bakery.query('drop extension if exists "uuid-ossp"')
    # Debian's 15.20 notes this of columns
    bakery.query(
        "update pg_attribute set attoptions = null where attoptions::text ~ '^{pg_attver='"
    )


@pytest.fixture(scope="module")
def prepared(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server of Postgres 15: prod, with the dev data."""
    root = tmp_path_factory.mktemp("bakery")
    shutil.copytree(ROOT / "supabase", root / "supabase")
    bakery, project = begun(home, root)
    try:
        for command in (("migrate", "up"), ("seed",)):
            ran = project.run(*command, url=bakery.url)
            assert ran.code == 0, ran.err
        ran = prod(project, bakery).run("env", "mark", "prod", "--yes")
        assert ran.code == 0, ran.err
        drop_what_no_other_server_has(bakery)
    finally:
        bakery.stop()
    return bakery.home


@pytest.fixture
def old(home: Path, prepared: Path) -> Iterator[Bakery]:
    bakery = started(15, home, prepared)
    yield bakery
    bakery.stop()


@pytest.fixture(scope="module")
def kinds(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakery]:
    """A server of Postgres 15 with an object of every kind."""
    root = tmp_path_factory.mktemp("kinds")
    (root / "supabase" / "migrations").mkdir(parents=True)
    bakery, project = begun(home, root)
    try:
        project.write("20260101000000_M9_kinds.sql", KINDS.read_text())
        ran = project.run("migrate", "up", url=bakery.url)
        assert ran.code == 0, ran.err
        drop_what_no_other_server_has(bakery)
        yield bakery
    finally:
        bakery.stop()


def type_script(script: str, old: Bakery, new: Bakery, tools: Binaries, cwd: Path) -> None:
    """Run a script of the page, as the user that owns the servers."""
    done = subprocess.run(
        new.account.command(["/bin/bash", "-euc", script]),
        cwd=cwd,
        env={
            **os.environ,
            "PATH": f"{tools.bin_dir}:{os.environ['PATH']}",
            "OLD": old.server,
            "NEW": new.server,
            "OLD_BIN": str(old.binaries.bin_dir),
            "NEW_BIN": str(new.binaries.bin_dir),
            "OLD_DATA": old.get_data_directory(),
            "NEW_DATA": new.get_data_directory(),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def faults(project: Project) -> dict[str, str]:
    """What `doctor --after-upgrade` names, each with its repair."""
    ran = project.run("doctor", "--after-upgrade", "--env", "prod", "--json")
    bad = [one for one in ran.json["checks"] if one["state"] == "bad"]
    assert ran.code == (1 if bad else 0)
    assert all(one["repair"] for one in bad), bad
    return {one["repair"]: f"{one['name']} {one['detail']}" for one in bad}


def repair(project: Project, new: Bakery, statement: str) -> None:
    if statement.startswith("bakehouse "):
        assert project.run(*statement.split()[1:]).code == 0
    else:
        new.query(statement)


def require_sound(project: Project) -> None:
    """The upgraded database is prod, without drift, and takes an order from webhook to box."""
    assert faults(project) == {}
    for command in ("migrate verify", "smoke"):
        ran = project.run(*command.split(), "--env", "prod")
        assert ran.code == 0, ran.err


def type_last(project: Project, new: Bakery, tools: Binaries) -> None:
    """Type what the page says to do after each way."""
    done = subprocess.run(
        ["/bin/bash", "-euc", LAST],
        cwd=project.root,
        env={
            **os.environ,
            **project.variables,
            "PATH": f"{Path(BAKEHOUSE).parent}:{tools.bin_dir}:{os.environ['PATH']}",
            "NEW": new.server,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


MEMBERSHIP = "grant bakehouse_owner to postgres"
STATISTICS = "analyze"
MARK = "bakehouse env mark prod --yes"
LIMIT = "alter database bakery set statement_timeout = '2min'"


@pytest.mark.parametrize("major", [17, 18])
def test_a_database_is_dumped_and_restored_on_a_later_major(
    home: Path, project: Project, old: Bakery, major: int
) -> None:
    new, tools = started(major, home), binaries_of(17)
    try:
        type_script(FIRST + DUMP, old, new, tools, new.home)
        project = prod(project, new)

        assert set(faults(project)) == {STATISTICS, MARK, LIMIT}
        type_last(project, new, tools)
        require_sound(project)
        assert new.query("select count(*) from public.orders") == 2
    finally:
        new.stop()


@pytest.mark.parametrize("major", [16, 17, 18])
def test_the_doctor_repairs_what_a_dump_by_the_older_major_loses(
    home: Path, project: Project, old: Bakery, major: int
) -> None:
    new = started(major, home)
    try:
        # the roles of Postgres 15 say by whom each membership was granted
        type_script(DUMP, old, new, old.binaries, new.home)
        project = prod(project, new)

        found = faults(project)
        for statement in found:
            repair(project, new, statement)

        assert set(found) == {MEMBERSHIP, STATISTICS, MARK, LIMIT}
        require_sound(project)
    finally:
        new.stop()


@pytest.mark.parametrize(("major", "tools"), [(16, 15), (17, 15), (17, 17), (18, 15), (18, 17)])
def test_no_object_reads_as_drift_because_a_later_major_spells_it_otherwise(
    home: Path, tmp_path: Path, kinds: Bakery, major: int, tools: int
) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    new, project = started(major, home), Project(tmp_path)
    project.write("20260101000000_M9_kinds.sql", KINDS.read_text())
    try:
        type_script(DUMP, kinds, new, binaries_of(tools), new.home)
        new.query(LIMIT)
        verified = project.run("migrate", "verify", "--json", url=new.url)

        assert verified.json.get("drift") == [], verified.out
        assert verified.code == 0
    finally:
        new.stop()


def test_a_cluster_is_upgraded_in_place(home: Path, project: Project, old: Bakery) -> None:
    new, tools = started(17, home), binaries_of(17)
    try:
        type_script(PG_UPGRADE, old, new, tools, new.home)
        new.child_process = None
        new.start()
        project = prod(project, new)

        assert set(faults(project)) == {STATISTICS, MARK}
        type_last(project, new, tools)
        require_sound(project)
        assert new.query("select count(*) from public.orders") == 2
    finally:
        new.stop()


@pytest.mark.parametrize("major", [17, 18])
def test_a_database_moves_to_a_later_major_by_logical_replication(
    home: Path, project: Project, old: Bakery, major: int
) -> None:
    new, tools = started(major, home), binaries_of(17)
    copying, switching = pages.blocks(SECTION.split("\n### ")[3], "sh")
    try:
        type_script(copying, old, new, tools, new.home)
        old.query(
            "with made as ("
            " insert into public.orders (store, id) values ('bannos', 'bannos-2')"
            " returning store, id, stage"
            ") insert into public.stage_events (store, order_id, stage, event_type)"
            " select made.store, made.id, made.stage, 'create' from made"
        )
        old.query(  # a finished job, and no other
            "insert into public.work_archive"
            " (id, created_at, finished_at, retries, topic, payload)"
            " values (500, now(), now(), 0, 'bake', '{}')"
        )
        type_script(switching, old, new, tools, new.home)
        project = prod(project, new)

        found = faults(project)
        behind = [statement for statement in found if "setval" in statement]
        for statement in behind:
            new.query(statement)

        assert set(found) == {STATISTICS, MARK, LIMIT, *behind}
        assert "select setval('public.stage_events_id_seq', max(id & " in " ".join(behind)
        type_last(project, new, tools)
        require_sound(project)
        assert new.query("select count(*) from public.orders") == 3
        assert new.query("select nextval('public.work_queue_id_seq')") == 501
    finally:
        new.stop()
