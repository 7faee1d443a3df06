"""Projects inside projects: create, link, detach, read, copy and delete."""

from typing import Any

import psycopg
import pytest

import postgres
from bakehouse import database
from bakehouse.database import Connection
from bakehouse.migrations import apply
from bakehouse.migrations.files import discover
from calls import raises_code
from orders.races import meet
from postgres import Server
from projects.callers import Caller, caller, calling
from rows import make_order, make_staff, value, values
from security.test_converge import dump

DOWN = postgres.MIGRATIONS.with_name("down")


@pytest.fixture
def root(api: Caller) -> str:
    return api.project("Wedding")


def listed(api: Caller, function: str = "list_projects", **named: object) -> list[str]:
    return [project["name"] for project in api.rows(function, **named)]


def chain(api: Caller, length: int, name: str = "Level") -> list[str]:
    """Nests projects. Returns them, the root first."""
    levels = [api.project(name)]
    while len(levels) < length:
        levels.append(api.inside(levels[-1], f"{name} {len(levels)}"))
    return levels


# Creating


def test_a_sub_project_is_the_last_row_of_its_parent(api: Caller, root: str) -> None:
    api.row(root)

    made = api("create_subproject", root, "Flowers", {"counts_weekends": True})

    assert (made["name"], made["counts_weekends"], made["start_mode"]) == (
        "Flowers", True, "immediate",
    )  # fmt: skip
    assert (made["parent_project_uuid"], made["is_template"]) == (root, False)
    assert api.labels(root) == ["Tasting", "Flowers"]
    assert api.link(made["uuid"])["uuid"] == made["row_uuid"]
    assert api.activities()[-2:] == ["projects.project_created", "projects.subproject_created"]


def test_a_sub_project_of_a_template_is_a_template(api: Caller) -> None:
    child = api.inside(api.template())

    assert api.get(child)["is_template"] is True


def test_the_label_of_its_row_follows_the_name_of_a_sub_project_in_every_language(
    api: Caller, root: str
) -> None:
    child = api.inside(root, translations={"es": {"name": "Flores"}})
    api("update_project", child, {"name": "Roses"})

    assert api.labels(root) == ["Roses"]
    (row,) = api.rows("list_assignments", root, p_language="es-MX")
    assert row["label"] == "Flores"


@pytest.mark.parametrize(
    "attrs", [{"is_template": True}, {"start_mode": "scheduled"}, {"parent": 1}], ids=str
)
def test_the_caller_cannot_set_what_the_parent_project_decides(
    api: Caller, root: str, attrs: dict[str, object]
) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("create_subproject", root, "Flowers", attrs)


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_sub_project_needs_a_name(api: Caller, root: str, name: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        api("create_subproject", root, name)


def test_a_sub_project_of_a_missing_project_is_refused(
    api: Caller, root: str, db: Connection
) -> None:
    nowhere = str(value(db, "select gen_random_uuid()"))

    for call in (
        ("create_subproject", nowhere, "Flowers"),
        ("link_subproject", nowhere, root),
        ("link_subproject", root, nowhere),
        ("detach_subproject", nowhere),
        ("project_tree", nowhere),
        ("project_breadcrumbs", nowhere),
        ("available_projects_to_link", nowhere),
    ):
        with raises_code("NOT_FOUND", "PT404"):
            api.rows(*call)


@pytest.mark.spec("P47")
def test_projects_nest_32_levels_deep_and_no_deeper(api: Caller) -> None:
    levels = chain(api, 32)

    with raises_code("TOO_DEEP", "PT409"):
        api.inside(levels[-1])
    with raises_code("TOO_DEEP", "PT409"):
        api("link_subproject", levels[30], chain(api, 2, "Other")[0])
    with raises_code("TOO_DEEP", "PT409"):
        api("link_subproject", api.project("Above"), levels[0])

    api("link_subproject", levels[30], api.project("A leaf"))


# Linking


def test_a_linked_project_keeps_its_rows_and_progress(api: Caller, root: str) -> None:
    other = api.project("Cupcakes")
    row = api.row(other, estimated_duration=2, estimated_duration_unit="hours")
    api.inside(other, "Icing")
    api("set_assignment_progress", row, 40)

    linked = api("link_subproject", root, other)

    assert (linked["progress_pct"], linked["total"]) == (40, 2)
    assert api.get(root)["progress_pct"] == 40
    assert len(api.rows("project_tree", root)) == 3


def test_an_open_project_put_into_a_completed_one_reopens_it(api: Caller, root: str) -> None:
    api("complete_assignment", api.row(root))

    api("link_subproject", root, api.project("Cupcakes"))

    assert api.get(root)["completed_at"] is None


def test_a_project_cannot_be_linked_into_itself(api: Caller, root: str) -> None:
    with raises_code("SELF_LINK", "PT400"):
        api("link_subproject", root, root)


def test_templates_hold_templates_and_projects_hold_projects(api: Caller, root: str) -> None:
    with raises_code("KIND_MISMATCH", "PT409"):
        api("link_subproject", root, api.template())
    with raises_code("KIND_MISMATCH", "PT409"):
        api("link_subproject", api.template(), root)


@pytest.mark.spec("P36")
def test_a_cycle_of_projects_of_any_length_is_refused(api: Caller) -> None:
    first, second, third = chain(api, 3)

    for above in (second, third):
        with raises_code("WOULD_CREATE_CYCLE", "PT409"):
            api("link_subproject", above, first)


def test_a_project_has_at_most_one_parent(api: Caller, root: str) -> None:
    child = api.inside(root)

    for parent in (root, api.project("Other")):
        with raises_code("ALREADY_SUBPROJECT", "PT409"):
            api("link_subproject", parent, child)


@pytest.mark.parametrize(
    ("parent", "child", "code"),
    [
        ("template", "other", "KIND_MISMATCH"),
        ("third", "first", "WOULD_CREATE_CYCLE"),
        ("last", "other", "TOO_DEEP"),
    ],
)
@pytest.mark.spec("P36")
def test_the_table_refuses_the_same_links_as_the_function(
    api: Caller, db: Connection, parent: str, child: str, code: str
) -> None:
    levels = chain(api, 32)
    projects = {
        "template": api.template(),
        "other": api.project("Other"),
        "first": levels[0],
        "third": levels[2],
        "last": levels[31],
    }

    with raises_code(code, "PT409"), db.transaction():
        db.execute(
            "insert into public.project_assignments (project_uuid, child_project_uuid, position) "
            "values (%s, %s, 99)",
            (projects[parent], projects[child]),
        )


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ("project_uuid, child_project_uuid, task_uuid", "task_xor_child_check"),
        ("project_uuid", "task_xor_child_check"),
        ("project_uuid, child_project_uuid", "child_project_key"),
    ],
)
def test_a_row_is_either_a_task_or_a_sub_project(
    api: Caller, db: Connection, root: str, columns: str, constraint: str
) -> None:
    given = {"project_uuid": root, "child_project_uuid": api.inside(root), "task_uuid": api.task()}
    names = columns.split(", ")

    with pytest.raises(psycopg.IntegrityError) as refusal, db.transaction():
        db.execute(
            f"insert into public.project_assignments ({columns}, position) "
            f"values ({', '.join(['%s'] * len(names))}, 99)",
            [given[name] for name in names],
        )

    assert refusal.value.diag.constraint_name == f"project_assignments_{constraint}"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.spec("P37")
def test_a_snapshot_older_than_the_lock_is_refused(clone: str, level: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        one, other = api.project("One"), api.project("Other")
        db.commit()
        db.execute(f"set transaction isolation level {level}")

        with pytest.raises(psycopg.errors.FeatureNotSupported):
            api("link_subproject", one, other)


# Detaching


def test_a_detached_project_is_listed_again_and_keeps_its_content(api: Caller, root: str) -> None:
    child = api.inside(root)
    api.inside(child, "Roses")
    done = api.row(root)
    api("complete_assignment", done)
    api("add_dependency", done, api.link(child)["uuid"])
    assert listed(api) == ["Wedding"]

    detached = api("detach_subproject", api.link(child)["uuid"])

    assert detached["uuid"] == child
    assert sorted(listed(api)) == ["Sugar flowers", "Wedding"]
    assert len(api.rows("project_tree", child)) == 2
    assert api.get(root)["completed_at"] is not None
    assert api.waits(root) == set()
    assert "projects.subproject_detached" in api.activities()


@pytest.mark.spec("P42")
def test_detaching_a_sub_project_twice_is_not_found(api: Caller, root: str) -> None:
    link = api.link(api.inside(root))["uuid"]
    api("detach_subproject", link)

    with raises_code("NOT_FOUND", "PT404"):
        api("detach_subproject", link)
    with raises_code("NOT_FOUND", "PT404"):
        api("delete_assignment", link)


def test_the_row_of_a_task_cannot_be_detached(api: Caller, root: str) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        api("detach_subproject", api.row(root))


# Reading


def test_the_tree_is_read_from_the_top_in_the_order_of_the_rows(api: Caller, root: str) -> None:
    flowers, cake = api.inside(root, "Flowers"), api.inside(root, "Cake")
    api.inside(flowers, "Roses")
    api("move_assignment", api.link(cake)["uuid"], api.link(flowers)["uuid"])

    tree = api.rows("project_tree", root)

    assert [(node["level"], node["label"]) for node in tree] == [
        (0, "Wedding"),
        (1, "Cake"),
        (1, "Flowers"),
        (2, "Roses"),
    ]
    assert [node["parent_project_uuid"] for node in tree] == [None, root, root, flowers]
    assert tree[2]["empty"] == 1


def test_breadcrumbs_start_at_the_root(api: Caller) -> None:
    levels = chain(api, 3)

    crumbs = api.rows("project_breadcrumbs", levels[2])

    assert [crumb["uuid"] for crumb in crumbs] == levels
    assert api.rows("project_breadcrumbs", levels[0])[0]["label"] == "Level"


def test_every_project_that_is_offered_for_linking_can_be_linked(api: Caller) -> None:
    levels = chain(api, 3)
    api.template("Kit")
    api("archive_project", api.project("Archived"))
    offered = [api.project(name) for name in ("b", "a")]

    found = [project["uuid"] for project in api.rows("available_projects_to_link", levels[1])]

    assert found == offered[::-1]
    for child in found:
        api("link_subproject", levels[1], child)
    assert api.rows("available_projects_to_link", levels[1]) == []


def test_sub_projects_appear_in_no_list_count_or_bucket(api: Caller) -> None:
    for make, templates in ((api.project, False), (api.template, True)):
        parent = make("Parent")
        api.inside(parent, "Child")

        assert listed(api, p_templates=templates) == ["Parent"]
        assert api("count_projects", p_templates=templates) == 1
    assert [p["name"] for p in api("project_buckets")["setup"]] == ["Parent"]


@pytest.mark.spec("P26")
def test_sub_projects_of_an_archived_project_count_as_archived(api: Caller) -> None:
    first, second, third = chain(api, 3)

    api("archive_project", first)

    assert [api.get(project)["state"] for project in (second, third)] == ["archived"] * 2
    assert {node["state"] for node in api.rows("project_tree", first)} == {"archived"}
    with raises_code("INVALID_STATE", "PT409"):
        api("start_project", third)

    api("unarchive_project", first)

    assert api.get(third)["state"] == "setup"


@pytest.mark.spec("P26")
def test_an_order_gets_another_project_when_its_own_is_archived_with_its_parent(
    api: Caller, db: Connection, root: str
) -> None:
    order_id, template = make_order(db), api.template()
    first = api("create_project_from_order", order_id, template)["uuid"]
    api("link_subproject", root, first)
    assert api("create_project_from_order", order_id, template)["uuid"] == first

    api("archive_project", root)

    assert api("create_project_from_order", order_id, template)["uuid"] != first


def test_a_sub_project_is_started_separately_from_its_parent(api: Caller, root: str) -> None:
    child = api.inside(root)

    api("start_project", root)
    assert api.get(child)["started_at"] is None

    api("start_project", child)
    assert api.get(child)["state"] == "running"


# Deleting


@pytest.mark.spec("P24")
def test_a_sub_project_cannot_be_deleted_alone(api: Caller, admin: Caller) -> None:
    child = api.inside(api.project())

    with raises_code("STILL_A_SUBPROJECT", "PT409"):
        admin("delete_project", child)


@pytest.mark.parametrize("whole", [True, False], ids=["the project", "its row"])
@pytest.mark.spec("P40")
def test_deleting_a_tree_records_one_activity_per_project(
    api: Caller, admin: Caller, db: Connection, root: str, whole: bool
) -> None:
    top = api.project("Top") if whole else api.inside(root, "Top")
    one, two = api.inside(top, "One"), api.inside(top, "Two")
    doomed = [top, one, two, api.inside(two, "Two and a half")]
    for project in doomed:
        api("complete_assignment", api.row(project))
    before = len(api.activities())

    if whole:
        assert admin("delete_project", top) == 4
    else:
        api("delete_assignment", api.link(top)["uuid"])

    assert values(db, "select uuid from public.projects where uuid = any(%s)", doomed) == []
    assert api.activities()[before:] == (
        [] if whole else ["projects.assignment_removed"]
    ) + ["projects.project_deleted"] * 4  # fmt: skip
    deleted = values(
        db,
        "select resource_uuid::text from public.activities "
        "where action = 'projects.project_deleted' order by inserted_at, cmin::text::bigint",
    )
    assert (deleted[0], set(deleted)) == (top, set(doomed))
    assert value(db, "select count(*) from public.project_tasks") == 4


def test_a_parent_that_loses_its_last_open_sub_project_is_completed(api: Caller, root: str) -> None:
    api("complete_assignment", api.row(root))

    api("delete_assignment", api.link(api.inside(root))["uuid"])

    assert api.get(root)["completed_at"] is not None


def test_deleting_a_sub_project_from_the_table_fails(
    api: Caller, db: Connection, root: str
) -> None:
    child = api.inside(root)

    with pytest.raises(psycopg.IntegrityError, match="child_project_fkey"), db.transaction():
        db.execute("delete from public.projects where uuid = %s", (child,))


def test_deleting_a_project_from_the_table_deletes_its_rows_and_sums(
    api: Caller, db: Connection
) -> None:
    project = api.project(counts_weekends=True)
    api.row(project, estimated_duration=2, estimated_duration_unit="days")

    db.execute("delete from public.projects where uuid = %s", (project,))

    assert values(db, "select project_uuid from app.project_sums") == []


# Templates


def tree_of(api: Caller, project: str) -> list[Any]:
    return [
        (node["label"], node["level"], node["total"], node["hours"], api.labels(node["uuid"]))
        for node in api.rows("project_tree", project)
    ]


def test_a_template_is_copied_with_all_that_lies_inside_it(api: Caller) -> None:
    kit = api.template("Kit")
    flowers = api.inside(kit, "Flowers", counts_weekends=True)
    roses = api.inside(flowers, "Roses")
    for project in (kit, flowers, roses):
        row = api.row(project, estimated_duration=1, estimated_duration_unit="days")
        api("complete_assignment", row)
    api("add_dependency", api.link(roses)["uuid"], row_of(api, flowers, "Tasting"))

    copy = api("create_project_from_template", kit, "Ana and Ben")

    (_, *old), (_, *new) = tree_of(api, kit), tree_of(api, copy["uuid"])
    assert new == old
    nodes = api.rows("project_tree", copy["uuid"])
    assert {(node["is_template"], node["progress_pct"], node["done"]) for node in nodes} == {
        (False, 0, 0)
    }
    assert not {node["uuid"] for node in nodes} & {kit, flowers, roses}
    assert api.waits(nodes[1]["uuid"]) == {("Roses", "Tasting")}
    assert listed(api) == ["Ana and Ben"]
    assert api.activities().count("projects.project_created_from_template") == 1
    assert api.get(kit)["uses"] == 1


def row_of(api: Caller, project: str, label: str) -> str:
    (row,) = (r for r in api.rows("list_assignments", project) if r["label"] == label)
    return str(row["uuid"])


# columns in which the clone of a sub-template differs
OWN = {
    "uuid", "is_template", "position", "inserted_at", "updated_at", "created_from_template_uuid",
    "start_mode", "scheduled_start_date", "external_id",
}  # fmt: skip


@pytest.mark.spec("P22", "P43")
def test_a_cloned_sub_project_has_every_column_but_its_date(api: Caller, db: Connection) -> None:
    db.execute("insert into public.settings (key, value) values ('entities_enabled', 'true')")
    kit = api.template("Kit")
    child = api.inside(
        kit,
        "Flowers",
        description="Sugar",
        counts_weekends=True,
        translations={"es": {"name": "Flores"}},
        assigned_person_uuid=str(make_staff(db)),
    )
    api("update_project", child, {"start_mode": "scheduled", "scheduled_start_date": "2026-03-01"})
    statuses = api("create_default_status_entity")["uuid"]
    api("set_status_entity", child, statuses)
    api("set_current_status", child, "planned")
    api("set_use_status_translations", child, False)
    link = api.link(child)["uuid"]
    api("update_assignment", link, {"description": "Ours", "translations": {"es": {}}})

    copy = api("create_project_from_template", kit, "Ana and Ben")["uuid"]

    old, new = (api.rows("project_tree", project)[1] for project in (kit, copy))
    columns = values(
        db,
        "select attname::text from pg_attribute "
        "where attrelid = 'public.projects'::regclass and attnum > 0 and not attisdropped",
    )
    assert {column for column in columns if old[column] != new[column]} <= OWN
    assert (new["start_mode"], new["scheduled_start_date"]) == ("immediate", None)
    assert new["created_from_template_uuid"] == child
    assert (new["status_entity_uuid"], new["current_status_slug"]) == (statuses, "planned")
    assert new["settings"] == {"use_status_translations": False}
    row = api.link(new["uuid"])
    assert (row["description"], row["translations"]) == ("Ours", {"es": {}})


# Races


@pytest.mark.spec("P37")
def test_two_links_at_once_cannot_make_a_cycle(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        one, other = api.project("One"), api.project("Other")

    with raises_code("WOULD_CREATE_CYCLE", "PT409"):
        meet(
            clone,
            calling(api.account, "link_subproject", one, other),
            calling(api.account, "link_subproject", other, one),
        )


@pytest.mark.parametrize("first", ["delete", "link"])
@pytest.mark.spec("P41")
def test_a_project_is_linked_into_a_tree_while_that_is_deleted(clone: str, first: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        admin = caller(db, "Admin")
        root = api.project("Root")
        child = api.inside(root)
        other = api.project("Other")
        api.row(other)

    delete = calling(admin.account, "delete_project", root)
    link = calling(api.account, "link_subproject", child, other)
    if first == "delete":
        with raises_code("NOT_FOUND", "PT404"):
            meet(clone, delete, link)
    else:
        meet(clone, link, delete)

    with psycopg.connect(clone) as db:
        left = ["Other"] if first == "delete" else []
        assert values(db, "select name from public.projects") == left
        assert value(db, "select count(*) from public.project_assignments") == len(left)


@pytest.mark.spec("P24")
def test_a_project_is_linked_while_it_is_deleted(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        admin = caller(db, "Admin")
        root, other = api.project("Root"), api.project("Other")

    with raises_code("STILL_A_SUBPROJECT", "PT409"):
        meet(
            clone,
            calling(api.account, "link_subproject", root, other),
            calling(admin.account, "delete_project", other),
        )


@pytest.mark.spec("P39")
def test_a_row_is_completed_while_its_tree_is_linked_into_another(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        root, other = api.project("Root"), api.project("Other")
        leaf = api.row(api.inside(other))

    meet(
        clone,
        calling(api.account, "link_subproject", root, other),
        calling(api.account, "complete_assignment", leaf),
    )

    with psycopg.connect(clone) as db:
        assert Caller(db, api.account).get(root)["completed_at"] is not None


@pytest.mark.spec("P51")
def test_two_sub_projects_made_at_once_get_places_of_their_own(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db)
        root = api.project()

    add = calling(api.account, "create_subproject", root, "Flowers")
    meet(clone, add, add)

    with psycopg.connect(clone) as db:
        positions = values(db, "select position from public.project_assignments order by position")
        assert positions == [1, 2]


# Applying to a database with projects, and rolling back


def migrate_to(dsn: str, *leave_out: str) -> None:
    """Applies all migrations except those of these milestones."""
    files = [
        file for file in discover(postgres.MIGRATIONS)
        if not file.name.startswith(leave_out)
    ]  # fmt: skip
    with database.connect(dsn, "tests") as conn:
        for _ in apply.run(conn, dsn, files, None, print):
            pass


@pytest.mark.parametrize("leave_out", [("V125", "V127"), ("V127",)], ids=["V101", "V101 and V125"])
def test_v127_applies_to_a_database_that_holds_projects(
    server: Server, blank: str, leave_out: tuple[str, ...]
) -> None:
    with server.one_at_a_time():
        migrate_to(blank, *leave_out)
    with psycopg.connect(blank) as db:
        api = caller(db)
        project, empty = api.project("Wedding"), api.project("Empty")
        api("complete_assignment", api.row(project))
        api.row(project, "Sketch", estimated_duration=1, estimated_duration_unit="days")
        before = api.get(project)

    with server.one_at_a_time():
        postgres.migrate(blank)

    with psycopg.connect(blank) as db:
        api = Caller(db, api.account)
        after = api.get(project)
        assert {key: after[key] for key in before} == before
        assert (after["total"], after["progress_pct"], after["hours"]) == (2, 50, 8)
        api("link_subproject", empty, project)
        assert api.get(empty)["progress_pct"] == 50


def test_rolling_back_v127_leaves_the_schema_without_it(
    server: Server, blank: str, clone: str
) -> None:
    with server.one_at_a_time():
        migrate_to(blank, "V127")

    with psycopg.connect(clone, autocommit=True) as db:
        for script in sorted(DOWN.glob("*_V127_*.sql"), reverse=True):
            db.execute(script.read_bytes())

    assert dump(server, clone) == dump(server, blank)


@pytest.mark.spec("P63")
def test_rolling_back_v127_names_the_sub_project_that_prevents_it(clone: str) -> None:
    scripts = sorted(DOWN.glob("*_V127_*.sql"), reverse=True)
    with psycopg.connect(clone) as db:
        api = caller(db)
        link = api.link(api.inside(api.project()))["uuid"]

    with psycopg.connect(clone, autocommit=True) as db:
        for script in scripts:
            with pytest.raises(psycopg.errors.RaiseException, match=link):
                db.execute(script.read_bytes())
            db.execute("rollback")
        Caller(db, api.account)("detach_subproject", link)

        for script in scripts:
            db.execute(script.read_bytes())

        api = Caller(db, api.account)
        project = api.project("After")
        api("complete_assignment", api.row(project))
        assert api.get(project)["completed_at"] is not None
