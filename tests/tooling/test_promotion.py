"""The same bytes from dev to staging to prod, on three real databases, past every gate."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from estate import DROP, MAKE, Estate
from support import value
from tool import Project

FORGE = (
    "update bakehouse.evidence set body = replace(body::text, '\"{}\"', '\"{}\"')::json"
    " where number = 1"
)


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Put the file back as it was."""
    text = path.read_text()
    yield
    path.write_text(text)


def test_the_whole_promotion(estate: Estate) -> None:
    root = estate.project.root
    migrations = root / "supabase" / "migrations"

    # dev: up, and from the start again
    assert estate.run("migrate", "up", env="dev").code == 0
    assert estate.project.run("reset", "--yes").code == 0

    # staging: nothing goes in that was not rehearsed there, with a backup at hand
    blind = estate.run("migrate", "up", env="staging")
    assert blind.code == 5
    assert "rehearsal: these files were not rehearsed" in blind.err
    assert "probe: `cat`: exit 1" in blind.err
    estate.back_up()
    assert estate.run("migrate", "plan", env="staging").code == 0
    up = estate.run("migrate", "up", "--json", env="staging")
    assert up.code == 0, up.err
    assert all(step["ok"] for step in up.json["smoke"])

    # prod: the first release, refused until the secrets are there and the tag is
    first = estate.run("migrate", "up", env="prod")
    assert first.code == 5
    assert "tag: HEAD carries no v* tag" in first.err
    assert "secrets: missing: bannos/webhook, PAGER_KEY" in first.err
    notes = estate.project.run("release", "prepare", "v1.0.0")
    assert "20990101000000_M9_leftover.sql" in notes.out
    assert "git tag -a v1.0.0 -F evidence/v1.0.0.txt" in notes.out
    estate.git("tag", "-a", "v1.0.0", "-F", "evidence/v1.0.0.txt")
    accepted = estate.run("migrate", "up", "--accept-secrets", "no shop yet", env="prod")
    assert accepted.code == 0, accepted.err
    assert "accepted: secrets: missing" in accepted.err
    estate.query(
        "prod", "select app.store_shop_secret('bannos', 'webhook', 'a-secret-of-twenty-letters')"
    )
    estate = estate.knowing("PAGER_KEY")

    # the second release takes a table away
    estate.project.write("20990101000001_M9_gone.sql", DROP)
    estate.commit()
    estate.git("tag", "-a", "v1.1.0", "-m", "v1.1.0")
    estate.refused("staging has not applied these files")
    assert estate.run("migrate", "plan", env="staging").code == 0
    assert estate.run("migrate", "up", env="staging").code == 0

    # every missing fact in turn
    estate.back_up(hours_ago=25)
    estate.refused("the newest is 25 h old, says probe (limit 24 h)")
    estate.back_up()
    estate.git("tag", "-d", "v1.1.0")
    estate.refused("HEAD carries no v* tag")
    estate.git("tag", "v1.1.0")
    estate.refused("v1.1.0 is not annotated")
    estate.git("tag", "-f", "-a", "v1.1.0", "-m", "v1.1.0")
    with kept(root / "supabase" / "seed_dev.sql"):
        (root / "supabase" / "seed_dev.sql").write_text("select 1;\n")
        estate.refused("not committed: supabase/seed_dev.sql")
    with kept(migrations / "20990101000001_M9_gone.sql"):  # behind git's back
        estate.git(
            "update-index", "--assume-unchanged", "supabase/migrations/20990101000001_M9_gone.sql"
        )
        (migrations / "20990101000001_M9_gone.sql").write_text(f"-- a word\n{DROP}")
        estate.refused("not as in v1.1.0: 20990101000001_M9_gone.sql")
    estate.git(
        "update-index", "--no-assume-unchanged", "supabase/migrations/20990101000001_M9_gone.sql"
    )
    with kept(migrations / "20990101000000_M9_leftover.sql"):
        (migrations / "20990101000000_M9_leftover.sql").write_text(MAKE.replace("()", "(id int)"))
        edited = estate.run("migrate", "up", env="prod")
        assert edited.code == 4
        assert "history: 20990101000000 M9_leftover: edited" in edited.err
        assert "tag: not committed" in edited.err
    estate.query("prod", "create table public.by_hand (id int)")
    drifted = estate.run("migrate", "up", env="prod")
    assert drifted.code == 4
    assert "not as the last migration left it, added: column public.by_hand.id" in drifted.err
    assert "promotion: staging applied these files to a catalogue that is not" in drifted.err
    estate.query("prod", "drop table public.by_hand")
    wrong = estate.project.run("migrate", "up", "--env", "prod", url=estate.urls["staging"])
    assert (wrong.code, "this database is staging, not prod" in wrong.err) == (11, True)
    with psycopg.connect(estate.urls["prod"]) as conn:
        conn.execute("select from app.leftover")
        time.sleep(2)
        estate.refused("has been at app.leftover for")
    estate.query("staging", FORGE.format("opened", "Opened"))
    estate.refused("the evidence of staging cannot be used: entry 1")
    estate.query("staging", FORGE.format("Opened", "opened"))

    # then accepted: webhooks held back and let in again, smoke walked, all on record
    check = estate.run("gate", "check", env="prod")
    assert check.code == 0, check.out
    assert "will be paused for up to 15 min: table app.leftover is gone" in check.out
    done = estate.run("migrate", "up", "--json", env="prod")
    assert done.code == 0, done.err
    assert done.json["applied"] == ["20990101000001"]
    assert "webhooks are paused until" in done.err
    with psycopg.connect(estate.urls["prod"]) as conn:
        actions = conn.execute(
            "select action from public.audit_log where action like '%_ingest' order by id"
        ).fetchall()
        assert actions == [("pause_ingest",), ("resume_ingest",)]
        assert value(conn, "select count(*) from app.ingest_pause") == 0
    assert estate.run("migrate", "up", env="prod").out == "nothing to do\n"
    assert estate.run("release", "verify", "v1.1.0", env="prod").code == 0
    assert estate.run("release", "verify", "v1.0.0", env="prod").code == 4
    log = estate.run("log", "--json", env="prod").json
    assert [(run["opened"]["kind"], run["closed"]["outcome"]) for run in log["runs"]] == [
        ("up", "done"),
        ("up", "done"),
    ]
    assert log["runs"][1]["opened"]["tag"] == "v1.1.0"
    assert log["problems"] == []
    assert len(list((root / "evidence").glob("prod-*.json"))) == 2

    (root / "evidence" / "v1.0.0.txt").unlink()
    files = sorted((root / "evidence").glob("prod-*.json"))
    texts = [file.read_text() for file in files]
    files[0].unlink()
    assert estate.run("log", "--save", env="prod").code == 0
    assert [file.read_text() for file in files] == texts

    # and what is on record stays as it was
    estate.query("prod", FORGE.format("opened", "Opened"))
    forged = estate.run("log", env="prod")
    assert (forged.code, "entry 1" in forged.err) == (4, True)
    estate.query("prod", FORGE.format("Opened", "opened"))
    assert estate.run("log", env="prod").code == 0
    estate.query("prod", "delete from bakehouse.evidence where number > 2")  # whole to itself
    cut = estate.run("log", env="prod")
    assert (cut.code, cut.err.count("a file has")) == (4, 2)


def test_only_a_clean_tree_becomes_a_release(project: Project) -> None:
    estate = Estate(project, {})
    project.write("20260101000000_M0_one.sql", "select 1;\n")
    prepare = ("release", "prepare")

    loose = project.run(*prepare, "v1.0.0")
    estate.git("init", "--quiet")
    estate.commit()
    (project.root / "bakehouse.toml").write_text("")
    dirty = project.run(*prepare, "v1.0.0")
    estate.commit()
    odd = project.run(*prepare, "1.0.0")
    first = project.run(*prepare, "v1.0.0", "--json")
    estate.git("tag", "-a", "v1.0.0", "-m", "v1.0.0")
    taken = project.run(*prepare, "v1.0.0")
    project.write("20260101000001_M0_two.sql", "select 2;\n")
    (project.root / ".gitignore").write_text("evidence/\n")
    estate.commit()
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
