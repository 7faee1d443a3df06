"""The same files pass every gate, from dev to staging to prod, on three real databases."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from command import Project
from environments import DROP, MAKE, Environments
from rows import value

MADE, GONE = "20990101000000_M9_leftover.sql", "20990101000001_M9_gone.sql"
FORGE = (
    "update bakehouse.evidence set body = replace(body::text, '\"{}\"', '\"{}\"')::json"
    " where number = 1"
)


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Changes the file, and restores it afterwards."""
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


@pytest.mark.slow
def test_dev_is_migrated_and_reset_without_a_gate(environments: Environments) -> None:
    up = environments.run("migrate", "up", env="dev")
    reset = environments.project.run("reset", "--yes")

    assert (up.code, reset.code) == (0, 0), up.err + reset.err


@pytest.mark.slow
def test_staging_needs_a_rehearsal_and_a_backup(environments: Environments) -> None:
    blind = environments.run("migrate", "up", env="staging")
    environments.back_up()
    plan = environments.run("migrate", "plan", env="staging")
    up = environments.run("migrate", "up", "--json", env="staging")

    assert blind.code == 5
    assert "rehearsal: these files were not rehearsed" in blind.err
    assert "probe: `cat`: exit 1" in blind.err
    assert (plan.code, up.code) == (0, 0), plan.err + up.err
    assert all(step["ok"] for step in up.json["smoke"])


@pytest.mark.slow
def test_the_first_release_needs_its_secrets_and_its_tag(proved: Environments) -> None:
    refused = proved.run("migrate", "up", env="prod")
    notes = proved.project.run("release", "prepare", "v1.0.0")
    proved.git("tag", "-a", "v1.0.0", "-F", "evidence/v1.0.0.txt")
    accepted = proved.run("migrate", "up", "--accept-secrets", "no shop yet", env="prod")

    assert refused.code == 5
    assert "tag: HEAD carries no v* tag" in refused.err
    assert "secrets: missing: bannos/webhook, PAGER_KEY" in refused.err
    assert MADE in notes.out
    assert "git tag -a v1.0.0 -F evidence/v1.0.0.txt" in notes.out
    assert accepted.code == 0, accepted.err
    assert "accepted: secrets: missing" in accepted.err


@pytest.fixture
def ready(launched: Environments) -> Environments:
    """The second release drops a table. It may go to prod, because the secrets exist."""
    launched.query(
        "prod", "select app.store_shop_secret('bannos', 'webhook', 'a-secret-of-twenty-letters')"
    )
    return launched.knowing("PAGER_KEY")


@pytest.mark.slow
def test_prod_needs_a_proof_a_backup_and_a_tag_of_these_very_files(ready: Environments) -> None:
    supabase = ready.project.root / "supabase"

    ready.back_up(hours_ago=25)
    ready.refused("the newest is 25 h old, says probe (limit 24 h)")
    ready.back_up()
    ready.git("tag", "-d", "v1.1.0")
    ready.refused("HEAD carries no v* tag")
    ready.git("tag", "v1.1.0")
    ready.refused("v1.1.0 is not annotated")
    ready.git("tag", "-f", "-a", "v1.1.0", "-m", "v1.1.0")
    with changed(supabase / "seed_dev.sql", "select 1;\n"):
        ready.refused("not committed: supabase/seed_dev.sql")
    with changed(supabase / "migrations" / GONE, f"-- a word\n{DROP}"):
        # hides the change from git
        ready.git("update-index", "--assume-unchanged", f"supabase/migrations/{GONE}")
        ready.refused(f"not as in v1.1.0: {GONE}")
    ready.project.write("20990101000002_M9_again.sql", MAKE)
    ready.commit()
    ready.git("tag", "-a", "v1.2.0", "-m", "v1.2.0")
    ready.refused("staging has not applied these files")


@pytest.mark.slow
def test_prod_refuses_when_a_file_a_database_or_a_record_was_changed(ready: Environments) -> None:
    made = ready.project.root / "supabase" / "migrations" / MADE

    with changed(made, MAKE.replace("()", "(id int)")):
        edited = ready.run("migrate", "up", env="prod")
    ready.query("prod", "create table public.by_hand (id int)")
    drifted = ready.run("migrate", "up", env="prod")
    ready.query("prod", "drop table public.by_hand")
    wrong = ready.project.run("migrate", "up", "--env", "prod", url=ready.urls["staging"])
    with psycopg.connect(ready.urls["prod"]) as conn:
        conn.execute("select from app.leftover")
        time.sleep(2)
        ready.refused("has held app.leftover for")
    ready.query("staging", FORGE.format("opened", "Opened"))
    ready.refused("the evidence of staging cannot be used: entry 1")

    assert (edited.code, drifted.code, wrong.code) == (4, 4, 11)
    assert "history: 20990101000000 M9_leftover: edited" in edited.err
    assert "tag: not committed" in edited.err
    assert "not as the last migration left it, added: column public.by_hand.id" in drifted.err
    assert "promotion" not in drifted.err
    assert "this database is staging, not prod" in wrong.err


@pytest.mark.slow
def test_an_accepted_release_pauses_webhooks_and_is_recorded(ready: Environments) -> None:
    check = ready.run("gate", "check", env="prod")
    done = ready.run("migrate", "up", "--json", env="prod")
    again = ready.run("migrate", "up", env="prod")
    verified = [ready.run("release", "verify", tag, env="prod") for tag in ("v1.1.0", "v1.0.0")]
    log = ready.run("log", "--json", env="prod").json

    assert check.code == 0, check.out
    assert "will be paused for up to 15 min: table app.leftover is gone" in check.out
    assert done.code == 0, done.err
    assert done.json["applied"] == ["20990101000001"]
    assert "webhooks are paused until" in done.err
    with psycopg.connect(ready.urls["prod"]) as conn:
        actions = conn.execute(
            "select action from public.audit_log where action like '%_ingest' order by id"
        ).fetchall()
        assert actions == [("pause_ingest",), ("resume_ingest",)]
        assert value(conn, "select count(*) from app.ingest_pause") == 0
    assert again.out == "nothing to do\n"
    assert [ran.code for ran in verified] == [0, 4]
    assert [(run["opened"]["kind"], run["closed"]["outcome"]) for run in log["runs"]] == [
        ("up", "done"),
        ("up", "done"),
    ]
    assert log["runs"][1]["opened"]["tag"] == "v1.1.0"
    assert log["problems"] == []
    assert len(list((ready.project.root / "evidence").glob("prod-*.json"))) == 2


@pytest.mark.slow
def test_the_log_restores_lost_files_and_reports_changed_records(ready: Environments) -> None:
    assert ready.run("migrate", "up", env="prod").code == 0
    files = sorted((ready.project.root / "evidence").glob("prod-*.json"))
    texts = [file.read_text() for file in files]

    files[0].unlink()
    saved = ready.run("log", "--save", env="prod")
    restored = [file.read_text() for file in files]
    ready.query("prod", FORGE.format("opened", "Opened"))
    forged = ready.run("log", env="prod")
    ready.query("prod", FORGE.format("Opened", "opened"))
    whole = ready.run("log", env="prod")
    ready.query("prod", "delete from bakehouse.evidence where number > 2")
    cut = ready.run("log", env="prod")

    assert (saved.code, restored) == (0, texts)
    assert (forged.code, "entry 1" in forged.err) == (4, True)
    assert whole.code == 0
    assert (cut.code, cut.err.count("the database lacks the entry")) == (4, 2)


def test_only_a_clean_tree_becomes_a_release(project: Project) -> None:
    environments = Environments(project, {})
    project.write("20260101000000_M0_one.sql", "select 1;\n")
    prepare = ("release", "prepare")

    loose = project.run(*prepare, "v1.0.0")
    environments.git("init", "--quiet")
    environments.commit()
    (project.root / "bakehouse.toml").write_text("")
    dirty = project.run(*prepare, "v1.0.0")
    environments.commit()
    odd = project.run(*prepare, "1.0.0")
    first = project.run(*prepare, "v1.0.0", "--json")
    environments.git("tag", "-a", "v1.0.0", "-m", "v1.0.0")
    taken = project.run(*prepare, "v1.0.0")
    project.write("20260101000001_M0_two.sql", "select 2;\n")
    (project.root / ".gitignore").write_text("evidence/\n")
    environments.commit()
    second = project.run(*prepare, "v1.1.0", "--json")

    assert [ran.code for ran in (loose, dirty, odd, taken)] == [5, 5, 5, 5]
    assert "no git checkout" in loose.err
    assert "not committed: bakehouse.toml" in dirty.err
    assert "'1.0.0' is no release" in odd.err
    assert "v1.0.0 exists" in taken.err
    assert first.json["migrations"] == ["20260101000000_M0_one.sql"]
    assert (second.json["since"], second.json["migrations"]) == (
        "v1.0.0",
        ["20260101000001_M0_two.sql"],
    )
