"""The entry point: collects all commands."""

import typer

from bakehouse.commands import backups, dev, docs, doctor, environments, migrate, releases, shop

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
    app()
