"""docs/commands.md agrees with the help of the commands."""

import shutil
from pathlib import Path

import typer

from bakehouse.commands import manual
from bakehouse.errors import EXIT_CODES
from bakehouse.main import app
from command import Project

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text()


def test_the_page_is_what_the_commands_say() -> None:
    assert manual.render(typer.main.get_command(app)) == PAGE, "write it: bakehouse docs commands"


def test_the_page_has_every_exit_code() -> None:
    for kind, code in EXIT_CODES.items():
        assert f"| {code} | `{kind}` | " in PAGE


def test_a_default_that_the_environment_sets_stays_out_of_the_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    project = Project(tmp_path, {"BAKEHOUSE_PORT": "1", "BAKEHOUSE_SKIP": "V127"})

    assert project.run("docs", "commands").code == 0
    assert (tmp_path / "docs" / "commands.md").read_text() == PAGE


def test_the_command_notices_a_stale_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "supabase", tmp_path / "supabase")
    project, page = Project(tmp_path), tmp_path / "docs" / "commands.md"

    missing = project.run("docs", "commands", "--check")
    written = project.run("docs", "commands")
    current = project.run("docs", "commands", "--check")
    page.write_text(page.read_text() + "and more\n")
    stale = project.run("docs", "commands", "--check")

    assert (missing.code, written.code, current.code, stale.code) == (4, 0, 0, 4), written.err
