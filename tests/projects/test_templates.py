"""A project from a template copies all of it except its history."""

from uuid import uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling
from rows import make_staff, value, values

# columns in which a clone differs: its id, its history and its parent
ROW_EXCEPTIONS = {
    "uuid", "project_uuid", "status", "progress_pct", "completed_by_uuid", "completed_at",
    "inserted_at", "updated_at",
}  # fmt: skip


def test_a_project_gets_the_rows_and_dependencies_of_its_template(api: Caller) -> None:
    template = api.template()
    a, b, c = (api.row(template, title) for title in "abc")
    api("add_dependency", c, a)
    api("add_dependency", c, b)
    api("move_assignment", c, a)

    made = api("create_project_from_template", template, "Ana and Ben")

    assert (made["name"], made["is_template"]) == ("Ana and Ben", False)
    assert made["created_from_template_uuid"] == template
    assert api.labels(made["uuid"]) == ["c", "a", "b"]
    assert api.waits(made["uuid"]) == {("c", "a"), ("c", "b")}


@pytest.mark.spec("P22")
def test_a_cloned_row_copies_every_column_except_its_history(api: Caller, db: Connection) -> None:
    template = api.template()
    row = api.row(
        template,
        description="Three flavours",
        estimated_duration=2,
        estimated_duration_unit="days",
        assigned_person_uuid=str(make_staff(db)),
        counts_weekends=True,
        track_progress=True,
        translations={"es": {"description": "Tres sabores"}},
    )
    api("complete_assignment", row)

    clone = api("create_project_from_template", template, "Ana and Ben")["uuid"]

    (old,), (new,) = (
        values(
            db, "select to_jsonb(a) from public.project_assignments a where project_uuid = %s", p
        )
        for p in (template, clone)
    )
    differing = {column for column in old if old[column] != new[column]}
    assert differing <= ROW_EXCEPTIONS
    assert [
        column
        for column in old.keys() - ROW_EXCEPTIONS - {"child_project_uuid"}
        if old[column] is None
    ] == []
    assert (new["status"], new["progress_pct"], new["completed_at"]) == ("todo", 0, None)


@pytest.mark.spec("P44")
def test_a_clone_takes_name_text_schedule_and_person_from_the_caller(
    api: Caller, db: Connection
) -> None:
    template = api.template(
        description="Kit",
        counts_weekends=True,
        translations={"es": {"name": "Juego"}},
        assigned_person_uuid=str(make_staff(db)),
        start_mode="scheduled",
        scheduled_start_date="2026-01-05T09:00Z",
    )

    made = api("create_project_from_template", template, "Ana and Ben")

    assert (made["description"], made["translations"]) == (None, {})
    assert (made["assigned_person_uuid"], made["start_mode"]) == (None, "immediate")
    assert made["counts_weekends"] is True


@pytest.mark.spec("P43")
def test_a_scheduled_clone_has_its_date_or_is_refused(api: Caller) -> None:
    template = api.template()

    with raises_code("BAD_INPUT", "PT400"):
        api("create_project_from_template", template, "Ana", {"start_mode": "scheduled"})
    when = {"start_mode": "scheduled", "scheduled_start_date": "2026-01-05T09:00Z"}

    assert api("create_project_from_template", template, "Ana", when)["start_mode"] == "scheduled"


def test_only_a_template_can_be_cloned(api: Caller) -> None:
    for no_template in (api.project(), str(uuid4())):
        with raises_code("NOT_FOUND", "PT404"):
            api("create_project_from_template", no_template, "Ana and Ben")


def test_a_clone_records_one_activity(api: Caller) -> None:
    template = api.template()
    api.row(template)
    before = len(api.activities())

    api("create_project_from_template", template, "Ana and Ben")

    assert api.activities()[before:] == ["projects.project_created_from_template"]


def test_a_template_knows_how_often_it_was_used(api: Caller, admin: Caller) -> None:
    template = api.template()
    first = api("create_project_from_template", template, "Ana")["uuid"]
    api("create_project_from_template", template, "Ben")
    uses = [api.get(template)["uses"]]

    admin("delete_project", first)
    uses.append(api.get(template)["uses"])

    assert uses == [2, 1]
    assert api.get(template)["last_used_at"] is not None


@pytest.mark.spec("P66")
def test_projects_outlive_their_template(api: Caller, admin: Caller) -> None:
    template = api.template()
    api.row(template)
    made = api("create_project_from_template", template, "Ana")["uuid"]

    admin("delete_project", template)

    assert api.get(made)["created_from_template_uuid"] is None
    assert len(api.labels(made)) == 1


def test_a_clone_of_an_empty_template_is_empty_and_not_completed(api: Caller) -> None:
    made = api("create_project_from_template", api.template(), "Ana")

    assert (made["total"], made["state"]) == (0, "setup")


def test_a_template_is_cloned_while_its_rows_change(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        template = api.template()
        first, last = api.row(template, "a"), api.row(template, "b")
        api("add_dependency", last, first)

    meet(
        clone,
        calling(api.account, "delete_assignment", first),
        calling(api.account, "create_project_from_template", template, "Ana"),
    )

    with psycopg.connect(clone) as db:
        made = value(db, "select uuid::text from public.projects where not is_template")
        assert Caller(db, api.account).labels(made) == ["b"]


@pytest.mark.parametrize("attrs", [{"is_template": True}, {"name": "Other"}, {"x": 1}], ids=str)
def test_a_clone_refuses_attributes_that_it_cannot_take(
    api: Caller, attrs: dict[str, object]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("create_project_from_template", api.template(), "Ana", attrs)
