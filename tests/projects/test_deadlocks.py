"""Calls that once waited for each other: sorting, new rows, deleting a list or a project."""

from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import psycopg
import pytest

from calls import acting_as
from orders.races import Call, held_up, wait_for_waiting
from projects.callers import Caller, caller, calling, switch
from rows import value, values

WAITS: LiteralString = """
select exists (
  select from pg_stat_activity
  where datname = current_database() and query like %s and cardinality(pg_blocking_pids(pid)) > 0
  and pid <> pg_backend_pid()
)
"""


def make(dsn: str, call: Call) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("set lock_timeout = '10s'")
        with acting_as(conn, call.role, call.account):
            conn.execute(call.query, call.parameters)


@pytest.mark.parametrize("function", ["create_assignment_with_closure", "add_task_dependency"])
def test_a_task_that_is_being_sorted_can_be_used(clone: str, function: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        tasting, sketch = api.task("Tasting"), api.task("Sketch")
        first = api.project() if function.startswith("create") else sketch

    with psycopg.connect(clone) as sorting:
        sorted_tasks = Caller(sorting, api.account)("reorder_tasks_by", "reverse")
        make(clone, calling(api.account, function, first, tasting))

    assert sorted_tasks == 2


def test_projects_are_sorted_while_their_list_is_deleted(clone: str) -> None:
    with psycopg.connect(clone) as db:
        admin = caller(db, "Admin")
        switch(db, "true")
        stages = str(admin("create_entity", "stages", "Stage")["uuid"])
        admin("trash_entity", stages)
        late, early = sorted(admin.project(name) for name in ("Wedding", "Birthday"))
        admin("update_project", early, {"status_entity_uuid": stages})

    with ThreadPoolExecutor() as pool:
        use = calling(admin.account, "update_project", late, {"status_entity_uuid": stages})
        with held_up(clone, use, calling(admin.account, "delete_entity", stages)):
            sort = calling(admin.account, "reorder_projects", [late, early])
            sorting = pool.submit(make, clone, sort)
            with psycopg.connect(clone, autocommit=True) as watcher:
                while not value(watcher, WAITS, "%reorder_projects%"):
                    assert not sorting.done()
        sorting.result()

    with psycopg.connect(clone) as db:
        assert values(db, "select status_entity_uuid from public.projects") == [None, None]


@pytest.mark.parametrize("inside", [False, True])
def test_a_project_and_a_copy_of_it_are_deleted_at_once(clone: str, inside: bool) -> None:
    """The delete of a template changes its copies, which are in other trees."""
    with psycopg.connect(clone) as db:
        admin = caller(db, "Admin")
        kits = [admin.project(name) for name in ("Wedding", "Birthday")]
        doomed = kits
        if inside:
            kits = [str(admin.inside(kit)) for kit in doomed]
            doomed = values(
                db,
                "select uuid::text from public.project_assignments "
                "where child_project_uuid = any(%s::uuid[])",
                kits,
            )
        for kit, copy in (kits, kits[::-1]):
            db.execute(
                "update public.projects set created_from_template_uuid = %s where uuid = %s",
                (kit, copy),
            )
    function = "delete_assignment" if inside else "delete_project"

    with ThreadPoolExecutor() as pool, psycopg.connect(clone) as keeper:
        keeper.execute("lock table public.activities in share mode")  # after each has its tree
        deletes = [
            pool.submit(make, clone, calling(admin.account, function, one)) for one in doomed
        ]
        wait_for_waiting(keeper, 2)
        keeper.commit()
        for delete in deletes:
            delete.result()

    with psycopg.connect(clone) as db:
        assert (
            value(db, "select count(*) from public.projects where uuid = any(%s::uuid[])", kits)
            == 0
        )
