"""A project compared with a model: both agree after each change of its rows."""

from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from audit import audit
from bakehouse.database import Connection
from calls import raises_code
from projects.callers import Caller, caller


@dataclass
class Row:
    uuid: str
    progress: int = 0
    started: bool = False
    needs: set[str] = field(default_factory=set)

    @property
    def status(self) -> str:
        if self.progress == 100:
            return "done"
        return "in_progress" if self.started or self.progress else "todo"


class Project(RuleBasedStateMachine):
    api: ClassVar[Caller]

    def __init__(self) -> None:
        super().__init__()
        self.api.db.execute("savepoint project")
        self.project = self.api.project()
        self.task = self.api.task()
        self.rows: list[Row] = []
        self.completed = False

    def teardown(self) -> None:
        assert audit(self.api.db) == {}
        self.api.db.execute("rollback to savepoint project")

    nth = st.integers(0, 5)

    def pick(self, which: int) -> Row | None:
        return self.rows[which] if which < len(self.rows) else None

    def configure(self) -> None:
        if self.rows:
            self.completed = all(row.progress == 100 for row in self.rows)

    def waits(self, row: Row, other: Row) -> bool:
        """Returns whether one row waits for the other, directly or through others."""
        by_id = {one.uuid: one for one in self.rows}
        return row is other or any(self.waits(by_id[needed], other) for needed in row.needs)

    @rule()
    def add(self) -> None:
        made = self.api("create_assignment", self.project, self.task)
        self.rows.append(Row(made["uuid"]))
        self.configure()

    @rule(which=nth, slider=st.sampled_from([0, 1, 33, 50, 99, 100]))
    def slide(self, which: int, slider: int) -> None:
        if row := self.pick(which):
            self.api("set_assignment_progress", row.uuid, slider)
            row.progress, row.started = slider, False
            self.configure()

    @rule(which=nth)
    def complete(self, which: int) -> None:
        if row := self.pick(which):
            self.api("complete_assignment", row.uuid)
            row.progress = 100
            self.configure()

    @rule(which=nth)
    def start(self, which: int) -> None:
        if row := self.pick(which):
            self.api("start_assignment", row.uuid)
            row.progress, row.started = row.progress % 100, True
            self.configure()

    @rule(which=nth)
    def reopen(self, which: int) -> None:
        if row := self.pick(which):
            self.api("reopen_assignment", row.uuid)
            row.progress, row.started = 0, False
            self.configure()

    @rule(which=nth)
    def delete(self, which: int) -> None:
        if row := self.pick(which):
            self.api("delete_assignment", row.uuid)
            self.rows.remove(row)
            for other in self.rows:
                other.needs.discard(row.uuid)
            self.configure()

    @rule(which=nth, other=nth)
    def depend(self, which: int, other: int) -> None:
        row, needed = self.pick(which), self.pick(other)
        if not row or not needed or row is needed or needed.uuid in row.needs:
            return
        if self.waits(needed, row):
            with raises_code("WOULD_CREATE_CYCLE", "PT409"):
                self.api("add_dependency", row.uuid, needed.uuid)
        else:
            self.api("add_dependency", row.uuid, needed.uuid)
            row.needs.add(needed.uuid)

    @rule(which=nth, before=nth)
    def move(self, which: int, before: int) -> None:
        if row := self.pick(which):
            target = self.pick(before)
            self.api("move_assignment", row.uuid, target.uuid if target else None)
            if target is not row:
                self.rows.remove(row)
                self.rows.insert(self.rows.index(target) if target else len(self.rows), row)

    @rule(order=st.permutations(range(6)), size=st.integers(0, 6))
    def reorder(self, order: list[int], size: int) -> None:
        chosen = [row for which in order[:size] if (row := self.pick(which))]
        self.api("reorder_assignments", self.project, [row.uuid for row in chosen])
        places = sorted(self.rows.index(row) for row in chosen)
        for place, row in zip(places, chosen, strict=True):
            self.rows[place] = row

    @invariant()
    def both_agree(self) -> None:
        found = self.api.rows("list_assignments", self.project)
        facts = self.api.get(self.project)
        assert [
            (row["uuid"], row["status"], row["progress_pct"], set(row["depends_on"]))
            for row in found
        ] == [(row.uuid, row.status, row.progress, row.needs) for row in self.rows]
        assert (facts["completed_at"] is not None) == self.completed
        total = len(self.rows)
        mean = int(sum(row.progress for row in self.rows) / total + 0.5) if total else 0
        assert (facts["total"], facts["progress_pct"]) == (total, mean)


def test_a_project_follows_its_model(db: Connection) -> None:
    Project.api = caller(db)

    run_state_machine_as_test(
        Project,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
