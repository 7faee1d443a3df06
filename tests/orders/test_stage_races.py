"""Several calls at once on one order: one moves it, and none waits for ever."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from bakehouse.database import Connection
from calls import call
from orders.stages import STAGES, TIMES, act, events, moves, row
from rows import make_order, make_staff, value, values

CROWD = 4
COMPLETIONS = {
    "Filling": "complete_filling",
    "Covering": "complete_covering",
    "Decorating": "complete_decorating",
    "Packing": "complete_packing",
}


@pytest.fixture
def shop(clone: str) -> Iterator[Connection]:
    with psycopg.connect(clone, autocommit=True) as conn:
        yield conn


@contextmanager
def sessions(dsn: str, number: int) -> Iterator[list[Connection]]:
    """Connections with a time limit, so that a blocked test still ends."""
    with ExitStack() as stack:
        options = "-c statement_timeout=30s"
        yield [stack.enter_context(psycopg.connect(dsn, options=options)) for _ in range(number)]


def crowd(
    pool: list[Connection], account: UUID, action: str, order_id: str, *others: str
) -> list[Any]:
    """Makes calls at once, and returns all answers. The first commits when all others wait.

    The others make the same call unless `others` gives one.
    """
    first, *rest = pool
    actions = others or (action,) * len(rest)

    def last(conn: Connection, other: str) -> Any:
        answer = act(conn, account, other, order_id)
        conn.commit()
        return answer

    with ThreadPoolExecutor(len(rest)) as threads:
        answers = [act(first, account, action, order_id)]
        waiting = [
            threads.submit(last, conn, other) for conn, other in zip(rest, actions, strict=False)
        ]
        deadline = time.monotonic() + 20
        for conn, _ in zip(rest, actions, strict=False):
            while not value(first, "select pg_blocking_pids(%s)", conn.info.backend_pid):
                assert time.monotonic() < deadline, "somebody did not wait"
                time.sleep(0.002)
        first.commit()
        return answers + [one.result() for one in waiting]


@pytest.mark.spec("P8", "vector-9")
def test_one_of_many_equal_moves_at_once_moves_the_order(clone: str, shop: Connection) -> None:
    admin = make_staff(shop, role="Admin")
    with sessions(clone, CROWD) as pool:
        for move in moves(shop):
            order_id = make_order(shop, stage=move.from_stage)

            answers = crowd(pool, admin, move.action, order_id)

            assert [answer["already_done"] for answer in answers] == [*(False, True, True, True)], (
                move
            )
            assert {answer["stage"] for answer in answers} == {move.to_stage}, move
            assert events(shop, order_id) == [f"{move.event} at {move.from_stage}"], move
            after = row(shop, order_id)
            assert {name for name in TIMES if after[name]} == set(move.stamps), move


def test_one_of_many_scans_of_a_new_label_begins_filling(clone: str, shop: Connection) -> None:
    baker, order_id = make_staff(shop), make_order(shop)

    def scan(conn: Connection) -> bool:
        with conn.transaction():
            answer = call(conn, baker, "handle_print_barcode", p_barcode=order_id)
        return bool(answer["already_done"])

    with sessions(clone, 8) as pool, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(scan, pool))

    assert sorted(answers) == [False] + [True] * 7
    assert events(shop, order_id) == ["print at Filling"]


@pytest.mark.parametrize(
    ("stage", "first", "second", "recorded"),
    [
        (
            *("Packing", "complete_packing", "qc_return_to_decorating"),
            ["complete at Packing", "qc_return at Complete"],
        ),
        (
            *("Filling", "complete_filling", "mark_order_complete"),
            ["complete at Filling", "complete at Covering"],
        ),
        (
            *("Covering", "start_covering", "complete_covering"),
            ["start at Covering", "complete at Covering"],
        ),
    ],
)
def test_a_waiting_move_continues_from_the_new_stage(
    clone: str, shop: Connection, stage: str, first: str, second: str, recorded: list[str]
) -> None:
    admin, order_id = make_staff(shop, role="Admin"), make_order(shop, stage=stage)

    with sessions(clone, 2) as pool:
        answers = crowd(pool, admin, first, order_id, second)

    assert [answer["already_done"] for answer in answers] == [False, False]
    assert events(shop, order_id) == recorded


@pytest.mark.parametrize(
    ("stage", "first", "second"),
    [
        ("Packing", "qc_return_to_decorating", "complete_packing"),
        ("Packing", "qc_return_to_decorating", "start_packing"),
    ],
)
def test_a_waiting_move_that_no_longer_fits_the_stage_is_refused(
    clone: str, shop: Connection, stage: str, first: str, second: str
) -> None:
    baker, order_id = make_staff(shop), make_order(shop, stage=stage)

    with sessions(clone, 2) as pool, pytest.raises(psycopg.Error) as refusal:
        crowd(pool, baker, first, order_id, second)

    assert refusal.value.diag.message_hint == "INVALID_STAGE"
    assert events(shop, order_id) == ["qc_return at Packing"]


def test_eight_bakers_who_scan_twice_complete_a_hundred_orders_once(
    clone: str, shop: Connection
) -> None:
    orders = [make_order(shop) for _ in range(100)]
    baker = make_staff(shop)

    def work(seed: int) -> tuple[int, int]:
        """Completes orders in random order until none is left. Returns moves and repeats."""
        dice = random.Random(seed)
        seen = dict.fromkeys(orders, "Filling")
        made = repeated = 0
        with psycopg.connect(clone, autocommit=True) as conn:
            while seen:
                order_id = dice.choice(list(seen))
                action = COMPLETIONS[seen[order_id]]
                for _ in range(dice.choice((1, 1, 2))):
                    answer = act(conn, baker, action, order_id)
                    repeated += answer["already_done"]
                    made += not answer["already_done"]
                    seen[order_id] = answer["stage"]
                if seen[order_id] == "Complete":
                    del seen[order_id]
        return made, repeated

    with ThreadPoolExecutor(8) as threads:
        worked = list(threads.map(work, range(8)))

    assert sum(made for made, _ in worked) == 400
    assert sum(repeated for _, repeated in worked) > 400
    assert min(made for made, _ in worked) > 0
    for order_id in orders:
        assert events(shop, order_id) == [f"complete at {stage}" for stage in STAGES[:-1]]
    assert set(values(shop, "select stage from public.orders")) == {"Complete"}


def test_random_calls_on_two_siblings_at_once_end_without_deadlock_or_wrong_move(
    clone: str, shop: Connection
) -> None:
    """The calls are stage moves, assignments, edits and one cancellation."""
    admin = make_staff(shop, role="Admin")
    shop.execute("insert into public.shopify_orders values ('bannos', 'gid', '{}')")
    orders = [
        make_order(shop, id=f"bannos-1-{suffix}", suffix=suffix, shopify_order_gid="gid")
        for suffix in ("A", "B")
    ]
    table = moves(shop)
    edits: list[tuple[str, dict[str, object]]] = [
        ("assign_staff", {"p_staff_id": admin}),
        ("unassign_staff", {}),
        ("update_order_due_date", {"p_due_date": "2026-03-02"}),
        ("update_order_due_date", {"p_due_date": None}),
        ("set_storage", {"p_storage": "Store Fridge"}),
    ]

    def work(seed: int) -> set[str]:
        dice, refusals = random.Random(seed), set()
        with psycopg.connect(clone, options="-c statement_timeout=30s") as conn:
            for turn in range(80):
                order_id = dice.choice(orders)
                rpc, said = dice.choice(edits)
                try:
                    if seed == 0 and turn == 60:
                        call(conn, admin, "cancel_order", p_order_id=orders[0])
                    elif dice.random() < 0.2:
                        mixed = dice.sample(orders, 2)
                        call(conn, admin, "assign_staff_bulk", p_order_ids=mixed, p_staff_id=admin)
                    elif dice.random() < 0.3:
                        call(conn, admin, rpc, p_order_id=order_id, **said)
                    else:
                        act(conn, admin, dice.choice(table).action, order_id)
                    conn.commit()
                except psycopg.Error as refusal:
                    conn.rollback()
                    refusals.add(refusal.diag.message_hint or str(refusal.sqlstate))
        return refusals

    with ThreadPoolExecutor(6) as threads:
        refusals = set[str]().union(*threads.map(work, range(6)))

    assert refusals <= {"INVALID_STAGE", "CANCELLED"}
    for order_id in orders:
        possible = {"Filling"}
        for event, at in (step.split(" at ") for step in events(shop, order_id)):
            assert at in possible
            ways = {move.to_stage for move in table if (move.event, move.from_stage) == (event, at)}
            possible = ways or {at}
        assert row(shop, order_id)["stage"] in possible
