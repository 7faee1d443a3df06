"""The worker as a process, against a local shop that fails in the ways of a real one."""

import http.client
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from bakehouse.database import Connection
from calls import acting_as
from command import Project, Ran, Running, free_port
from orders import payloads
from orders.test_inventory import map_location
from rows import make_staff, value, values

ROOT = Path(__file__).parents[2]
TOKENS = {"bannos": "token-of-bannos-0123456789", "flourlane": "token-of-flourlane-0123456"}
LOCATIONS = ["gid://shopify/Location/1", "gid://shopify/Location/2"]
DOMAINS = {"bannos.myshopify.com": "bannos", "flour-lane.myshopify.com": "flourlane"}


@dataclass
class Shops:
    """Two shops with two open locations each. They can be told to fail."""

    stock: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    orders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sets: list[tuple[str, str, int]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)  # each change of stock takes the next fault
    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, store: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        stock = self.stock[store]
        page: dict[str, object] = {"hasNextPage": False, "endCursor": None}
        if "productVariants(" in query:
            found = re.fullmatch(r'sku:"(.*)"', variables["search"])
            assert found, variables
            word = re.sub(r"\\(.)", r"\1", found[1])
            nodes: list[dict[str, Any]] = [
                {"sku": sku, "inventoryItem": {"id": sku}} for sku in stock if sku.startswith(word)
            ]
            return {"productVariants": {"nodes": nodes, "pageInfo": page}}
        if "orders(" in query:
            sold = self.orders.get(store, [])
            if variables["after"] is None and len(sold) > 1:
                page = {"hasNextPage": True, "endCursor": "more"}
                sold = sold[:1]
            elif len(sold) > 1:
                sold = sold[1:]
            return {"orders": {"nodes": sold, "pageInfo": page}}
        if "inventoryItems(" in query:
            nodes = [
                {
                    "sku": sku,
                    "inventoryLevels": {
                        "nodes": [
                            {
                                "location": {"id": location, "isActive": True},
                                "quantities": [{"quantity": count}],
                            }
                            for location, count in zip(LOCATIONS, counts, strict=True)
                        ]
                    },
                }
                for sku, counts in stock.items()
            ]
            return {"inventoryItems": {"nodes": nodes, "pageInfo": page}}
        change = variables["input"]
        assert (change["name"], change["reason"]) == ("available", "correction")
        assert change["ignoreCompareQuantity"] is True
        for one in change["quantities"]:
            place = LOCATIONS.index(one["locationId"])
            stock[one["inventoryItemId"]][place] = one["quantity"]
            self.sets.append((store, one["inventoryItemId"], one["quantity"]))
        return {"inventorySetQuantities": {"userErrors": []}}


@pytest.fixture
def shops() -> Iterator[Shops]:
    shops = Shops({"bannos": {}, "flourlane": {}})

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            store = DOMAINS[self.path.strip("/")]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["X-Shopify-Access-Token"] != TOKENS[store]:
                return self.reply(401, {"errors": "no"})
            changes = "mutation" in body["query"]
            if changes:
                shops.asked.set()
            trouble = shops.troubles.pop(0) if changes and shops.troubles else ""
            if trouble == "429":
                return self.reply(429, {}, {"Retry-After": "0.3"})
            if trouble == "come back tomorrow":
                return self.reply(429, {}, {"Retry-After": "86400"})
            if trouble == "throttled":
                status = {"currentlyAvailable": 0, "restoreRate": 100}
                cost = {"requestedQueryCost": 50, "throttleStatus": status}
                return self.reply(
                    200,
                    {
                        "errors": [{"message": "slow", "extensions": {"code": "THROTTLED"}}],
                        "extensions": {"cost": cost},
                    },
                )
            if trouble == "500":
                return self.reply(500, {})
            if trouble == "moved":
                return self.reply(307, {}, {"Location": "http://127.0.0.1:9/elsewhere"})
            if trouble == "refused":
                data = {"inventorySetQuantities": {"userErrors": [{"message": "not tracked"}]}}
                return self.reply(200, {"data": data})
            if trouble == "html":
                return self.reply(200, "<html>")
            if trouble == "hangs":
                shops.released.wait(20)
            return self.reply(200, {"data": shops.answer(store, body["query"], body["variables"])})

        def reply(self, code: int, body: object, headers: dict[str, str] | None = None) -> None:
            text = body if isinstance(body, str) else json.dumps(body)
            try:
                self.send_response(code)
                for name, content in (headers or {}).items():
                    self.send_header(name, content)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:
                self.close_connection = True  # the worker closed the connection

        def log_message(self, format: str, *args: object) -> None:
            """Keeps requests out of the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    shops.url = f"http://127.0.0.1:{server.server_port}/{{domain}}"
    yield shops
    shops.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def db(clone: str) -> Iterator[Connection]:
    """A database for one test, with an empty queue. Both shops have main at their location 1."""
    with psycopg.connect(clone, autocommit=True) as db:
        for store, token in TOKENS.items():
            db.execute("select app.store_shop_secret(%s, 'token', %s)", (store, token))
            map_location(db, store)
        db.execute("delete from public.work_queue where true")
        yield db


def stock(db: Connection, shops: Shops, **counts: int) -> None:
    """Adds items with this stock, which both shops list as sold out."""
    for name, count in counts.items():
        db.execute(
            "with made as (insert into public.inventory_items (kind, sku, title) "
            "values ('accessory', %s, %s) returning id) "
            "insert into public.site_stock (item_id, site, on_hand) "
            "select id, 'main', %s from made",
            (name, name, count),
        )
        for held in shops.stock.values():
            held[name] = [0, 0]
        push(db, name)


def push(db: Connection, sku: str, retries: int = 3) -> None:
    db.execute(
        "select app.enqueue('inventory_push', jsonb_build_object('sku', %s::text), %s, "
        "p_max_retries => %s::smallint)",
        (sku, sku, retries),
    )


def arguments(shops: Shops, *more: str) -> list[str]:
    return ["work", "--topic", "inventory_push", "--shop-url-template", shops.url, *more]


def start(url: str, shops: Shops, *more: str) -> Running:
    return Project(ROOT).start(*arguments(shops, *more), url=url)


def run(url: str, shops: Shops, *more: str) -> Ran:
    ran = Project(ROOT).run(*arguments(shops, "--once", "--json", *more), url=url)
    assert not any(token in ran.out + ran.err for token in TOKENS.values())
    return ran


def jobs(db: Connection) -> list[str]:
    return values(db, "select status from app.work_status order by id")


def wait_for(what: threading.Event) -> None:
    assert what.wait(20), "the worker did not come"


def test_quantities_reach_the_mapped_location_of_every_shop_and_no_other(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7, balloon=0)
    shops.stock["bannos"]["candle-large"] = [3, 3]  # the search also finds this similar SKU

    ran = run(clone, shops)

    assert (ran.code, ran.json["done"], ran.json["failed"]) == (0, 2, 0)
    assert shops.stock["bannos"] == {"candle": [7, 0], "balloon": [0, 0], "candle-large": [3, 3]}
    assert shops.stock["flourlane"] == {"candle": [7, 0], "balloon": [0, 0]}
    assert jobs(db) == []
    assert values(db, "select count(*) from public.work_archive") == [2]


def test_each_site_has_its_own_count_in_the_shop(db: Connection, clone: str, shops: Shops) -> None:
    stock(db, shops, candle=7)
    db.execute("insert into public.sites (code, name) values ('kitchen', 'Kitchen')")
    db.execute(
        "insert into public.store_sites (store, site, delivery_method) "
        "values ('bannos', 'kitchen', 'delivery')"
    )
    db.execute("insert into public.site_stock select item_id, 'kitchen', 3 from public.site_stock")
    map_location(db, "bannos", "kitchen", 2)

    pushed = run(clone, shops)
    told = shops.stock["bannos"]["candle"], shops.stock["flourlane"]["candle"]
    db.execute("delete from public.work_queue where true")
    shops.stock["bannos"]["candle"] = [7, 1]
    db.execute("select app.enqueue('reconcile', '{\"store\": \"bannos\"}', 'bannos')")
    corrected = run(clone, shops, "--topic", "reconcile")

    assert (pushed.json["done"], told) == (1, ([7, 3], [7, 0]))
    assert "site=kitchen" in corrected.err
    assert db.execute(
        "select site, on_hand::int from public.site_stock order by site"
    ).fetchall() == [("kitchen", 1), ("main", 7)]


def test_a_shop_without_a_mapped_location_is_never_written_to(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7)
    db.execute("delete from public.site_locations where store = 'bannos'")

    ran = run(clone, shops)

    assert (ran.json["done"], [store for store, _, _ in shops.sets]) == (1, ["flourlane"])
    assert values(db, "select store from app.location_alerts()") == ["bannos"]


@pytest.mark.parametrize("sku", ['12" topper', "a:b (c) [d] {e} *|?", "back\\slash"])
def test_a_sku_with_any_characters_is_found_in_the_shop(
    db: Connection, clone: str, shops: Shops, sku: str
) -> None:
    stock(db, shops, **{sku: 4})

    assert run(clone, shops).json["done"] == 1
    assert shops.stock["bannos"] == {sku: [4, 0]}


def test_a_push_succeeds_if_one_shop_sells_the_item_and_fails_if_none_does(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7, balloon=2)
    del shops.stock["bannos"]["candle"]
    shops.stock["bannos"].pop("balloon")
    shops.stock["flourlane"].pop("balloon")

    ran = run(clone, shops)

    assert (ran.code, ran.json["done"], ran.json["failed"]) == (1, 1, 1)
    assert ran.json["error"] == "1 job failed"
    assert values(db, "select last_error from app.work_status") == ["no shop has balloon"]


def test_an_item_that_is_no_longer_sold_needs_no_push(
    db: Connection, clone: str, shops: Shops
) -> None:
    push(db, "gone")

    assert run(clone, shops).json == {"ok": True, "code": 0, "done": 1, "failed": 0}


@pytest.mark.parametrize("trouble", ["429", "throttled"])
def test_a_throttled_worker_waits_and_asks_again(
    db: Connection, clone: str, shops: Shops, trouble: str
) -> None:
    stock(db, shops, candle=7)
    shops.troubles = [trouble, trouble]
    began = time.monotonic()

    ran = run(clone, shops)

    assert (ran.json["done"], ran.json["failed"]) == (1, 0)
    assert shops.stock["bannos"] == {"candle": [7, 0]}
    assert time.monotonic() - began > 0.6


def test_the_worker_waits_as_long_as_the_shop_asks(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7)
    shops.troubles = ["come back tomorrow"]

    assert run(clone, shops).json["failed"] == 1
    assert values(
        db, "select next_retry_at > now() + interval '23 hours' from public.work_queue"
    ) == [True]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("500", "bannos: HTTP 500"),
        ("moved", "bannos: HTTP 307"),
        ("refused", "bannos: not tracked"),
        ("html", "bannos: an answer that is not JSON"),
        ("hangs", "bannos: no answer (TimeoutError)"),
    ],
)
@pytest.mark.spec("P38")
def test_a_job_is_complete_only_after_the_shop_confirms(
    db: Connection, clone: str, shops: Shops, trouble: str, reason: str
) -> None:
    stock(db, shops, candle=7)
    shops.troubles = [trouble]

    ran = run(clone, shops, "--timeout", "1")

    assert (ran.json["done"], ran.json["failed"]) == (0, 1)
    assert jobs(db) == ["scheduled"]
    assert values(db, "select last_error from public.work_queue") == [reason]
    assert shops.stock["flourlane"] == {"candle": [7, 0]}  # the other shop is still updated
    db.execute("update public.work_queue set next_retry_at = now() where true")
    assert run(clone, shops).json["done"] == 1
    assert shops.stock["bannos"] == {"candle": [7, 0]}


def test_a_wrong_token_fails_the_job_and_appears_in_no_log(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7)
    secret = "wrong-token-0123456789"
    db.execute("select app.store_shop_secret('bannos', 'token', %s)", (secret,))

    ran = run(clone, shops)

    assert ran.json["failed"] == 1
    assert "bannos: HTTP 401" in ran.err
    assert secret not in ran.out + ran.err


@pytest.mark.spec("P37")
def test_a_poisoned_job_becomes_a_dead_letter_and_blocks_no_other(
    db: Connection, clone: str, shops: Shops
) -> None:
    db.execute(
        "select app.enqueue('inventory_push', '{\"sku\": \"poison\"}', 'poison', "
        "9::smallint, p_max_retries => 0::smallint)"
    )
    shops_before = dict(shops.stock["bannos"])
    db.execute(
        "insert into public.inventory_items (kind, sku, title) "
        "values ('accessory', 'poison', 'poison')"
    )
    stock(db, shops, candle=7)

    ran = run(clone, shops)

    assert (ran.json["done"], ran.json["failed"]) == (1, 1)
    assert jobs(db) == ["dead"]
    assert shops.stock["bannos"] == shops_before | {"candle": [7, 0]}


def test_the_jobs_of_a_killed_worker_are_done_by_the_next(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7, balloon=2)
    shops.troubles = ["", "", "hangs"]  # the first job is done, the second hangs
    worker = start(clone, shops, "--lease", "4", "--timeout", "1")
    while len(shops.sets) < 2:
        time.sleep(0.01)
    worker.kill()
    worker.communicate()
    shops.released.set()

    assert jobs(db) == ["running", "running"]
    time.sleep(4)
    assert run(clone, shops).json["done"] == 2
    assert shops.stock["bannos"] == {"candle": [7, 0], "balloon": [2, 0]}
    assert jobs(db) == []
    assert values(db, "select retries from public.work_archive") == [1, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_worker_finishes_its_job_and_releases_the_others(
    db: Connection, clone: str, shops: Shops, number: signal.Signals
) -> None:
    stock(db, shops, candle=7, balloon=2, topper=3)
    shops.troubles = ["hangs"]
    worker = start(clone, shops, "--json")
    wait_for(shops.asked)

    worker.send_signal(number)
    time.sleep(0.3)
    shops.released.set()
    out, _ = worker.communicate(timeout=20)

    assert (worker.returncode, json.loads(out)["done"]) == (0, 1)
    assert shops.stock["bannos"] == {"candle": [7, 0], "balloon": [0, 0], "topper": [0, 0]}
    assert jobs(db) == ["ready", "ready"]
    assert values(db, "select retries from public.work_queue") == [0, 0]


def test_an_idle_worker_wakes_for_new_work_and_stops_on_a_signal(
    db: Connection, clone: str, shops: Shops
) -> None:
    worker = start(clone, shops, "--json")
    backend_of_worker(db)

    stock(db, shops, candle=7)
    wait_for(shops.asked)
    deadline = time.monotonic() + 20
    while jobs(db) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGTERM)
    out, _ = worker.communicate(timeout=20)

    assert json.loads(out) == {"ok": True, "code": 0, "done": 1, "failed": 0}


def backend_of_worker(db: Connection) -> int:
    """Waits until a worker is idle or in a shop. Returns the pid of its backend."""
    query = (
        "select pid from pg_stat_activity where application_name like 'bakehouse work%' "
        "and datname = current_database() and (state, query) = ('idle', 'COMMIT')"
    )
    deadline = time.monotonic() + 20
    while not (found := values(db, query)):
        assert time.monotonic() < deadline, "no worker is connected"
        time.sleep(0.05)
    pid: int = found[0]
    return pid


def events(log: str) -> list[str]:
    return re.findall(r"^time=\S+ worker=\S+ event=(\w+)", log, re.M)


def test_a_worker_that_loses_its_connection_connects_again_and_completes_its_job(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7, balloon=2)
    shops.troubles = ["hangs"]
    worker = start(clone, shops, "--json")
    wait_for(shops.asked)

    db.execute("select pg_terminate_backend(%s)", (backend_of_worker(db),))
    shops.released.set()
    deadline = time.monotonic() + 20
    while jobs(db) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    out, log = worker.communicate(timeout=20)

    assert (worker.returncode, json.loads(out)["failed"]) == (0, 0)
    assert shops.stock["bannos"] == {"candle": [7, 0], "balloon": [2, 0]}
    assert events(log).count("lost_connection") == 1
    assert events(log).count("connected") == 2
    assert values(db, "select retries from public.work_archive") == [0, 0]


def test_an_idle_worker_outlives_a_restart_of_the_database(
    db: Connection, clone: str, shops: Shops
) -> None:
    port = free_port()
    worker = start(clone, shops, "--json", "--health", str(port))
    old = backend_of_worker(db)
    assert health(port, "/live") == health(port, "/ready") == 200
    assert health(port, "/other") == 404

    with no_new_sessions(db):
        db.execute("select pg_terminate_backend(%s)", (old,))
        wait_for_health(port, "/ready", 503)
        assert health(port, "/live") == 200
    wait_for_health(port, "/ready", 200)
    stock(db, shops, candle=7)
    wait_for(shops.asked)
    backend_of_worker(db)
    worker.send_signal(signal.SIGTERM)
    out, log = worker.communicate(timeout=20)

    assert json.loads(out)["done"] == 1
    assert "lost_connection" in events(log)


def test_a_worker_with_once_ends_when_its_connection_drops(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7)
    shops.troubles = ["hangs"]
    worker = start(clone, shops, "--once", "--json")
    wait_for(shops.asked)

    db.execute("select pg_terminate_backend(%s)", (backend_of_worker(db),))
    shops.released.set()
    out, _ = worker.communicate(timeout=20)

    assert (worker.returncode, json.loads(out)["ok"]) == (1, False)


def test_a_worker_that_waits_for_a_lock_ends_within_its_lease(
    db: Connection, clone: str, shops: Shops
) -> None:
    worker = start(clone, shops, "--json", "--lease", "4", "--timeout", "1")
    backend_of_worker(db)

    with db.transaction():
        db.execute("lock table public.work_queue in access exclusive mode")
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        out, _ = worker.communicate(timeout=20)
        took = time.monotonic() - began

    assert (worker.returncode, json.loads(out)["kind"]) == (10, "busy")
    assert took < 6


def test_an_error_of_the_database_fails_the_job_and_not_the_worker(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7)
    db.execute(
        "create or replace function public.apply_reconcile"
        "(p_counts jsonb, p_site text default null) returns jsonb language sql "
        "as $$ select jsonb_build_object('x', 1 / 0) $$"
    )
    db.execute("select app.enqueue('reconcile', '{\"store\": \"bannos\"}', 'bannos')")

    ran = run(clone, shops, "--topic", "reconcile")

    assert (ran.code, ran.json["done"], ran.json["failed"]) == (1, 1, 1)
    assert "division by zero" in values(db, "select last_error from public.work_queue")
    assert "event=job_failed topic=reconcile" in ran.err


def test_a_port_in_use_is_refused_at_once(clone: str, shops: Shops) -> None:
    with socket.create_server(("", 0)) as taken:
        ran = run(clone, shops, "--health", str(taken.getsockname()[1]))

    assert (ran.code, ran.json["kind"]) == (1, "port")


def health(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    return connection.getresponse().status


def wait_for_health(port: int, path: str, status: int) -> None:
    deadline = time.monotonic() + 20
    while health(port, path) != status:
        assert time.monotonic() < deadline, f"{path} is not {status}"
        time.sleep(0.05)


@contextmanager
def no_new_sessions(db: Connection) -> Iterator[None]:
    """Refuses new sessions, as a server that is full does."""
    limit = sql.SQL("alter database {} connection limit {}")
    name = sql.Identifier(db.info.dbname)
    db.execute(limit.format(name, sql.Literal(0)))
    yield
    db.execute(limit.format(name, sql.Literal(-1)))


def test_a_long_batch_keeps_its_lease(db: Connection, clone: str, shops: Shops) -> None:
    stock(db, shops, candle=7)
    shops.troubles = ["429"] * 2 + ["hangs"]
    threading.Timer(2.5, shops.released.set).start()

    ran = run(clone, shops, "--lease", "8.2", "--timeout", "3")

    assert ran.json["done"] == 1
    assert values(db, "select retries from public.work_archive") == [0]


def test_a_change_during_a_push_is_pushed_too(db: Connection, clone: str, shops: Shops) -> None:
    stock(db, shops, candle=7)
    shops.troubles = ["hangs"]
    worker = start(clone, shops, "--once", "--json")
    wait_for(shops.asked)
    db.execute("update public.site_stock set on_hand = 5 where on_hand = 7")
    shops.released.set()
    out, _ = worker.communicate(timeout=20)

    assert json.loads(out)["done"] == 2
    assert shops.stock["flourlane"] == {"candle": [5, 0]}


def test_reconcile_takes_the_stock_of_the_shop_and_records_it(
    db: Connection, clone: str, shops: Shops
) -> None:
    stock(db, shops, candle=7, balloon=2)
    db.execute("delete from public.work_queue where true")
    shops.stock["bannos"] |= {"candle": [5, 6], "balloon": [2, 2], "unknown": [1, 1]}
    db.execute("select app.enqueue('reconcile', '{\"store\": \"bannos\"}', 'bannos')")

    ran = run(clone, shops, "--topic", "reconcile")

    assert ran.json["done"] >= 1
    assert values(db, "select on_hand::int from public.site_stock order by 1") == [2, 5]
    assert values(db, "select reason from public.inventory_txn") == ["reconcile"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--topic", "bread"),
        ("--lease", "10"),
        ("--shop-url-template", "http://shop.example/{domain}"),
        ("--shop-url-template", "https://{nowhere}/"),
    ],
)
def test_invalid_options_of_the_worker_are_refused_at_once(
    clone: str, shops: Shops, wrong: tuple[str, str]
) -> None:
    ran = run(clone, shops, *wrong)

    assert (ran.code, ran.json["kind"]) == (2, "usage")


def ticks_of(worker: Running, db: Connection, seconds: float = 20) -> list[str]:
    """Waits until the tasks ran, or until the time is over. Returns the events of the worker."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and value(
        db, "select count(*) from app.task_runs where started_at is null and task <> 'burn'"
    ):
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=20)
    assert worker.returncode == 0, log
    return [*events(log), *re.findall(r"task=\S+", log)]


def test_a_worker_runs_the_tasks_between_its_jobs(db: Connection, clone: str, shops: Shops) -> None:
    db.execute("set role bakehouse_owner")
    db.execute(
        "create function app.burn() returns bigint language plpgsql as $$ begin raise 'x'; end $$"
    )
    db.execute("select app.register_task('burn', 'tick', 'burn')")
    stock(db, shops, candle=7)

    seen = ticks_of(start(clone, shops, "--json"), db)

    assert (seen.count("job_done"), seen.count("ticked")) == (1, 1)
    assert [fact for fact in seen if fact.startswith("task")] == ["task_failed", "task=burn"]
    assert value(db, "select count(*) from app.task_runs where succeeded_at is null") == 1


@pytest.mark.parametrize("runner", ["nobody", "pg_cron"])
def test_a_worker_leaves_the_tasks_to_others(
    db: Connection, clone: str, shops: Shops, runner: str
) -> None:
    options = ["--no-tick"] if runner == "nobody" else []
    if runner == "pg_cron":
        db.execute("create schema cron")
        db.execute(
            "create table cron.job as select true as active, 'select app.run_task()' as command"
        )
    worker = start(clone, shops, "--json", *options)
    backend_of_worker(db)

    seen = ticks_of(worker, db, seconds=1)

    assert seen == ["connected"]
    assert value(db, "select count(started_at) from app.task_runs") == 0


def test_the_tick_prints_what_it_did(clone: str) -> None:
    first = Project(ROOT).run("tick", "--json", url=clone)
    second = Project(ROOT).run("tick", url=clone)

    assert (first.code, first.json["tasks"]["refresh_priorities bannos"]) == (0, 0)
    assert (second.code, second.out) == (0, "no task is due\n")


def sync(db: Connection, admin: UUID) -> None:
    with db.transaction(), acting_as(db, "authenticated", admin):
        assert value(db, "select public.sync_shopify_orders('bannos') ->> 'success'") == "true"


@pytest.mark.spec("P4")
def test_fetched_orders_add_missing_ones_and_change_no_other(
    db: Connection, clone: str, shops: Shops
) -> None:
    admin = make_staff(db, role="Admin")
    known, missing, broken = (replace(payloads.SINGLE, number=number) for number in (1, 2, 3))
    shops.orders["bannos"] = [payloads.graphql(known)]
    sync(db, admin)
    first = run(clone, shops, "--topic", "shopify_sync")
    db.execute("update public.orders set stage = 'Decorating', notes = 'by hand' where true")
    nonsense = payloads.graphql(broken) | {"lineItems": {"edges": "nonsense"}}
    shops.orders["bannos"] = [payloads.graphql(known), nonsense, payloads.graphql(missing)]
    sync(db, admin)

    second = run(clone, shops, "--topic", "shopify_sync")

    assert (first.json["done"], second.json["done"]) == (1, 1)
    assert db.execute("select id, stage, notes from public.orders order by id").fetchall() == [
        ("bannos-1", "Decorating", "by hand"),
        ("bannos-2", "Filling", "Nut free • Ring twice"),
    ]
    assert db.execute(
        "select status, orders_imported, orders_skipped, errors from public.sync_runs"
        " order by started_at desc limit 1"
    ).fetchone() == ("success", 1, 1, 1)


def test_a_fetch_that_the_shop_refuses_is_logged_as_an_error(
    db: Connection, clone: str, shops: Shops
) -> None:
    sync(db, make_staff(db, role="Admin"))
    db.execute("select app.store_shop_secret('bannos', 'token', 'wrong-token-0123456789')")

    ran = run(clone, shops, "--topic", "shopify_sync")

    assert ran.json["done"] == 1
    assert db.execute("select status, error_message from public.sync_runs").fetchone() == (
        "error",
        "bannos: HTTP 401",
    )
    assert jobs(db) == []
