"""The worker: takes jobs from the work queue, and does them in the shops."""

import json
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import args_row, tuple_row

from bakehouse.database import Connection, fetch, message_of
from bakehouse.errors import BakehouseError
from bakehouse.shop import shopify, tick
from bakehouse.shop.shopify import ENDPOINT, Client, Failed, Shop, Stopped, messages_of

_IDLE = 1.0  # seconds between looks at the queue, if no NOTIFY comes
_TICK = 60.0  # seconds between two runs of the scheduled tasks
_CHUNK = 250  # the quantities in one request to Shopify
_LONGEST_WAIT = 60.0  # seconds between two attempts to connect


@dataclass(frozen=True)
class Job:
    id: int
    token: UUID
    topic: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class WorkerOptions:
    topics: Sequence[str]
    batch: int = 10
    lease: float = 120.0  # seconds
    timeout: float = 30.0  # seconds to wait for the answer of a shop
    endpoint: str = ENDPOINT
    ticks: bool = False  # run the scheduled tasks too


class Worker:
    """Holds a connection of the migration role and a batch of jobs, and counts what is done."""

    conn: Connection

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        options: WorkerOptions,
        say: Callable[[str], None],
    ) -> None:
        _require_sane(options)
        self.options = options
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.done = self.failed = 0
        self.ready = False
        self._connect, self._say = connect, say
        self._stop = threading.Event()
        self._seen = time.monotonic()
        self._attempt = 0
        self._waiting: list[Job] = []
        self._finished: list[Job] = []  # done in the shops, but not yet completed in the queue
        self._held_until = 0.0
        self._ticks, self._tick_at = False, 0.0
        self._shops: list[Shop] = []
        self._client = Client(options.timeout, self._keep_lease, self._stop.is_set)

    @property
    def alive(self) -> bool:
        """Check that the worker made a step within the time of a lease."""
        return time.monotonic() - self._seen < self.options.lease

    def stop(self) -> None:
        """Finish the current job, return the others to the queue, and end `run`."""
        self._stop.set()

    def run(self, once: bool = False) -> None:
        """Work until asked to stop, and connect again when the connection drops.

        With `once`, stop when no job is ready, or when the connection drops.
        """
        while True:
            try:
                with self._connect() as self.conn:
                    self._serve(once)
                    return
            except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
                if once:
                    raise
                self._wait_to_connect(_line_of(error))
            except BakehouseError as error:
                started = self.ready or self._attempt
                if once or not started or error.kind not in ("connection", "server"):
                    raise
                self._wait_to_connect(error.message)
            if self._stop.is_set():
                return

    def _serve(self, once: bool) -> None:
        self.conn.execute("listen bakehouse_work")
        self._settle()
        self._ticks = self.options.ticks and not tick.runs_by_itself(self.conn)
        self._claim()
        self.log("connected", topics=",".join(self.options.topics))
        self.ready, self._attempt = True, 0
        while True:
            if self._waiting:
                self._work()
            elif once or self._stop.is_set():
                return
            else:
                for _ in self.conn.notifies(timeout=_IDLE, stop_after=1):
                    pass
            if self._ticks and not self._stop.is_set() and time.monotonic() >= self._tick_at:
                self._complete()
                self._tick()
            self._claim()

    def _wait_to_connect(self, reason: str) -> None:
        """Wait before the next attempt: longer each time, and not in step with other workers."""
        self.ready = False
        self._attempt += 1
        longest = min(_LONGEST_WAIT, self.options.lease / 2, 2.0 ** (self._attempt - 1))
        wait = longest * random.uniform(0.5, 1)  # noqa: S311  # no secret
        self.log("lost_connection", reason=reason, attempt=self._attempt, wait=round(wait, 1))
        self._seen = time.monotonic()
        self._stop.wait(wait)

    def log(self, event: str, **facts: object) -> None:
        """Say what happened, in one line of key=value."""
        told = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "worker": self.name}
        pairs = (told | {"event": event} | facts).items()
        self._say(" ".join(f"{key}={_quoted(fact)}" for key, fact in pairs))

    # The queue

    def _rpc(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Call an RPC as service_role. Tokens need the migration role instead."""
        with self.conn.transaction():
            self.conn.execute("set local role service_role")
            return fetch(self.conn, tuple_row, query.encode(), *parameters)

    def _claim(self) -> None:
        """Complete the finished jobs, and take more unless the worker is to stop."""
        self._seen = time.monotonic()
        if self._stop.is_set():
            self._complete()
            return
        ids, token = _claim_of(self._finished)
        lease = timedelta(seconds=self.options.lease)
        rows = self._rpc(
            "select id, token, topic, payload"
            " from public.complete_and_claim_work($1, $2::bigint[], $3, $4, $5, $6)",
            *(token, ids, list(self.options.topics), self.name, self.options.batch, lease),
        )
        self._held_until = self._seen + self.options.lease
        self._finished, self._waiting = [], [Job(*row) for row in rows]

    def _work(self) -> None:
        """Do the jobs one after the other, and return the others when the worker is to stop."""
        self._read_shops()
        while self._waiting and not self._stop.is_set():
            job, began = self._waiting[0], time.monotonic()
            self._seen = began
            try:
                _TOPICS[job.topic](self, job)
            except Stopped:
                break
            except Failed as error:
                self._fail(job, error)
            except psycopg.Error as error:
                if self.conn.closed:
                    raise
                self._fail(job, Failed(_line_of(error)))
            else:
                self._finished.append(job)
                self.done += 1
                took = round(1000 * (time.monotonic() - began))
                self.log("job_done", topic=job.topic, id=job.id, ms=took)
            del self._waiting[0]
        self._return_waiting()

    def _return_waiting(self) -> None:
        if self._waiting:  # a lease of 0 seconds returns the jobs to the queue
            ids, token = _claim_of(self._waiting)
            self._rpc("select public.extend_work_lease($1, $2, '0')", token, ids)
            self._waiting = []

    def _settle(self) -> None:
        """After a lost connection: complete what was finished, and return the other jobs."""
        if self._finished:
            self._complete()
        self._return_waiting()

    def _complete(self) -> None:
        ids, token = _claim_of(self._finished)
        self._rpc("select public.complete_work($1, $2::bigint[])", token, ids)
        self._finished = []

    def _tick(self) -> None:
        """Run the scheduled tasks that are due. The worker holds no job meanwhile.

        A task may take half a lease, so that the worker stays alive and stops in time.
        """
        self._tick_at = time.monotonic() + _TICK
        runs = 0
        for run in tick.run_due(self.conn, min(tick.TIMEOUT, self.options.lease / 2)):
            self._seen = time.monotonic()
            runs += run.state == "done"
            if run.state == "failed":
                self.log("task_failed", task=run.task, reason=run.error)
            if self._stop.is_set():
                break
        self.log("ticked", tasks=runs)

    def _fail(self, job: Job, error: Failed) -> None:
        delay = None if error.delay is None else timedelta(seconds=error.delay)
        self._rpc("select public.fail_work($1, $2, $3, $4)", job.token, [job.id], str(error), delay)
        self.failed += 1
        self.log("job_failed", topic=job.topic, id=job.id, reason=str(error))

    def _keep_lease(self) -> None:
        """Extend the lease of the batch before a step that takes time."""
        self._seen = time.monotonic()
        held = self._finished + self._waiting
        if held and self._held_until - self._seen < self.options.lease / 2:
            ids, token = _claim_of(held)
            lease = timedelta(seconds=self.options.lease)
            self._rpc("select public.extend_work_lease($1, $2, $3)", token, ids, lease)
            self._held_until = self._seen + self.options.lease

    def _read_shops(self) -> None:
        """Read the shops again for each batch: tokens change."""
        query = (
            b"select code, shop_domain, app.shop_secret(code, 'token') from public.stores"
            b" where shop_domain is not null order by code"
        )
        found = fetch(self.conn, args_row(self._shop_of), query)
        self._shops = [shop for shop in found if shop.token]

    def _shop_of(self, store: str, domain: str, token: str | None) -> Shop:
        return Shop(store, self.options.endpoint.format(domain=domain), token or "")

    # Topics

    def push(self, job: Job) -> None:
        """Set the stock of an item at every mapped location of the shops that sell it."""
        sku = str(job.payload.get("sku"))
        counts: dict[str, dict[str, int]] = {}
        products: list[str] = []
        for store, location, available, products in self._rpc(  # noqa: B007  # the same for all
            "select store, location_id, available, shopify_product_ids"
            " from public.get_push_items($1)",
            [sku],
        ):
            counts.setdefault(store, {})[location] = available
        if not counts:  # the item was deleted or is not for sale, or no location is mapped
            return
        shops = [shop for shop in self._shops if shop.store in counts]
        if not shops:
            raise Failed("no store with a location has a token for Shopify")
        failures, found = [], False
        for shop in shops:
            try:
                found |= self._push_to(shop, sku, counts[shop.store], products)
            except Failed as error:
                failures.append(error)
        if failures:
            delays = [error.delay for error in failures if error.delay is not None]
            raise Failed("; ".join(map(str, failures)), max(delays, default=None))
        if not found:
            raise Failed(f"no shop has {sku}")

    def _push_to(self, shop: Shop, sku: str, counts: dict[str, int], products: list[str]) -> bool:
        """Set the stock of an item in one shop. Returns False if the shop does not sell it.

        Writes to the locations in `counts` alone: the stock of another may be somebody else's.
        """
        items = self._items(shop, sku, products)
        if not items:
            return False
        quantities = [
            {"inventoryItemId": item, "locationId": location, "quantity": available}
            for item in items
            for location, available in counts.items()
        ]
        for start in range(0, len(quantities), _CHUNK):
            change = {
                "name": "available",
                "reason": "correction",
                "ignoreCompareQuantity": True,
                "quantities": quantities[start : start + _CHUNK],
            }
            data = self._client.ask(shop, shopify.SET_QUANTITIES, {"input": change})
            answer = data["inventorySetQuantities"]
            if answer is None or answer["userErrors"]:
                raise Failed(f"{shop.store}: {messages_of(answer and answer['userErrors'])}")
        return True

    def _items(self, shop: Shop, sku: str, products: list[str]) -> list[str]:
        """Find the inventory items in a shop: by its products, or else by SKU."""
        numbers = [number for product in products if (number := re.sub(r"\D", "", product))]
        search = " OR ".join(f"product_id:{number}" for number in numbers)
        if not search:
            escaped = sku.replace("\\", "\\\\").replace('"', '\\"')
            search = f'sku:"{escaped}"'
        return [
            node["inventoryItem"]["id"]
            for node in self._client.pages(shop, shopify.VARIANTS, "productVariants", search=search)
            if numbers or node["sku"] == sku  # Shopify also finds similar SKUs
        ]

    def reconcile(self, job: Job) -> None:
        """Send the counts of mapped locations to the database, which decides what to correct."""
        store = job.payload.get("store")
        shop = self._shop(store)
        sites: dict[str, str] = dict(
            self._rpc("select location_id, site from public.get_site_locations($1)", store)
        )
        if not sites:
            return
        counts: dict[str, list[dict[str, object]]] = {site: [] for site in sites.values()}
        for item in self._client.pages(shop, shopify.STOCK, "inventoryItems"):
            for level in item["inventoryLevels"]["nodes"]:
                site = sites.get(level["location"]["id"])
                if item["sku"] and site and level["location"]["isActive"]:
                    counts[site] += [
                        {"sku": item["sku"], "available": quantity["quantity"]}
                        for quantity in level["quantities"]
                    ]
        for site, counted in counts.items():
            self._keep_lease()
            [(answer,)] = self._rpc(
                "select public.apply_reconcile($1::jsonb, $2)", json.dumps(counted), site
            )
            for one in answer["corrected"]:
                self.log("stock_corrected", store=store, site=site, **one)

    def sync(self, job: Job) -> None:
        """Fetch the open orders of a shop; known orders stay as they are.

        A failure is written to the sync run, where the Admin sees it. Nothing tries it again.
        """
        store, run = job.payload.get("store"), job.payload.get("run_id")
        shop = self._shop(store)
        outcomes: list[str] = []
        trouble = None
        try:
            for order in self._client.pages(shop, shopify.ORDERS, "orders"):
                self._keep_lease()
                outcomes.append(self._import(shop, order))
        except Failed as error:
            trouble = str(error)
        self._rpc(
            "select public.finish_sync_run(p_run_id => $1, p_status => $2,"
            " p_orders_imported => $3, p_orders_skipped => $4, p_errors => $5,"
            " p_error_message => $6)",
            *(run, "error" if trouble else "success", outcomes.count("created")),
            *(outcomes.count("known"), outcomes.count("refused") + (trouble is not None), trouble),
        )
        self.log("orders_fetched", store=store, orders=len(outcomes), new=outcomes.count("created"))

    def _import(self, shop: Shop, order: dict[str, Any]) -> str:
        try:
            [(outcome,)] = self._rpc(
                "select public.import_shopify_order($1, $2::jsonb)", shop.store, json.dumps(order)
            )
        except psycopg.Error as error:
            if error.sqlstate not in ("PT400", "PT409"):  # a retry cannot help
                raise
            self.log("order_refused", store=shop.store, id=order.get("id"), reason=_line_of(error))
            return "refused"
        return "created" if outcome == "created" else "known"

    def _shop(self, store: object) -> Shop:
        shop = next((shop for shop in self._shops if shop.store == store), None)
        if shop is None:
            raise Failed(f"{store}: no token for Shopify")
        return shop


_TOPICS: dict[str, Callable[[Worker, Job], None]] = {
    "inventory_push": Worker.push,
    "reconcile": Worker.reconcile,
    "shopify_sync": Worker.sync,
}


def _claim_of(jobs: list[Job]) -> tuple[list[int], UUID | None]:
    """Return the ids of jobs of one claim, and the token that they share."""
    return [job.id for job in jobs], jobs[0].token if jobs else None


def _line_of(error: psycopg.Error) -> str:
    return message_of(error).splitlines()[0][:200]


def _quoted(fact: object) -> str:
    text = str(fact)
    return text if re.fullmatch(r"[^\s\"=]+", text) else json.dumps(text)


def _require_sane(options: WorkerOptions) -> None:
    unknown = [topic for topic in options.topics if topic not in _TOPICS]
    if unknown or not options.topics:
        raise BakehouseError(
            "usage",
            f"unknown topic: {', '.join(unknown) or 'none given'}",
            f"Topics: {', '.join(_TOPICS)}.",
        )
    if not 0 < options.timeout <= options.lease / 2 - 1:
        raise BakehouseError(
            "usage",
            "--lease must be at least twice --timeout plus 2 seconds",
            f"With --timeout {options.timeout:g}, use --lease {options.timeout * 2 + 2:g} or more.",
        )
    shopify.require_endpoint(options.endpoint)
