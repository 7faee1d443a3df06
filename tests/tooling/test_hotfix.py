"""A hotfix goes to prod while staging is ahead. Nobody renames a file.

Around it: signed evidence, an index by hand in prod, and a file that another tool ran on staging.
"""

from pathlib import Path

import pytest

from bakehouse import database
from bakehouse.migrations import catalog
from environments import MAKE, Environments

INDEX = "create index{} late_idx on public.audit_log (at_ts);"
LATE = ("--accept-order", "the hotfix landed first")
ACCEPT_INDEX = (
    *("drift", "accept", "index public.late_idx", "the report was slow"),
    *("--until", "2099-01-01"),
)
BY_HAND = "insert into supabase_migrations.schema_migrations (version, name) values ('{}', '{}')"
BECAUSE = ("--reason", "the tool was not at hand", "--yes")
NO_SHOP = ("--accept-secrets", "no shop yet")


@pytest.fixture
def fleet(environments: Environments) -> Environments:
    """v1 is live everywhere, and all evidence is signed."""
    root = environments.project.root
    (root / ".gitignore").write_text("evidence/\nbackups/\ntaken\n")
    (root / "supabase/migrations/20990101000000_M9_leftover.sql").unlink()
    settings = root / "bakehouse.toml"
    for env in ("staging", "prod"):
        named = f'[{env}]\nsigners = ["hmac"]'
        settings.write_text(settings.read_text().replace(f"[{env}]", named))
    environments = environments.knowing("BAKEHOUSE_SIGNING_SECRET")
    environments.commit()
    for env in ("staging", "prod"):  # an unsigned mark does not count any more
        assert environments.project.run("env", "mark", env).code == 0
    environments.prove()
    release(environments, "v1.0.0")
    return environments


def release(fleet: Environments, tag: str, *accept: str) -> None:
    """Tags the checkout, and deploys to prod and dev."""
    fleet.git("tag", "-a", tag, "-m", tag)
    for env, more in (("prod", (*NO_SHOP, *accept)), ("dev", accept)):
        ran = fleet.run("migrate", "up", *more, env=env)
        assert ran.code == 0, ran.err


def write(fleet: Environments, concept: str, sql: str) -> Path:
    """Writes a migration of milestone M5, named by `migrate new`, and commits it."""
    ran = fleet.project.run("migrate", "new", "M5", concept, "--json")
    path = fleet.project.root / str(ran.json["files"][0])
    path.write_text(sql)
    fleet.commit()
    return path


def prove(fleet: Environments, *accept: str) -> None:
    for command in (("backup", "take"), ("release", "prove", *accept)):
        ran = fleet.run(*command, env="prod")
        assert ran.code == 0, ran.err


def made(fleet: Environments, env: str) -> dict[str, str]:
    with database.connect(fleet.urls[env], "tests") as conn:
        return catalog.made(catalog.objects(conn))


@pytest.mark.slow
def test_a_hotfix_reaches_prod_before_the_release_that_staging_has(fleet: Environments) -> None:
    fleet.git("branch", "next")
    fleet.git("checkout", "--quiet", "next")
    brought = INDEX.format(" if not exists")
    write(fleet, "leftover", MAKE.replace("create table", f"{brought}\ncreate table"))
    fleet.prove()
    fleet.query("prod", INDEX.format(""))
    drifted = fleet.run("gate", "check", env="prod")
    accepted = fleet.run(*ACCEPT_INDEX, env="prod")

    fleet.git("checkout", "--quiet", "-b", "hotfix", "v1.0.0")
    repair = write(fleet, "repair", MAKE.replace("leftover", "repair"))
    unproved = fleet.run("migrate", "up", *NO_SHOP, env="prod")
    early = fleet.run("release", "prove", env="prod")
    prove(fleet)
    checked = fleet.run("gate", "check", env="prod")
    release(fleet, "v1.0.1")

    fleet.git("checkout", "--quiet", "next")
    fleet.git("merge", "--quiet", "--no-edit", "hotfix")
    fleet.query("staging", repair.read_text())
    version, name = repair.stem.split("_", 1)
    fleet.query("staging", BY_HAND.format(version, name))
    fleet.back_up()
    foreign = fleet.run("gate", "check", env="staging")
    adopted = fleet.run("migrate", "repair", "adopt", version, *BECAUSE, env="staging")
    late = fleet.run("migrate", "up", *NO_SHOP, env="prod")
    blind = fleet.run("release", "prove", env="prod")
    prove(fleet, *LATE)
    release(fleet, "v1.1.0", *LATE)

    assert (unproved.code, early.code) == (5, 1)
    assert "promotion: staging has not applied these files" in unproved.err
    assert "no backup is on record" in early.err
    assert (drifted.code, accepted.code) == (4, 0), accepted.err
    assert "passed   index public.late_idx (accepted" in checked.out
    assert "passed   the record is whole and signed" in checked.out
    assert "passed   proved on the restored backup prod-" in checked.out
    assert (foreign.code, adopted.code) == (4, 0), adopted.err
    assert (late.code, blind.code) == (4, 1)
    assert "M5_leftover: out of order, older than" in late.err
    assert "promotion: staging has not applied these files" in late.err
    assert "is not as prod is now" in blind.err
    assert made(fleet, "prod") == made(fleet, "staging") == made(fleet, "dev")
    assert fleet.run("release", "verify", "v1.1.0", env="prod").code == 0
    assert "no drift" in fleet.run("drift", "list", env="prod").out
    assert fleet.run("log", env="staging").code == 0
