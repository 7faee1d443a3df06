"""Months of the tables that have a partition for each."""

from datetime import UTC, datetime

from psycopg import sql

from bakehouse.database import Connection


def months_between(when: datetime, number: int) -> datetime:
    """The first day of the month in UTC so many months later."""
    when = when.astimezone(UTC)
    months = when.year * 12 + when.month - 1 + number
    return when.replace(year=months // 12, month=months % 12 + 1, day=1)


def month_of(when: datetime, later: int = 0) -> str:
    """The end of the name of a month, such as 2026_11."""
    return f"{months_between(when, later):%Y_%m}"


def cut(db: Connection, *names: str) -> None:
    """Takes months away, as `bakehouse retention` does, but in this transaction."""
    for name in names:
        db.execute("select app.begin_after_month(%s)", (name,))
        db.execute(
            sql.SQL("alter table public.{} detach partition public.{}").format(
                sql.Identifier(name[:-8]), sql.Identifier(name)
            )
        )
