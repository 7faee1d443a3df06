"""Fetching orders by hand: rights, one run at a time, and known orders stay unchanged."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest

from bakehouse.database import Connection
from calls import acting_as, raises_code
from rows import make_staff, value, values

TOKEN = "shpat_" + "t" * 32


def set_token(db: Connection, admin: UUID, store: str = "bannos") -> None:
    with acting_as(db, "authenticated", admin):
        db.execute("select public.set_shop_token(%s, %s)", (store, TOKEN))


def sync(db: Connection, admin: UUID, store: str | None = "bannos") -> dict[str, object]:
    with acting_as(db, "authenticated", admin):
        answer: dict[str, object] = value(db, "select public.sync_shopify_orders(%s)", store)
    return answer


def finish(db: Connection, run: object, status: str = "success", **counts: object) -> bool:
    with acting_as(db, "service_role"):
        done: bool = value(
            db,
            "select public.finish_sync_run(%s, %s, p_orders_imported => %s, p_errors => %s, "
            "p_error_message => %s)",
            *(run, status, counts.get("imported", 0), counts.get("errors", 0)),
            counts.get("message"),
        )
    return done


def log(db: Connection, account: UUID, store: str | None = "bannos") -> list[tuple[object, ...]]:
    with acting_as(db, "authenticated", account):
        return db.execute(
            "select store, sync_type, status, orders_imported, errors, error_message "
            "from public.get_sync_log(%s)",
            (store,),
        ).fetchall()


# Runs


def test_a_sync_becomes_a_job_and_a_run_in_the_log(db: Connection, admin: UUID) -> None:
    set_token(db, admin)

    answer = sync(db, admin)

    assert (answer["success"], set(answer)) == (True, {"success", "run_id", "message"})
    jobs = values(db, "select payload from public.work_queue where topic = 'shopify_sync'")
    assert jobs == [{"store": "bannos", "run_id": answer["run_id"]}]
    assert log(db, admin) == [("bannos", "sync_orders", "running", 0, 0, None)]
    assert finish(db, answer["run_id"], imported=7, errors=1)
    assert log(db, admin) == [("bannos", "sync_orders", "success", 7, 1, None)]


def test_a_sync_without_a_token_is_refused(db: Connection, admin: UUID) -> None:
    set_token(db, admin, "flourlane")

    with raises_code("CONFLICT", "PT409"):
        sync(db, admin)

    assert log(db, admin) == []


def test_a_store_has_one_sync_run_at_a_time(db: Connection, admin: UUID) -> None:
    set_token(db, admin)
    set_token(db, admin, "flourlane")
    run = sync(db, admin)["run_id"]

    with raises_code("CONFLICT", "PT409"):
        sync(db, admin)
    assert sync(db, admin, "flourlane")["success"]

    finish(db, run)
    assert sync(db, admin)["success"]


def test_two_syncs_started_at_once_make_one_run(clone: str) -> None:
    with psycopg.connect(clone, autocommit=True) as conn:
        admin = make_staff(conn, role="Admin")
        set_token(conn, admin)

    def one(_: int) -> str:
        with psycopg.connect(clone, autocommit=True) as own:
            try:
                sync(own, admin)
            except psycopg.Error as refusal:
                return str(refusal.diag.message_hint)
            return "started"

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(one, range(8)))

    assert answers == ["CONFLICT"] * 7 + ["started"]


@pytest.mark.spec("P7")
def test_a_run_that_died_stops_blocking_the_next_after_a_while(db: Connection, admin: UUID) -> None:
    set_token(db, admin)
    dead = sync(db, admin)["run_id"]
    db.execute("update public.sync_runs set started_at = started_at - interval '61 minutes'")

    assert sync(db, admin)["success"]

    assert not finish(db, dead, imported=5)
    assert sorted(log(db, admin), key=str) == [
        ("bannos", "sync_orders", "error", 0, 0, "Never finished."),
        ("bannos", "sync_orders", "running", 0, 0, None),
    ]


def test_finishing_a_run_twice_changes_nothing(db: Connection, admin: UUID) -> None:
    set_token(db, admin)
    run = sync(db, admin)["run_id"]

    assert [finish(db, run, "error", message="timeout"), finish(db, run, imported=9)] == [
        True,
        False,
    ]
    assert log(db, admin) == [("bannos", "sync_orders", "error", 0, 0, "timeout")]


@pytest.mark.parametrize(
    ("status", "counts"),
    [("running", {}), (None, {}), ("success", {"imported": -1}), ("success", {"errors": None})],
)
def test_an_invalid_result_of_a_run_is_refused(
    db: Connection, admin: UUID, status: str, counts: dict[str, object]
) -> None:
    set_token(db, admin)
    run = sync(db, admin)["run_id"]

    with raises_code("BAD_INPUT", "PT400"):
        finish(db, run, status, **counts)


def test_a_missing_run_cannot_be_finished(db: Connection) -> None:
    with raises_code("NOT_FOUND", "PT404"):
        finish(db, uuid4())


# Tokens


@pytest.mark.parametrize(
    ("token", "valid"), [(TOKEN, True), ("short", False), ("", False), (None, False)]
)
@pytest.mark.spec("P25")
def test_testing_a_token_answers_the_result_and_stores_nothing(
    db: Connection, admin: UUID, token: str | None, valid: bool
) -> None:
    set_token(db, admin)
    before = value(db, "select app.shop_secret('bannos', 'token')")

    with acting_as(db, "authenticated", admin):
        answer = value(db, "select public.test_admin_token('bannos', %s)", token)

    assert (answer["valid"], set(answer)) == (valid, {"valid", "run_id", "message"})
    assert value(db, "select app.shop_secret('bannos', 'token')") == before
    ((*_, status, _, errors, _),) = log(db, admin)
    assert (status, errors) == (("success", 0) if valid else ("error", 1))
    kept = "select (select string_agg(r::text, '') from public.sync_runs as r) || " + (
        "(select string_agg(a::text, '') from public.audit_log as a)"
    )
    assert TOKEN not in value(db, kept)


def test_testing_a_token_does_not_wait_for_a_sync(db: Connection, admin: UUID) -> None:
    set_token(db, admin)
    sync(db, admin)

    with acting_as(db, "authenticated", admin):
        assert value(db, "select public.test_admin_token('bannos', %s)", TOKEN)["valid"]


# Fetched orders


def fetched(**fields: object) -> str:
    payload = {
        "id": "gid://shopify/Order/8001",
        "name": "#B8001",
        "note": "As fetched",
        "lineItems": {
            "edges": [
                {
                    "node": {
                        "id": f"gid://shopify/LineItem/{n}",
                        "title": "Birthday Cake",
                        "quantity": 1,
                        "currentQuantity": 1,
                        "variantTitle": "Medium / Vanilla",
                    }
                }
                for n in (1, 2)
            ]
        },
    }
    return json.dumps(payload | fields)


def take_in(db: Connection, payload: str, store: str | None = "bannos") -> str:
    with acting_as(db, "service_role"):
        outcome: str = value(db, "select public.import_shopify_order(%s, %s)", store, payload)
    return outcome


@pytest.mark.parametrize("store", ["bannos", "flourlane"])
@pytest.mark.spec("P4")
def test_a_sync_leaves_known_orders_unchanged(db: Connection, store: str) -> None:
    assert take_in(db, fetched(), store) == "created"
    db.execute("update public.orders set stage = 'Packing', notes = 'Staff know better'")
    before = values(db, "select to_jsonb(o) from public.orders as o order by id")

    assert take_in(db, fetched(note="Newer"), store) == "unchanged"

    assert values(db, "select to_jsonb(o) from public.orders as o order by id") == before
    assert [row["suffix"] for row in before] == ["A", "B"]


def test_a_fetched_payload_that_is_no_order_is_refused(db: Connection) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        take_in(db, "{}")


# Rights


@pytest.mark.parametrize("role", ["Staff", "Supervisor"])
@pytest.mark.parametrize(
    "call",
    [
        "public.get_sync_log('bannos')",
        "public.test_admin_token('bannos', repeat('t', 32))",
        "public.sync_shopify_orders('bannos')",
        "public.start_sync_run('bannos', 'sync_products')",
    ],
)
def test_only_admins_start_a_sync(db: Connection, role: str, call: str) -> None:
    account = make_staff(db, role=role)

    with raises_code("PERMISSION_DENIED", "PT403"), acting_as(db, "authenticated", account):
        db.execute(f"select {call}".encode())


@pytest.mark.parametrize(
    "call",
    [
        "public.finish_sync_run(gen_random_uuid(), 'success')",
        "public.import_shopify_order('bannos', '{}')",
    ],
)
def test_no_account_can_call_the_functions_of_the_worker(
    db: Connection, admin: UUID, call: str
) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        acting_as(db, "authenticated", admin),
    ):
        db.execute(f"select {call}".encode())


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_api_role_reads_the_table_of_runs(db: Connection, admin: UUID, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(db, role, admin):
        db.execute("select from public.sync_runs")


def test_an_admin_sees_the_runs_of_their_stores_only(db: Connection, admin: UUID) -> None:
    set_token(db, admin, "flourlane")
    sync(db, admin, "flourlane")
    elsewhere = make_staff(db, role="Admin", store="bannos")

    assert len(log(db, admin, None)) == 1
    assert log(db, elsewhere, None) == []
    with raises_code("PERMISSION_DENIED", "PT403"):
        log(db, elsewhere, "flourlane")


@pytest.mark.parametrize("store", [None, "nowhere"])
@pytest.mark.spec("vector-14")
def test_a_sync_needs_an_existing_store(db: Connection, admin: UUID, store: str | None) -> None:
    with raises_code("BAD_INPUT", "PT400"):
        sync(db, admin, store)
