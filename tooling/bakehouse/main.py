"""The entry point: collects all commands."""

import sys

import typer

from bakehouse import output
from bakehouse.commands import backups, dev, docs, doctor, environments, migrate, releases, shop
from bakehouse.errors import BakehouseError

app = typer.Typer(
    help="Apply the migrations of this project to a database, and run a database for dev.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (dev.app, shop.app, doctor.app, environments.app, releases.app):
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
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # only a usage error has this method
            raise
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path} --help` shows the options." if context else ""
        failure = BakehouseError("usage", error.format_message(), hint)
        output.render_error(failure, as_json=True)
        sys.exit(failure.exit_code)
