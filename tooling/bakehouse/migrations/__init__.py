"""Migration files and the history of a database: read, compare, apply, rehearse."""
