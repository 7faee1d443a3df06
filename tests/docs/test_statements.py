"""The SQL for operators runs under the roles that the pages name."""

from uuid import UUID

import pytest

from bakehouse.database import Connection
from bakehouse.migrations import sqltext
from calls import acting_as
from docs import pages
from rows import value

DEV_ADMIN = UUID("00000000-0000-4000-8000-000000000001")
FIRST_ADMIN = UUID("00000000-0000-4000-8000-0000000000a1")


@pytest.mark.parametrize(
    ("page", "admin"),
    [("docs/deploying.md", FIRST_ADMIN), ("docs/operating.md", DEV_ADMIN)],
)
def test_an_admin_calls_rpcs_and_the_migration_role_does_the_rest(
    seeded: Connection, page: str, admin: UUID
) -> None:
    statements = sqltext.split("".join(pages.blocks(pages.read(page), "sql")))

    with seeded.transaction(force_rollback=True):
        for statement in statements:
            if "insert" in statement.words or "app." in statement.text:
                seeded.execute(statement.text.encode())
                continue
            with acting_as(seeded, "authenticated", admin):
                seeded.execute(statement.text.encode())

        if page == "docs/deploying.md":
            assert value(seeded, "select app.setting('bannos', 'inventory_tracking_enabled')")
        else:
            assert value(seeded, "select approved from staff_shared where full_name = 'New Baker'")
            assert value(seeded, "select reason from app.ingest_pause") == "moving to a new server"
