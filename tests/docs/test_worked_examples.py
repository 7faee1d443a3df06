"""The worked examples are true: their SQL runs on the dev data, with the shown answers."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from bakehouse.database import Connection

DOCS = Path(__file__).parents[2] / "docs"
# a statement, then \gset or comments with the answer
STEP = re.compile(
    r"^(?!--)(.+?)(?:;|\sas (\w+) \\gset)\n((?:--[^\n]*\n)*)", re.MULTILINE | re.DOTALL
)


def shown(answer: object) -> str:
    """A value as psql shows it."""
    return "t" if answer is True else "" if answer is None else str(answer)


def answers(db: Connection, statement: str) -> list[str]:
    """Returns the rows of the answer, or the refusal."""
    try:
        with db.transaction():
            done = db.execute(statement.encode())
            rows = done.fetchall() if done.description else []
    except psycopg.Error as refusal:
        return [f"{refusal.sqlstate} {refusal.diag.message_hint}"]
    return [" | ".join(map(shown, row)).rstrip() for row in rows]


@pytest.mark.parametrize("page", ["bakery.md", "projects.md"])
def test_the_worked_example_runs_and_answers_as_shown(seeded: Connection, page: str) -> None:
    script = "".join(re.findall(r"```sql\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
    variables: dict[str, str] = {}

    with seeded.transaction(force_rollback=True):
        for statement, name, expected in STEP.findall(script):
            query = statement
            for known, text in variables.items():
                query = query.replace(f":'{known}'", sql.quote(text))
            answer = answers(seeded, query)
            if name:
                (variables[name],) = answer
            else:
                assert answer == [line[2:].strip() for line in expected.splitlines()], statement

    assert STEP.sub("", script).strip() == ""  # the whole page has run
