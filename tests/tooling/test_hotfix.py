"""A hotfix goes to prod while staging is ahead. Nobody renames a file."""

from pathlib import Path

import pytest

from bakehouse import database
from bakehouse.migrations import catalog
from environments import MAKE, Environments

LATE = ("--accept-order", "the hotfix landed first")
NO_SHOP = ("--accept-secrets", "no shop yet")


@pytest.fixture
def fleet(environments: Environments) -> Environments:
    """v1 is live everywhere."""
    (environments.project.root / ".gitignore").write_text("evidence/\nbackups/\ntaken\n")
    (environments.project.root / "supabase/migrations/20990101000000_M9_leftover.sql").unlink()
    environments.commit()
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
    write(fleet, "leftover", MAKE)
    fleet.prove()

    fleet.git("checkout", "--quiet", "-b", "hotfix", "v1.0.0")
    write(fleet, "repair", MAKE.replace("leftover", "repair"))
    unproved = fleet.run("migrate", "up", *NO_SHOP, env="prod")
    early = fleet.run("release", "prove", env="prod")
    prove(fleet)
    checked = fleet.run("gate", "check", env="prod")
    release(fleet, "v1.0.1")

    fleet.git("checkout", "--quiet", "next")
    fleet.git("merge", "--quiet", "--no-edit", "hotfix")
    fleet.prove()
    late = fleet.run("migrate", "up", *NO_SHOP, env="prod")
    blind = fleet.run("release", "prove", env="prod")
    prove(fleet, *LATE)
    release(fleet, "v1.1.0", *LATE)

    assert (unproved.code, early.code) == (5, 1)
    assert "promotion: staging has not applied these files" in unproved.err
    assert "no backup is on record" in early.err
    assert "passed   proved on the restored backup prod-" in checked.out
    assert (late.code, blind.code) == (4, 1)
    assert "M5_leftover: out of order, older than" in late.err
    assert "promotion: staging applied these files to a catalog that is not" in late.err
    assert "is not as prod is now" in blind.err
    assert made(fleet, "prod") == made(fleet, "staging") == made(fleet, "dev")
    assert fleet.run("release", "verify", "v1.1.0", env="prod").code == 0
    assert fleet.run("log", env="staging").code == 0
