"""Wrong command lines and odd machines get one clear error, for people and for programs."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from bakehouse.main import app, main
from command import Project


def commands(group: Any, *above: str) -> Iterator[tuple[str, ...]]:
    """Yields each group and each command as the words that call it."""
    yield above
    for name, one in getattr(group, "commands", {}).items():
        yield from commands(one, *above, name)


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_a_wrong_option_is_json_if_a_program_asks(project: Project, words: tuple[str, ...]) -> None:
    ran = project.run(*words, "--no-such-option", "--json")

    assert (ran.code, ran.json["code"], ran.json["ok"]) == (2, 2, False)
    assert ran.json["kind"] == "usage"
    assert ran.json["error"].startswith("No such option")
    assert " ".join(("bakehouse", *words, "--help")) in ran.json["hint"]
    assert ran.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("migrate", "down"), "Missing argument"),
        (("migrate", "down", "1", "--lock-wait", "soon"), "Invalid value for '--lock-wait'"),
        (("migrate", "sideways"), "No such command"),
        (("up", "--port", "99999"), "99999 is not in the range"),
    ],
)
def test_a_wrong_value_is_json_if_a_program_asks_and_a_sentence_if_a_person_does(
    project: Project, words: tuple[str, ...], said: str
) -> None:
    program, person = project.run(*words, "--json"), project.run(*words)

    assert (program.code, person.code) == (2, 2)
    assert said in program.json["error"]
    assert "Usage: bakehouse" in person.err
    assert "Traceback" not in person.err


def as_nameless_user() -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    os.setreuid(54321, os.geteuid())  # still reads the files of this checkout
    main()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
def test_a_user_without_a_name_can_work(project: Project, blank: str) -> None:
    project.write("20260101000000_M0_one.sql", "select 1;\n")

    running = project.start("migrate", "up", url=blank, run=as_nameless_user)
    _, err = running.communicate()
    log = project.run("log", "--json", url=blank).json

    assert running.returncode == 0, err
    assert [run["opened"]["by"]["os_user"] for run in log["runs"]] == ["uid 54321"]
