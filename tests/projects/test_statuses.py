"""Statuses of projects: read from the catalog before the start, copied at the start."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from projects.callers import Caller, switch
from rows import value, values

DEFAULTS = ["backlog", "planned", "in-progress", "blocked", "in-review", "done"]


@pytest.fixture(autouse=True)
def catalog(db: Connection) -> Iterator[None]:
    """Switches the catalog on. At the end, checks deferred constraints as a commit does."""
    switch(db, "true")
    yield
    db.execute("set constraints all immediate")


@pytest.fixture
def cake(api: Caller) -> str:
    """A list with Planned, Baking and Packed."""
    return catalogue(api, "cake_stages", "Planned", "Baking", "Packed")


@pytest.fixture
def tasting(api: Caller) -> str:
    """Another list, with Planned and Tasted."""
    return catalogue(api, "tasting_stages", "Planned", "Tasted")


def catalogue(api: Caller, name: str, *titles: str) -> str:
    entity = str(api("create_entity", name, name.replace("_", " "))["uuid"])
    for title in titles:
        record(api, entity, title)
    return entity


def record(api: Caller, entity: str, title: str, **attrs: object) -> str:
    return str(api("create_entity_data", entity, title, attrs)["uuid"])


def project(api: Caller, source: str, *, started: bool = False, status: str | None = None) -> str:
    made = api.project(status_entity_uuid=source)
    if status:
        api("set_current_status", made, status)
    if started:
        api("start_project", made)
    return made


def statuses(api: Caller, project: str, language: str | None = None) -> list[Any]:
    return api.records("statuses_for", project, language)


def slugs(api: Caller, project: str) -> list[str]:
    return [status["slug"] for status in statuses(api, project)]


def labels(api: Caller, project: str, language: str | None = None) -> list[str]:
    return [status["label"] for status in statuses(api, project, language)]


def selected(api: Caller, project: str, language: str | None = None) -> str | None:
    """Returns the label of a project's status. Single and batched reads must agree."""
    single = api.records("current_status", project, language)
    (batched,) = api.records("statuses_for_projects", [project], language)
    assert batched == (single[0] if single else dict.fromkeys(batched)) | {"project_uuid": project}
    return single[0]["label"] if single else None


def selection(api: Caller, project: str) -> str | None:
    slug: str | None = api.get(project)["current_status_slug"]
    return slug


# Lists


def test_a_list_is_made_with_six_statuses_and_is_not_the_default(api: Caller) -> None:
    made = api("create_default_status_entity")

    assert (made["name"], made["display_name"]) == ("project_statuses", "Project Statuses")
    assert made["settings"] == {"source": "projects", "scope": "shared"}
    found = api.records("list_catalog_statuses", made["uuid"])
    assert [status["slug"] for status in found] == DEFAULTS
    assert [status["position"] for status in found] == [1, 2, 3, 4, 5, 6]
    assert api("global_default_status_entity_uuid") is None


@pytest.mark.spec("P27")
def test_a_new_list_gets_the_first_free_name(api: Caller, admin: Caller) -> None:
    names = [api("create_default_status_entity")["name"] for _ in range(3)]
    second = api.rows("list_entities")[1]["uuid"]
    admin("trash_entity", second)
    names.append(api("create_default_status_entity")["name"])
    admin("delete_entity", second)
    made = api("create_default_status_entity")

    assert names == [f"project_statuses{suffix}" for suffix in ("", "_2", "_3", "_4")]
    assert (made["name"], made["display_name"]) == ("project_statuses_2", "Project Statuses 2")


@pytest.mark.spec("P28")
def test_a_failed_list_leaves_no_statuses_behind(api: Caller, db: Connection) -> None:
    db.execute("alter table public.entity_data add check (slug <> 'in-review')")

    with pytest.raises(psycopg.errors.CheckViolation), db.transaction():
        api("create_default_status_entity")

    assert api.rows("list_entities") == []


def test_the_default_names_and_statuses_of_lists_can_be_read(api: Caller) -> None:
    made = api.project()

    assert api("default_entity_base") == "project_statuses"
    assert [status["label"] for status in api.records("default_statuses")] == [
        "Backlog", "Planned", "In Progress", "Blocked", "In Review", "Done",
    ]  # fmt: skip
    name = api("per_project_entity_name", made)
    assert (len(name), name) == (47, f"project_status_{made.replace('-', '')}")


def test_a_project_gets_a_list_of_its_own_once(api: Caller) -> None:
    made = api.project()

    first = api("ensure_project_status_entity", made)
    again = api("ensure_project_status_entity", made)

    assert (first["list_created"], first["already_done"]) == (True, False)
    assert (again["list_created"], again["already_done"]) == (False, True)
    (entity,) = api.rows("list_entities")
    assert entity["name"] == api("per_project_entity_name", made)
    assert entity["settings"]["scope"] == "project"
    assert api("resolve_catalog_entity_uuid", made) == UUID(first["status_entity_uuid"])
    assert slugs(api, made) == DEFAULTS


@pytest.mark.spec("P9")
def test_a_started_project_that_gets_its_own_list_is_cemented_at_once(
    api: Caller, cake: str
) -> None:
    made = project(api, cake, started=True, status="baking")

    changed = api("ensure_project_status_entity", made)

    assert slugs(api, made) == DEFAULTS
    assert changed["selection_cleared"] is True
    assert selection(api, made) is None


def test_sources_come_in_two_groups_and_an_empty_one_is_left_out(
    api: Caller, admin: Caller, db: Connection, cake: str, tasting: str
) -> None:
    ours = api("create_default_status_entity")["uuid"]
    api("update_entity", cake, {"status": "archived"})
    admin("trash_entity", tasting)

    groups = api.records("list_status_source_entities")

    assert groups == [
        {"source_group": "Status lists", "label": "Project Statuses", "uuid": ours},
        {"source_group": "Other entities", "label": "cake stages", "uuid": cake},
    ]
    switch(db, "false")
    assert api.records("list_status_source_entities") == []


# The list of a project


def test_a_project_has_its_own_list_else_the_default_else_none(
    api: Caller, admin: Caller, cake: str, tasting: str
) -> None:
    made = api.project()
    with raises_code("NO_STATUS_ENTITY", "PT409"):
        api("resolve_catalog_entity_uuid", made)
    assert slugs(api, made) == []

    admin("set_default_status_entity", cake)
    assert slugs(api, made) == ["planned", "baking", "packed"]
    api("set_status_entity", made, tasting)
    assert slugs(api, made) == ["planned", "tasted"]


def test_a_new_default_list_changes_only_projects_that_have_not_started(
    api: Caller, admin: Caller, cake: str, tasting: str
) -> None:
    admin("set_default_status_entity", cake)
    waiting, running = api.project(), api.project()
    api("start_project", running)

    admin("set_default_status_entity", tasting)
    assert [s["slug"] for s in api.records("shared_catalog_statuses")] == ["planned", "tasted"]
    assert slugs(api, waiting) == ["planned", "tasted"]
    assert slugs(api, running) == ["planned", "baking", "packed"]

    assert admin("set_default_status_entity", None)["already_done"] is False
    assert admin("set_default_status_entity", None)["already_done"] is True
    assert api.records("shared_catalog_statuses") == slugs(api, waiting) == []


@pytest.mark.spec("P7")
def test_the_default_list_never_names_a_missing_list(api: Caller, admin: Caller, cake: str) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        admin("set_default_status_entity", str(uuid4()))
    admin("set_default_status_entity", cake)

    admin("trash_entity", cake)
    assert api.records("shared_catalog_statuses") == []
    admin("delete_entity", cake)

    assert api("global_default_status_entity_uuid") is None


@pytest.mark.spec("P30")
def test_a_list_counts_its_projects_by_name_and_by_default(
    api: Caller, admin: Caller, cake: str
) -> None:
    def count() -> Any:
        return api.records("reverse_reference_count", cake)

    project(api, cake)
    api.template(status_entity_uuid=cake)
    project(api, cake, started=True)
    api.project()
    assert count() == [{"explicit": 2, "implicit": 0}]

    admin("set_default_status_entity", cake)

    assert count() == [{"explicit": 2, "implicit": 1}]
    assert api.records("reverse_reference_count", None) == [{"explicit": 0, "implicit": 0}]


@pytest.mark.spec("P1")
def test_only_published_records_are_statuses_before_and_after_the_start_alike(
    api: Caller, admin: Caller, cake: str
) -> None:
    for status in ("draft", "archived"):
        record(api, cake, status, status=status)
    admin("trash_entity_data", record(api, cake, "trashed"))
    made = project(api, cake)
    assert [s["slug"] for s in api.records("list_catalog_statuses", cake)] == slugs(api, made)

    before = slugs(api, made)
    api("start_project", made)

    assert before == slugs(api, made) == ["planned", "baking", "packed"]


def test_without_a_list_there_are_no_statuses(api: Caller, cake: str) -> None:
    assert api.records("list_catalog_statuses", None) == []
    assert api.records("list_catalog_statuses", project(api, cake, started=True)) == []


# Catalog off


def test_while_the_catalog_is_off_started_projects_keep_their_statuses_and_no_other_has_any(
    api: Caller, db: Connection, cake: str
) -> None:
    waiting = project(api, cake, status="planned")
    running = project(api, cake, started=True, status="baking")

    switch(db, "false")

    assert api("statuses_available") is False
    assert (slugs(api, waiting), selected(api, waiting)) == ([], None)
    assert slugs(api, running) == ["planned", "baking", "packed"]
    assert selected(api, running) == "Baking"
    batched = api.records("statuses_for_projects", [waiting, running])
    assert {row["project_uuid"]: row["slug"] for row in batched} == {
        waiting: None,
        running: "baking",
    }
    assert api.records("list_catalog_statuses", cake) == []
    switch(db, "true")
    assert selected(api, waiting) == "Planned"


def test_while_the_catalog_is_off_nothing_is_provisioned(
    api: Caller, db: Connection, cake: str
) -> None:
    made = project(api, cake)
    switch(db, "false")

    with raises_code("CATALOG_UNAVAILABLE", "PT409"):
        api("create_default_status_entity")
    with raises_code("CATALOG_UNAVAILABLE", "PT409"):
        api("ensure_project_status_entity", made)

    assert value(db, "select count(*) from public.entities") == 1


def test_while_the_catalog_is_off_a_project_starts_without_statuses_and_gets_them_later(
    api: Caller, db: Connection, cake: str
) -> None:
    made = project(api, cake, status="planned")
    switch(db, "false")

    started = api("start_project", made)
    assert (started["current_status_slug"], slugs(api, made)) == (None, [])
    assert api("cement_project_statuses", made)["cemented"] == 0

    switch(db, "true")
    assert slugs(api, made) == []
    assert api("cement_project_statuses", made)["cemented"] == 3
    assert slugs(api, made) == ["planned", "baking", "packed"]


@pytest.mark.parametrize("how", ["off", "emptied", "trashed"])
@pytest.mark.spec("P8")
def test_statuses_stay_when_the_source_has_none_to_copy(
    api: Caller, admin: Caller, db: Connection, cake: str, tasting: str, how: str
) -> None:
    made = project(api, cake, started=True, status="baking")
    before = statuses(api, made)
    empty = catalogue(api, "empty_stages")
    if how == "off":
        switch(db, "false")
        answer = api("recement_project_statuses", made)
        assert (answer["cemented"], answer["already_done"]) == (0, True)
        with raises_code("CATALOG_UNAVAILABLE", "PT409"):
            api("set_status_entity", made, tasting)
    else:
        if how == "trashed":
            admin("trash_entity", cake)
        for uuid in [] if how == "trashed" else [s["uuid"] for s in catalog_rows(api, cake)]:
            admin("trash_entity_data", uuid)
        with raises_code("NO_STATUS_ENTITY", "PT409"):
            api("recement_project_statuses", made)
        assert value(db, "select app.copy_statuses(%s)", made) == 0
        with raises_code("NO_STATUS_ENTITY", "PT409"):
            api("set_status_entity", made, empty)
        with raises_code("NO_STATUS_ENTITY", "PT409"):
            api("set_status_entity", made, None)

    assert statuses(api, made) == before
    assert (selection(api, made), api.get(made)["status_entity_uuid"]) == ("baking", cake)


def catalog_rows(api: Caller, entity: str) -> list[Any]:
    return api.records("list_catalog_statuses", entity)


# Reading


@pytest.mark.spec("P2")
def test_statuses_have_the_same_shape_and_order_before_and_after_the_start(
    api: Caller, cake: str
) -> None:
    first = catalog_rows(api, cake)[0]["uuid"]
    api("update_entity_data", first, {"data": {"color": "#34d399"}})
    api("reorder_entity_data", cake, [s["uuid"] for s in reversed(catalog_rows(api, cake))])
    made = project(api, cake)

    before = statuses(api, made)
    api("start_project", made)
    after = statuses(api, made)

    assert before[2] == {
        "uuid": first, "label": "Planned", "slug": "planned", "color": "#34d399", "position": 3,
    }  # fmt: skip
    assert [s["slug"] for s in before] == ["packed", "baking", "planned"]
    assert [s | {"uuid": None} for s in after] == [s | {"uuid": None} for s in before]
    assert {s["uuid"] for s in after}.isdisjoint(s["uuid"] for s in before)


@pytest.mark.parametrize(
    ("color", "shown"),
    [
        ("#34d399", "#34d399"),
        ("#ABC", "#ABC"),
        ("#12345678", "#12345678"),
        ("#12", None),
        ("#123456789", None),
        ("red", None),
        ("#fff; background: url(x)", None),
        ("#fff\n", None),
        (7, None),
        (None, None),
    ],
)
def test_a_colour_is_a_hash_and_three_to_eight_hex_digits(
    api: Caller, color: object, shown: str | None
) -> None:
    entity = catalogue(api, "coloured")
    record(api, entity, "Planned", data={"color": color})
    made = project(api, entity)

    seen = [statuses(api, made)[0]["color"]]
    api("start_project", made)
    seen.append(statuses(api, made)[0]["color"])

    assert seen == [shown, shown]


@pytest.mark.parametrize("started", [False, True], ids=["live", "cemented"])
@pytest.mark.parametrize(
    ("language", "label"),
    [
        ("es-ES", "Hecho"),
        ("es", "Listo"),
        ("es-MX", "Listo"),
        ("pt-PT", "Feito"),
        ("pt", "Feito"),
        ("de-DE", "Done"),
        ("fr", "Done"),
        (None, "Done"),
    ],
)
@pytest.mark.spec("P11", "P29")
def test_a_label_falls_back_from_exact_over_base_and_sibling_to_primary(
    api: Caller, started: bool, language: str | None, label: str
) -> None:
    entity = catalogue(api, "spoken")
    translations = {
        "es-ES": {"title": "Hecho"},
        "es": {"title": "Listo"},
        "pt-BR": {"title": "Feito"},
        "pt-MZ": {"title": "Pronto"},
        "fr": {"title": " "},
        "de": {"title": None},
    }
    record(api, entity, "Done", translations=translations)
    made = project(api, entity, started=started, status="done")

    assert labels(api, made, language) == [label]
    assert selected(api, made, language) == label


@pytest.mark.parametrize("started", [False, True], ids=["live", "cemented"])
@pytest.mark.parametrize(
    ("everywhere", "here", "label"),
    [
        (None, None, "Hecho"),
        (True, False, "Done"),
        (False, None, "Done"),
        (False, True, "Hecho"),
    ],
)
@pytest.mark.spec("P12")
def test_lists_and_pages_show_the_same_language_whatever_the_flags(
    api: Caller, admin: Caller, started: bool, everywhere: object, here: object, label: str
) -> None:
    entity = catalogue(api, "spoken")
    record(api, entity, "Done", translations={"es": {"title": "Hecho"}})
    made = project(api, entity, started=started, status="done")
    if everywhere is not None:
        admin("set_global_use_status_translations", everywhere)
    api("set_use_status_translations", made, here)

    assert labels(api, made, "es") == [label]
    assert selected(api, made, "es") == label
    assert api("use_status_translations", made) is (label == "Hecho")
    catalog_labels = [s["label"] for s in api.records("list_catalog_statuses", entity, "es")]
    assert catalog_labels == ["Hecho"]


def test_the_translation_flag_of_a_project_wins_over_the_global_one(
    api: Caller, admin: Caller
) -> None:
    made = api.project()

    assert api("global_use_status_translations") is True
    assert api("use_status_translations", made, False) is False
    admin("set_global_use_status_translations", False)
    assert api("use_status_translations", made) is False
    api("set_use_status_translations", made, True)
    assert api("use_status_translations", made, False) is True
    api("set_use_status_translations", made, None)
    assert api.get(made)["settings"] == {}


def test_a_selection_returns_when_its_record_leaves_the_trash(
    api: Caller, admin: Caller, cake: str
) -> None:
    made = project(api, cake, status="baking")
    baking = catalog_rows(api, cake)[1]["uuid"]

    admin("trash_entity_data", baking)
    assert (selected(api, made), selection(api, made)) == (None, "baking")
    admin("restore_entity_data", baking)

    assert selected(api, made) == "Baking"


def test_a_batch_answers_one_row_per_project(api: Caller, cake: str) -> None:
    with_one, without = project(api, cake, status="baking"), api.project()
    unknown = str(uuid4())

    batch = api.records("statuses_for_projects", [with_one, without, unknown, with_one])

    assert {row["project_uuid"]: row["slug"] for row in batch} == {
        with_one: "baking",
        without: None,
        unknown: None,
    }
    assert len(batch) == 3
    assert api.records("statuses_for_projects", []) == []


def test_only_a_started_project_has_statuses_of_its_own(
    api: Caller, cake: str, tasting: str
) -> None:
    waiting, running = project(api, cake), project(api, cake, started=True)
    other = project(api, tasting, started=True)

    own = api.records("list_project_statuses", running)

    assert [s["slug"] for s in own] == ["planned", "baking", "packed"]
    assert api.records("list_project_statuses", waiting) == []
    assert api.records("get_project_status", running, own[0]["uuid"]) == own[:1]
    assert api.records("get_project_status", other, own[0]["uuid"]) == []
    assert api.records("get_project_status", waiting, catalog_rows(api, cake)[0]["uuid"]) == []


@pytest.mark.spec("P31")
def test_the_filter_offers_selected_statuses_from_every_list(
    api: Caller, cake: str, tasting: str
) -> None:
    project(api, cake, status="planned")
    project(api, tasting, status="planned", started=True)
    project(api, tasting, status="tasted")
    project(api, cake)
    api("archive_project", project(api, cake, status="packed"))

    offered = api.records("selected_statuses")

    assert offered == [
        {"slug": "planned", "label": "Planned", "projects": 2},
        {"slug": "tasted", "label": "Tasted", "projects": 1},
    ]
    for filtered in offered:
        assert api("count_projects", p_status=filtered["slug"]) == filtered["projects"]
    assert api("count_projects", p_status=None) == 1


def test_a_project_that_starts_in_the_future_has_started(api: Caller, cake: str) -> None:
    made = project(api, cake)
    assert api("project_started", made) is False

    api("start_project", made, "2099-01-01")

    assert api("project_started", made) is True
    assert len(api.records("list_project_statuses", made)) == 3


# Cementing


def test_editing_the_catalog_leaves_a_started_project_alone(
    api: Caller, admin: Caller, cake: str
) -> None:
    made = project(api, cake, started=True, status="baking")
    before = statuses(api, made)

    planned, baking, _ = catalog_rows(api, cake)
    api("update_entity_data", planned["uuid"], {"title": "Thought of"})
    admin("trash_entity_data", baking["uuid"])
    record(api, cake, "Eaten")
    assert statuses(api, made) == before
    admin("trash_entity", cake)
    admin("delete_entity", cake)

    assert statuses(api, made) == before
    assert selected(api, made) == "Baking"
    assert api.get(made)["status_entity_uuid"] is None


@pytest.mark.spec("P6")
def test_cementing_copies_every_field_of_a_record(api: Caller, db: Connection) -> None:
    entity = catalogue(api, "full")
    source = record(
        api,
        entity,
        "Done",
        data={"color": "#34d399", "icon": "check"},
        translations={"es": {"title": "Hecho", "hint": "x"}, "fr": {"title": ""}},
    )
    made = project(api, entity, started=True)

    row = value(
        db, "select to_jsonb(s) from public.project_statuses s where project_uuid = %s", made
    )

    assert row["data"] == {"color": "#34d399", "icon": "check"}
    assert row["translations"] == {"es": {"label": "Hecho"}}
    assert row["source_entity_data_uuid"] == source


@pytest.mark.spec("P10")
def test_the_start_drops_a_selection_that_was_not_copied(
    api: Caller, admin: Caller, cake: str
) -> None:
    made = project(api, cake, status="baking")
    admin("trash_entity_data", catalog_rows(api, cake)[1]["uuid"])

    started = api("start_project", made)

    assert started["current_status_slug"] is None
    assert api.activities()[-3:] == [
        "projects.project_statuses_cemented",
        "projects.project_status_changed",
        "projects.project_started",
    ]


def test_a_project_starts_without_a_list_and_with_an_empty_one(api: Caller) -> None:
    for made in (api.project(), project(api, catalogue(api, "empty_stages"))):
        assert api("start_project", made)["already_done"] is False
        assert slugs(api, made) == []


def test_only_a_started_project_is_cemented_and_only_once(api: Caller, cake: str) -> None:
    waiting, running = project(api, cake), project(api, cake, started=True)

    for function in ("cement_project_statuses", "recement_project_statuses"):
        with raises_code("INVALID_STATE", "PT409"):
            api(function, waiting)
    record(api, cake, "Eaten")
    again = api("cement_project_statuses", running)

    assert (again["cemented"], again["already_done"]) == (0, True)
    assert slugs(api, running) == ["planned", "baking", "packed"]


def test_recementing_replaces_what_was_changed_by_hand_and_keeps_the_selection(
    api: Caller, cake: str
) -> None:
    made = project(api, cake, started=True, status="baking")
    planned = statuses(api, made)[0]
    api("update_project_status_row", planned["uuid"], {"label": "Mine", "position": 9})
    api("add_project_status", made, "Extra")
    record(api, cake, "Eaten")

    answer = api("recement_project_statuses", made)

    assert (answer["cemented"], answer["selection_cleared"]) == (4, False)
    assert labels(api, made) == ["Planned", "Baking", "Packed", "Eaten"]
    assert statuses(api, made)[0] == planned
    assert selected(api, made) == "Baking"


def test_recementing_drops_a_selection_whose_status_is_gone(api: Caller, cake: str) -> None:
    made = project(api, cake, started=True)
    api("add_project_status", made, "Extra")
    api("set_current_status", made, "extra")

    assert api("recement_project_statuses", made)["selection_cleared"] is True
    assert selection(api, made) is None


# The source


def test_a_new_source_before_the_start_keeps_a_selection_that_it_also_has(
    api: Caller, cake: str, tasting: str
) -> None:
    kept, dropped = project(api, cake, status="planned"), project(api, cake, status="baking")

    answers = [api("set_status_entity", made, tasting) for made in (kept, dropped)]

    assert [answer["selection_cleared"] for answer in answers] == [False, True]
    assert (selected(api, kept), selected(api, dropped)) == ("Planned", None)


def test_a_new_source_after_the_start_is_cemented_at_once(
    api: Caller, cake: str, tasting: str
) -> None:
    kept = project(api, cake, started=True, status="planned")
    dropped = project(api, cake, started=True, status="baking")
    already = api.activities()

    answers = [api("set_status_entity", made, tasting) for made in (kept, dropped)]

    assert [answer["selection_cleared"] for answer in answers] == [False, True]
    assert slugs(api, kept) == slugs(api, dropped) == ["planned", "tasted"]
    assert (selected(api, kept), selected(api, dropped)) == ("Planned", None)
    assert api.activities()[len(already) :].count("projects.project_updated") == 2


def test_setting_the_same_source_again_changes_nothing(api: Caller, cake: str) -> None:
    made = project(api, cake, started=True)
    api("add_project_status", made, "Extra")
    already = api.activities()

    assert api("set_status_entity", made, cake)["already_done"] is True

    assert slugs(api, made) == ["planned", "baking", "packed", "extra"]
    assert api.activities() == already


def test_a_started_project_on_the_default_list_recements_when_it_names_that_list(
    api: Caller, admin: Caller, cake: str, tasting: str
) -> None:
    admin("set_default_status_entity", cake)
    made = api.project()
    api("start_project", made)
    api("add_project_status", made, "Extra")

    api("set_status_entity", made, cake)
    assert slugs(api, made) == ["planned", "baking", "packed"]
    admin("set_default_status_entity", tasting)
    api("set_status_entity", made, None)
    assert slugs(api, made) == ["planned", "tasted"]


def test_a_missing_list_cannot_be_the_source(api: Caller, cake: str) -> None:
    for made in (project(api, cake), project(api, cake, started=True)):
        with raises_code("BAD_INPUT", "PT400"):
            api("set_status_entity", made, str(uuid4()))
        assert api.get(made)["status_entity_uuid"] == cake


@pytest.mark.spec("P9")
def test_every_way_to_change_the_source_of_a_started_project_recements_it(
    api: Caller, db: Connection, cake: str, tasting: str
) -> None:
    made = project(api, cake, started=True, status="baking")

    db.execute(
        "update public.projects set status_entity_uuid = %s where uuid = %s", (tasting, made)
    )

    assert slugs(api, made) == ["planned", "tasted"]
    assert selection(api, made) is None


def test_a_project_and_its_source_are_updated_together_or_not_at_all(
    api: Caller, cake: str, tasting: str
) -> None:
    made = project(api, cake, started=True, status="baking")
    empty = catalogue(api, "empty_stages")

    with raises_code("NO_STATUS_ENTITY", "PT409"):
        api("update_project_with_statuses", made, {"name": "New", "status_entity_uuid": empty})
    assert api.get(made)["name"] == "Wedding"

    already = api.activities()
    changed = api(
        "update_project_with_statuses",
        made,
        {"name": "New", "status_entity_uuid": tasting, "external_id": "bannos-1"},
    )
    assert (changed["name"], changed["external_id"]) == ("New", "bannos-1")
    assert slugs(api, made) == ["planned", "tasted"]
    assert api.activities()[len(already) :].count("projects.project_updated") == 1


def test_an_empty_text_clears_the_source(api: Caller, cake: str) -> None:
    made = project(api, cake)

    changed = api("update_project_with_statuses", made, {"status_entity_uuid": ""})

    assert changed["status_entity_uuid"] is None


@pytest.mark.parametrize(
    "attrs",
    [
        {"current_status_slug": "baking"},
        {"cemented_status_slug": "baking"},
        {"started_at": "2026-01-01"},
        {"status_entity_uuid": "cakes"},
        {"external_id": " "},
        {"settings": {"features": {}}},
        {"settings": {"use_status_translations": "yes"}},
        {"settings": None},
        {"settings": [True]},
        [],
        None,
    ],
    ids=str,
)
@pytest.mark.spec("P32")
def test_an_unknown_field_is_refused_and_not_ignored(api: Caller, cake: str, attrs: object) -> None:
    made = project(api, cake, status="planned")

    with raises_code("BAD_INPUT", "PT400"):
        api("update_project_with_statuses", made, psycopg.types.json.Jsonb(attrs))

    assert (selection(api, made), api.get(made)["settings"]) == ("planned", {})


@pytest.mark.spec("P32")
def test_changing_one_setting_keeps_the_others(api: Caller) -> None:
    made = api.project(settings={"use_status_translations": False})

    api("update_project_with_statuses", made, {"settings": {}, "name": "New"})
    assert api.get(made)["settings"] == {"use_status_translations": False}
    api("update_project_with_statuses", made, {"settings": {"use_status_translations": None}})

    assert api.get(made)["settings"] == {}


# The selection


@pytest.mark.parametrize("started", [False, True], ids=["live", "cemented"])
def test_a_status_can_be_selected_repeated_and_cleared(
    api: Caller, staff: Caller, db: Connection, cake: str, started: bool
) -> None:
    made = project(api, cake, started=started)

    first = staff("set_current_status", made, "planned")
    second = staff("set_current_status", made, "baking")
    again = staff("set_current_status", made, "baking")
    none = staff("set_current_status", made, None)

    assert (first["status"]["label"], first["already_done"]) == ("Planned", False)
    assert (second["status"]["label"], again["already_done"]) == ("Baking", True)
    assert (none["status"], none["current_status_slug"]) == (None, None)
    assert values(
        db,
        "select metadata - 'name' from public.activities "
        "where action = 'projects.project_status_changed' order by inserted_at, cmin::text::bigint",
    ) == [
        {"status_slug": "planned", "previous_status_slug": None},
        {"status_slug": "baking", "previous_status_slug": "planned"},
        {"status_slug": None, "previous_status_slug": "baking"},
    ]


@pytest.mark.parametrize("started", [False, True], ids=["live", "cemented"])
@pytest.mark.parametrize("slug", ["", "tasted", "Baking"])
def test_a_status_that_the_project_does_not_have_is_refused(
    api: Caller, cake: str, started: bool, slug: str
) -> None:
    made = project(api, cake, started=started, status="planned")

    with raises_code("INVALID_STATUS", "PT409"):
        api("set_current_status", made, slug)

    assert selection(api, made) == "planned"


@pytest.mark.spec("P13")
def test_the_owner_cannot_select_a_status_that_a_started_project_lacks(
    api: Caller, db: Connection, cake: str
) -> None:
    made = project(api, cake, started=True)

    with db.transaction(force_rollback=True):
        db.execute(
            "update public.projects set current_status_slug = 'eaten' where uuid = %s", (made,)
        )
        with pytest.raises(psycopg.errors.ForeignKeyViolation), db.transaction():
            db.execute("set constraints all immediate")


# Statuses of a started project


def test_a_status_can_be_added_to_a_started_project(api: Caller, cake: str) -> None:
    made = project(api, cake, started=True)

    (plain,) = api.records("add_project_status", made, "Sugar Flowers")
    (given,) = api.records(
        "add_project_status",
        made,
        "Eaten",
        {"slug": "All Gone!", "position": 0, "data": {"color": "#000"}},
    )

    assert plain | {"uuid": None} == {
        "uuid": None, "label": "Sugar Flowers", "slug": "sugar-flowers", "color": None,
        "position": 4,
    }  # fmt: skip
    assert (given["slug"], given["color"]) == ("all-gone", "#000")
    assert slugs(api, made) == ["all-gone", "planned", "baking", "packed", "sugar-flowers"]
    assert [s["slug"] for s in catalog_rows(api, cake)] == ["planned", "baking", "packed"]


def test_the_first_status_of_a_project_without_any_is_at_1(api: Caller) -> None:
    made = api.project()
    api("start_project", made)

    (first,) = api.records("add_project_status", made, "Begun")

    assert first["position"] == 1


@pytest.mark.parametrize(
    ("label", "slug"), [("完成", "status-4"), ("🎂", "status-4"), ("Ñam", "nam")]
)
@pytest.mark.spec("P4")
def test_a_label_in_any_script_gives_a_slug(api: Caller, cake: str, label: str, slug: str) -> None:
    made = project(api, cake, started=True)

    assert api.records("add_project_status", made, label)[0]["slug"] == slug


@pytest.mark.parametrize(
    ("label", "attrs", "code", "sqlstate"),
    [
        ("Baking", {}, "CONFLICT", "PT409"),
        ("Other", {"slug": "BAKING"}, "CONFLICT", "PT409"),
        ("", {}, "BAD_INPUT", "PT400"),
        (None, {}, "BAD_INPUT", "PT400"),
        ("x" * 256, {}, "BAD_INPUT", "PT400"),
        ("Other", {"color": "#fff"}, "BAD_INPUT", "PT400"),
        ("Other", {"position": None}, "BAD_INPUT", "PT400"),
        ("Other", {"data": []}, "BAD_INPUT", "PT400"),
        ("Other", {"translations": {"es": "Otro"}}, "BAD_INPUT", "PT400"),
    ],
)
def test_adding_an_invalid_status_is_refused(
    api: Caller, cake: str, label: str | None, attrs: dict[str, object], code: str, sqlstate: str
) -> None:
    made = project(api, cake, started=True)

    with raises_code(code, sqlstate):
        api("add_project_status", made, label, attrs)

    assert len(slugs(api, made)) == 3


@pytest.mark.spec("P14")
def test_no_status_can_be_added_before_the_start(api: Caller, db: Connection, cake: str) -> None:
    made = project(api, cake)

    with raises_code("INVALID_STATE", "PT409"):
        api("add_project_status", made, "Extra")
    with raises_code("INVALID_STATE", "PT409"), db.transaction():
        db.execute(
            "insert into public.project_statuses (project_uuid, label, slug) "
            "values (%s, 'Extra', 'extra')",
            (made,),
        )
    api("start_project", made)

    assert slugs(api, made) == ["planned", "baking", "packed"]


@pytest.mark.spec("P15")
def test_a_new_label_keeps_the_slug_and_a_new_slug_moves_the_selection(
    api: Caller, cake: str
) -> None:
    made = project(api, cake, started=True, status="baking")
    baking = statuses(api, made)[1]["uuid"]

    (renamed,) = api.records("update_project_status_row", baking, {"label": "In the oven"})
    assert (renamed["label"], renamed["slug"]) == ("In the oven", "baking")
    (moved,) = api.records("update_project_status_row", baking, {"slug": "In Oven", "position": 7})

    assert (moved["slug"], moved["position"]) == ("in-oven", 7)
    assert (selection(api, made), selected(api, made)) == ("in-oven", "In the oven")
    with raises_code("CONFLICT", "PT409"):
        api("update_project_status_row", baking, {"slug": "planned"})
    with raises_code("BAD_INPUT", "PT400"):
        api("update_project_status_row", baking, {"label": " "})


def test_removing_a_status_clears_only_its_own_selection(api: Caller, cake: str) -> None:
    made, other = (project(api, cake, started=True, status="baking") for _ in range(2))
    planned, baking, _ = (status["uuid"] for status in statuses(api, made))

    assert api("remove_project_status", planned)["selection_cleared"] is False
    assert selection(api, made) == "baking"
    assert api("remove_project_status", baking)["selection_cleared"] is True
    assert (selection(api, made), selection(api, other)) == (None, "baking")
    with raises_code("NOT_FOUND", "PT404"):
        api("remove_project_status", baking)


def test_a_status_never_moves_to_another_project(api: Caller, db: Connection, cake: str) -> None:
    made, other = project(api, cake, started=True), api.project()

    with raises_code("APPEND_ONLY", "PT409"), db.transaction():
        db.execute(
            "update public.project_statuses set project_uuid = %s where project_uuid = %s",
            (other, made),
        )


def test_deleting_a_project_deletes_its_statuses_and_selection(
    api: Caller, admin: Caller, db: Connection, cake: str
) -> None:
    made = project(api, cake, started=True, status="baking")

    admin("delete_project", made)

    assert value(db, "select count(*) from public.project_statuses") == 0


def test_staff_select_supervisors_edit_lists_and_admins_set_the_default(
    api: Caller, staff: Caller, db: Connection, cake: str
) -> None:
    made = project(api, cake, started=True)
    own = statuses(staff, made)[0]["uuid"]

    staff("set_current_status", made, "planned")
    for who, function, *arguments in (
        (staff, "add_project_status", made, "Extra"),
        (staff, "update_project_status_row", own, {}),
        (staff, "remove_project_status", own),
        (staff, "set_status_entity", made, cake),
        (staff, "recement_project_statuses", made),
        (staff, "create_default_status_entity"),
        (api, "set_default_status_entity", cake),
        (api, "set_global_use_status_translations", False),
    ):
        with raises_code("PERMISSION_DENIED", "PT403"):
            who(function, *arguments)
    with acting_as(db, "authenticated", uuid4()):
        assert value(db, "select count(*) from public.project_statuses") == 0


# Templates


def test_a_clone_has_the_source_the_selection_and_the_settings_of_its_template(
    api: Caller, cake: str
) -> None:
    template = api.template(
        status_entity_uuid=cake, settings={"use_status_translations": False}, external_id="T1"
    )
    api("set_current_status", template, "baking")

    made = api("create_project_from_template", template, "Ana", {"status_entity_uuid": ""})

    assert (made["status_entity_uuid"], made["current_status_slug"]) == (cake, "baking")
    assert made["settings"] == {"use_status_translations": False}
    assert made["external_id"] is None
    assert api.records("list_project_statuses", made["uuid"]) == []


@pytest.mark.spec("P10")
def test_a_clone_with_a_source_of_its_own_keeps_a_selection_only_if_that_has_it(
    api: Caller, cake: str, tasting: str
) -> None:
    template = api.template(status_entity_uuid=cake)
    clones = []
    for slug in ("planned", "baking"):
        api("set_current_status", template, slug)
        clones.append(
            api(
                "create_project_from_template",
                template,
                "Ana",
                {"status_entity_uuid": tasting, "settings": {"use_status_translations": True}},
            )
        )

    assert [clone["current_status_slug"] for clone in clones] == ["planned", None]
    assert clones[0]["status_entity_uuid"] == tasting
    assert clones[0]["settings"] == {"use_status_translations": True}


def test_a_template_reads_its_list_live_and_is_never_cemented(api: Caller, cake: str) -> None:
    template = api.template(status_entity_uuid=cake)
    record(api, cake, "Eaten")

    assert slugs(api, template) == ["planned", "baking", "packed", "eaten"]
    with raises_code("INVALID_STATE", "PT409"):
        api("start_project", template)


# Missing projects


def test_a_missing_project_is_not_found(api: Caller) -> None:
    nobody = str(uuid4())
    for function, *arguments in (
        ("project_started", nobody),
        ("statuses_for", nobody),
        ("current_status", nobody),
        ("list_project_statuses", nobody),
        ("get_project_status", nobody, nobody),
        ("resolve_catalog_entity_uuid", nobody),
        ("use_status_translations", nobody),
        ("set_current_status", nobody, "planned"),
        ("set_status_entity", nobody, None),
        ("ensure_project_status_entity", nobody),
        ("cement_project_statuses", nobody),
        ("recement_project_statuses", nobody),
        ("add_project_status", nobody, "Extra"),
        ("update_project_status_row", nobody, {}),
        ("remove_project_status", nobody),
    ):
        with raises_code("NOT_FOUND", "PT404"):
            api(function, *arguments)
