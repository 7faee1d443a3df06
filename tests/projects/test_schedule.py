"""Hours of work on the clock, and the plan of a project."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakehouse.database import Connection
from projects.callers import Caller
from rows import set_clock, value

HOURS_8: dict[str, Any] = {"estimated_duration": 8, "estimated_duration_unit": "hours"}
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def at(day: int, hour: int) -> datetime:
    """Returns an hour of the week that begins on Monday, 5 January 2026."""
    return MONDAY + timedelta(days=day, hours=hour)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        (at(0, 9), 8, at(1, 9)),
        (at(4, 12), 8, at(7, 12)),
        (at(5, 10), 2, at(7, 6)),
        (at(0, 0), 40, at(5, 0)),
        (at(0, 0), 8, at(1, 0)),
        (at(6, 23), 40, at(12, 0)),
        (at(0, 0), 80, at(12, 0)),
    ],
)
def test_weekdays_carry_eight_hours_and_weekends_none(
    api: Caller, start: datetime, hours: int, end: datetime
) -> None:
    assert api("end_of_work", start, hours) == end


def test_where_weekends_count_an_hour_is_an_hour(api: Caller) -> None:
    assert api("end_of_work", at(4, 12), 48, True) == at(6, 12)


@pytest.mark.parametrize("hours", [0, -1, None])
def test_zero_hours_of_work_have_no_end_date(api: Caller, hours: int | None) -> None:
    assert api("end_of_work", MONDAY, hours) is None


@given(
    start=st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)),
    minutes=st.integers(1, 100_000),
    weekends=st.booleans(),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_hours_until_the_computed_end_equal_the_hours_given(
    db: Connection, start: datetime, minutes: int, weekends: bool
) -> None:
    begin = start.replace(tzinfo=UTC)

    minutes_again, ends_in_the_week = db.execute(
        "select app.work_hours(%(start)s, ends, %(weekends)s) * 60, "
        "extract(isodow from (ends - interval '1 microsecond') at time zone 'UTC') < 6 "
        "from app.end_of_work(%(start)s, %(minutes)s / 60.0, %(weekends)s) as ends",
        {"start": begin, "minutes": minutes, "weekends": weekends},
    ).fetchone() or (None, None)

    assert float(minutes_again) == pytest.approx(minutes, abs=1e-3)  # type: ignore[arg-type]
    assert weekends or ends_in_the_week


@pytest.mark.parametrize(
    ("unit", "weekday", "calendar"),
    [
        ("minutes", 1 / 60, 1 / 60), ("hours", 1, 1), ("days", 8, 24), ("weeks", 40, 168),
        ("fortnights", 80, 336), ("months", 160, 720), ("years", 1920, 8760),
    ],
)  # fmt: skip
def test_each_unit_of_duration_has_its_hours(
    api: Caller, unit: str, weekday: float, calendar: float
) -> None:
    task = api.task(estimated_duration=3, estimated_duration_unit=unit)
    hours = []

    for weekends in (False, True):
        project = api.project(counts_weekends=weekends)
        api("create_assignment", project, task)
        hours.append(api.get(project)["hours"])

    assert hours == pytest.approx([3 * weekday, 3 * calendar])


def test_a_row_may_count_weekends_when_its_project_does_not(api: Caller) -> None:
    project = api.project()
    days = {"estimated_duration": 1, "estimated_duration_unit": "days"}
    api.row(project, "a", **days)
    api.row(project, "b", **days, counts_weekends=True)

    assert [row["hours"] for row in api.rows("list_assignments", project)] == [8, 24]


def test_a_plan_shows_expected_and_actual_progress(api: Caller, db: Connection) -> None:
    project = api.project()
    done = api.row(project, "a", **HOURS_8)
    half = api.row(project, "b", **HOURS_8, track_progress=True)
    untracked = api.row(project, "c", **HOURS_8)
    api.row(project, "d")
    api("start_project", project, at(0, 0))
    api("complete_assignment", done)
    api("set_assignment_progress", half, 50)
    api("set_assignment_progress", untracked, 50)
    set_clock(db, at(1, 12))

    plan = api("get_project_schedule", project)

    assert datetime.fromisoformat(plan["planned_end"]) == at(3, 0)
    assert (plan["total_hours"], plan["done_hours"]) == (24, 12)
    assert (plan["expected_pct"], plan["actual_pct"]) == (50, 50)
    assert plan["overdue"] is False
    assert datetime.fromisoformat(plan["eta"]) == at(3, 0)


def test_work_left_after_the_planned_end_is_overdue(api: Caller, db: Connection) -> None:
    project = api.project()
    row = api.row(project, **HOURS_8)
    api("start_project", project, at(0, 0))
    set_clock(db, at(1, 1))

    late = api("get_project_schedule", project)
    api("complete_assignment", row)
    done = api("get_project_schedule", project)

    assert (late["overdue"], late["expected_pct"]) == (True, 100)
    assert datetime.fromisoformat(late["eta"]) == at(2, 1)
    assert (done["overdue"], done["actual_pct"]) == (False, 100)
    assert datetime.fromisoformat(done["eta"]) == at(1, 1)


def test_a_project_that_has_not_started_has_no_planned_end(api: Caller, db: Connection) -> None:
    set_clock(db, at(0, 0))
    project = api.project()
    api.row(project, **HOURS_8)

    plan = api("get_project_schedule", project)

    assert (plan["planned_end"], plan["expected_pct"], plan["overdue"]) == (None, None, False)
    assert datetime.fromisoformat(plan["eta"]) == at(1, 0)


def test_rows_follow_one_another_from_the_start(api: Caller, db: Connection) -> None:
    set_clock(db, at(9, 0))
    scheduled = {"start_mode": "scheduled", "scheduled_start_date": at(4, 12).isoformat()}
    project = api.project(**scheduled)
    api.row(project, "a", **HOURS_8)
    api.row(project, "b")
    api.row(project, "c", **HOURS_8, counts_weekends=True)

    rows = api("get_project_schedule", project)["rows"]

    spans = [
        tuple(datetime.fromisoformat(row[end]) for end in ("starts_at", "ends_at")) for row in rows
    ]
    assert spans == [(at(4, 12), at(7, 12)), (at(7, 12), at(7, 12)), (at(7, 12), at(7, 20))]


def test_the_plan_of_a_project_without_rows_is_empty(api: Caller) -> None:
    plan = api("get_project_schedule", api.project())

    assert (plan["total_hours"], plan["rows"], plan["actual_pct"]) == (0, [], None)


def test_no_session_setting_changes_the_result(db: Connection) -> None:
    db.execute("set local time zone 'Australia/Sydney'")

    assert value(db, "select app.end_of_work(%s, 8, false)", at(4, 12)) == at(7, 12)
