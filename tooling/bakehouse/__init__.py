"""bakehouse: carries the SQL of this project to a Postgres database, and runs one for dev."""

__version__ = "0.1.0.dev0"
