"""The entry point: collects all commands."""

import sys
from typing import Any

import typer

from bakehouse import output
from bakehouse.commands import (
    backups,
    dev,
    docs,
    doctor,
    environments,
    migrate,
    releases,
    retention,
    shop,
)
from bakehouse.errors import BakehouseError

app = typer.Typer(
    help="Apply the migrations of this project to a database, and run a database for dev.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (dev.app, shop.app, retention.app, doctor.app, environments.app, releases.app):
    app.add_typer(group)
for name, group in (
    ("migrate", migrate.app),
    ("env", environments.env_app),
    ("drift", environments.drift_app),
    ("gate", environments.gate_app),
    ("release", releases.release_app),
    ("backup", backups.app),
    ("docs", docs.app),
):
    app.add_typer(group, name=name, no_args_is_help=True)


def main() -> None:
    if "--json" not in sys.argv:
        app()
    try:
        sys.exit(app(standalone_mode=False))
    except Exception as error:
        usage: Any = error
        if not hasattr(usage, "format_message"):  # only a usage error has this method
            raise
        hint = f"`{usage.ctx.command_path} --help` shows the options."
        output.render_error(BakehouseError("usage", usage.format_message(), hint), as_json=True)
        sys.exit(2)
