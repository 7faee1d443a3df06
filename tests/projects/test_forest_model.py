"""Nested projects compared with a model that calculates all sums again after each step."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, LiteralString
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from audit import audit
from bakehouse.database import Connection
from calls import acting_as, raises_code
from projects.callers import Caller, caller
from rows import value, values

MINUTES = {
    False: {"minutes": 1, "hours": 60, "days": 8 * 60, "weeks": 40 * 60},
    True: {"minutes": 1, "hours": 60, "days": 24 * 60, "weeks": 168 * 60},
}
Estimate = tuple[int, str] | None


@dataclass(eq=False)
class Row:
    uuid: str
    task: "Task | None" = None
    child: "Project | None" = None
    estimate: Estimate = None
    pct: int = 0
    started: bool = False

    @property
    def status(self) -> str:
        if self.child:
            if self.child.completed:
                return "done"
            busy = any(row.status != "todo" for row in self.child.rows)
            return "in_progress" if busy else "todo"
        if self.pct == 100:
            return "done"
        return "in_progress" if self.started or self.pct else "todo"

    @property
    def progress(self) -> int:
        if self.child:
            return 100 if self.child.completed else self.child.progress
        return self.pct

    def clock(self, weekends: bool) -> Fraction:
        """Returns the clock hours of the row. Without weekends, an hour of work takes three."""
        if self.child:
            minutes = round(self.child.hours * 60)
            return Fraction(minutes, 60) * (1 if self.child.weekends else 3)
        assert self.task
        amount, unit = self.estimate or self.task.estimate or (0, "hours")
        return Fraction(amount * MINUTES[weekends][unit], 60) * (1 if weekends else 3)


@dataclass(eq=False)
class Task:
    uuid: str
    estimate: Estimate = None


@dataclass(eq=False)
class Project:
    uuid: str
    template: bool = False
    weekends: bool = False
    archived: bool = False
    started: bool = False
    completed: bool = False
    parent: "Project | None" = None
    rows: list[Row] = field(default_factory=list)

    @property
    def progress(self) -> int:
        counted = [row.progress for row in self.rows if not row.child or row.child.rows]
        return round_half_up(Fraction(sum(counted), len(counted))) if counted else 0

    @property
    def hours(self) -> Fraction:
        return sum((row.clock(self.weekends) for row in self.rows), Fraction()) / (
            1 if self.weekends else 3
        )

    def tree(self) -> Iterator["Project"]:
        yield self
        for row in self.rows:
            if row.child:
                yield from row.child.tree()

    def above(self) -> Iterator["Project"]:
        """Returns the project and all outer projects."""
        yield self
        if self.parent:
            yield from self.parent.above()

    def complete_or_reopen(self) -> None:
        """Completes or reopens projects, innermost first. Skips projects without rows."""
        for row in self.rows:
            if row.child:
                row.child.complete_or_reopen()
        if self.rows and not self.template:
            self.completed = all(row.status == "done" for row in self.rows)


def round_half_up(number: Fraction) -> int:
    return int(number + Fraction(1, 2))


class Forest(RuleBasedStateMachine):
    api: ClassVar[Caller]
    admin: ClassVar[Caller]

    def __init__(self) -> None:
        super().__init__()
        self.api.db.execute("savepoint forest")
        self.tasks = [Task(self.api.task()) for _ in "ab"]
        self.projects = [
            Project(self.api.project()),
            Project(self.api.project()),
            Project(self.api.template(), template=True),
        ]

    def teardown(self) -> None:
        assert audit(self.api.db) == {}
        self.api.db.execute("rollback to savepoint forest")

    nth = st.integers(0, 11)
    estimates = st.one_of(
        st.none(),
        st.tuples(st.integers(1, 50), st.sampled_from(["minutes", "hours", "days", "weeks"])),
    )

    def project(self, which: int) -> Project:
        return self.projects[which % len(self.projects)]

    def row(self, which: int) -> tuple[Project, Row] | None:
        rows = [(project, row) for project in self.projects for row in project.rows]
        return rows[which % len(rows)] if rows else None

    def forget(self, project: Project) -> None:
        for gone in project.tree():
            self.projects.remove(gone)

    def complete_or_reopen(self) -> None:
        for project in self.projects:
            if not project.parent:
                project.complete_or_reopen()

    @rule(template=st.booleans(), weekends=st.booleans())
    def create(self, template: bool, weekends: bool) -> None:
        if len(self.projects) < 9:
            uuid = self.api.project(is_template=template, counts_weekends=weekends)
            self.projects.append(Project(uuid, template, weekends))

    @rule(which=nth, weekends=st.booleans())
    def create_inside(self, which: int, weekends: bool) -> None:
        parent = self.project(which)
        if len(self.projects) < 9:
            made = self.api(
                "create_subproject", parent.uuid, "Inside", {"counts_weekends": weekends}
            )
            child = Project(made["uuid"], parent.template, weekends, parent=parent)
            parent.rows.append(Row(made["row_uuid"], child=child))
            self.projects.append(child)

    @rule(which=nth, other=nth)
    def link(self, which: int, other: int) -> None:
        parent, child = self.project(which), self.project(other)
        refusal = (
            ("SELF_LINK", "PT400") if parent is child
            else ("KIND_MISMATCH", "PT409") if parent.template != child.template
            else ("WOULD_CREATE_CYCLE", "PT409") if child in parent.above()
            else ("ALREADY_SUBPROJECT", "PT409") if child.parent
            else None
        )  # fmt: skip
        if refusal:
            with raises_code(*refusal):
                self.api("link_subproject", parent.uuid, child.uuid)
        else:
            made = self.api("link_subproject", parent.uuid, child.uuid)
            parent.rows.append(Row(made["row_uuid"], child=child))
            child.parent = parent

    @rule(which=nth)
    def detach(self, which: int) -> None:
        found = self.row(which)
        if found and not found[1].child:
            with raises_code("NOT_FOUND", "PT404"):
                self.api("detach_subproject", found[1].uuid)
        elif found and found[1].child:
            project, row = found
            self.api("detach_subproject", row.uuid)
            project.rows.remove(row)
            found[1].child.parent = None

    @rule(which=nth, task=st.integers(0, 1), estimate=estimates)
    def add_row(self, which: int, task: int, estimate: Estimate) -> None:
        project = self.project(which)
        amount, unit = estimate or (None, None)
        attrs = {"estimated_duration": amount, "estimated_duration_unit": unit} if estimate else {}
        made = self.api("create_assignment", project.uuid, self.tasks[task].uuid, attrs)
        project.rows.append(Row(made["uuid"], self.tasks[task], estimate=estimate))

    @rule(which=nth, progress=st.sampled_from([0, 0, 33, 100, 100, 100]))
    def move_on(self, which: int, progress: int) -> None:
        found = self.row(which)
        if not found:
            return
        row = found[1]
        if row.child:
            if row.status != "done" and progress == 100:
                with raises_code("SUBPROJECT_ROW", "PT409"):
                    self.api("complete_assignment", row.uuid)
        else:
            self.api("set_assignment_progress", row.uuid, progress)
            row.pct, row.started = progress, False

    @rule(which=nth)
    def start_row(self, which: int) -> None:
        found = self.row(which)
        if found and not found[1].child:
            self.api("start_assignment", found[1].uuid)
            found[1].pct, found[1].started = found[1].pct % 100, True

    @rule(which=nth, estimate=estimates)
    def estimate_row(self, which: int, estimate: Estimate) -> None:
        found = self.row(which)
        if found and not found[1].child:
            amount, unit = estimate or (None, None)
            self.api("update_assignment", found[1].uuid, {
                "estimated_duration": amount, "estimated_duration_unit": unit,
            })  # fmt: skip
            found[1].estimate = estimate

    @rule(which=st.integers(0, 1), estimate=estimates)
    def estimate_task(self, which: int, estimate: Estimate) -> None:
        amount, unit = estimate or (None, "hours")
        self.api("update_task", self.tasks[which].uuid, {
            "estimated_duration": amount, "estimated_duration_unit": unit,
        })  # fmt: skip
        self.tasks[which].estimate = estimate

    @rule(which=nth)
    def delete_row(self, which: int) -> None:
        found = self.row(which)
        if found:
            project, row = found
            self.api("delete_assignment", row.uuid)
            if row.child:
                self.forget(row.child)
            project.rows.remove(row)

    @rule(which=nth)
    def delete_project(self, which: int) -> None:
        project = self.project(which)
        if project.parent:
            with raises_code("STILL_A_SUBPROJECT", "PT409"):
                self.admin("delete_project", project.uuid)
        elif len(self.projects) > 3:
            assert self.admin("delete_project", project.uuid) == len(list(project.tree()))
            self.forget(project)
        if not self.projects:
            self.projects.append(Project(self.api.project()))

    @rule(which=nth)
    def count_weekends(self, which: int) -> None:
        project = self.project(which)
        project.weekends = not project.weekends
        self.api("update_project", project.uuid, {"counts_weekends": project.weekends})

    @rule(which=nth)
    def archive(self, which: int) -> None:
        project = self.project(which)
        self.api("unarchive_project" if project.archived else "archive_project", project.uuid)
        project.archived = not project.archived

    @rule(which=nth)
    def start(self, which: int) -> None:
        project = self.project(which)
        if project.started:
            assert self.api("start_project", project.uuid)["already_done"]
        elif project.template or any(above.archived for above in project.above()):
            with raises_code("INVALID_STATE", "PT409"):
                self.api("start_project", project.uuid)
        else:
            self.api("start_project", project.uuid)
            project.started = True

    def cemented(self, project: Project) -> dict[str, str]:
        """Returns the slugs of the statuses that a started project owns."""
        return {
            str(slug): str(uuid)
            for slug, uuid in self.api.db.execute(
                "select slug, uuid from public.project_statuses where project_uuid = %s",
                (project.uuid,),
            )
        }

    @rule(which=nth, slug=st.sampled_from(["backlog", "planned", "done"]))
    def select(self, which: int, slug: str) -> None:
        project = self.project(which)
        if project.started and slug not in self.cemented(project):
            with raises_code("INVALID_STATUS", "PT409"):
                self.api("set_current_status", project.uuid, slug)
        else:
            self.api("set_current_status", project.uuid, slug)

    @rule(which=nth, slug=st.sampled_from(["backlog", "planned", "done"]))
    def drop_status(self, which: int, slug: str) -> None:
        status = self.cemented(self.project(which)).get(slug)
        if status:
            self.api("remove_project_status", status)

    @rule(which=nth)
    def copy(self, which: int) -> None:
        template = self.project(which)
        if len(self.projects) + len(list(template.tree())) > 12:
            return
        if not template.template:
            with raises_code("NOT_FOUND", "PT404"):
                self.api("create_project_from_template", template.uuid, "Copy")
            return
        made = self.api("create_project_from_template", template.uuid, "Copy")
        self.projects.append(self.copied(template, made["uuid"], None))

    def copied(self, source: Project, uuid: str, parent: Project | None) -> Project:
        copy = Project(uuid, False, source.weekends, parent=parent)
        made = self.api.rows("list_assignments", uuid)
        assert len(made) == len(source.rows)
        for row, new in zip(source.rows, made, strict=True):
            mine = Row(new["uuid"], row.task, estimate=row.estimate)
            if row.child:
                mine.child = self.copied(row.child, new["child_project_uuid"], copy)
                self.projects.append(mine.child)
            copy.rows.append(mine)
        return copy

    @invariant()
    def the_database_agrees(self) -> None:
        self.complete_or_reopen()
        expected = {
            project.uuid: (
                len(project.rows),
                [row.status for row in project.rows].count("done"),
                [row.status for row in project.rows].count("in_progress"),
                sum(1 for row in project.rows if row.child and not row.child.rows),
                project.progress,
                round(float(project.hours), 6),
                project.completed,
                project.parent.uuid if project.parent else None,
                any(above.archived for above in project.above()),
            )
            for project in self.projects
        }
        found = {
            str(uuid): (*sums, round(float(str(hours)), 6), completed, parent, archived)
            for uuid, *sums, hours, completed, parent, archived in self.api.db.execute(
                """
                select projects.uuid, coalesce(sums.total, 0), coalesce(sums.done, 0),
                  coalesce(sums.in_progress, 0), coalesce(sums.empty, 0),
                  coalesce(sums.progress_pct, 0), coalesce(sums.hours, 0),
                  projects.completed_at is not null, links.project_uuid::text,
                  app.is_archived(projects)
                from public.projects as projects
                left join app.project_summaries as sums on sums.project_uuid = projects.uuid
                left join public.project_assignments as links
                  on links.child_project_uuid = projects.uuid
                """
            )
        }
        assert found == expected

    @invariant()
    def every_row_says_what_its_project_comes_to(self) -> None:
        self.complete_or_reopen()
        expected = {
            row.uuid: (
                row.status,
                row.progress,
                round(row.child.hours * 60) if row.child.rows else None,
                row.child.weekends,
            )
            for project in self.projects
            for row in project.rows
            if row.child
        }
        found = {
            str(uuid): tuple(facts)
            for uuid, *facts in self.api.db.execute(
                "select uuid, status, progress_pct, estimated_duration, counts_weekends "
                "from public.project_assignments where child_project_uuid is not null"
            )
        }
        assert found == expected

    @invariant()
    def no_selection_dangles(self) -> None:
        assert (
            values(
                self.api.db,
                """
            select projects.uuid from public.projects as projects
            where projects.started_at is not null and projects.current_status_slug is not null
            and not exists (
              select from public.project_statuses as statuses
              where statuses.project_uuid = projects.uuid
              and statuses.slug = projects.current_status_slug
            )
            """,
            )
            == []
        )


def test_a_forest_of_projects_follows_its_model(db: Connection, api: Caller, admin: Caller) -> None:
    db.execute("insert into public.settings (key, value) values ('entities_enabled', 'true')")
    admin("set_default_status_entity", admin("create_default_status_entity")["uuid"])
    Forest.api, Forest.admin = api, admin
    run_state_machine_as_test(
        Forest,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


WRITES = (
    "select public.set_assignment_progress(%(row)s, %(number)s)",
    "select public.set_assignment_progress(%(row)s, 100)",
    "select public.delete_assignment(%(row)s)",
    "select public.create_assignment(%(project)s, %(task)s)",
    "select public.create_subproject(%(project)s, 'Inside')",
    "select public.link_subproject(%(project)s, %(other)s)",
    "select public.detach_subproject(%(row)s)",
    "select public.update_project(%(project)s, '{\"counts_weekends\": true}')",
    "select public.update_task(%(task)s, jsonb_build_object('estimated_duration', %(number)s))",
    "select public.delete_project(%(other)s)",
)


def test_many_sessions_at_once_cause_no_deadlock_and_no_wrong_sum(clone: str) -> None:
    with psycopg.connect(clone) as db:
        api = caller(db, "Admin")
        task = api.task(estimated_duration=1)
        for _ in range(6):
            api("create_assignment", api.inside(api.project()), task)

    def work(seed: int) -> int:
        draw, done = random.Random(seed), 0
        with psycopg.connect(clone) as conn:
            for _ in range(60):
                ids = {
                    "project": pick(conn, draw, "select uuid from public.projects"),
                    "other": pick(conn, draw, "select uuid from public.projects"),
                    "row": pick(conn, draw, "select uuid from public.project_assignments"),
                    "task": task,
                    "number": draw.randint(1, 99),
                }
                try:
                    with acting_as(conn, "authenticated", api.account):
                        conn.execute(draw.choice(WRITES), ids)
                    conn.commit()
                    done += 1
                except psycopg.Error as error:
                    if not str(error.sqlstate).startswith("PT"):
                        raise  # raise, because a deadlock or a failed check is no refusal
                    conn.rollback()
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) > 60

    with psycopg.connect(clone) as db:
        sums = "select jsonb_agg(sums order by project_uuid) from app.project_sums as sums"
        rows = "select jsonb_agg(r order by uuid) from public.project_assignments as r"
        before = value(db, sums), value(db, rows)
        db.execute("select app.recount_projects(array(select uuid from public.projects))")
        assert (value(db, sums), value(db, rows)) == before
        reached = "select (app.project_lineage(uuid)).project_uuid from public.projects"
        assert set(values(db, reached)) == set(values(db, "select uuid from public.projects"))


def pick(conn: Connection, draw: random.Random, query: LiteralString) -> UUID:
    found: list[UUID] = values(conn, query)
    return draw.choice(found or [uuid4()])
