"""Comments, messages and pages use no word that docs/conventions.md forbids."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs import pages
from docs.pages import ROOT

TABLE = pages.read("docs/conventions.md").split("\n### Words\n", 1)[1].split("\n## ", 1)[0]
BANNED = [
    word
    for row in re.findall(r"^\| (.+?) \| .+ \|$", TABLE, re.MULTILINE)
    for word in row.split(", ")
    if word not in ("Not", "---")
]
WORD = re.compile(
    rf"\b({'|'.join(map(re.escape, BANNED))})\b".replace(r"\ ", r"\s+"), re.IGNORECASE
)
WRITTEN = [
    path
    for part in ("tooling", "supabase", "tests", "bench", "docs")
    for path in sorted([*ROOT.glob(f"{part}/**/*.py"), *ROOT.glob(f"{part}/**/*.sql")])
    if "node_modules" not in path.parts and path != Path(__file__)
]


def python_prose(code: str) -> Iterator[str]:
    """Comments, and texts of more than one word."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def sql_prose(code: str) -> Iterator[str]:
    """Comments, and texts of more than one word."""
    for comment, text in re.findall(r"--([^\n]*)|'((?:[^']|'')*)'", code):
        yield comment or (text if " " in text else "")


def page_prose(page: str) -> Iterator[str]:
    """The page without its code and without the table of words."""
    yield re.sub(r"^ *```.*?^ *```$|`[^`]*`", "", page.replace(TABLE, ""), flags=re.M | re.S)


@pytest.mark.parametrize(
    "path", [*WRITTEN, *pages.PAGES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_refused_word_is_used(path: Path) -> None:
    read = {".py": python_prose, ".sql": sql_prose, ".md": page_prose}[path.suffix]

    assert [found for text in read(path.read_text()) for found in WORD.findall(text)] == []


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (python_prose, "x = 1  # mended"),
        (python_prose, 'say("This is not\\n  to be had.")'),
        (sql_prose, "select 1; -- who climbs"),
        (sql_prose, "comment on table a is 'Goes on anew, as''t were.'"),
        (page_prose, "The double\nof it."),
    ],
)
def test_a_refused_word_is_found(read: Callable[[str], Iterator[str]], text: str) -> None:
    assert any(WORD.search(found) for found in read(text))


def test_a_name_in_code_is_no_prose() -> None:
    assert not any(WORD.search(found) for found in sql_prose("select app.settle(mend, 'anew')"))
