"""Rolling back the newest migration: the loss is counted, and prod needs a confirmation."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import dumps
from bakehouse.server.binaries import installed_binaries
from command import Project, query

FIRST = "20260101000000_M0_cakes.sql"
SECOND = "20260101000001_M0_icing.sql"
CAKES = """begin;
create table public.cakes (id int, name text, price int);
insert into public.cakes values (1, 'plum', 9), (2, 'nut', null), (3, 'lemon', 7);
commit;
"""
ICING = """begin;
alter table public.cakes add column icing text;
update public.cakes set icing = 'white' where id > 1;
create table public.tins (id int);
insert into public.tins values (1), (2), (3), (4);
commit;
"""
SCRAPE = """begin;
drop table public.tins;
alter table public.cakes drop column icing;
commit;
"""


@pytest.fixture
def baked(project: Project, blank: str) -> Project:
    """Two migrations applied in dev. The second has a down script."""
    (project.root / "supabase" / "down").mkdir()
    project.write(FIRST, CAKES)
    project.write(SECOND, ICING)
    way_back(project, SCRAPE)
    configured = project.configure("dev", blank)
    assert configured.run("migrate", "up").code == 0
    return configured


def way_back(project: Project, text: str, name: str = SECOND) -> Path:
    path = project.root / "supabase" / "down" / name
    path.write_text(text)
    return path


def url(project: Project) -> str:
    return project.variables["BAKEHOUSE_DEV_URL"]


@pytest.fixture
def prod(baked: Project) -> Project:
    configured = baked.configure("prod", url(baked))
    assert configured.run("env", "mark", "prod", "--yes", url=url(baked)).code == 0
    return configured


def test_the_newest_migration_is_rolled_back_and_can_be_applied_again(baked: Project) -> None:
    ran = baked.run("migrate", "down", "20260101000001")

    assert ran.code == 0, ran.err
    assert ran.out == (
        "rolled back 20260101000001_M0_icing\n"
        "lost column public.cakes.icing: 2 values\nlost table public.tins: 4 rows\n"
    )
    assert baked.run("migrate", "status", "--check").code == 3
    assert baked.run("migrate", "verify").code == 0
    assert baked.run("migrate", "up").out == "applied 1 migration\n"


@pytest.mark.parametrize(
    ("script", "lost"),
    [
        ("delete from public.cakes where id < 3", ["table public.cakes: 2 of 3 rows"]),
        ("truncate public.cakes", ["table public.cakes: 3 of 3 rows"]),
        ("update public.cakes set price = null", ["column public.cakes.price: 2 values"]),
        ("do $$ begin execute 'drop table public.tins'; end $$", ["table public.tins: 4 rows"]),
        ("create index on public.cakes (id)", []),
    ],
)
def test_lost_rows_are_counted_for_every_way_to_lose_them(
    baked: Project, script: str, lost: list[str]
) -> None:
    way_back(baked, f"begin;\n{script};\ncommit;\n")

    assert baked.run("migrate", "down", "20260101000001", "--json").json["lost"] == lost


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [
        ("20260101000000", 2, "the newest is 20260101000001 M0_icing"),
        ("20990101000000", 2, "the newest is 20260101000001 M0_icing"),
    ],
)
def test_only_the_newest_migration_can_be_rolled_back(
    baked: Project, version: str, code: int, said: str
) -> None:
    ran = baked.run("migrate", "down", version)

    assert (ran.code, said in ran.err) == (code, True)


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (None, 2, "has no down script"),
        (
            "begin;\ndrop table public.tins;\ndrop table public.pies;\ncommit;\n",
            7,
            "M0_icing.sql:3",
        ),
        ("drop table public.tins;\ncommit;\n", 6, "has no begin"),
        ("drop index concurrently public.i;\n", 6, "cannot run in a transaction"),
    ],
)
def test_a_failing_down_script_changes_nothing(
    baked: Project, script: str | None, code: int, said: str
) -> None:
    path = way_back(baked, script or "")
    if script is None:
        path.unlink()

    ran = baked.run("migrate", "down", "20260101000001")

    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert query(url(baked), "select count(*) from public.tins") == [(4,)]
    assert baked.run("migrate", "status", "--check").code == 0


@pytest.fixture
def dumpable(blank: str) -> None:
    """Skips the test where no pg_dump here can read the server."""
    with psycopg.connect(blank) as conn:
        major = conn.info.server_version // 10000
    newest = max(binaries.version for binaries in installed_binaries())
    if newest < major:
        pytest.skip(f"pg_dump {newest} cannot read Postgres {major}")


@pytest.mark.usefixtures("dumpable")
def test_prod_needs_a_fresh_backup_and_its_name_and_shows_the_loss(prod: Project) -> None:
    name = str(conninfo_to_dict(url(prod))["dbname"])
    command = ("migrate", "down", "20260101000001", "--env", "prod")

    bare = prod.run(*command, "--json")
    assert prod.run("backup", "take", "--env", "prod").code == 0
    nameless = prod.run(*command)
    wrong = prod.run(*command, "--confirm", "postgres")
    untouched = query(url(prod), "select count(*) from public.tins")
    meant = prod.run(*command, "--confirm", name)

    assert (bare.code, bare.json["lost"][1]) == (5, "table public.tins: 4 rows")
    assert "backup: " in bare.json["error"]
    assert "name: " in bare.json["error"]
    assert (nameless.code, "backup: " in nameless.err, "name: " in nameless.err) == (5, False, True)
    assert "would be lost: table public.tins: 4 rows" in nameless.err
    assert (wrong.code, untouched) == (5, [(4,)])
    assert meant.code == 0, meant.err
    assert "down" in prod.run("log", "--env", "prod").out


@pytest.mark.usefixtures("dumpable")
def test_a_backup_that_is_too_old_is_refused(prod: Project) -> None:
    assert prod.run("backup", "take", "--env", "prod").code == 0
    (file,) = (prod.root / "backups").glob("*.dump")
    dumps.age(url(prod), file, hours=25)
    name = str(conninfo_to_dict(url(prod))["dbname"])

    ran = prod.run("migrate", "down", "20260101000001", "--env", "prod", "--confirm", name)

    assert (ran.code, "25 h old, says bakehouse backup take (limit 24 h)" in ran.err) == (5, True)
