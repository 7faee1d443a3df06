"""Dependencies in the library and in projects, and pulling a task with its prerequisites."""

from uuid import uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling
from rows import value, values


@pytest.fixture
def project(api: Caller) -> str:
    return api.project()


def library(api: Caller, *edges: str) -> dict[str, str]:
    """Adds tasks and dependencies: "ab" means that a waits for b. Returns the tasks by title."""
    tasks = {title: api.task(title) for title in sorted(set("".join(edges)))}
    for edge in edges:
        api("add_task_dependency", *(tasks[title] for title in edge))
    return tasks


def test_a_waiting_row_names_what_it_waits_for_and_can_still_be_completed(
    api: Caller, project: str
) -> None:
    sketch, bake = api.row(project, "Sketch"), api.row(project, "Bake")
    api("add_dependency", bake, sketch)

    before = api.rows("list_assignments", project)[1]
    api("complete_assignment", bake)
    api("complete_assignment", sketch)
    after = api.rows("list_assignments", project)[1]

    assert (before["depends_on"], before["waits_for"], before["ready"]) == (
        [sketch],
        [sketch],
        False,
    )
    assert (after["depends_on"], after["waits_for"], after["ready"]) == ([sketch], [], True)


def test_a_row_that_waits_for_nothing_is_ready(api: Caller, project: str) -> None:
    api.row(project)

    assert api.rows("list_assignments", project)[0]["ready"] is True


def test_a_dependency_is_added_once_and_removed_once(api: Caller, project: str) -> None:
    a, b = api.row(project, "a"), api.row(project, "b")
    api("add_dependency", a, b)

    with raises_code("CONFLICT", "PT409"):
        api("add_dependency", a, b)
    api("remove_dependency", a, b)
    with raises_code("NOT_FOUND", "PT404"):
        api("remove_dependency", a, b)

    assert [name for name in api.activities() if "dependency" in name] == [
        "projects.dependency_added",
        "projects.dependency_removed",
    ]


@pytest.mark.spec("P16")
def test_rows_wait_only_for_others_of_their_project(
    api: Caller, project: str, db: Connection
) -> None:
    row, stranger = api.row(project), api.row(api.project())

    for other in (row, stranger):
        with raises_code("BAD_INPUT", "PT400"):
            api("add_dependency", row, other)
    with raises_code("NOT_FOUND", "PT404"):
        api("add_dependency", row, str(uuid4()))
    with pytest.raises(psycopg.errors.ForeignKeyViolation), db.transaction():
        db.execute(
            "insert into public.project_dependencies values (%s, %s, %s)", (project, row, stranger)
        )


@pytest.mark.spec("P55")
def test_a_cycle_of_any_length_is_refused_and_a_diamond_is_allowed(
    api: Caller, project: str
) -> None:
    a, b, c, d = (api.row(project, title) for title in "abcd")
    for waiting, needed in ((a, b), (a, c), (b, d), (c, d)):
        api("add_dependency", waiting, needed)

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        api("add_dependency", d, a)

    assert api.waits(project) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}


@pytest.mark.spec("P55")
def test_one_statement_that_would_make_a_cycle_is_refused(
    api: Caller, project: str, db: Connection
) -> None:
    a, b = api.row(project, "a"), api.row(project, "b")

    with raises_code("WOULD_CREATE_CYCLE", "PT409"), db.transaction():
        db.execute(
            "insert into public.project_dependencies (project_uuid, assignment_uuid, "
            "depends_on_uuid) values (%(p)s, %(a)s, %(b)s), (%(p)s, %(b)s, %(a)s)",
            {"p": project, "a": a, "b": b},
        )


@pytest.mark.spec("P55")
def test_two_sessions_cannot_make_two_rows_wait_for_each_other(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()
        a, b = api.row(project, "a"), api.row(project, "b")

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        meet(
            clone,
            calling(api.account, "add_dependency", a, b),
            calling(api.account, "add_dependency", b, a),
        )

    with psycopg.connect(clone) as db:
        assert value(db, "select count(*) from public.project_dependencies") == 1


@pytest.mark.spec("P56")
def test_a_cycle_in_the_library_is_refused(api: Caller, db: Connection) -> None:
    tasks = library(api, "ab", "bc")

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        api("add_task_dependency", tasks["c"], tasks["a"])
    with raises_code("BAD_INPUT", "PT400"):
        api("add_task_dependency", tasks["a"], tasks["a"])
    with raises_code("CONFLICT", "PT409"):
        api("add_task_dependency", tasks["a"], tasks["b"])
    with raises_code("NOT_FOUND", "PT404"):
        api("add_task_dependency", tasks["a"], str(uuid4()))

    api("remove_task_dependency", tasks["a"], tasks["b"])
    with raises_code("NOT_FOUND", "PT404"):
        api("remove_task_dependency", tasks["a"], tasks["b"])
    assert value(db, "select count(*) from public.project_task_dependencies") == 1


@pytest.mark.spec("P56")
def test_two_sessions_cannot_make_two_tasks_wait_for_each_other(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        a, b = api.task("a"), api.task("b")

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        meet(
            clone,
            calling(api.account, "add_task_dependency", a, b),
            calling(api.account, "add_task_dependency", b, a),
        )


@pytest.mark.spec("P56")
def test_each_task_of_a_layered_library_is_visited_once(
    api: Caller, project: str, db: Connection
) -> None:
    """Twenty layers of two tasks have 40 tasks, but 2^20 paths."""
    db.execute(
        "insert into public.project_tasks (title) select 't' || n from generate_series(0, 39) n"
    )
    db.execute(
        "insert into public.project_task_dependencies "
        "select a.uuid, b.uuid from public.project_tasks a, public.project_tasks b "
        "where substr(a.title, 2)::int / 2 + 1 = substr(b.title, 2)::int / 2"
    )
    top = value(db, "select uuid::text from public.project_tasks where title = 't0'")

    made = api("create_assignment_with_closure", project, top)

    assert len(made["extras"]) == 38
    assert value(db, "select count(*) from public.project_dependencies") == 19 * 4 - 2


@pytest.mark.spec("P58")
def test_a_new_row_gets_its_dependencies_in_both_directions(api: Caller, project: str) -> None:
    tasks = library(api, "ab", "bc")

    for title in "acb":
        api("create_assignment_from_task", project, tasks[title])

    assert api.waits(project) == {("a", "b"), ("b", "c")}


def test_later_changes_of_the_library_are_applied_on_request(api: Caller, project: str) -> None:
    a, b = api.task("a"), api.task("b")
    row = api("create_assignment", project, a)["uuid"]
    api("create_assignment", project, b)
    api("add_task_dependency", b, a)

    assert api("apply_template_dependencies", row) == 1
    assert api("apply_template_dependencies", row) == 0

    assert api.waits(project) == {("b", "a")}


@pytest.mark.spec("P59")
def test_a_row_whose_dependencies_would_make_a_cycle_is_refused(api: Caller, project: str) -> None:
    tasks = library(api, "ab", "bc")
    a = api("create_assignment", project, tasks["a"])["uuid"]
    c = api("create_assignment", project, tasks["c"])["uuid"]
    api("add_dependency", c, a)

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        api("create_assignment", project, tasks["b"])

    assert api.labels(project) == ["a", "c"]


def test_a_task_is_pulled_with_all_it_needs_prerequisites_first(api: Caller, project: str) -> None:
    tasks = library(api, "ab", "ac", "bd", "cd")

    made = api("create_assignment_with_closure", project, tasks["a"])

    assert api.labels(project) == ["d", "b", "c", "a"]
    assert [row["task_uuid"] for row in made["extras"]] == [tasks[title] for title in "dbc"]
    assert made["root"]["task_uuid"] == tasks["a"]
    assert api.waits(project) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}


def test_existing_rows_are_reused_but_the_picked_task_is_always_added(
    api: Caller, project: str
) -> None:
    tasks = library(api, "ab", "bc")
    b = api("create_assignment", project, tasks["b"])["uuid"]
    c = api("create_assignment", project, tasks["c"])["uuid"]
    api("remove_dependency", b, c)
    api("create_assignment", project, tasks["a"])

    made = api(
        "create_assignment_with_closure", project, tasks["a"], p_attrs={"description": "2nd"}
    )

    assert made["extras"] == []
    assert made["root"]["description"] == "2nd"
    assert api.labels(project) == ["b", "c", "a", "a"]
    assert api.waits(project) == {("a", "b"), ("b", "c")}


def test_an_excluded_task_and_what_only_it_needs_are_left_out(api: Caller, project: str) -> None:
    tasks = library(api, "ab", "bc", "ad")

    api("create_assignment_with_closure", project, tasks["a"], [tasks["b"]])

    assert api.labels(project) == ["d", "a"]
    assert api.waits(project) == {("a", "d")}


@pytest.mark.spec("P57")
def test_a_prerequisite_that_another_task_needs_stays(api: Caller, project: str) -> None:
    tasks = library(api, "ab", "ac", "bd", "cd")

    api("create_assignment_with_closure", project, tasks["a"], [tasks["b"]])

    assert api.labels(project) == ["d", "c", "a"]
    assert api.waits(project) == {("a", "c"), ("c", "d")}


def test_an_excluded_task_with_a_row_gets_no_dependencies(api: Caller, project: str) -> None:
    tasks = library(api, "ab")
    api("create_assignment", project, tasks["b"])

    api("create_assignment_with_closure", project, tasks["a"], [tasks["b"]])

    assert api.waits(project) == set()


@pytest.mark.spec("P59")
def test_a_bad_attribute_rolls_the_whole_pull_back(api: Caller, project: str) -> None:
    tasks = library(api, "ab")

    with raises_code("BAD_INPUT", "PT400"):
        api(
            "create_assignment_with_closure",
            project,
            tasks["a"],
            p_attrs={"estimated_duration": -1},
        )
    with raises_code("NOT_FOUND", "PT404"):
        api("create_assignment_with_closure", project, str(uuid4()))

    assert api.labels(project) == []


def test_deleting_a_row_deletes_its_dependencies(api: Caller, project: str, db: Connection) -> None:
    a, b, c = (api.row(project, title) for title in "abc")
    api("add_dependency", a, b)
    api("add_dependency", b, c)

    api("delete_assignment", b)

    assert values(db, "select assignment_uuid from public.project_dependencies") == []
