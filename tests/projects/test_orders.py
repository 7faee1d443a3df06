"""Projects of orders: the project of a cake that needs more than five stages."""

from uuid import uuid4

from bakehouse.database import Connection
from calls import raises_code
from projects.callers import Caller
from rows import make_order, make_staff, value


def test_an_order_shows_the_progress_of_its_project(
    api: Caller, staff: Caller, db: Connection
) -> None:
    order, template = make_order(db), api.template()
    api.row(template, "Tasting")
    assert staff("get_project_for_order", order) is None

    made = api("create_project_from_order", order, template)
    api("start_project", made["uuid"])
    assert staff("get_project_for_order", order)["state"] == "running"
    (row,) = api.rows("list_assignments", made["uuid"])
    staff("complete_assignment", row["uuid"])

    shown = staff("get_project_for_order", order)
    assert (shown["uuid"], shown["external_id"]) == (made["uuid"], order)
    assert (shown["state"], shown["progress_pct"], shown["status"]) == ("completed", 100, None)
    assert shown["completed_at"] is not None


def test_an_order_has_one_project_until_that_project_is_archived(
    api: Caller, db: Connection
) -> None:
    order, template = make_order(db), api.template()

    first = api("create_project_from_order", order, template)
    again = api("create_project_from_order", order, template)
    api("archive_project", first["uuid"])
    assert api("get_project_for_order", order)["uuid"] == first["uuid"]
    second = api("create_project_from_order", order, template)

    assert [made["already_done"] for made in (first, again, second)] == [False, True, False]
    assert again["uuid"] == first["uuid"] != second["uuid"]
    assert api("get_project_for_order", order)["uuid"] == second["uuid"]


def test_the_name_of_a_project_from_an_order_does_not_contain_the_customer(
    api: Caller, db: Connection
) -> None:
    order = make_order(db, customer_name="Ana Banana", product_title="Wedding Cake")

    made = api("create_project_from_order", order, api.template())

    assert made["name"] == f"Wedding Cake {order}"


def test_only_an_existing_order_that_is_not_cancelled_gets_a_project(
    api: Caller, db: Connection
) -> None:
    template, cancelled = api.template(), make_order(db, cancelled_at="2026-01-01T00:00Z")

    with raises_code("CONFLICT", "PT409"):
        api("create_project_from_order", cancelled, template)
    with raises_code("NOT_FOUND", "PT404"):
        api("create_project_from_order", make_order(db), str(uuid4()))
    for function, *more in (("create_project_from_order", template), ("get_project_for_order",)):
        with raises_code("NOT_FOUND", "PT404"):
            api(function, "bannos-1", *more)
        with raises_code("NOT_FOUND", "PT404"):
            api(function, None, *more)
        with raises_code("BAD_INPUT", "PT400"):
            api(function, "nowhere-1", *more)
    assert value(db, "select count(*) from public.projects where not is_template") == 0


def test_an_order_of_another_store_is_not_shown(api: Caller, db: Connection) -> None:
    order, template = make_order(db), api.template()
    elsewhere = Caller(db, make_staff(db, role="Supervisor", store="flourlane"))

    with raises_code("PERMISSION_DENIED", "PT403"):
        elsewhere("get_project_for_order", order)
    with raises_code("PERMISSION_DENIED", "PT403"):
        elsewhere("create_project_from_order", order, template)
