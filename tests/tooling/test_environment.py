"""The environment of a database, and commands that name another environment."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bakehouse.deploy.environment import Identity, Settings, mismatch
from command import Project
from postgres import Server

WRITING = (
    ("seed",),
    ("reset", "--yes"),
    ("smoke",),
    ("tick",),
    ("work", "--topic", "reconcile", "--once"),
    ("migrate", "up"),
    ("migrate", "plan"),
    ("migrate", "repair", "forget", "20260101000000", "--yes"),
)
PROD = Identity("prod", "dba", "2026-11-21T09:00:00", "7", 5, copied=False)


@pytest.fixture
def prod(project: Project, unmarked: str) -> Project:
    configured = project.configure("prod", unmarked)
    assert configured.run("env", "mark", "prod").code == 0
    return configured


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_an_unmarked_database_is_not_written_to(
    project: Project, unmarked: str, command: tuple[str, ...]
) -> None:
    ran = project.run(*command, url=unmarked)

    assert (ran.code, "this database is not marked" in ran.err) == (11, True)


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_prod_is_written_to_only_with_env_prod(prod: Project, command: tuple[str, ...]) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]

    ran = prod.run(*command, url=url)

    assert ran.code == 11
    assert "this database is prod, not dev" in ran.err
    assert "name it: --env prod" in ran.err


def test_the_given_environment_must_match_the_mark_of_the_database(
    prod: Project, unmarked: str
) -> None:
    configured = prod.configure("staging", unmarked)

    ran = configured.run("migrate", "up", "--env", "staging")

    assert (ran.code, "this database is prod, not staging" in ran.err) == (11, True)
    assert configured.run("migrate", "up", "--env", "prod").out == "nothing to do\n"


def test_a_mark_records_its_account_and_time(prod: Project) -> None:
    shown = prod.run("env", "show", "--env", "prod", "--json").json
    said = prod.run("env", "show", "--env", "prod").out

    assert shown["env"] == "prod"
    assert shown["marked_by"] in said
    assert shown["marked_at"][:10] in said
    assert int(shown["system_identifier"]) > 0
    assert shown["database_oid"] > 0


def test_a_restored_copy_counts_as_a_copy_until_it_is_marked(
    prod: Project, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]
    copy = server.dsn(server.copy(str(conninfo_to_dict(url)["dbname"])))

    shown = prod.run("env", "show", url=copy).out
    refused = prod.run("migrate", "up", "--env", "prod", url=copy)
    asked = prod.run("env", "mark", "dev", "--yes", url=copy)
    marked = prod.run(*unmark(copy), url=copy)

    assert shown.startswith("copy, marked ")
    assert (refused.code, asked.code, marked.code) == (11, 2, 0)
    assert "a copy of one that is prod" in refused.err
    with psycopg.connect(copy) as conn:  # dev does not guard its history
        conn.execute("truncate supabase_migrations.schema_migrations")
    assert prod.run("reset", "--yes", url=copy).code == 0  # this database never was prod
    server.drop(str(conninfo_to_dict(copy)["dbname"]))


@pytest.mark.parametrize(
    "wipe",
    [
        "truncate supabase_migrations.schema_migrations",
        "delete from supabase_migrations.schema_migrations where version = '20260101000000'",
        "delete from supabase_migrations.schema_migrations where false",
    ],
)
def test_the_history_of_production_is_guarded_and_our_repair_goes_through(
    project: Project, blank: str, wipe: str
) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")
    assert project.run("migrate", "up", url=blank).code == 0
    prod = project.configure("prod", blank)
    assert prod.run("env", "mark", "prod", "--yes").code == 0

    with (
        psycopg.connect(blank) as conn,
        pytest.raises(psycopg.errors.RaiseException, match="The history of this prod database"),
    ):
        conn.execute(wipe.encode())
    mended = prod.run("migrate", "repair", "forget", "20260101000000", "--yes", "--env", "prod")

    assert mended.code == 0, mended.err
    log = prod.run("log", "--env", "prod", "--json").json
    assert [run["opened"]["kind"] for run in log["runs"]] == ["up", "mark", "repair"]


def unmark(url: str, **changed: str) -> list[str]:
    """The command that makes a database dev. A changed option may be left out by giving ''."""
    options = {"confirm": str(conninfo_to_dict(url)["dbname"]), "reason": "moved"} | changed
    given = [word for key, text in options.items() if text for word in (f"--{key}", text)]
    return ["env", "mark", "dev", *given]


def test_two_yes_do_not_empty_prod(prod: Project) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]

    marked = prod.run("env", "mark", "dev", "--yes", url=url)
    reset = prod.run("reset", "--yes", url=url)

    assert (marked.code, reset.code) == (2, 11)
    assert "--yes does not confirm this" in marked.err
    assert prod.run("env", "show", url=url).out.startswith("prod, ")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"confirm": ""}, "pass --confirm"),
        ({"confirm": "elsewhere"}, "is not called elsewhere"),
        ({"reason": ""}, "pass --reason"),
        ({"reason": "  "}, "pass --reason"),
    ],
)
def test_prod_becomes_dev_only_with_its_name_and_a_reason(
    prod: Project, changed: dict[str, str], said: str
) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]

    ran = prod.run(*unmark(url, **changed), url=url)

    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert prod.run("env", "show", url=url).out.startswith("prod, ")
    with (
        psycopg.connect(url) as conn,  # the guard of its history stands
        pytest.raises(psycopg.errors.RaiseException, match="guarded"),
    ):
        conn.execute("truncate supabase_migrations.schema_migrations")


def test_a_changed_mark_is_on_record_with_its_account_and_reason(prod: Project) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]

    assert prod.run(*unmark(url, reason="the shop moved to Sydney"), url=url).code == 0

    shown = prod.run("env", "show", "--json", url=url).json
    said = prod.run("env", "show", url=url).out
    assert [one["env"] for one in shown["earlier"]] == ["prod"]
    assert shown["reason"] == "the shop moved to Sydney"
    assert shown["who"]["os_user"]
    assert "the shop moved to Sydney" in said
    assert "before: prod, marked " in said


def test_a_database_that_was_prod_is_reset_only_with_a_reason(prod: Project) -> None:
    url = prod.variables["BAKEHOUSE_PROD_URL"]
    assert prod.run(*unmark(url), url=url).code == 0

    refused = prod.run("reset", "--yes", url=url)
    done = prod.run("reset", "--yes", "--once-prod", "sold to nobody", url=url)
    again = prod.run("reset", "--yes", url=url)

    assert (refused.code, done.code, again.code) == (2, 0, 2), done.err
    assert "was prod" in refused.err
    assert "--once-prod" in refused.err
    assert "reset: sold to nobody" in prod.run("env", "show", url=url).out


def test_changing_a_mark_of_dev_needs_yes(project: Project, unmarked: str) -> None:
    configured = project.configure("prod", unmarked)
    assert configured.run("env", "mark", "dev", url=unmarked).code == 0

    assert configured.run("env", "mark", "production", url=unmarked).code == 2
    assert configured.run("env", "mark", "prod", url=unmarked).code == 2
    assert configured.run("env", "mark", "prod", "--yes", url=unmarked).code == 0


def test_only_the_database_named_in_bakehouse_toml_can_be_marked(
    project: Project, server: Server, unmarked: str
) -> None:
    configured = project.configure("prod", make_conninfo(unmarked, dbname="elsewhere"))

    ran = configured.run("env", "mark", "prod", url=unmarked)

    assert (ran.code, "bakehouse.toml expects elsewhere" in ran.err) == (11, True)
    assert configured.run("env", "show", url=unmarked).out == "not marked\n"


@pytest.mark.parametrize(
    ("identity", "settings", "why"),
    [
        (None, Settings("prod"), "this database is not marked"),
        (PROD, Settings("staging"), "this database is prod, not staging"),
        (
            Identity("prod", "dba", "", "7", 5, copied=True, why="this is a copy"),
            Settings("prod"),
            "this is a copy",
        ),
        (
            PROD,
            Settings("prod", host=("b", "c")),
            "its host is a, and bakehouse.toml expects b or c",
        ),
        (PROD, Settings("prod", database="y"), "its database is x, and bakehouse.toml expects y"),
        (PROD, Settings("prod", host=("b", "a"), database="x"), ""),
    ],
)
def test_every_mismatch_names_its_reason(
    identity: Identity | None, settings: Settings, why: str
) -> None:
    assert mismatch(identity, settings, "a", "x") == why


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("", "bakehouse.toml has no [prod]"),
        ("[prod\n", "bakehouse.toml cannot be read"),
        ('[prod]\nurl = "X"\n', "[prod] lacks host, database"),
        ('[prod]\npassword = "X"\n', "[prod] has no setting 'password'"),
        ('[prod]\nbackup_hours = "X"\n', "[prod] backup_hours cannot be 'X'"),
        ("[prod]\nhost = 5432\n", "[prod] host cannot be 5432"),
        ('[prod]\nurl = "X"\nhost = "h"\ndatabase = "d"\n', "X, which holds the URL of prod"),
    ],
)
def test_invalid_settings_in_bakehouse_toml_are_refused(
    project: Project, toml: str, said: str
) -> None:
    (project.root / "bakehouse.toml").write_text(toml)

    ran = project.run("migrate", "status", "--env", "prod")

    assert (ran.code, said in ran.err) == (2, True), ran.err
