"""Tests each gate alone: the facts, the verdict and the reason. Also breaking changes."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bakehouse.deploy import evidence, gates
from bakehouse.deploy.backup_age import Backup
from bakehouse.deploy.environment import EnvironmentName, Settings
from bakehouse.deploy.evidence import Observed, Run, run_of
from bakehouse.deploy.facts import Facts
from bakehouse.deploy.release import Tag
from command import Project
from environments import Environments

Ask = Callable[[Facts], gates.Answer]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEEN: dict[str, list[str]] = {"breaking": [], "locked": [], "rewritten": [], "unseen": []}


def run(
    kind: str = "up",
    head: str = "h2",
    before: str = "f1",
    after: str = "f2",
    outcome: str = "done",
    hours: float = 1,
    observed: Any = SEEN,
    failed: tuple[str, ...] = (),
    env: EnvironmentName = "prod",
    accepted: str = "",
) -> Run:
    at = (NOW - timedelta(hours=hours)).isoformat()
    opened = {"run": f"{before}{after}{hours}", "kind": kind, "env": env, "at": at, "head": head}
    reasons = {"rehearsal": accepted} if accepted else {}
    return run_of(
        opened | {"before": {"fingerprint": before}, "observed": observed, "accepted": reasons},
        {
            "at": at,
            "outcome": outcome,
            "after": {"fingerprint": after},
            "smoke": {"failed": failed},
        },
    )


FACTS = Facts(
    settings=Settings("prod", secrets=("KEY",)),
    now=NOW,
    pending=("20260101000000_M0_x",),
    head="h2",
    fingerprint="f1",
    proofs=(run(),),
    backup=Backup("probe", NOW - timedelta(hours=23)),
    tag=Tag("v1", "c0ffee"),
    observed=Observed(),
    pausable=True,
)
CASES: tuple[tuple[Ask, dict[str, Any], bool | str, str], ...] = (
    (gates.identity, {}, True, "the database says it is prod"),
    (gates.identity, {"mismatch": "this is a copy"}, False, "this is a copy"),
    (gates.history, {}, True, "files and database agree, 1 pending"),
    (gates.history, {"disagreements": ("a", "b")}, False, "a; b"),
    (gates.drift, {}, True, "no change without a migration"),
    (gates.drift, {"accepted_drift": ("index i (accepted)",)}, True, "index i (accepted)"),
    (gates.drift, {"drift": ("added: t",)}, False, "the database is not as the last migration"),
    (gates.order, {}, True, "no pending file is older than an applied one"),
    (gates.order, {"late": ("x: out of order",)}, False, "x: out of order: give the file a later"),
    (gates.record, {}, True, "the record is whole and signed"),
    (gates.record, {"unsigned": ("a",)}, "warning", "a"),
    (gates.record, {"faults": ("edited",), "unsigned": ("a",)}, False, "edited"),
    (gates.drill, {}, False, "no backup was ever restored: `bakehouse backup drill`"),
    (gates.drill, {"own": (run("drill"),)}, True, "the last drill is 1 h old (limit 30 days)"),
    (gates.drill, {"own": (run("drill", hours=721),)}, False, "the last drill is 721 h old"),
    (gates.drill, {"own": (run("drill", outcome="backup"),)}, False, "the last drill failed, 1 h"),
    (gates.drill, {"own": (run("drill", env="staging"),)}, False, "no backup was ever restored"),
    (gates.lint, {}, True, "no findings"),
    (gates.lint, {"findings": ("x.sql:1: no",)}, False, "x.sql:1: no"),
    (gates.rehearsal, {}, False, "these files were not rehearsed: migrate plan --env prod"),
    (gates.rehearsal, {"own": (run("rehearsal"),)}, True, "rehearsed, 1 h old"),
    (gates.rehearsal, {"own": (run("rehearsal", hours=25),)}, False, "rehearsed, 25 h old"),
    (gates.rehearsal, {"own": (run("rehearsal", head="h3"),)}, False, "these files were not"),
    (gates.rehearsal, {"own": (run("rehearsal", before="f0"),)}, False, "the database has changed"),
    (gates.backup, {}, True, "the newest is 23 h old, says probe (limit 24 h)"),
    (gates.backup, {"backup": Backup("none", problem="no probe")}, False, "no probe"),
    (gates.backup, {"backup": Backup("x", NOW - timedelta(days=2))}, False, "the newest is 48 h"),
    (gates.backup, {"backup": Backup("x", NOW + timedelta(days=2))}, False, "the newest is in the"),
    (gates.promotion, {}, True, "proved on staging, 1 h old"),
    (gates.promotion, {"proofs": ()}, False, "staging has not applied these files"),
    (gates.promotion, {"proofs_problem": "forged"}, False, "forged"),
    (gates.promotion, {"proofs": (run(hours=200),)}, False, "proved on staging, 200 h old"),
    (gates.promotion, {"proofs": (run(head="h3"),)}, False, "staging has not applied"),
    (gates.promotion, {"proofs": (run(before="f0"),)}, False, "staging applied these files to a"),
    (
        gates.promotion,
        {"proofs": (run(outcome="smoke"),)},
        False,
        "these files did not get through",
    ),
    (gates.promotion, {"proofs": (run(observed=None),)}, False, "staging applied these files, but"),
    (gates.promotion, {"proofs": (run(failed=("x",)),)}, False, "staging applied these files, but"),
    (
        gates.promotion,
        {"proofs": (run(observed=None, accepted="too long"),)},
        True,
        "proved on staging, 1 h old; not rehearsed on staging: too long",
    ),
    (
        gates.promotion,
        {"proofs": (run(observed=None, accepted="too long", failed=("x",)),)},
        False,
        "staging applied these files, but",
    ),
    (  # two releases on staging, one on prod
        gates.promotion,
        {"proofs": (run(head="h1", after="f5", hours=3), run(before="f5"))},
        True,
        "proved on staging",
    ),
    (  # prod stopped in the middle, and continues
        gates.promotion,
        {"fingerprint": "f7", "own": (run(after="f7", outcome="failed"),)},
        True,
        "proved on staging",
    ),
    (  # prod was changed after it stopped
        gates.promotion,
        {"fingerprint": "f8", "own": (run(after="f7", outcome="failed"),)},
        False,
        "staging applied these files to a catalog that is not the one here",
    ),
    (gates.tag, {}, True, "this is v1, byte for byte"),
    (gates.tag, {"tag": Tag(None, None, ("no git", "dirty"))}, False, "no git; dirty"),
    (gates.webhooks, {}, True, "nothing breaking: they stay on"),
    (
        gates.webhooks,
        {"observed": Observed(("x is gone",))},
        True,
        "will be paused for up to 15 min",
    ),
    (
        gates.webhooks,
        {"observed": Observed(("x is gone",)), "pausable": False},
        False,
        "they cannot",
    ),
    (gates.webhooks, {"observed": None}, True, "will be paused for up to 15 min: nothing was"),
    (gates.webhooks, {"observed": Observed(unseen=("f",))}, True, "will be paused"),
    (gates.webhooks, {"observed": Observed(locked=("t",)), "rows": {"t": 9}}, True, "nothing"),
    (
        gates.webhooks,
        {"observed": Observed(locked=("t",)), "rows": {"t": 100_000}},
        True,
        "will be paused for up to 15 min: locks t (100000 rows)",
    ),
    (gates.traffic, {}, True, "no old transaction in the way"),
    (gates.traffic, {"holders": ("pid 7",)}, False, "pid 7"),
    (gates.secrets, {}, True, "KEY"),
    (gates.secrets, {"missing_secrets": ("KEY",)}, False, "missing: KEY"),
    (gates.smoke, {}, True, "walks after the last file"),
    (gates.smoke, {"smoke": ()}, True, "every step passed"),
    (gates.smoke, {"smoke": ("a step: no",)}, False, "a step: no"),
)


@pytest.mark.parametrize(("gate", "facts", "ok", "reason"), CASES)
def test_a_gate_decides_by_its_facts(
    gate: Ask, facts: dict[str, Any], ok: bool | str, reason: str
) -> None:
    judged, said = gate(replace(FACTS, **facts))

    assert (judged, said[: len(reason)]) == (ok, reason)


def test_every_gate_has_a_case_that_passes_and_one_that_refuses() -> None:
    for gate in gates.GATES:
        assert {ok for tried, _, ok, _ in CASES if tried is gate.ask} >= {True, False}, gate


@pytest.mark.parametrize(
    ("env", "refused", "warned"),
    [
        ("dev", {"identity", "history", "smoke"}, {"lint"}),
        (
            "staging",
            {"identity", "history", "drift", "evidence", "lint", "rehearsal", "backup", "secrets"}
            | {"smoke"},
            {"drill", "tag", "webhooks", "traffic"},
        ),
        (
            "prod",
            {"identity", "history", "drift", "evidence", "lint", "backup", "promotion", "tag"}
            | {"webhooks", "traffic", "secrets", "smoke"},
            {"drill"},
        ),
    ],
)
def test_each_environment_has_its_gates(
    env: EnvironmentName, refused: set[str], warned: set[str]
) -> None:
    bad = Facts(
        Settings(env), NOW, "no", ("no",), ("f",), "h", "f", ("no",), observed=Observed(("x",)),
        tag=Tag(None, None, ("no",)), holders=("no",), missing_secrets=("no",), smoke=("no",),
        drift=("no",), faults=("no",),
    )  # fmt: skip
    every = {str(gate.name): "because" for gate in gates.GATES}

    verdicts = gates.check(bad, {})
    accepted = {v.gate for v in gates.check(bad, every) if v.verdict == "accepted"}

    assert {v.gate for v in verdicts if v.verdict == "refused"} == refused
    assert {v.gate for v in verdicts if v.verdict == "warning"} == warned
    assert accepted == refused - {"identity", "history", "drift", "evidence", "promotion"}


def test_with_nothing_pending_only_the_gates_of_the_database_apply() -> None:
    idle = Facts(Settings("prod"), NOW)

    assert {
        v.reason
        for v in gates.check(idle, {})
        if v.gate not in ("identity", "history", "drift", "evidence", "smoke")
    } == {"nothing is pending"}


@pytest.mark.parametrize(
    ("sql", "breaks"),
    [
        ("drop table public.t cascade", "table public.t is gone"),
        ("do $$ begin execute 'alter table public.t drop a'; end; $$", "column public.t.a is gone"),
        ("alter table public.t alter b type bigint", "no longer: column public.t.b is integer"),
        ("alter table public.t alter b set not null", "no longer: column public.t.b may be null"),
        ("alter table public.t disable row level security", "public.t has row level security"),
        ("drop policy p on public.t", "policy p on public.t is gone"),
        ("revoke select on public.t from authenticated", "gives SELECT to authenticated"),
        ("revoke execute on function public.f from authenticated", "executed by authenticated"),
        (
            "drop function public.f(int, int); create function public.f(a int, b int) returns text"
            " language sql as 'select null'; grant execute on function public.f to authenticated",
            "returns integer",
        ),
        ("alter type public.e rename value 'x' to 'y'", "type public.e has the value x"),
        (
            "drop function public.f(int, int); create function public.f(a int, b int) returns int"
            " language sql as 'select 1'; grant execute on function public.f to authenticated",
            "can be called with 1 arguments",
        ),
        ("alter table public.t add c int", ""),
        ("alter table public.t alter c2 drop not null", ""),
        (
            "create or replace function public.f(a int, b int default 2) returns int"
            " language sql as 'select 2'",
            "",
        ),
        ("alter type public.e add value 'z'", ""),
        ("create index on public.t (a)", ""),
    ],
)
def test_a_breaking_change_is_found_whatever_statement_made_it(
    project: Project, blank: str, sql: str, breaks: str
) -> None:
    project.write(
        "20260101000000_M0_t.sql",
        "create type public.e as enum ('x');\n"
        "create table public.t (a int, b int, c2 int not null);\n"
        "alter table public.t enable row level security;\n"
        "create policy p on public.t for select to authenticated using (true);\n"
        "grant select on public.t to authenticated;\n"
        "create function public.f(a int, b int default 1) returns int language sql as 'select 1';\n"
        "grant execute on function public.f to authenticated;\n",
    )
    assert project.run("migrate", "up", url=blank).code == 0
    project.write("20260101000001_M0_change.sql", f"{sql};\n")

    (seen,) = project.run("migrate", "plan", "--json", url=blank).json["migrations"]

    if breaks:
        assert any(breaks in one for one in seen["breaking"]), seen["breaking"]
    else:
        assert seen["breaking"] == []


def test_a_record_that_was_edited_moved_or_cut_is_reported() -> None:
    chain: list[evidence.Entry] = []
    body = {"event": "closed", "kind": "mark", "env": "prod", "at": NOW.isoformat()}
    for number in range(4):
        text = json.dumps(body | {"run": str(number), "outcome": "done"})
        previous = chain[-1].hash if chain else ""
        chain.append(evidence.Entry(previous, evidence.hash_of(previous, text), text))

    assert evidence.broken(chain) == []
    for forged in (
        [chain[0], replace(chain[1], text=chain[1].text.replace("1", "9")), *chain[2:]],
        [chain[0], *chain[2:]],
        chain[1:],
        [chain[1], chain[0], *chain[2:]],
    ):
        assert evidence.broken(forged)


@pytest.mark.slow
def test_a_failed_smoke_walk_keeps_webhooks_paused_until_they_are_resumed(
    launched: Environments,
) -> None:
    launched.project.write(
        "20990101000002_M9_only_in_prod.sql",
        "do $$ begin if supabase_migrations.bakehouse_identity() ->> 'env' = 'prod' then\n"
        "grant select on public.orders to anon; end if; end; $$;\n",
    )
    launched.commit()
    launched.git("tag", "-a", "v1.2.0", "-m", "v1.2.0")
    launched.prove()
    del (variables := dict(launched.project.variables))["BAKEHOUSE_STAGING_URL"]
    alone = replace(launched, project=replace(launched.project, variables=variables))
    accept = ("--accept-secrets", "no shop yet", "--env", "prod")

    failed = alone.project.run("migrate", "up", *accept)  # the evidence of staging comes from files
    paused = launched.query("prod", "select app.is_ingest_paused()")
    again = alone.project.run("migrate", "up", *accept)
    resumed = alone.run("resume", env="prod")
    taken = alone.project.run("migrate", "up", *accept, "--accept-smoke", "anon may look")

    assert (failed.code, again.code, taken.code) == (9, 9, 0), failed.err + again.err + taken.err
    assert "no order is read: expected 42501" in failed.err
    assert "`bakehouse resume` lets them in" in failed.err
    assert (paused, resumed.out) == (True, "webhooks come in\n")
    log = alone.run("log", "--json", env="prod").json
    assert [run["closed"]["outcome"] for run in log["runs"]][2:] == [
        "smoke",
        "smoke",
        "done",
        "done",
    ]
