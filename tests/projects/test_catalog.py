"""The catalog: lists, records, and the slugs by which projects refer to them."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling, switch
from rows import make_staff, value, values


@pytest.fixture(autouse=True)
def catalog(db: Connection) -> None:
    """Switches the catalog on."""
    switch(db, "true")


@pytest.fixture
def statuses(api: Caller) -> str:
    return str(api("create_entity", "project_statuses", "Project Statuses")["uuid"])


def record(api: Caller, entity: str, title: str, **attrs: object) -> Any:
    return api("create_entity_data", entity, title, attrs)


def titles(api: Caller, entity: str, *arguments: object) -> list[str]:
    return [found["title"] for found in api.rows("list_entity_data", entity, *arguments)]


def test_the_catalog_is_off_until_it_is_switched_on(db: Connection) -> None:
    assert (
        value(db, "select default_value from app.setting_keys where key = 'entities_enabled'")
        is False
    )


def test_while_the_catalog_is_off_reads_are_empty_and_writes_are_refused(
    api: Caller, admin: Caller, statuses: str, db: Connection
) -> None:
    made = record(api, statuses, "Done")["uuid"]
    switch(db, "false")

    assert api.rows("list_entities") == api.rows("list_entity_data", statuses) == []
    for who, function, arguments in (
        (api, "create_entity", ("other", "Other")),
        (api, "update_entity", (statuses, {})),
        (api, "reorder_entities", ([statuses],)),
        (admin, "trash_entity", (statuses,)),
        (admin, "restore_entity", (statuses,)),
        (admin, "delete_entity", (statuses,)),
        (api, "create_entity_data", (statuses, "Other")),
        (api, "update_entity_data", (made, {})),
        (api, "reorder_entity_data", (statuses, [made])),
        (admin, "trash_entity_data", (made,)),
        (admin, "restore_entity_data", (made,)),
    ):
        with raises_code("CATALOG_UNAVAILABLE", "PT409"):
            who(function, *arguments)


def test_a_list_has_a_name_for_programs_and_a_label_for_people(api: Caller) -> None:
    api(
        "create_entity",
        "project_statuses",
        "Project Status",
        {"display_name_plural": "Statuses", "translations": {"es": {"display_name": "Estado"}}},
    )

    (found,) = api.rows("list_entities", p_language="es")

    assert (found["name"], found["display_name_plural"]) == ("project_statuses", "Statuses")
    assert (found["label"], found["status"], found["records"]) == ("Estado", "published", 0)


@pytest.mark.parametrize(
    "name", ["", "a", "1st", "Upper", "with-hyphen", "with space", "x" * 51, None]
)
def test_a_list_name_that_programs_cannot_use_is_refused(api: Caller, name: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("create_entity", name, "A list")


@pytest.mark.parametrize(
    "attrs",
    [
        {"display_name": "x"},
        {"description": "x" * 501},
        {"status": "trashed"},
        {"status": "lost"},
        {"settings": []},
        {"fields_definition": {}},
        {"position": 3},
    ],
    ids=str,
)
def test_an_invalid_change_of_a_list_is_refused(
    api: Caller, statuses: str, attrs: dict[str, object]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("update_entity", statuses, attrs)


@pytest.mark.spec("P27")
def test_two_lists_never_share_a_name(api: Caller, statuses: str) -> None:
    other = api("create_entity", "other", "Other")["uuid"]

    with raises_code("CONFLICT", "PT409"):
        api("create_entity", "project_statuses", "Again")
    with raises_code("CONFLICT", "PT409"):
        api("update_entity", other, {"name": "project_statuses"})


def test_a_list_can_be_renamed(api: Caller, statuses: str) -> None:
    renamed = api("update_entity", statuses, {"name": "stages", "display_name": "Stages"})

    assert (renamed["name"], renamed["display_name"]) == ("stages", "Stages")
    assert renamed["display_name_plural"] == "Project Statuses"


def test_records_are_listed_by_position_and_not_by_age(api: Caller, statuses: str) -> None:
    a, _, c = (record(api, statuses, title)["uuid"] for title in ("A", "B", "C"))

    api("reorder_entity_data", statuses, [c, a])

    assert titles(api, statuses) == ["C", "B", "A"]
    assert [r["position"] for r in api.rows("list_entity_data", statuses)] == [1, 2, 3]


@pytest.mark.spec("P1")
def test_drafts_and_archived_records_are_not_among_the_published(
    api: Caller, statuses: str
) -> None:
    for status in ("published", "draft", "archived"):
        record(api, statuses, status, status=status)

    assert titles(api, statuses, "published") == ["published"]
    assert len(titles(api, statuses)) == 3


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("In Progress", "in-progress"),
        ("  --Done!--  ", "done"),
        ("Crème brûlée", "creme-brulee"),
        ("Größe", "grosse"),
        ("Готово к выдаче", "gotovo-k-vydache"),
        ("Щука и ёж", "shchuka-i-ezh"),
        ("Σε εξέλιξη", "se-exelixi"),
        ("進行中", "item-1"),
        ("🎂", "item-1"),
        ("!!!", "item-1"),
        ("x" * 255, "x" * 200),
    ],
)
@pytest.mark.spec("P3", "P4")
def test_a_title_in_any_script_gives_a_slug(
    api: Caller, statuses: str, title: str, slug: str
) -> None:
    assert record(api, statuses, title)["slug"] == slug


@pytest.mark.spec("P3")
def test_equal_slugs_get_a_number(api: Caller, statuses: str) -> None:
    slugs = [record(api, statuses, "Done")["slug"] for _ in range(3)]

    assert slugs == ["done", "done-2", "done-3"]


@pytest.mark.spec("P3")
def test_a_given_slug_that_is_in_use_is_refused(api: Caller, statuses: str) -> None:
    record(api, statuses, "Done")
    other = record(api, statuses, "Other")["uuid"]

    with raises_code("CONFLICT", "PT409"):
        record(api, statuses, "Finished", slug="done")
    with raises_code("CONFLICT", "PT409"):
        api("update_entity_data", other, {"slug": "done"})


@pytest.mark.parametrize("slug", ["", "Done", "a b", "-a", "a--b", "a_b", None])
@pytest.mark.spec("P3", "P5")
def test_a_slug_is_canonical_or_refused(api: Caller, statuses: str, slug: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        record(api, statuses, "Done", slug=slug)


def test_a_new_title_keeps_the_slug(api: Caller, statuses: str) -> None:
    made = record(api, statuses, "Done")

    renamed = api("update_entity_data", made["uuid"], {"title": "Finished"})

    assert (renamed["title"], renamed["slug"]) == ("Finished", "done")


@pytest.mark.spec("P6")
def test_translations_of_a_record_are_not_in_its_data(api: Caller, statuses: str) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        record(api, statuses, "Done", data={"_primary_language": "en", "en": {"color": "#fff"}})

    made = record(
        api,
        statuses,
        "Done",
        data={"color": "#34d399"},
        translations={"es-ES": {"title": "Hecho"}},
    )

    assert made["data"] == {"color": "#34d399"}
    assert api.rows("list_entity_data", statuses, None, "es")[0]["label"] == "Hecho"


def test_a_record_can_be_trashed_and_restored(api: Caller, admin: Caller, statuses: str) -> None:
    made = record(api, statuses, "Done", status="archived")["uuid"]

    trashed = admin("trash_entity_data", made)
    again = admin("trash_entity_data", made)
    hidden = (titles(api, statuses), titles(api, statuses, "trashed"))
    restored = admin("restore_entity_data", made)

    assert (trashed["already_done"], again["already_done"]) == (False, True)
    assert hidden == ([], ["Done"])
    assert (restored["status"], restored["already_done"]) == ("published", False)


@pytest.mark.spec("P3")
def test_a_record_whose_slug_is_in_use_cannot_be_restored(
    api: Caller, admin: Caller, statuses: str
) -> None:
    made = record(api, statuses, "Done")["uuid"]
    admin("trash_entity_data", made)
    taker = record(api, statuses, "Finished", slug="done")["uuid"]

    with raises_code("CONFLICT", "PT409"):
        admin("restore_entity_data", made)

    api("update_entity_data", taker, {"slug": "finished"})
    assert admin("restore_entity_data", made)["slug"] == "done"


def test_a_list_can_be_trashed_restored_and_deleted(
    api: Caller, admin: Caller, statuses: str, db: Connection
) -> None:
    record(api, statuses, "Done")
    with raises_code("CONFLICT", "PT409"):
        admin("delete_entity", statuses)

    admin("trash_entity", statuses)
    hidden = api.rows("list_entities")
    admin("restore_entity", statuses)
    shown = [found["records"] for found in api.rows("list_entities")]
    admin("trash_entity", statuses)
    admin("delete_entity", statuses)

    assert (hidden, shown) == ([], [1])
    assert value(db, "select count(*) from public.entity_data") == 0
    assert api.activities()[-1] == "entities.entity_deleted"


def test_only_the_trash_functions_trash_and_restore_a_record(
    api: Caller, admin: Caller, statuses: str
) -> None:
    made = record(api, statuses, "Done")["uuid"]
    admin("trash_entity_data", made)

    for attrs in ({"status": "draft"}, {"status": "published"}):
        with raises_code("BAD_INPUT", "PT400"):
            api("update_entity_data", made, attrs)
    with raises_code("BAD_INPUT", "PT400"):
        record(api, statuses, "Other", status="trashed")


def test_lists_can_exchange_their_places(api: Caller) -> None:
    a, _, c = (api("create_entity", name, name)["uuid"] for name in ("aa", "bb", "cc"))

    assert api("reorder_entities", [c, a]) == 2

    assert [found["name"] for found in api.rows("list_entities")] == ["cc", "bb", "aa"]


def test_reordering_a_list_leaves_records_of_other_lists_alone(api: Caller, statuses: str) -> None:
    other = api("create_entity", "other", "Other")["uuid"]

    with raises_code("BAD_INPUT", "PT400"):
        api("reorder_entity_data", other, [record(api, statuses, "Done")["uuid"]])


def test_a_record_never_moves_to_another_list(api: Caller, statuses: str, db: Connection) -> None:
    made = record(api, statuses, "Done")["uuid"]
    other = api("create_entity", "other", "Other")["uuid"]

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute("update public.entity_data set entity_uuid = %s where uuid = %s", (other, made))


def test_a_missing_list_or_record_is_not_found(api: Caller, admin: Caller) -> None:
    nowhere = str(uuid4())

    for who, function, arguments in (
        (api, "update_entity", ({},)),
        (admin, "trash_entity", ()),
        (admin, "restore_entity", ()),
        (admin, "delete_entity", ()),
        (api, "create_entity_data", ("Done",)),
        (api, "update_entity_data", ({},)),
        (admin, "trash_entity_data", ()),
        (admin, "restore_entity_data", ()),
        (api, "reorder_entity_data", ([],)),
    ):
        with raises_code("NOT_FOUND", "PT404"):
            who(function, nowhere, *arguments)


def test_only_an_admin_trashes_a_list(api: Caller, statuses: str) -> None:
    with raises_code("PERMISSION_DENIED", "PT403"):
        api("trash_entity", statuses)


def test_lists_outlive_the_account_that_made_them(
    db: Connection, api: Caller, statuses: str
) -> None:
    db.execute("delete from public.staff_shared where user_id = %s", (api.account,))

    assert values(db, "select created_by_uuid from public.entities") == [None]


@pytest.mark.spec("P51")
def test_two_records_added_at_once_get_places_and_slugs_of_their_own(clone: str) -> None:
    with psycopg.connect(clone) as db:
        switch(db, "true")
        api = caller(db)
        statuses = api("create_entity", "statuses", "Statuses")["uuid"]

    add = calling(api.account, "create_entity_data", statuses, "Done")
    meet(clone, add, add)

    with psycopg.connect(clone) as db:
        assert values(
            db, "select position || ' ' || slug from public.entity_data order by position"
        ) == ["1 done", "2 done-2"]


def test_an_unapproved_account_sees_no_catalog(db: Connection) -> None:
    stranger = Caller(db, make_staff(db, approved=False))

    with raises_code("PERMISSION_DENIED", "PT403"):
        stranger.rows("list_entities")
