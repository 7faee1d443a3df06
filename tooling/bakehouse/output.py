"""Where words go: results to stdout, talk to stderr, one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bakehouse.errors import BakehouseError

as_json = False  # set once from --json


def say(text: str) -> None:
    """Talk: progress, warnings, where we are. Never a result."""
    print(text, file=sys.stderr, flush=True)


def result(facts: dict[str, Any], text: str = "") -> None:
    """The outcome of a command: `facts` for programs, `text` for people."""
    if as_json:
        print(json.dumps({"ok": True, "code": 0} | facts, default=str))
    elif text:
        show(text)


def show(text: str) -> None:
    """What people want to see even when the command is about to fail."""
    if not as_json:
        print(text)


def failure(error: BakehouseError) -> None:
    """The outcome of a command that stopped."""
    if as_json:
        facts = {"ok": False, "code": error.exit_code, "kind": error.kind}
        facts |= {"error": error.message, "hint": error.hint} | error.facts
        print(json.dumps(facts, default=str))
    else:
        say(f"error: {error.message}")
        if error.hint:
            say(f"  {error.hint}")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns; the last one is free to run on."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
    return "\n".join(lines)
