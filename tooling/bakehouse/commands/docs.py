"""The commands that generate documentation: docs rpc and docs commands."""

from pathlib import Path
from typing import Annotated

import typer

from bakehouse.commands.context import Database, Project, command
from bakehouse.errors import BakehouseError
from bakehouse.output import Result

app = typer.Typer(help="Generate documentation from the database and from this tool.")
_Check = Annotated[bool, typer.Option("--check", help="Write nothing. Exit 4 if stale.")]


@command(app, "rpc")
def rpc(here: Database, check: _Check = False) -> Result:
    """Generate docs/rpc/, the reference of every function, from the database and the examples."""
    from bakehouse.rpc import reference  # imported here: other commands start faster without it

    docs = here.root / "docs"
    with here.connected() as conn:
        pages = reference.render(reference.gather(conn, docs / "examples"))
    folder = docs / "rpc"
    outdated = {path: None for path in folder.glob("*.md") if path.name not in pages}
    wanted = {folder / name: text for name, text in pages.items()}
    return _write(outdated | wanted, "docs/rpc/", here.command, check)


@command(app, "commands")
def commands(here: Project, check: _Check = False) -> Result:
    """Generate docs/commands.md, the reference of every command, from this tool."""
    from bakehouse.commands import manual  # imported here, as above

    page = manual.render(here.click.find_root().command)
    return _write(
        {here.root / "docs" / "commands.md": page}, "docs/commands.md", here.command, check
    )


def _write(pages: dict[Path, str | None], what: str, command: str, check: bool) -> Result:
    """Write the pages that have changed, and delete pages that are no longer generated."""
    stale = [
        path
        for path, text in pages.items()
        if (path.read_text() if path.is_file() else None) != text
    ]
    if stale and check:
        raise BakehouseError("drift", f"{what} is stale", f"Run `bakehouse {command}`.")
    for path in stale:
        text = pages[path]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if text is None else path.write_text(text)
    return Result({"changed": bool(stale)}, f"wrote {what}" if stale else f"{what} is current")
