"""Stage moves: the columns that each action writes, repeats, and refusals."""

import json
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bakehouse.database import Connection
from calls import acting_as, call, raises_code
from orders.stages import RPCS, STAGES, TIMES, Move, act, events, moves, row, stamped
from rows import make_order, make_staff, make_store, set_clock, value

BEFORE = "2026-03-02 09:00+11"
NOW = "2026-03-02 10:00+11"
HOSTILE = '\'; delete from public.orders; -- \\ %s $$ {"a": 1} \U0001f370'
WALK: tuple[tuple[str, str, set[str]], ...] = (
    ("print", "Filling", {"filling_start_ts"}),
    ("complete_filling", "Covering", {"filling_complete_ts"}),
    ("start_covering", "Covering", {"covering_start_ts"}),
    ("complete_covering", "Decorating", {"covering_complete_ts"}),
    ("start_decorating", "Decorating", {"decorating_start_ts"}),
    ("complete_decorating", "Packing", {"decorating_complete_ts"}),
    ("start_packing", "Packing", {"packing_start_ts"}),
    ("complete_packing", "Complete", {"packing_complete_ts"}),
)
WALKED = [
    *("print at Filling", "complete at Filling", "start at Covering", "complete at Covering"),
    *("start at Decorating", "complete at Decorating", "start at Packing", "complete at Packing"),
]


def walk(db: Connection, account: UUID, order_id: str) -> None:
    for action, _, _ in WALK:
        act(db, account, action, order_id)


def ready(db: Connection, move: Move, account: UUID) -> str:
    """Adds an order on which this move writes every column that it can write."""
    times = {name: BEFORE for name in TIMES if name not in move.stamps}
    return make_order(db, stage=move.from_stage, assignee_id=account, **times)


# The regular moves


@pytest.mark.spec("P11")
def test_each_step_stamps_its_own_time_and_no_other(db: Connection, baker: UUID) -> None:
    order_id = make_order(db)
    done: set[str] = set()

    for action, stage, stamps in WALK:
        answer = act(db, baker, action, order_id)

        done |= stamps
        assert answer.items() >= {
            ("order_id", order_id), ("store", "bannos"), ("stage", stage), ("already_done", False)
        }  # fmt: skip
        assert (row(db, order_id)["stage"], stamped(db, order_id)) == (stage, done)
    assert events(db, order_id) == WALKED


@pytest.mark.spec("P11")
def test_an_action_writes_exactly_what_its_row_in_the_table_says(
    db: Connection, admin: UUID
) -> None:
    for move in moves(db):
        order_id = ready(db, move, admin)
        before = row(db, order_id)
        set_clock(db, NOW)
        now = value(db, "select app.now()")

        act(db, admin, move.action, order_id)

        after = row(db, order_id)
        expected = {
            **{name: now for name in move.stamps if before[name] is None},
            **dict.fromkeys(move.clears),
            **({"assignee_id": None} if move.frees else {}),
            **{"stage": move.to_stage, "is_open": move.to_stage != "Complete"},
            **{"updated_by": admin, "updated_at": now, "version": after["version"]},
        }
        assert after == before | expected, move
        meta = {"context": {"forced": True}} if move.action == "mark_order_complete" else {}
        recorded = db.execute(
            "select store, stage, event_type, at_ts, staff_id, meta from public.stage_events "
            "where order_id = %s",
            (order_id,),
        ).fetchall()
        assert recorded == [("bannos", move.from_stage, move.event, now, admin, meta)], move


def test_packing_without_a_start_is_stamped_as_started_at_its_end(
    db: Connection, baker: UUID
) -> None:
    order_id = make_order(db, stage="Packing")

    act(db, baker, "complete_packing", order_id)

    after = row(db, order_id)
    assert after["packing_start_ts"] == after["packing_complete_ts"] is not None


def test_a_stamped_time_is_not_overwritten(db: Connection, baker: UUID) -> None:
    order_id = make_order(db, stage="Packing", packing_start_ts=BEFORE)

    act(db, baker, "complete_packing", order_id)

    assert row(db, order_id)["packing_start_ts"] < row(db, order_id)["packing_complete_ts"]


def test_the_first_three_completions_and_the_return_free_the_assignee(db: Connection) -> None:
    freeing = {move.action for move in moves(db) if move.frees}

    assert freeing == {
        *("complete_filling", "complete_covering", "complete_decorating"),
        "qc_return_to_decorating",
    }


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_an_admin_completes_an_order_from_any_stage(
    db: Connection, admin: UUID, stage: str
) -> None:
    order_id = make_order(db, stage=stage)

    answer = act(db, admin, "mark_order_complete", order_id)

    assert (answer["stage"], stamped(db, order_id)) == ("Complete", {"packing_complete_ts"})
    assert events(db, order_id) == [f"complete at {stage}"]
    assert value(db, "select meta from public.stage_events") == {"context": {"forced": True}}


# Repeats and refusals


@pytest.mark.spec("vector-9")
def test_a_repeat_answers_already_done_and_writes_nothing(db: Connection, admin: UUID) -> None:
    for move in moves(db):
        order_id = ready(db, move, admin)
        act(db, admin, move.action, order_id)
        before, recorded = row(db, order_id), events(db, order_id)

        answer = act(db, admin, move.action, order_id)

        assert answer.items() >= {
            ("order_id", order_id), ("store", "bannos"), ("stage", move.to_stage),
            ("already_done", True)
        }, move  # fmt: skip
        assert (row(db, order_id), events(db, order_id)) == (before, recorded), move


def test_an_action_is_already_done_after_its_stage_and_invalid_before_it(
    db: Connection, admin: UUID
) -> None:
    table = moves(db)
    for action in {move.action for move in table} - {"qc_return_to_decorating"}:
        mine = [STAGES.index(move.from_stage) for move in table if move.action == action]
        for nth, stage in enumerate(STAGES):
            if nth in mine:
                continue
            order_id = make_order(db, stage=stage)
            before = row(db, order_id)

            if nth > max(mine):
                assert act(db, admin, action, order_id)["already_done"], (action, stage)
            else:
                with raises_code("INVALID_STAGE", "PT409"):
                    act(db, admin, action, order_id)

            assert (row(db, order_id), events(db, order_id)) == (before, []), (action, stage)


def test_a_refusal_says_where_the_order_is_and_where_it_has_to_be(
    db: Connection, baker: UUID
) -> None:
    order_id = make_order(db, stage="Filling")

    with pytest.raises(psycopg.Error) as refusal:
        act(db, baker, "complete_covering", order_id)

    assert json.loads(refusal.value.diag.message_detail or "") == {
        "order_id": order_id,
        "stage": "Filling",
        "needs": "Covering",
    }


def test_a_cancelled_order_refuses_every_move(db: Connection, admin: UUID) -> None:
    for move in moves(db):
        for stage in (move.from_stage, "Packing"):
            order_id = make_order(db, stage=stage, cancelled_at=BEFORE, assignee_id=admin)
            before = row(db, order_id)

            with raises_code("CANCELLED", "PT409"):
                act(db, admin, move.action, order_id)

            assert (row(db, order_id), events(db, order_id)) == (before, []), move


def test_an_order_sold_over_the_counter_refuses_every_move(db: Connection, admin: UUID) -> None:
    for move in moves(db):
        order_id = make_order(db, stage=move.from_stage, is_pos=True)

        with raises_code("INVALID_STAGE", "PT409"):
            act(db, admin, move.action, order_id)

        assert events(db, order_id) == [], move


def test_a_missing_order_is_not_found(db: Connection, admin: UUID) -> None:
    for move in moves(db):
        with raises_code("NOT_FOUND", "PT404"):
            act(db, admin, move.action, "bannos-999999")


# Quality control


@pytest.mark.spec("vector-10", "P9")
def test_after_a_return_both_times_are_stamped_again_and_both_rounds_stay_in_the_events(
    db: Connection, baker: UUID
) -> None:
    order_id = make_order(db)
    set_clock(db, BEFORE)
    for action, _, _ in WALK[:7]:
        act(db, baker, action, order_id)
    db.execute("update public.orders set assignee_id = %s where id = %s", (baker, order_id))

    answer = call(
        db, baker, "qc_return_to_decorating", p_order_id=order_id, p_notes=" Wrong spelling "
    )

    assert (answer["stage"], answer["already_done"]) == ("Decorating", False)
    assert stamped(db, order_id) == {
        *("filling_start_ts", "filling_complete_ts", "covering_start_ts", "covering_complete_ts"),
    }
    assert row(db, order_id)["assignee_id"] is None
    set_clock(db, NOW)
    for action, _, stamps in WALK[4:]:
        act(db, baker, action, order_id)
        assert {row(db, order_id)[name] for name in stamps} == {value(db, "select app.now()")}
    assert events(db, order_id) == [*WALKED[:7], "qc_return at Packing", *WALKED[4:]]
    reason = "select meta ->> 'notes' from public.stage_events where event_type = 'qc_return'"
    assert value(db, reason) == "Wrong spelling"


@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
def test_only_an_admin_returns_a_complete_order(db: Connection, admin: UUID, role: str) -> None:
    order_id = make_order(db)
    walk(db, admin, order_id)

    with raises_code("PERMISSION_DENIED", "PT403"):
        act(db, make_staff(db, role=role), "qc_return_to_decorating", order_id)
    assert events(db, order_id) == WALKED

    assert act(db, admin, "qc_return_to_decorating", order_id)["stage"] == "Decorating"
    assert events(db, order_id) == [*WALKED, "qc_return at Complete"]


@pytest.mark.parametrize("stage", ["Filling", "Covering", "Decorating"])
def test_an_order_that_was_never_in_packing_cannot_be_returned(
    db: Connection, admin: UUID, stage: str
) -> None:
    order_id = make_order(db, stage=stage)

    with raises_code("INVALID_STAGE", "PT409"):
        act(db, admin, "qc_return_to_decorating", order_id)


def test_a_second_return_needs_a_second_packing(db: Connection, baker: UUID) -> None:
    order_id = make_order(db, stage="Packing")
    act(db, baker, "qc_return_to_decorating", order_id)
    act(db, baker, "start_decorating", order_id)

    assert act(db, baker, "qc_return_to_decorating", order_id)["already_done"]
    assert stamped(db, order_id) == {"decorating_start_ts"}
    act(db, baker, "complete_decorating", order_id)
    assert not act(db, baker, "qc_return_to_decorating", order_id)["already_done"]
    assert events(db, order_id).count("qc_return at Packing") == 2


# Printing


def test_the_label_shows_what_a_baker_needs_and_the_exact_id(db: Connection, baker: UUID) -> None:
    set_clock(db, NOW)
    order_id = make_order(
        db,
        id="bannos-18617-B",
        shopify_order_number=18617,
        suffix="B",
        human_id="B18617-B",
        flavour="Mango",
        cake_writing="Happy 40th",
        due_date="2026-03-03",
        delivery_method="pickup",
    )
    make_order(db, id="bannos-18617-A", shopify_order_number=18617, suffix="A")

    label = act(db, baker, "print", order_id)

    assert label.pop("printed_at").startswith("2026-03-01T23:00:00")
    assert label == {
        **{"order_id": order_id, "store": "bannos", "stage": "Filling", "already_done": False},
        **{"order_number": 18617, "human_id": "B18617-B", "customer_name": "Test Customer"},
        **{"product_title": "Birthday Cake", "flavour": "Mango", "size": "Medium"},
        **{"cake_writing": "Happy 40th", "due_date": "2026-03-03", "delivery_method": "pickup"},
        **{"priority": "HIGH", "barcode_content": order_id, "printed_by": str(baker)},
    }


@pytest.mark.spec("P1")
def test_scanning_a_printed_label_finds_the_cake_it_was_printed_for(
    db: Connection, baker: UUID
) -> None:
    for suffix in ("A", "B"):
        order_id = make_order(
            db, id=f"bannos-18617-{suffix}", shopify_order_number=18617, suffix=suffix
        )
        label = act(db, baker, "print", order_id)

        scanned = call(db, baker, "handle_print_barcode", p_barcode=label["barcode_content"])

        assert scanned["order_id"] == order_id


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.spec("P49")
def test_a_label_can_be_printed_in_any_stage_and_only_the_first_print_is_an_event(
    db: Connection, baker: UUID, stage: str
) -> None:
    order_id = make_order(db, stage=stage, filling_start_ts=BEFORE)
    before = row(db, order_id)

    label = act(db, baker, "print", order_id)

    assert (label["stage"], label["already_done"]) == (stage, True)
    assert label["barcode_content"] == order_id
    assert (row(db, order_id), events(db, order_id)) == (before, [])


@pytest.mark.parametrize("text", ["bannos-18617", "#B18617", "*b18617*", '{"id": "bannos-18617"}'])
def test_scanning_the_printed_barcode_begins_filling_once(
    db: Connection, baker: UUID, text: str
) -> None:
    order_id = make_order(db, id="bannos-18617", shopify_order_number=18617)

    first, second = [
        call(
            db,
            baker,
            "handle_print_barcode",
            **{"p_barcode": text, "p_order_id": order_id, "p_performed_by": baker},
            p_context=Jsonb({"station": 3}),
        )
        for _ in range(2)
    ]

    assert first == {
        **{"order_id": order_id, "store": "bannos", "stage": "Filling", "already_done": False}
    }
    assert second == first | {"already_done": True}
    assert stamped(db, order_id) == {"filling_start_ts"}
    assert events(db, order_id) == ["print at Filling"]
    assert value(db, "select meta from public.stage_events") == {"context": {"station": 3}}


def test_a_barcode_of_another_order_is_a_conflict(db: Connection, baker: UUID) -> None:
    scanned, meant = make_order(db), make_order(db)

    with pytest.raises(psycopg.Error) as refusal:
        call(db, baker, "handle_print_barcode", p_barcode=scanned, p_order_id=meant)

    assert (refusal.value.diag.message_hint, refusal.value.sqlstate) == ("CONFLICT", "PT409")
    assert json.loads(refusal.value.diag.message_detail or "") == {
        "scanned": scanned,
        "order_id": meant,
    }
    assert events(db, scanned) == events(db, meant) == []


def test_an_ambiguous_barcode_starts_no_stage(db: Connection, baker: UUID) -> None:
    units = [
        make_order(db, id=f"bannos-18617-{suffix}", shopify_order_number=18617, suffix=suffix)
        for suffix in ("A", "B")
    ]

    with raises_code("AMBIGUOUS_SCAN", "PT409"):
        call(db, baker, "handle_print_barcode", p_barcode="#B18617")

    assert [stamped(db, unit) for unit in units] == [set(), set()]


# Rights


def outsiders(db: Connection) -> dict[str, tuple[str, UUID | None, str]]:
    """Returns each caller who may not move an order of bannos: role, account and refusal."""
    return {
        "anon": ("anon", None, "42501"),
        "no account": ("authenticated", None, "NOT_SIGNED_IN"),
        "a stranger": ("authenticated", uuid4(), "PERMISSION_DENIED"),
        "an inactive Admin": (
            "authenticated",
            make_staff(db, role="Admin", is_active=False),
            "PERMISSION_DENIED",
        ),
        "an unapproved Staff": (
            "authenticated",
            make_staff(db, approved=False),
            "PERMISSION_DENIED",
        ),
        "Staff of the other store": (
            "authenticated",
            make_staff(db, store="flourlane"),
            "PERMISSION_DENIED",
        ),
        "an Admin of the other store": (
            "authenticated",
            make_staff(db, role="Admin", store="flourlane"),
            "PERMISSION_DENIED",
        ),
    }


def refused_with(db: Connection, role: str, account: UUID | None, rpc: str, order_id: str) -> str:
    with pytest.raises(psycopg.Error) as refusal, acting_as(db, role, account):
        db.execute(f"select public.{rpc}(p_order_id => %s)".encode(), (order_id,))
    return refusal.value.diag.message_hint or refusal.value.sqlstate or ""


@pytest.mark.spec("vector-13")
def test_only_staff_of_the_store_move_its_orders(db: Connection) -> None:
    for move in moves(db):
        rpc = RPCS.get(move.action, move.action)
        for who, (role, account, code) in outsiders(db).items():
            order_id = make_order(db, stage=move.from_stage)
            before = row(db, order_id)

            assert refused_with(db, role, account, rpc, order_id) == code, (who, rpc)

            assert (row(db, order_id), events(db, order_id)) == (before, []), (who, rpc)


@pytest.mark.spec("vector-13")
def test_a_move_requires_exactly_the_role_of_its_row(db: Connection) -> None:
    roles = ("Staff", "Supervisor", "Admin")
    for move in moves(db):
        for role in roles:
            account = make_staff(db, role=role, store="bannos")
            order_id = make_order(db, stage=move.from_stage)

            if roles.index(role) >= roles.index(move.role):
                assert not act(db, account, move.action, order_id)["already_done"], (move, role)
            else:
                with raises_code("PERMISSION_DENIED", "PT403"):
                    act(db, account, move.action, order_id)
                assert events(db, order_id) == [], (move, role)


@pytest.mark.spec("vector-13")
def test_the_role_is_checked_before_the_order_is_read(db: Connection, baker: UUID) -> None:
    with raises_code("PERMISSION_DENIED", "PT403"):
        act(db, baker, "mark_order_complete", "bannos-999999")


BY_NAME: list[tuple[str, str, str]] = [
    ("handle_print_barcode", "p_barcode", "Filling"),
    ("start_packing", "p_order_id", "Packing"),
]
by_name = pytest.mark.parametrize(("rpc", "argument", "stage"), BY_NAME)


@by_name
def test_the_service_can_act_for_a_member_of_staff(
    db: Connection, baker: UUID, rpc: str, argument: str, stage: str
) -> None:
    order_id = make_order(db, stage=stage)

    answer = call(db, None, rpc, **{argument: order_id}, p_performed_by=baker)

    assert not answer["already_done"]
    assert row(db, order_id)["updated_by"] == baker
    assert value(db, "select staff_id from public.stage_events") == baker


@by_name
def test_the_service_cannot_act_for_an_outsider_or_for_itself(
    db: Connection, rpc: str, argument: str, stage: str
) -> None:
    order_id = make_order(db, stage=stage)
    nobody: list[UUID | None] = [
        *(None, uuid4(), make_staff(db, is_active=False), make_staff(db, approved=False)),
        make_staff(db, store="flourlane"),
    ]

    for named in nobody:
        with raises_code("PERMISSION_DENIED", "PT403"):
            call(db, None, rpc, **{argument: order_id}, p_performed_by=named)

    assert events(db, order_id) == []


@by_name
def test_staff_cannot_act_for_another_account(
    db: Connection, baker: UUID, admin: UUID, rpc: str, argument: str, stage: str
) -> None:
    order_id = make_order(db, stage=stage)

    with raises_code("PERMISSION_DENIED", "PT403"):
        call(db, admin, rpc, **{argument: order_id}, p_performed_by=baker)
    assert not call(db, baker, rpc, **{argument: order_id}, p_performed_by=baker)["already_done"]


def test_the_service_can_do_no_other_stage_action(db: Connection) -> None:
    for move in moves(db):
        order_id = make_order(db, stage=move.from_stage)
        rpc = RPCS.get(move.action, move.action)

        refusal = refused_with(db, "service_role", None, rpc, order_id)

        assert refusal in ("42501", "PERMISSION_DENIED"), rpc


# Arguments


@pytest.mark.spec("vector-14")
def test_a_null_store_is_the_store_of_the_id(db: Connection, baker: UUID) -> None:
    order_id = make_order(db)

    answer = call(db, baker, "complete_filling", p_order_id=order_id, p_store=None, p_notes=None)

    assert (answer["store"], answer["stage"]) == ("bannos", "Covering")


@pytest.mark.parametrize("order_id", [None, "", " ", "-", "20001", "rivals-1", "' or 1=1 --"])
@pytest.mark.spec("vector-14")
def test_an_invalid_id_is_bad_input_for_staff_and_refused_for_others(
    db: Connection, baker: UUID, order_id: str | None
) -> None:
    for move in moves(db):
        account = make_staff(db, role=move.role)
        with raises_code("BAD_INPUT", "PT400"):
            call(db, account, RPCS.get(move.action, move.action), p_order_id=order_id)
        with raises_code("NOT_SIGNED_IN", "PT401"), acting_as(db, "authenticated"):
            value(db, "select public.complete_filling(%s)", order_id)


@pytest.mark.parametrize("store", ["flourlane", "", "BANNOS", "both", HOSTILE])
@pytest.mark.spec("vector-14")
def test_a_store_other_than_that_of_the_id_is_bad_input(db: Connection, store: str) -> None:
    order_id = make_order(db)

    for move in moves(db):
        rpc = RPCS.get(move.action, move.action)
        with raises_code("BAD_INPUT", "PT400"):
            call(db, make_staff(db, role=move.role), rpc, p_order_id=order_id, p_store=store)
    assert events(db, order_id) == []


@pytest.mark.spec("P19", "vector-14")
def test_moves_neither_read_nor_write_tables_of_the_caller(db: Connection, baker: UUID) -> None:
    order_id = make_order(db, product_title="Ours")
    shadows: tuple[LiteralString, ...] = (
        "create temp table orders (store text, id text, stage text, product_title text)",
        "create temp table stage_events (store text, order_id text, stage text)",
        "create temp table stage_transitions (action text, from_stage text, to_stage text)",
        "create temp table staff_shared (user_id uuid, role text)",
        "set local search_path = pg_temp, public",
    )

    with acting_as(db, "authenticated", baker):
        for shadow in shadows:
            db.execute(shadow)
        db.execute("insert into orders values ('bannos', %s, 'Packing', 'Theirs')", (order_id,))
        label = value(db, "select public.print_barcode('bannos', %s)", order_id)
        value(db, "select public.complete_filling(%s)", order_id)
        shadowed = value(db, "select stage from orders") + str(
            value(db, "select count(*) from stage_events")
        )
        db.execute("drop table orders, stage_events, stage_transitions, staff_shared")
        db.execute("set local search_path = public")

    assert (label["product_title"], shadowed) == ("Ours", "Packing0")
    assert row(db, order_id)["stage"] == "Covering"
    assert events(db, order_id) == ["print at Filling", "complete at Filling"]


@pytest.mark.spec("vector-14")
def test_sql_in_a_text_stays_text(db: Connection, baker: UUID) -> None:
    order_id = make_order(db)

    call(db, baker, "complete_filling", p_order_id=order_id, p_notes=HOSTILE)
    for arguments in ({"p_order_id": "bannos-" + HOSTILE}, {"p_order_id": HOSTILE}):
        with pytest.raises(psycopg.Error) as refusal:
            call(db, baker, "complete_covering", **arguments)
        assert refusal.value.diag.message_hint in ("NOT_FOUND", "BAD_INPUT")
    with raises_code("CONFLICT", "PT409"):
        call(db, baker, "handle_print_barcode", p_barcode=order_id, p_order_id=HOSTILE)
    with raises_code("BAD_INPUT", "PT400"):
        call(db, baker, "handle_print_barcode", p_barcode=HOSTILE)

    assert value(db, "select meta from public.stage_events") == {"notes": HOSTILE}
    assert row(db, order_id)["stage"] == "Covering"


@pytest.mark.parametrize(
    ("notes", "meta"),
    [(None, {}), ("", {}), ("  ", {}), (" Torn lid ", {"notes": "Torn lid"})],
)
def test_notes_are_kept_with_the_event(
    db: Connection, baker: UUID, notes: str | None, meta: dict[str, Any]
) -> None:
    call(db, baker, "complete_filling", p_order_id=make_order(db), p_notes=notes)

    assert value(db, "select meta from public.stage_events") == meta


def test_notes_and_context_of_5000_characters_are_refused(db: Connection, baker: UUID) -> None:
    order_id = make_order(db)

    with raises_code("BAD_INPUT", "PT400"):
        call(db, baker, "complete_filling", p_order_id=order_id, p_notes="x" * 5000)
    with raises_code("BAD_INPUT", "PT400"):
        book = Jsonb({"book": "x" * 5000})
        call(db, baker, "handle_print_barcode", p_barcode=order_id, p_context=book)

    assert events(db, order_id) == []


# Extensions


def test_a_move_that_a_later_trigger_refuses_leaves_nothing_behind(
    db: Connection, baker: UUID
) -> None:
    """A later milestone can use a trigger on public.orders to require a photo or a shift."""
    order_id = make_order(db, stage="Packing", assignee_id=baker)
    db.execute("set local role bakehouse_owner")
    db.execute(
        """
        create function app.need_photo() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $$
        begin
          perform app.fail('CONFLICT', 'A photo first.');
          return new;
        end;
        $$
        """
    )
    db.execute(
        "create trigger orders_need_photo before update of stage on public.orders for each row "
        "when (old.stage = 'Packing' and new.stage = 'Complete') execute function app.need_photo()"
    )
    db.execute("reset role")

    assert not act(db, baker, "start_packing", order_id)["already_done"]
    before = row(db, order_id)
    with raises_code("CONFLICT", "PT409"):
        act(db, baker, "complete_packing", order_id)

    assert (row(db, order_id), events(db, order_id)) == (before, ["start at Packing"])


def test_orders_of_a_newly_added_store_can_be_moved(db: Connection) -> None:
    order_id = make_order(db, store=make_store(db, "crumbs"))

    walk(db, make_staff(db, store="crumbs"), order_id)

    assert events(db, order_id) == WALKED
