"""Where output goes: results to stdout, messages to stderr, one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import BakehouseError


@dataclass(frozen=True)
class Result:
    """What a command found or did. With an error, the command shows the text and then fails."""

    facts: dict[str, Any]  # the JSON object for programs
    text: str = ""  # the text for people
    error: BakehouseError | None = None


def say(text: str) -> None:
    """Print progress and warnings to stderr. Results go through `render`."""
    print(text, file=sys.stderr, flush=True)


def render(result: Result, as_json: bool) -> None:
    """Print the result of a command, or raise its error with the facts of the result."""
    if result.text and not as_json:
        print(result.text)
    if result.error:
        result.error.facts |= result.facts
        raise result.error
    if as_json:
        print(json.dumps({"ok": True, "code": 0} | result.facts, default=str))


def render_error(error: BakehouseError, as_json: bool) -> None:
    """Print why a command stopped."""
    if as_json:
        facts: dict[str, object] = {"ok": False, "code": error.exit_code, "kind": error.kind}
        facts |= {"error": error.message, "hint": error.hint} | error.facts
        print(json.dumps(facts, default=str))
    else:
        say(f"error: {error.message}")
        if error.hint:
            say(f"  {error.hint}")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Align the columns. The last column is not padded."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, and an empty line."""
    for row in (header, ["---"] * len(header), *rows):
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
