"""Every link in the pages works, and every command in the pages exists."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from docs import pages
from docs.pages import ROOT

# in this text, a word in capitals stands for a value
COMMAND = re.compile(r"bakehouse ((?:[a-z]+ )?[a-z]+(?: [^`\n#|]*)?)")


@pytest.mark.parametrize("path", pages.PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def shown(page: str) -> set[str]:
    """The commands in code blocks and in inline code."""
    code = [
        *re.findall(r"`([^`\n]+)`", page),
        *re.findall(r"^(?: {4,}|\$ )(.*)$", page, re.MULTILINE),
    ]
    return {found.strip() for one in code for found in COMMAND.findall(one)}


@cache
def manual() -> dict[str, str]:
    """The text of each command in docs/commands.md, which is generated."""
    sections = pages.read("docs/commands.md").split("\n## bakehouse ")[1:]
    return {name: text for name, _, text in (one.partition("\n") for one in sections)}


@pytest.mark.parametrize("path", pages.WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_exists(path: Path) -> None:
    wrong = []
    for command in sorted(shown(path.read_text())):
        words = shlex.split(command, comments=True)
        names = {" ".join(words[:2]), words[0]} & manual().keys()
        is_group = any(name.startswith(f"{command} ") for name in manual())
        options = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
        if not is_group and not any(
            all(f"`{option}" in manual()[name] for option in options) for name in names
        ):
            wrong.append(command)

    assert wrong == []


def test_the_readme_stays_short() -> None:
    assert len(pages.read("README.md").splitlines()) <= 150


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", pages.read("Makefile"), re.MULTILINE))
    named = {
        target
        for path in pages.WRITTEN
        for target in re.findall(r"(?:`|^    )make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }

    assert named
    assert named <= targets


def test_every_quoted_message_is_one_of_the_tool() -> None:
    code = "".join(path.read_text() for path in ROOT.glob("tooling/bakehouse/**/*.py"))
    quoted = re.findall(r'"([^"]+)"', pages.read("docs/troubleshooting.md"))

    assert quoted
    assert [text for text in quoted if text.removesuffix(" ...") not in code] == []
