"""Reads the pages of the documentation: code, sessions and sections."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "docs", "docs/rpc", "bench")
PAGES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))
WRITTEN = [path for path in PAGES if path.name != "commands.md" and path.parent.name != "rpc"]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(page: str, *languages: str) -> list[str]:
    """The blocks of code in these languages, without the indent of a list."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    return [
        re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        for indent, language, code in found
        if language in languages
    ]


def session(code: str) -> list[tuple[str, str]]:
    """Each command after a `$`, with the output shown below it."""
    parts = re.split(r"^\$ (.*)\n", code, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next heading of the same level."""
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
