"""Every write updates the rows of sub-projects, up to the root."""

from typing import LiteralString

import psycopg
import pytest

from bakehouse.database import Connection
from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling
from rows import value, values


@pytest.fixture
def root(api: Caller) -> str:
    return api.project("Wedding")


@pytest.fixture
def child(api: Caller, root: str) -> str:
    return api.inside(root)


@pytest.fixture
def grandchild(api: Caller, child: str) -> str:
    return api.inside(child, "Roses")


def timed(api: Caller, project: str, amount: int, unit: str = "hours") -> str:
    return api.row(project, estimated_duration=amount, estimated_duration_unit=unit)


def rollup(api: Caller, child: str) -> tuple[object, ...]:
    row = api.link(child)
    assert (row["estimated_duration_unit"], row["track_progress"]) == ("minutes", True)
    return row["status"], row["progress_pct"], row["estimated_duration"]


def test_the_row_of_a_new_sub_project_has_no_progress_and_no_hours(api: Caller, child: str) -> None:
    assert rollup(api, child) == ("todo", 0, None)


def test_each_level_shows_the_totals_of_the_rows_below(
    api: Caller, root: str, child: str, grandchild: str
) -> None:
    row = timed(api, grandchild, 90, "minutes")
    timed(api, grandchild, 1, "days")
    timed(api, child, 1)

    api("set_assignment_progress", row, 50)

    assert rollup(api, grandchild) == ("in_progress", 25, 90 + 480)
    assert rollup(api, child) == ("in_progress", 13, 90 + 480 + 60)
    facts = api.get(root)
    assert (facts["progress_pct"], facts["hours"], facts["in_progress"]) == (13, 10.5, 1)


def test_the_last_row_completes_every_level_and_a_reopened_row_reopens_them(
    api: Caller, root: str, child: str, grandchild: str
) -> None:
    row = api.row(grandchild)

    api("complete_assignment", row)

    ends = {api.get(project)["completed_at"] for project in (root, child, grandchild)}
    assert len(ends) == 1
    assert None not in ends
    assert api.link(child)["completed_at"] == api.link(grandchild)["completed_at"] is not None

    api("reopen_assignment", row)

    assert {api.get(project)["completed_at"] for project in (root, child, grandchild)} == {None}
    assert rollup(api, child) == rollup(api, grandchild) == ("todo", 0, 0)


@pytest.mark.parametrize(
    ("write", "hours"),
    [
        ("insert into public.project_assignments (project_uuid, task_uuid, position) "
         "select project_uuid, task_uuid, 9 from public.project_assignments where uuid = %s", 4),
        ("update public.project_assignments set estimated_duration = 5, "
         "estimated_duration_unit = 'hours' where uuid = %s", 5),
        ("update public.project_assignments set counts_weekends = true, estimated_duration = 3, "
         "estimated_duration_unit = 'days' where uuid = %s", 24),
        ("update public.project_tasks set estimated_duration = 7 where uuid = "
         "(select task_uuid from public.project_assignments where uuid = %s)", 7),
        ("update public.project_tasks set estimated_duration = null where uuid = "
         "(select task_uuid from public.project_assignments where uuid = %s)", 0),
        ("delete from public.project_assignments where uuid = %s", 0),
    ],
    ids=["added", "estimated", "another mode", "library", "library empty", "removed"],
)  # fmt: skip
@pytest.mark.spec("P18")
def test_every_write_updates_the_rollup(
    api: Caller, db: Connection, root: str, grandchild: str, write: LiteralString, hours: int
) -> None:
    task = api.task(estimated_duration=2)
    row = api("create_assignment", grandchild, task)["uuid"]
    assert api.get(root)["hours"] == 2

    db.execute(write, (row,))

    assert api.get(root)["hours"] == hours


@pytest.mark.spec("P18")
def test_adding_a_row_reopens_every_completed_level(
    api: Caller, root: str, child: str, grandchild: str
) -> None:
    api("complete_assignment", api.row(grandchild))

    api.row(grandchild)

    assert [api.get(p)["completed_at"] for p in (root, child, grandchild)] == [None] * 3
    assert rollup(api, child)[:2] == ("in_progress", 50)


@pytest.mark.spec("P18")
def test_adding_a_sub_project_reopens_the_project(api: Caller, root: str) -> None:
    api("complete_assignment", api.row(root))

    api.inside(root)

    assert api.get(root)["completed_at"] is None


def test_a_change_of_the_library_reaches_several_trees_at_once(api: Caller) -> None:
    task = api.task(estimated_duration=1)
    roots = [api.project(name) for name in ("Ana", "Ben")]
    for root in roots:
        api("create_assignment", api.inside(root), task)
        api(
            "create_assignment", root, task, {"estimated_duration": 10}
        )  # without a unit, the task's unit applies

    api("update_task", task, {"estimated_duration": 3})

    assert [api.get(root)["hours"] for root in roots] == [6, 6]


@pytest.mark.spec("P33")
def test_a_completed_sub_project_that_is_emptied_stays_completed_and_adds_no_hours(
    api: Caller, root: str, child: str
) -> None:
    inner, outer = api.row(child), api.row(root)
    api("complete_assignment", inner)

    api("delete_assignment", inner)

    assert rollup(api, child) == ("done", 100, None)
    assert api.get(child)["completed_at"] is not None
    assert (api.get(root)["progress_pct"], api.get(root)["empty"]) == (0, 1)
    api("complete_assignment", outer)
    assert api.get(root)["progress_pct"] == 100
    assert api.get(root)["completed_at"] is not None


@pytest.mark.spec("P34")
def test_a_done_row_counts_as_100_everywhere(api: Caller, root: str, child: str) -> None:
    api("complete_assignment", timed(api, child, 3))
    timed(api, child, 1)

    assert api.get(child)["progress_pct"] == rollup(api, child)[1] == 50
    assert api.get(root)["progress_pct"] == 50
    assert api("get_project_schedule", child)["actual_pct"] == 75


@pytest.mark.parametrize(
    "call",
    [
        ("complete_assignment",),
        ("start_assignment",),
        ("set_assignment_progress", 40),
        ("update_assignment", {"estimated_duration": 5}),
        ("update_assignment", {"track_progress": False}),
        ("update_assignment", {"counts_weekends": True}),
    ],
    ids=str,
)
@pytest.mark.spec("P35")
def test_the_progress_of_a_sub_project_cannot_be_set(
    api: Caller, child: str, call: tuple[str, object]
) -> None:
    api.row(child)
    function, *arguments = call

    with raises_code("SUBPROJECT_ROW", "PT409"):
        api(function, api.link(child)["uuid"], *arguments)


@pytest.mark.parametrize(
    "columns",
    ["task_uuid = gen_random_uuid()", "child_project_uuid = null",
     "child_project_uuid = project_uuid", "project_uuid = child_project_uuid"],
)  # fmt: skip
@pytest.mark.spec("P35")
def test_the_row_of_a_sub_project_cannot_change_its_task_child_or_project(
    api: Caller, db: Connection, child: str, columns: LiteralString
) -> None:
    link = api.link(child)["uuid"]

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(f"update public.project_assignments set {columns} where uuid = %s", (link,))


def test_the_row_of_a_sub_project_can_get_another_text_and_person(api: Caller, child: str) -> None:
    link = api.link(child)["uuid"]

    api("update_assignment", link, {"description": "The red ones"})

    assert api.link(child)["description"] == "The red ones"


def test_a_row_inserted_with_wrong_totals_gets_those_of_the_sub_project(
    api: Caller, db: Connection, root: str
) -> None:
    other = api.project("Cupcakes")
    timed(api, other, 2)

    db.execute(
        "insert into public.project_assignments (project_uuid, child_project_uuid, position, "
        "status, progress_pct, completed_at, estimated_duration) "
        "values (%s, %s, 1, 'done', 100, now(), 1)",
        (root, other),
    )

    assert rollup(api, other) == ("todo", 0, 120)


@pytest.mark.spec("P45")
def test_a_calendar_day_counts_as_one_day_of_work(api: Caller, root: str) -> None:
    child = api.inside(root, counts_weekends=True)
    timed(api, child, 1, "days")

    assert api.get(child)["hours"] == 24
    assert api.get(root)["hours"] == 8
    assert api("get_project_schedule", root)["total_hours"] == 8
    assert api.link(child)["counts_weekends"] is True


@pytest.mark.spec("P45")
def test_a_change_of_counts_weekends_reaches_the_root(api: Caller, root: str, child: str) -> None:
    timed(api, child, 1, "weeks")
    assert api.get(root)["hours"] == 40

    api("update_project", child, {"counts_weekends": True})

    assert (api.get(child)["hours"], api.get(root)["hours"]) == (168, 56)


@pytest.mark.spec("P46")
def test_an_empty_sub_project_keeps_its_parent_open_and_is_counted(
    api: Caller, root: str, child: str
) -> None:
    api("complete_assignment", api.row(root))

    facts = api.get(root)
    assert (facts["progress_pct"], facts["completed_at"]) == (100, None)
    assert (facts["total"], facts["done"], facts["empty"]) == (2, 1, 1)

    api("delete_assignment", api.link(child)["uuid"])

    assert api.get(root)["completed_at"] is not None


@pytest.mark.spec("P46")
def test_a_sub_project_at_100_percent_can_still_be_open(api: Caller, root: str, child: str) -> None:
    api("complete_assignment", api.row(child))
    api.inside(child)

    assert rollup(api, child)[:2] == ("in_progress", 100)


def test_a_template_is_never_completed_nor_its_sub_templates(api: Caller) -> None:
    template = api.template()
    child = api.inside(template)

    api("complete_assignment", api.row(child))

    assert api.get(child)["completed_at"] is None
    assert rollup(api, child)[:2] == ("in_progress", 100)


def test_one_completion_records_one_activity_per_project(
    api: Caller, db: Connection, root: str, child: str, grandchild: str
) -> None:
    api("complete_assignment", api.row(grandchild))

    completed = values(
        db,
        "select resource_uuid::text from public.activities "
        "where action = 'projects.project_completed' and mode = 'auto'",
    )
    assert sorted(completed) == sorted([root, child, grandchild])


@pytest.mark.spec("P47")
def test_a_change_rolls_up_32_levels(api: Caller, root: str) -> None:
    leaf = root
    for _ in range(31):
        leaf = api.inside(leaf)

    api("complete_assignment", timed(api, leaf, 2))

    facts = api.get(root)
    assert (facts["progress_pct"], facts["hours"]) == (100, 2)
    assert facts["completed_at"] is not None


def test_a_total_that_is_too_large_is_stored_as_the_largest_estimate(
    api: Caller, root: str
) -> None:
    child = api.inside(root)
    for _ in range(2):
        timed(api, child, 2_000_000_000, "years")

    assert rollup(api, child)[2] == 2**31 - 1


@pytest.mark.spec("P17")
def test_the_last_row_is_completed_while_another_row_of_the_tree_is_reopened(
    clone: str,
) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        root = api.project()
        left, right = api.inside(root, "Left"), api.inside(root, "Right")
        done, last = api.row(left), api.row(right)
        api("complete_assignment", done)

    meet(
        clone,
        calling(api.account, "complete_assignment", last),
        calling(api.account, "reopen_assignment", done),
    )

    with psycopg.connect(clone) as db:
        api = Caller(db, api.account)
        assert api.get(root)["completed_at"] is None
        assert (rollup(api, left)[0], rollup(api, right)[0]) == ("todo", "done")


def test_a_row_for_a_task_waits_while_the_task_gets_another_estimate(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        task = api.task(estimated_duration=1)
        root = api.project()
        child = api.inside(root)
        api("create_assignment", child, task)

    add = calling(api.account, "create_assignment", child, task)
    edit = calling(api.account, "update_task", task, {"estimated_duration": 5})
    meet(clone, edit, add)
    meet(clone, add, calling(api.account, "update_task", task, {"estimated_duration": 7}))

    with psycopg.connect(clone) as db:
        assert Caller(db, api.account).get(root)["hours"] == 21


def test_recounting_gives_the_stored_totals(api: Caller, db: Connection, root: str) -> None:
    child = api.inside(root)
    api(
        "complete_assignment",
        timed(api, child, 20, "minutes"),
    )
    kept = values(db, "select to_jsonb(s) from app.project_sums as s order by project_uuid")

    db.execute("update app.project_sums set done = 0, in_progress = 0, empty = 0, progress = 0")
    value(db, "select app.recount_projects(array(select uuid from public.projects))")

    assert values(db, "select to_jsonb(s) from app.project_sums as s order by project_uuid") == kept
