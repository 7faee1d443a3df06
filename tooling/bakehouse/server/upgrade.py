"""Find what an upgrade of Postgres left behind in a database."""

from collections.abc import Iterator

from psycopg import sql
from psycopg.rows import class_row, tuple_row

from bakehouse.database import Connection, fetch, sql_file, value
from bakehouse.server.platform import Missing

_USED = sql.SQL("select max({column}) from {table}")
# A row of another cell says nothing about the sequence. The role may lack the right to call a
# function of ours.
_USED_OF_CELL = sql.SQL(
    "select max({column} & ((1::bigint << 43) - 1)) from {table}"
    " where {column} >> 43 = (select number from app.cell)"
)


def left_behind(conn: Connection) -> list[Missing]:
    """List the faults of the database itself. platform.missing lists those of the roles."""
    found = fetch(conn, class_row(Missing), sql_file(__package__, "left_behind"))
    return [*found, *_sequences_behind(conn)]


def _sequences_behind(conn: Connection) -> Iterator[Missing]:
    """Compare each sequence with its column: logical replication copies only the column."""
    for schema, table, column, name, by_cell in fetch(
        conn, tuple_row, sql_file(__package__, "sequences")
    ):
        names = {
            "table": sql.Identifier(schema, table),
            "column": sql.Identifier(column),
            "sequence": sql.Identifier(schema, name),
            "text": sql.Literal(f"{schema}.{name}"),
        }
        used = (_USED_OF_CELL if by_cell else _USED).format(**names)
        behind = sql.SQL(
            "select ({used}) > (select last_value - (not is_called)::int from {sequence})"
        )
        repair = sql.SQL("select setval({text}, ({used}))")
        if value(conn, behind.format(**names, used=used).as_bytes(conn)):
            statement = repair.format(**names, used=used).as_string(conn)
            yield Missing(f"sequence {schema}.{name}", "is behind its table", statement)
