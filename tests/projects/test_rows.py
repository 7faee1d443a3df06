"""Rows of a project: tasks, progress, and the completion of the project."""

import psycopg
import pytest

from bakehouse.database import Connection
from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling
from rows import make_staff, value, values


@pytest.fixture
def project(api: Caller) -> str:
    return api.project()


def test_rows_are_appended_with_the_title_of_their_task(api: Caller, project: str) -> None:
    for title in ("Tasting", "Sketch", "Flowers"):
        api.row(project, title)

    rows = api.rows("list_assignments", project)

    assert [(row["position"], row["label"]) for row in rows] == [
        (1, "Tasting"),
        (2, "Sketch"),
        (3, "Flowers"),
    ]


def test_a_row_shows_the_value_of_its_task_where_it_has_none(api: Caller, project: str) -> None:
    task = api.task("Tasting", estimated_duration=2, description="Three flavours")
    api("create_assignment", project, task)

    api("update_task", task, {"title": "Second tasting", "estimated_duration": 3})

    (row,) = api.rows("list_assignments", project)
    assert (row["label"], row["hours"], row["about"]) == ("Second tasting", 3, "Three flavours")


def test_a_row_copies_everything_from_its_task_but_the_title(
    api: Caller, project: str, db: Connection
) -> None:
    baker = str(make_staff(db))
    task = api.task(
        "Tasting",
        description="Three flavours",
        estimated_duration=2,
        estimated_duration_unit="days",
        default_assigned_person_uuid=baker,
    )
    api("create_assignment_from_task", project, task)

    api("update_task", task, {"title": "Second", "description": "Four", "estimated_duration": 9})

    (row,) = api.rows("list_assignments", project)
    assert (row["label"], row["about"], row["hours"]) == ("Second", "Three flavours", 16)
    assert row["assigned_person_uuid"] == baker


def test_values_of_the_caller_win_over_the_task_unless_they_are_blank(
    api: Caller, project: str
) -> None:
    task = api.task(description="Three flavours", estimated_duration=2)

    row = api(
        "create_assignment_from_task",
        project,
        task,
        {"description": " ", "estimated_duration": 5, "estimated_duration_unit": None},
    )

    assert (row["description"], row["estimated_duration"]) == ("Three flavours", 5)
    assert row["estimated_duration_unit"] == "hours"


def test_an_estimate_without_a_unit_keeps_the_unit_of_the_task(api: Caller, project: str) -> None:
    task = api.task(estimated_duration=2, estimated_duration_unit="days")
    api("create_assignment", project, task, {"estimated_duration": 5})

    assert api.rows("list_assignments", project)[0]["hours"] == 16


@pytest.mark.parametrize(
    "attrs",
    [
        {"estimated_duration": 0},
        {"estimated_duration": -1},
        {"estimated_duration_unit": "moons"},
        {"track_progress": None},
        {"translations": {"es": "x"}},
        {"status": "done"},
        {"progress_pct": 100},
        {"completed_at": "2026-01-01"},
        {"completed_by_uuid": None},
        {"position": 1},
        {"project_uuid": None},
        {"task_uuid": None},
    ],
    ids=str,
)
@pytest.mark.spec("P35", "P60")
def test_an_invalid_row_is_refused(api: Caller, project: str, attrs: dict[str, object]) -> None:
    row = api.row(project)

    with raises_code("BAD_INPUT", "PT400"):
        api("update_assignment", row, attrs)


@pytest.mark.parametrize("column", ["project_uuid", "task_uuid"])
@pytest.mark.spec("P35")
def test_a_row_never_moves_to_another_project_or_task(
    api: Caller, project: str, db: Connection, column: str
) -> None:
    row, other = api.row(project), api.project()
    new = other if column == "project_uuid" else api.task("Other")
    db.execute("set local role bakehouse_owner")

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(
            f"update public.project_assignments set {column} = %s where uuid = %s".encode(),
            (new, row),
        )


@pytest.mark.parametrize(
    "lie",
    [
        "status = 'done'",
        "status = 'done', progress_pct = 100",
        "status = 'done', completed_at = now()",
        "status = 'in_progress', progress_pct = 100",
        "progress_pct = 40",
        "status = 'in_progress', progress_pct = -1",
        "status = 'done', progress_pct = 101, completed_at = now()",
        "completed_at = now()",
        "status = 'perhaps'",
    ],
)
@pytest.mark.spec("P21", "P33", "P34")
def test_status_progress_and_completion_of_a_row_always_agree(
    api: Caller, project: str, db: Connection, lie: str
) -> None:
    row = api.row(project)

    with pytest.raises(psycopg.errors.CheckViolation), db.transaction():
        db.execute(f"update public.project_assignments set {lie} where uuid = %s".encode(), (row,))


def test_a_row_can_be_started_moved_by_its_slider_completed_and_reopened(
    api: Caller, project: str, staff: Caller
) -> None:
    row = api.row(project)
    api.row(project, "Another")

    steps = [
        staff("start_assignment", row),
        staff("set_assignment_progress", row, 40),
        staff("complete_assignment", row),
        staff("start_assignment", row),
        staff("set_assignment_progress", row, 100),
        staff("reopen_assignment", row),
    ]

    assert [(step["status"], step["progress_pct"]) for step in steps] == [
        ("in_progress", 0),
        ("in_progress", 40),
        ("done", 100),
        ("in_progress", 0),
        ("done", 100),
        ("todo", 0),
    ]
    who = [step["completed_by_uuid"] for step in steps]
    assert who == [None, None, str(staff.account), None, str(staff.account), None]
    assert [name.removeprefix("projects.assignment_") for name in api.activities()[-6:]] == [
        "started",
        "progress_updated",
        "completed",
        "progress_updated",
        "completed",
        "reopened",
    ]


@pytest.mark.parametrize(
    ("slider", "status", "progress"),
    [(None, "todo", 0), (-5, "todo", 0), (1, "in_progress", 1), (99, "in_progress", 99),
     (100, "done", 100), (250, "done", 100)],
)  # fmt: skip
def test_the_slider_stays_between_0_and_100(
    api: Caller, project: str, slider: int | None, status: str, progress: int
) -> None:
    row = api("set_assignment_progress", api.row(project), slider)

    assert (row["status"], row["progress_pct"]) == (status, progress)


def test_a_repeat_answers_already_done_and_keeps_the_first_person(
    api: Caller, project: str, staff: Caller
) -> None:
    row = api.row(project)
    staff("complete_assignment", row)

    again = api("complete_assignment", row)

    assert again["already_done"] is True
    assert again["completed_by_uuid"] == str(staff.account)
    assert api.activities().count("projects.assignment_completed") == 1


def test_the_last_row_completes_the_project_and_a_reopened_one_reopens_it(
    api: Caller, project: str
) -> None:
    rows = [api.row(project, title) for title in ("Tasting", "Sketch")]
    seen = []

    for function, row in (
        ("complete_assignment", rows[0]),
        ("complete_assignment", rows[1]),
        ("reopen_assignment", rows[0]),
    ):
        api(function, row)
        seen.append(api.get(project)["completed_at"] is not None)

    assert seen == [False, True, False]
    assert [name for name in api.activities() if name.startswith("projects.project_")] == [
        "projects.project_created",
        "projects.project_completed",
        "projects.project_reopened",
    ]


@pytest.mark.spec("P18")
def test_every_change_of_rows_completes_or_reopens_the_project(
    api: Caller, project: str, db: Connection
) -> None:
    done, opened = api.row(project), api.row(project, "Sketch")
    api("complete_assignment", done)
    seen = []

    def completed() -> bool:
        return api.get(project)["completed_at"] is not None

    api("delete_assignment", opened)
    seen.append(completed())
    added = api.row(project, "Flowers")
    seen.append(completed())
    db.execute("delete from public.project_assignments where uuid = %s", (added,))
    seen.append(completed())
    db.execute(
        "update public.project_assignments set status = 'todo', progress_pct = 0, "
        "completed_at = null where uuid = %s",
        (done,),
    )
    seen.append(completed())

    assert seen == [True, False, True, False]


@pytest.mark.spec("P33")
def test_a_completed_project_that_is_emptied_stays_completed(api: Caller, project: str) -> None:
    row = api.row(project)
    api("complete_assignment", row)

    api("delete_assignment", row)

    assert api.get(project)["state"] == "completed"
    assert api.get(project)["progress_pct"] == 0


def test_a_project_without_rows_is_not_completed(api: Caller, project: str, db: Connection) -> None:
    api("start_project", project)

    db.execute("select app.update_completion(array[%s]::uuid[])", (project,))

    assert api.get(project)["state"] == "running"


def test_a_template_is_never_completed(api: Caller) -> None:
    template = api.template()

    api("complete_assignment", api.row(template))

    assert api.get(template)["completed_at"] is None


def test_progress_is_the_mean_of_the_sliders(api: Caller, project: str) -> None:
    api("complete_assignment", api.row(project, "a", estimated_duration=3))
    api("set_assignment_progress", api.row(project, "b"), 50)
    api.row(project, "c")

    facts = api.get(project)

    assert (facts["total"], facts["done"], facts["in_progress"]) == (3, 1, 1)
    assert facts["progress_pct"] == 50


@pytest.mark.parametrize("last", ["complete_assignment", "delete_assignment"])
@pytest.mark.spec("P17")
def test_a_row_is_reopened_while_the_last_open_row_is_deleted(clone: str, last: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()
        done, opened = api.row(project), api.row(project, "Sketch")
        api("complete_assignment", done)

    meet(
        clone,
        calling(api.account, last, opened),
        calling(api.account, "reopen_assignment", done),
    )

    with psycopg.connect(clone) as db:
        assert value(db, "select completed_at from public.projects") is None
        assert values(db, "select action from public.activities where mode = 'auto'") == [
            "projects.project_completed",
            "projects.project_reopened",
        ]


@pytest.mark.spec("P17")
def test_the_last_two_rows_completed_at_once_complete_the_project_once(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()
        rows = [api.row(project), api.row(project, "Sketch")]

    meet(clone, *(calling(api.account, "complete_assignment", row) for row in rows))

    with psycopg.connect(clone) as db:
        assert value(db, "select completed_at from public.projects") is not None
        assert values(db, "select action from public.activities where mode = 'auto'") == [
            "projects.project_completed"
        ]


@pytest.mark.spec("P20")
def test_a_task_in_use_cannot_be_deleted(api: Caller, project: str, admin: Caller) -> None:
    task = api.task()
    row = api("create_assignment", project, task)["uuid"]

    with raises_code("CONFLICT", "PT409"):
        admin("delete_task", task)
    api("delete_assignment", row)

    assert admin("delete_task", task)["uuid"] == task


@pytest.mark.spec("P20")
def test_an_archived_task_is_no_longer_offered_and_its_rows_keep_it(
    api: Caller, project: str
) -> None:
    task = api.task()
    api("create_assignment", project, task)

    api("archive_task", task)

    assert api.rows("list_tasks") == []
    assert len(api.rows("list_tasks", p_archived="all")) == 1
    assert api.labels(project) == ["Tasting"]
    assert api("unarchive_task", task)["archived_at"] is None


def test_a_row_is_shown_in_the_language_of_its_reader(api: Caller, project: str) -> None:
    task = api.task(
        translations={"es": {"title": "Cata", "description": "Tres sabores"}},
        description="Three flavours",
    )
    own = {"description": "For Ana", "translations": {"es": {"description": "Para Ana"}}}
    api("create_assignment", project, task)
    api("create_assignment", project, task, own)

    rows = api.rows("list_assignments", project, "es-MX")

    assert [(row["label"], row["about"]) for row in rows] == [
        ("Cata", "Tres sabores"),
        ("Cata", "Para Ana"),
    ]


def test_only_a_supervisor_edits_rows(api: Caller, project: str, staff: Caller) -> None:
    row, task = api.row(project), api.task()

    for function, arguments in (
        ("create_assignment", (project, task)),
        ("update_assignment", (row, {})),
        ("delete_assignment", (row,)),
        ("move_assignment", (row,)),
    ):
        with raises_code("PERMISSION_DENIED", "PT403"):
            staff(function, *arguments)


@pytest.mark.parametrize(
    ("moved", "before", "order"),
    [("d", "b", "adbc"), ("a", None, "bcda"), ("a", "d", "bcad"), ("b", "b", "abcd"),
     ("c", "a", "cabd"), ("d", None, "abcd")],
)  # fmt: skip
def test_a_row_moves_before_another_or_to_the_end(
    api: Caller, project: str, moved: str, before: str | None, order: str
) -> None:
    rows = {title: api.row(project, title) for title in "abcd"}

    assert api("move_assignment", rows[moved], before and rows[before]) == 4

    assert "".join(api.labels(project)) == order


def test_a_row_cannot_move_before_a_row_of_another_project(api: Caller, project: str) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        api("move_assignment", api.row(project), api.row(api.project()))


@pytest.mark.spec("P50")
def test_rows_can_exchange_their_places(api: Caller, project: str) -> None:
    a, _, c, d = (api.row(project, title) for title in "abcd")

    assert api("reorder_assignments", project, [d, c, a]) == 3

    assert api.labels(project) == ["d", "b", "c", "a"]


def test_reordering_a_project_leaves_rows_of_other_projects_alone(
    api: Caller, project: str
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("reorder_assignments", project, [api.row(project), api.row(api.project())])


def test_rows_can_be_sorted_by_each_strategy(api: Caller, project: str) -> None:
    for title in ("b", "C", "a"):
        api.row(project, title)

    api("reorder_assignments_by", project, "name_desc")

    assert api.labels(project) == ["C", "b", "a"]


@pytest.mark.spec("P51", "P52")
def test_two_reorders_of_the_same_rows_at_once_leave_unique_places(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()
        a, b, c, d = (api.row(project, title) for title in "abcd")

    meet(
        clone,
        calling(api.account, "reorder_assignments", project, [c, b, a]),
        calling(api.account, "reorder_assignments", project, [d, c, b]),
    )

    with psycopg.connect(clone) as db:
        rows = Caller(db, api.account).rows("list_assignments", project)
        # the second call put d, c and b in their own places 1, 2 and 4
        assert "".join(row["label"] for row in rows) == "dcab"
        assert [row["position"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.spec("P51")
def test_two_rows_added_at_once_get_places_of_their_own(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project, task = api.project(), api.task()

    add = calling(api.account, "create_assignment", project, task)
    meet(clone, add, add)

    with psycopg.connect(clone) as db:
        assert values(db, "select position from public.project_assignments order by 1") == [1, 2]


@pytest.mark.spec("P53")
def test_two_rows_never_share_a_place(api: Caller, project: str, db: Connection) -> None:
    api.row(project)
    api.row(project, "Sketch")

    with pytest.raises(psycopg.errors.ExclusionViolation), db.transaction():
        db.execute("update public.project_assignments set position = 1 where position = 2")


def test_tasks_of_the_library_can_be_reordered(api: Caller) -> None:
    a, _, c = (api.task(title) for title in "abc")

    api("reorder_tasks", [c, a])
    swapped = [task["title"] for task in api.rows("list_tasks")]
    api("reorder_tasks_by", "reverse")

    assert swapped == ["c", "b", "a"]
    assert [task["title"] for task in api.rows("list_tasks")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "attrs",
    [{"estimated_duration": 0}, {"estimated_duration_unit": "moons"}, {"title": ""}, {"x": 1}],
    ids=str,
)
@pytest.mark.spec("P60")
def test_an_invalid_task_is_refused(api: Caller, attrs: dict[str, object]) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("update_task", api.task(), attrs)


def test_rows_stay_when_their_person_leaves(api: Caller, project: str, db: Connection) -> None:
    baker = make_staff(db)
    api.row(project, assigned_person_uuid=str(baker))

    db.execute("delete from public.staff_shared where user_id = %s", (baker,))

    assert api.rows("list_assignments", project)[0]["assigned_person_uuid"] is None
