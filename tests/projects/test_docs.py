"""The SQL of docs/projects.md runs and answers as shown."""

import re
from pathlib import Path

from psycopg import sql

from bakehouse.database import Connection
from calls import acting_as
from projects.callers import Caller

PAGE = (Path(__file__).parents[2] / "docs" / "projects.md").read_text()
SCRIPT = "".join(re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
# a statement with the variable that stores its answer, or with the answer in comments
STEP = re.compile(
    r"^(?!--)(.+?)(?:;|\sas (\w+) \\gset)\n((?:--[^\n]*\n)*)", re.MULTILINE | re.DOTALL
)


def said(answer: object) -> str:
    """Returns the answer as psql shows it."""
    return "t" if answer is True else "" if answer is None else str(answer)


def test_the_worked_example_runs_and_answers_as_shown(db: Connection, admin: Caller) -> None:
    variables: dict[str, str] = {}

    for statement, name, shown in STEP.findall(SCRIPT):
        query = statement
        for known, text in variables.items():
            query = query.replace(f":'{known}'", sql.quote(text))
        with acting_as(db, "authenticated", admin.account):
            rows = db.execute(query.encode()).fetchall()
        if name:
            variables[name] = str(rows[0][0])
        else:
            answer = [" | ".join(map(said, row)).rstrip() for row in rows]
            assert answer == [line[2:].strip() for line in shown.splitlines()], statement

    assert STEP.sub("", SCRIPT).strip() == ""  # no text is left that did not run
