"""Statuses changed by two sessions at once, where one must wait for the other."""

import psycopg
import pytest

from calls import raises_code
from orders.races import meet
from projects.callers import Caller, caller, calling, switch
from rows import make_order, value, values


def running(api: Caller, *, status: str | None = None) -> str:
    """A started project with the default statuses, on a list of its own."""
    switch(api.db, "true")
    made = api.project()
    api("ensure_project_status_entity", made)
    api("start_project", made)
    if status:
        api("set_current_status", made, status)
    return made


def other_list(api: Caller) -> str:
    entity = str(api("create_entity", "tasting_stages", "Tasting")["uuid"])
    for title in ("Planned", "Tasted"):
        api("create_entity_data", entity, title)
    return entity


def own_status(api: Caller, project: str, slug: str) -> str:
    return str(
        value(
            api.db,
            "select uuid from public.project_statuses where project_uuid = %s and slug = %s",
            project,
            slug,
        )
    )


def selection(dsn: str, project: str) -> object:
    with psycopg.connect(dsn) as db:
        return value(db, "select current_status_slug from public.projects where uuid = %s", project)


@pytest.mark.spec("P13")
def test_a_status_is_selected_while_it_is_removed(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = running(api)
        done = own_status(api, project, "done")

    with raises_code("INVALID_STATUS", "PT409"):
        meet(
            clone,
            calling(api.account, "remove_project_status", done),
            calling(api.account, "set_current_status", project, "done"),
        )

    assert selection(clone, project) is None


@pytest.mark.spec("P13")
def test_a_status_is_removed_while_it_is_selected(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = running(api)
        done = own_status(api, project, "done")

    meet(
        clone,
        calling(api.account, "set_current_status", project, "done"),
        calling(api.account, "remove_project_status", done),
    )

    assert selection(clone, project) is None


@pytest.mark.spec("P13")
def test_a_status_is_selected_while_the_source_switches(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = running(api, status="planned")
        tasting = other_list(api)

    with raises_code("INVALID_STATUS", "PT409"):
        meet(
            clone,
            calling(api.account, "set_status_entity", project, tasting),
            calling(api.account, "set_current_status", project, "done"),
        )

    assert selection(clone, project) == "planned"


@pytest.mark.spec("P13")
def test_the_source_switches_while_a_status_is_selected(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = running(api)
        tasting = other_list(api)

    meet(
        clone,
        calling(api.account, "set_current_status", project, "done"),
        calling(api.account, "set_status_entity", project, tasting),
    )

    assert selection(clone, project) is None


@pytest.mark.spec("P13")
def test_a_slug_changes_while_it_is_selected(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        project = running(api)
        done = own_status(api, project, "done")

    meet(
        clone,
        calling(api.account, "set_current_status", project, "done"),
        calling(api.account, "update_project_status_row", done, {"slug": "eaten"}),
    )

    assert selection(clone, project) == "eaten"


@pytest.mark.spec("P13")
def test_direct_writes_cannot_leave_a_selection_without_its_status(clone: str) -> None:
    with psycopg.connect(clone) as db:
        project = running(caller(db))

    with psycopg.connect(clone) as one, psycopg.connect(clone) as two:
        one.execute(
            "update public.projects set current_status_slug = 'done' where uuid = %s", (project,)
        )
        two.execute("delete from public.project_statuses where slug = 'done'")
        two.commit()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            one.commit()

    assert selection(clone, project) is None


@pytest.mark.spec("P27")
def test_two_lists_made_at_once_are_both_complete(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        switch(db, "true")

    make = calling(api.account, "create_default_status_entity")
    meet(clone, make, make)

    with psycopg.connect(clone) as db:
        assert values(
            db,
            "select entities.name || ' ' || count(records) from public.entities as entities "
            "left join public.entity_data as records on records.entity_uuid = entities.uuid "
            "group by entities.name order by 1",
        ) == ["project_statuses 6", "project_statuses_2 6"]


@pytest.mark.spec("P27")
def test_a_project_that_gets_its_own_list_twice_at_once_gets_one(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        switch(db, "true")
        project = api.project()

    ensure = calling(api.account, "ensure_project_status_entity", project)
    meet(clone, ensure, ensure)

    with psycopg.connect(clone) as db:
        assert value(db, "select count(*) from public.entities") == 1
        assert value(db, "select count(*) from public.entity_data") == 6


def test_starting_a_project_twice_at_once_cements_it_once(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        switch(db, "true")
        project = api.project()
        api("ensure_project_status_entity", project)

    start = calling(api.account, "start_project", project)
    meet(clone, start, start)

    with psycopg.connect(clone) as db:
        assert len(Caller(db, api.account).rows("statuses_for", project)) == 6
        assert (
            value(
                db,
                "select count(*) from public.activities where action = %s",
                "projects.project_statuses_cemented",
            )
            == 1
        )


def test_an_order_that_gets_a_project_twice_at_once_gets_one(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        order, template = make_order(db), api.template()

    make = calling(api.account, "create_project_from_order", order, template)
    meet(clone, make, make)

    with psycopg.connect(clone) as db:
        assert value(db, "select count(*) from public.projects where external_id = %s", order) == 1
