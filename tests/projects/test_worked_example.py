"""The worked example of the docs answers what it says it does."""

import re

import servers
from bakehouse import environment
from bakehouse.database import Connection
from support import acting_as, value

ROOT = servers.MIGRATIONS.parents[1]
STEP = re.compile(r"```sql\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_sub_projects_are_as_the_docs_show_them(db: Connection) -> None:
    steps = STEP.findall((ROOT / "docs" / "subprojects.md").read_text())
    seed = (ROOT / "supabase" / "seed_dev.sql").read_text()
    environment.mark(db, "dev")
    db.execute(seed.replace("begin;", "", 1).replace("commit;", "", 1).encode())
    supervisor = value(db, "select user_id from public.staff_shared where role = 'Supervisor'")

    answers = []
    with acting_as(db, "authenticated", supervisor):
        for statement, _ in steps:
            rows = db.execute(statement.encode()).fetchall()
            answers.append("".join(" | ".join(map(str, row)) + "\n" for row in rows))

    assert answers == [expected for _, expected in steps]
