"""Orders compared with a small model: both agree after random calls."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from audit import audit
from bakehouse.database import Connection
from calls import call
from orders.stages import RPCS, STAGES, TIMES, events, row
from rows import make_order, make_staff, record_event, set_clock

START = datetime.fromisoformat("2026-03-02T10:00:00+11:00")
TODAY = START.date()
ROLES = ("Staff", "Supervisor", "Admin")

BEGIN = {
    "print": "Filling",
    "start_covering": "Covering",
    "start_decorating": "Decorating",
    "start_packing": "Packing",
}
FINISH = {
    "complete_filling": "Filling",
    "complete_covering": "Covering",
    "complete_decorating": "Decorating",
    "complete_packing": "Packing",
}
LEAST = {
    "mark_order_complete": "Admin",
    "cancel_order": "Admin",
    "assign_staff": "Supervisor",
    "unassign_staff": "Supervisor",
    "update_order_due_date": "Supervisor",
}
OTHERS = ("qc_return_to_decorating", *LEAST, "set_storage")


@dataclass
class Cake:
    """The state of an order. Each method answers `done`, `already` or a refusal."""

    stage: str = "Filling"
    times: dict[str, datetime] = field(default_factory=dict)
    assignee: UUID | None = None
    cancelled: datetime | None = None
    due: date | None = None
    storage: str | None = None
    events: list[str] = field(default_factory=list)

    def note(self, event: str) -> str:
        self.events.append(f"{event} at {self.stage}")
        return "done"

    def is_past(self, stage: str) -> bool:
        return STAGES.index(self.stage) > STAGES.index(stage)

    def begin(self, stage: str, now: datetime, event: str) -> str:
        begun = f"{stage.lower()}_start_ts"
        if self.is_past(stage) or (self.stage == stage and begun in self.times):
            return "already"
        if self.stage != stage:
            return "INVALID_STAGE"
        self.times[begun] = now
        return self.note(event)

    def finish(self, stage: str, now: datetime) -> str:
        if self.is_past(stage):
            return "already"
        if self.stage != stage:
            return "INVALID_STAGE"
        if stage == "Packing":
            self.times.setdefault("packing_start_ts", now)
        else:
            self.assignee = None
        return self.move(f"{stage.lower()}_complete_ts", now, STAGES[STAGES.index(stage) + 1])

    def move(self, stamp: str, now: datetime, stage: str) -> str:
        self.times.setdefault(stamp, now)
        self.note("complete")
        self.stage = stage
        return "done"

    def give_back(self, role: str) -> str:
        if self.stage == "Complete" and role != "Admin":
            return "PERMISSION_DENIED"
        if self.stage == "Decorating" and any("qc_return" in event for event in self.events):
            return "already"
        if not self.is_past("Decorating"):
            return "INVALID_STAGE"
        self.note("qc_return")
        self.stage, self.assignee = "Decorating", None
        for name in TIMES[4:]:
            self.times.pop(name, None)
        return "done"

    def assign(self, assignee: UUID | None, event: str) -> str:
        if self.stage == "Complete":
            return "INVALID_STAGE"
        return self.set("assignee", assignee, event)

    def set(self, name: str, content: object, event: str) -> str:
        if getattr(self, name) == content:
            return "already"
        setattr(self, name, content)
        return self.note(event)

    def cancel(self, now: datetime) -> str:
        if self.stage == "Complete":
            return "INVALID_STAGE"
        self.cancelled, self.assignee = now, None
        return self.note("cancel")

    def foresee(self, action: str, role: str, said: dict[str, Any], now: datetime) -> str:
        if ROLES.index(role) < ROLES.index(LEAST.get(action, "Staff")):
            return "PERMISSION_DENIED"
        if self.cancelled:
            return "already" if action == "cancel_order" else "CANCELLED"
        if action in BEGIN:
            return self.begin(BEGIN[action], now, "print" if action == "print" else "start")
        if action in FINISH:
            return self.finish(FINISH[action], now)
        match action:
            case "qc_return_to_decorating":
                return self.give_back(role)
            case "mark_order_complete":
                if self.stage == "Complete":
                    return "already"
                return self.move("packing_complete_ts", now, "Complete")
            case "cancel_order":
                return self.cancel(now)
            case "assign_staff":
                return self.assign(said["p_staff_id"], "assign")
            case "unassign_staff":
                return self.assign(None, "unassign")
            case "update_order_due_date":
                return self.set("due", said["p_due_date"], "edit")
            case _:
                return self.set("storage", said["p_storage"], "edit")

    def priority(self) -> int:
        left = (self.due - TODAY).days if self.due else 99
        return 3 if left <= 1 else 2 if left <= 3 else 1


class Kitchen(RuleBasedStateMachine):
    db: ClassVar[Connection]

    def __init__(self) -> None:
        super().__init__()
        self.db.execute("savepoint kitchen")
        self.now = START
        set_clock(self.db, self.now)
        self.staff = {role: make_staff(self.db, role=role, store="bannos") for role in ROLES}
        self.cakes = {make_order(self.db, size="Large"): Cake() for _ in range(2)}
        for order_id, cake in self.cakes.items():
            record_event(self.db, order_id)
            cake.note("create")

    def teardown(self) -> None:
        assert audit(self.db) == {}
        self.db.execute("rollback to savepoint kitchen")

    nth = st.integers(0, 1)
    roles = st.sampled_from(ROLES)

    # makes half of all moves regular
    @rule(nth=nth, role=roles, twice=st.booleans(), begins=st.booleans())
    def go_on(self, nth: int, role: str, twice: bool, begins: bool) -> None:
        cake = list(self.cakes.values())[nth]
        for action, stage in (BEGIN if begins else FINISH).items():
            if stage == cake.stage:
                for _ in range(1 + twice):
                    self.ask(nth, role, action)
                break

    @rule(nth=nth, role=roles, action=st.sampled_from([*BEGIN, *FINISH, *OTHERS]), data=st.data())
    def do(self, nth: int, role: str, action: str, data: st.DataObject) -> None:
        said: dict[str, Any] = {}
        match action:
            case "assign_staff":
                said["p_staff_id"] = self.staff[data.draw(self.roles)]
            case "update_order_due_date":
                days = data.draw(st.none() | st.integers(-1, 6))
                said["p_due_date"] = None if days is None else TODAY + timedelta(days=days)
            case "set_storage":
                said["p_storage"] = data.draw(st.sampled_from([None, "Store Fridge"]))
        self.ask(nth, role, action, **said)

    def ask(self, nth: int, role: str, action: str, **said: Any) -> None:
        order_id, cake = list(self.cakes.items())[nth]
        self.now += timedelta(seconds=1)
        set_clock(self.db, self.now)
        foreseen = cake.foresee(action, role, said, self.now)
        try:
            answer = call(
                self.db, self.staff[role], RPCS.get(action, action), p_order_id=order_id, **said
            )
        except psycopg.Error as refusal:
            outcome = refusal.diag.message_hint
        else:
            outcome = "already" if answer["already_done"] else "done"
            assert (answer["order_id"], answer["stage"]) == (order_id, cake.stage)
        assert outcome == foreseen
        self.compare()

    def compare(self) -> None:
        for order_id, cake in self.cakes.items():
            kept = row(self.db, order_id)
            assert {name: kept[name] for name in TIMES if kept[name]} == cake.times
            assert (kept["stage"], kept["assignee_id"]) == (cake.stage, cake.assignee)
            assert (kept["due_date"], kept["storage"]) == (cake.due, cake.storage)
            assert (kept["cancelled_at"], kept["priority"]) == (cake.cancelled, cake.priority())
            assert kept["is_open"] == (cake.stage != "Complete" and not cake.cancelled)
            assert events(self.db, order_id) == cake.events


@pytest.mark.slow
def test_orders_follow_their_model_after_every_step(db: Connection) -> None:
    Kitchen.db = db
    run_state_machine_as_test(
        Kitchen,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
