"""Projects: their states, their lists, their order."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling
from rows import set_clock, value, values

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def names(found: list[Any]) -> list[str]:
    return [project["name"] for project in found]


def test_a_new_project_is_empty_and_in_setup(api: Caller) -> None:
    project = api("create_project", "Wedding", {"description": "Three tiers"})

    assert project["state"] == "setup"
    assert (project["name"], project["description"]) == ("Wedding", "Three tiers")
    assert (project["total"], project["progress_pct"], project["hours"]) == (0, 0, 0)
    assert api.activities() == ["projects.project_created"]


def test_a_description_that_is_too_long_is_refused_by_its_name(api: Caller) -> None:
    with raises_code("BAD_INPUT", "PT400") as refusal:
        api("create_project", "Wedding", {"description": "x" * 5001})

    assert '"field": "description"' in str(refusal.value.diag.message_detail)


def test_two_projects_may_have_one_name(api: Caller) -> None:
    assert api.project("Wedding") != api.project("Wedding")


@pytest.mark.parametrize(
    "attrs",
    [
        {"name": "  "},
        {"name": "x" * 256},
        {"counts_weekends": None},
        {"start_mode": "someday"},
        {"start_mode": "scheduled"},
        {"scheduled_start_date": "tomorrow, perhaps"},
        {"translations": {"es": "Boda"}},
        {"translations": {"es": ["Boda"]}},
        {"translations": {"es": {"name": 3}}},
        {"translations": []},
        {"assigned_person_uuid": "00000000-0000-4000-8000-00000000dead"},
        {"started_at": "2026-01-01"},
        {"completed_at": "2026-01-01"},
        {"archived_at": "2026-01-01"},
        {"is_template": True},
        {"no_such_thing": 1},
    ],
    ids=str,
)
@pytest.mark.spec("P19", "P32", "P60")
def test_an_invalid_attribute_of_a_project_is_refused_and_not_ignored(
    api: Caller, attrs: dict[str, object]
) -> None:
    project = api.project()

    with raises_code("BAD_INPUT", "PT400"):
        api("update_project", project, attrs)


def test_an_update_changes_only_the_named_fields_and_null_clears_one(api: Caller) -> None:
    project = api.project(description="Three tiers", counts_weekends=True)

    changed = api("update_project", project, {"name": "Big wedding", "description": None})

    assert (changed["name"], changed["description"]) == ("Big wedding", None)
    assert changed["counts_weekends"] is True
    assert api.activities()[-1] == "projects.project_updated"


def test_an_update_that_changes_nothing_records_no_activity(api: Caller) -> None:
    project = api.project()

    api("update_project", project, {"name": "Wedding"})

    assert api.activities() == ["projects.project_created"]


@pytest.mark.parametrize(
    ("attrs", "state"),
    [
        ({}, "setup"),
        ({"start_mode": "scheduled", "scheduled_start_date": "2026-01-05T12:01Z"}, "scheduled"),
        ({"start_mode": "scheduled", "scheduled_start_date": "2026-01-05T09:00Z"}, "overdue"),
        ({"start_mode": "immediate", "scheduled_start_date": "2026-01-05T09:00Z"}, "setup"),
        ({"is_template": True}, "template"),
    ],
)
def test_the_state_follows_from_the_dates_and_the_clock(
    api: Caller, db: Connection, attrs: dict[str, object], state: str
) -> None:
    set_clock(db, NOON)

    assert api("create_project", "Wedding", attrs)["state"] == state


def test_a_project_that_starts_tomorrow_is_running(api: Caller, db: Connection) -> None:
    set_clock(db, NOON)
    project = api.project()

    started = api("start_project", project, NOON + timedelta(days=1))

    assert (started["state"], started["already_done"]) == ("running", False)


def test_archived_wins_over_completed_and_completed_over_running(api: Caller) -> None:
    project = api.project()
    row = api.row(project)
    api("start_project", project)
    states = [api.get(project)["state"]]

    api("complete_assignment", row)
    states.append(api.get(project)["state"])
    api("archive_project", project)
    states.append(api.get(project)["state"])

    assert states == ["running", "completed", "archived"]


def test_a_started_project_answers_already_done_and_keeps_its_start(
    api: Caller, db: Connection
) -> None:
    project = api.project()
    first = api("start_project", project, NOON)

    again = api("start_project", project, NOON + timedelta(days=9))

    assert again["already_done"] is True
    assert again["started_at"] == first["started_at"]
    assert api.activities().count("projects.project_started") == 1


def test_neither_a_template_nor_an_archived_project_can_be_started(api: Caller) -> None:
    archived = api.project()
    api("archive_project", archived)

    for project in (api.template(), archived):
        with raises_code("INVALID_STATE", "PT409"):
            api("start_project", project)


def test_starting_twice_at_once_starts_once(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()

    start = calling(api.account, "start_project", project)
    meet(clone, start, start)

    with psycopg.connect(clone) as db:
        actions = values(
            db, "select action from public.activities where resource_uuid = %s", project
        )
        assert actions.count("projects.project_started") == 1


@pytest.mark.parametrize(
    "change",
    [
        "update public.projects set is_template = true where uuid = %s",
        "update public.projects set started_at = now() + interval '1 day' where uuid = %s",
        "update public.projects set started_at = null where uuid = %s",
    ],
)
@pytest.mark.spec("P19")
def test_the_owner_cannot_undo_the_start_or_turn_a_project_into_a_template(
    api: Caller, db: Connection, change: str
) -> None:
    project = api.project()
    api("start_project", project)
    db.execute("set local role bakehouse_owner")

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(change.encode(), (project,))


def test_archiving_hides_a_project_and_unarchiving_shows_it(api: Caller) -> None:
    project = api.project()

    api("archive_project", project)
    hidden = (names(api.rows("list_projects")), names(api.rows("list_projects", p_archived="true")))
    api("unarchive_project", project)

    assert hidden == ([], ["Wedding"])
    assert names(api.rows("list_projects")) == ["Wedding"]
    assert api.activities()[1:] == ["projects.project_archived", "projects.project_unarchived"]


def test_archiving_again_updates_the_date(api: Caller, db: Connection) -> None:
    set_clock(db, NOON)
    project = api.project()
    first = api("archive_project", project)["archived_at"]
    set_clock(db, NOON + timedelta(hours=1))

    assert api("archive_project", project)["archived_at"] > first


def test_deleting_a_project_deletes_its_rows_and_keeps_the_library(
    api: Caller, admin: Caller, db: Connection
) -> None:
    project = api.project()
    api.row(project)

    assert admin("delete_project", project) == 1

    assert value(db, "select count(*) from public.project_assignments") == 0
    assert len(api.rows("list_tasks")) == 1
    assert api.activities()[-1] == "projects.project_deleted"


@pytest.mark.spec("P42")
def test_a_deleted_project_is_not_found(api: Caller, admin: Caller) -> None:
    project = api.project()
    admin("delete_project", project)

    for function in ("get_project", "start_project", "archive_project", "unarchive_project"):
        with raises_code("NOT_FOUND", "PT404"):
            api(function, project)
    with raises_code("NOT_FOUND", "PT404"):
        admin("delete_project", project)


def test_only_an_admin_deletes_and_only_a_supervisor_edits(api: Caller, staff: Caller) -> None:
    project = api.project()

    with raises_code("PERMISSION_DENIED", "PT403"):
        api("delete_project", project)
    with raises_code("PERMISSION_DENIED", "PT403"):
        staff("create_project", "Mine")
    assert staff.get(project)["name"] == "Wedding"


def test_lists_show_projects_or_templates_never_both(api: Caller) -> None:
    api.project("Wedding")
    api.template("Kit")

    assert names(api.rows("list_projects")) == ["Wedding"]
    assert names(api.rows("list_projects", p_templates=True)) == ["Kit"]
    assert api("count_projects") == api("count_projects", True) == 1


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("  WED ", ["Wedding 50%"]),
        ("50%", ["Wedding 50%"]),
        ("%", ["Wedding 50%"]),
        ("_", ["Odd_name"]),
        ("\\", []),
        ("boda", ["Wedding 50%"]),
        ("tiers", ["Odd_name"]),
        ("name", ["Odd_name"]),  # found by its name, not by the key of a translation
        ("", ["Wedding 50%", "Odd_name"]),
    ],
)
def test_a_search_takes_its_text_literally_in_every_language(
    api: Caller, search: str, found: list[str]
) -> None:
    api.project("Wedding 50%", translations={"es": {"name": "Boda"}})
    api.project("Odd_name", description="Three TIERS")

    assert names(api.rows("list_projects", p_search=search)) == found
    assert api("count_projects", p_search=search) == len(found)


@pytest.mark.parametrize(
    ("sort", "direction", "order"),
    [
        ("position", "asc", "bac"),
        ("position", "desc", "bac"),
        ("name", "asc", "abc"),
        ("name", "desc", "cba"),
        ("inserted_at", "asc", "bac"),
        ("inserted_at", "desc", "cab"),
        ("updated_at", "desc", "cab"),
        ("no such field", "desc", "bac"),
    ],
)
def test_lists_have_the_requested_order(
    api: Caller, db: Connection, sort: str, direction: str, order: str
) -> None:
    for hour, name in enumerate("baC"):
        set_clock(db, NOON + timedelta(hours=hour))
        api.project(name)

    found = api.rows("list_projects", p_sort=sort, p_dir=direction)

    assert "".join(names(found)).lower() == order


@pytest.mark.spec("P70")
def test_the_limit_applies_after_the_filter(api: Caller) -> None:
    for name in ("a", "b", "wedding", "c"):
        api.project(name)

    assert names(api.rows("list_projects", p_search="wed", p_limit=1)) == ["wedding"]
    assert len(api.rows("list_projects", p_limit=-1)) == len(api.rows("list_projects")) == 4


def test_without_v125_no_project_has_a_status(api: Caller) -> None:
    api.project()

    assert len(api.rows("list_projects", p_status=None)) == 1
    assert api.rows("list_projects", p_status="done") == []


def test_the_dashboard_sorts_projects_into_its_buckets(api: Caller, db: Connection) -> None:
    set_clock(db, NOON)
    for name, at in (("first", 1), ("second", 2)):
        api("start_project", api.project(name), NOON + timedelta(hours=at))
    for number in range(6):
        set_clock(db, NOON + timedelta(hours=number))
        api("complete_assignment", api.row(api.project(f"done {number}")))
    for name, day in (("later", 9), ("sooner", 7), ("late", 1)):
        date = NOON.replace(day=day).isoformat()
        api.project(name, start_mode="scheduled", scheduled_start_date=date)
    api.project("new")
    api("archive_project", api.project("archived"))
    api.template()

    buckets = api("project_buckets")

    assert {bucket: names(found) for bucket, found in buckets.items()} == {
        "running": ["second", "first"],
        "completed": ["done 5", "done 4", "done 3", "done 2", "done 1"],
        "upcoming": ["late", "sooner", "later"],
        "setup": ["new"],
    }


def test_a_reader_gets_the_nearest_language(api: Caller) -> None:
    project = api.project(
        translations={"es": {"name": "Boda"}, "pt-PT": {"name": "Casamento"}, "de": {"name": " "}}
    )

    spoken = [
        api("get_project", project, language)["label"]
        for language in ("es", "es-MX", "pt-PT", "pt-BR", "pt", "de", "fr", None)
    ]

    assert spoken == ["Boda", "Boda", *["Casamento"] * 3, "Wedding", "Wedding", "Wedding"]


@pytest.mark.spec("P29")
def test_the_same_sibling_language_is_chosen_every_time_and_never_merged(api: Caller) -> None:
    project = api.project(
        translations={"es-MX": {"name": "de México"}, "es-ES": {"description": "de España"}}
    )

    seen = api("get_project", project, "es-AR")

    assert (seen["label"], seen["about"]) == ("de México", "de España")
    assert api("get_project", project, "es-ES")["label"] == "de México"


def test_projects_can_exchange_their_places_and_hidden_ones_keep_theirs(api: Caller) -> None:
    a, hidden, b, c = (api.project(name) for name in ("a", "hidden", "b", "c"))
    api("archive_project", hidden)

    assert api("reorder_projects", [c, a, b]) == 3

    assert names(api.rows("list_projects", p_archived="all")) == ["c", "hidden", "a", "b"]


@pytest.mark.spec("P50")
def test_reordering_some_projects_moves_only_those(api: Caller) -> None:
    a, _, c, _ = (api.project(name) for name in "abcd")

    api("reorder_projects", [c, a])

    assert names(api.rows("list_projects")) == ["c", "b", "a", "d"]


def test_a_reorder_uses_the_last_duplicate_and_skips_unknown_ids(api: Caller) -> None:
    a, b = api.project("a"), api.project("b")

    assert api("reorder_projects", [a, str(uuid4()), b, a]) == 2

    assert names(api.rows("list_projects")) == ["b", "a"]


def test_reordering_only_unknown_ids_records_no_activity(api: Caller) -> None:
    assert api("reorder_projects", [str(uuid4())]) == 0
    assert api.activities() == []


def test_projects_and_templates_cannot_be_reordered_together(api: Caller) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("reorder_projects", [api.project(), api.template()])


def test_reordering_more_than_a_thousand_ids_is_refused(api: Caller) -> None:
    project = api.project()

    assert api("reorder_projects", [project] * 1000) == 1
    with raises_code("BAD_INPUT", "PT400"):
        api("reorder_projects", [project] * 1001)


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("name_asc", "aBc"),
        ("name_desc", "cBa"),
        ("created_asc", "Bca"),
        ("created_desc", "acB"),
        ("reverse", "acB"),
    ],
)
def test_projects_can_be_sorted_by_each_strategy(
    api: Caller, db: Connection, strategy: str, order: str
) -> None:
    for hour, name in enumerate("Bca"):
        set_clock(db, NOON + timedelta(hours=hour))
        api.project(name)

    assert api("reorder_projects_by", strategy) == 3

    assert "".join(names(api.rows("list_projects"))) == order


def test_a_strategy_sorts_only_the_projects_given(api: Caller) -> None:
    c, _, a = (api.project(name) for name in "cba")

    api("reorder_projects_by", "name_asc", [c, a])

    assert names(api.rows("list_projects")) == ["a", "b", "c"]
    with raises_code("BAD_INPUT", "PT400"):
        api("reorder_projects_by", "by mood")


@pytest.mark.spec("P51", "P52")
def test_two_reorders_of_the_same_projects_at_once_leave_unique_places(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        a, b, c = (api.project(name) for name in "abc")
        before = values(db, "select position from public.projects order by 1")

    meet(
        clone,
        calling(api.account, "reorder_projects", [b, a]),
        calling(api.account, "reorder_projects", [c, b, a]),
    )

    with psycopg.connect(clone) as db:
        assert names(Caller(db, api.account).rows("list_projects")) == ["c", "b", "a"]
        assert values(db, "select position from public.projects order by 1") == before


@pytest.mark.spec("P61")
def test_every_timestamp_has_a_time_zone(db: Connection) -> None:
    assert (
        values(
            db,
            "select table_name || '.' || column_name from information_schema.columns "
            "where table_schema = 'public' and data_type = 'timestamp without time zone'",
        )
        == []
    )


@pytest.mark.spec("P64", "P67")
def test_only_staff_read_projects(api: Caller, db: Connection) -> None:
    api.project()

    with acting_as(db, "authenticated", uuid4()):
        seen = [value(db, "select count(*) from public.projects")]
    with acting_as(db, "authenticated", caller(db, "Staff").account):
        seen.append(value(db, "select count(*) from public.projects"))

    assert seen == [0, 1]


@pytest.mark.spec("P25")
def test_listeners_get_only_ids_and_only_after_the_commit(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as ear, psycopg.connect(clone) as db:
        ear.execute("listen bakehouse")
        api = caller(db)
        api.project("Wedding of Ana")
        db.rollback()
        api = caller(db)
        api.project("Wedding of Ana")
        db.commit()

        heard = [note.payload for note in ear.notifies(timeout=1)]

    assert len(heard) == 1
    assert "project_created" in heard[0]
    assert "Ana" not in heard[0]


@pytest.mark.spec("P37")
def test_writes_at_another_isolation_are_refused(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = api.project()
        db.commit()
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        with pytest.raises(psycopg.errors.FeatureNotSupported):
            api("start_project", project)


def test_activities_name_their_account_and_cannot_be_changed(api: Caller, db: Connection) -> None:
    api.project()

    assert values(db, "select actor_uuid from public.activities") == [api.account]
    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute("delete from public.activities where true")
