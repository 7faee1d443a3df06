"""bakehouse: carries the SQL of this project to a Postgres database, and runs one for dev."""

from importlib.metadata import version

__version__ = version("bakehouse")
