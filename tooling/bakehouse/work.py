"""The worker: takes jobs from the work queue, and does in the shops what they ask for."""

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import UUID

import psycopg

from bakehouse.database import Connection
from bakehouse.errors import BakehouseError

ENDPOINT = "https://{domain}/admin/api/2025-01/graphql.json"
_IDLE = 1.0  # seconds between looks at the queue; a NOTIFY comes sooner
_TRIES = 5  # of one request that is throttled
_PATIENCE = 60.0  # seconds; a longer wait is the queue's
_LARGEST = 16 * 2**20  # bytes of an answer
_CHUNK = 250  # quantities in one mutation

_PAGE = "pageInfo { hasNextPage endCursor }"
_LOCATIONS = f"""query ($after: String) {{
  locations(first: 50, after: $after) {{ nodes {{ id isActive }} {_PAGE} }} }}"""
_VARIANTS = f"""query ($after: String, $search: String!) {{
  productVariants(first: 100, after: $after, query: $search) {{
    nodes {{ sku inventoryItem {{ id }} }} {_PAGE} }} }}"""
_STOCK = f"""query ($after: String) {{
  inventoryItems(first: 50, after: $after) {{
    nodes {{ sku inventoryLevels(first: 50) {{
      nodes {{ location {{ isActive }} quantities(names: ["available"]) {{ quantity }} }}
    }} }} {_PAGE} }} }}"""
_MONEY = "{ shopMoney { amount currencyCode } }"
_ATTRIBUTES = "customAttributes { key value }"
_ORDERS = f"""query ($after: String) {{
  orders(first: 25, after: $after, query: "status:open fulfillment_status:unfulfilled") {{
    nodes {{
      id legacyResourceId name createdAt updatedAt cancelledAt sourceName currencyCode note tags
      totalPriceSet {_MONEY} currentTotalPriceSet {_MONEY} {_ATTRIBUTES}
      customer {{ firstName lastName }}
      shippingAddress {{ firstName lastName name company address1 address2 city province
        provinceCode country countryCodeV2 zip phone }}
      lineItems(first: 100) {{
        edges {{ node {{
          id title variantTitle sku quantity currentQuantity isGiftCard {_ATTRIBUTES}
          variant {{ id }} product {{ id }} originalUnitPriceSet {_MONEY}
        }} }} pageInfo {{ hasNextPage }}
      }}
    }} {_PAGE} }} }}"""
_SET = """mutation ($input: InventorySetQuantitiesInput!) {
  inventorySetQuantities(input: $input) { userErrors { message } } }"""


@dataclass(frozen=True)
class Job:
    id: int
    token: UUID
    topic: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Shop:
    store: str
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    topics: Sequence[str]
    batch: int = 10
    lease: float = 120.0  # seconds
    timeout: float = 30.0  # seconds that a shop may take to answer
    endpoint: str = ENDPOINT


class Failed(Exception):
    """A job that is to be tried again; after `delay` seconds, if the shop said so."""

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class _Stopped(Exception):
    """Asked to stop in the middle of waiting."""


class _NoRedirect(HTTPRedirectHandler):
    """Following one would hand the token to whoever it names."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


_http = build_opener(_NoRedirect)


class Worker:
    """One connection of the migration role, the jobs it holds, and what became of the others."""

    def __init__(
        self,
        conn: Connection,
        settings: Settings,
        say: Callable[[str], None],
        progress: Callable[[int, int], None],
    ) -> None:
        _require_sane(settings)
        self.conn, self.settings, self.say, self.progress = conn, settings, say, progress
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.done = self.failed = 0
        self.stopping = False
        self._held: list[Job] = []
        self._held_until = 0.0
        self._shops: list[Shop] = []
        self._locations: dict[str, list[str]] = {}

    def stop(self) -> None:
        """Finish the job at hand, give the others back, and return from `run`."""
        self.stopping = True

    def run(self, once: bool = False) -> None:
        """Work until asked to stop, or once through all that is ready."""
        self.conn.execute("listen bakehouse_work")
        jobs = self._claim([])
        while True:
            if jobs:
                jobs = self._claim(self._work(jobs))
            elif once or self.stopping:
                return
            else:
                for _ in self.conn.notifies(timeout=_IDLE, stop_after=1):
                    pass
                jobs = self._claim([])

    # The queue

    def _rpc(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """As the role that may use the queue; tokens are for the migration role alone."""
        with self.conn.transaction():
            self.conn.execute("set local role service_role")
            return self.conn.execute(query.encode(), parameters).fetchall()

    def _claim(self, finished: list[Job]) -> list[Job]:
        """Complete what is finished and take more, unless there is to be no more."""
        ids, token = [job.id for job in finished], finished[0].token if finished else None
        lease = timedelta(seconds=self.settings.lease)
        self._held = []
        if self.stopping:
            self._rpc("select public.complete_work(%s, %s::bigint[])", token, ids)
            return []
        rows = self._rpc(
            "select id, token, topic, payload "
            "from public.complete_and_claim_work(%s, %s::bigint[], %s, %s, %s, %s)",
            *(token, ids, list(self.settings.topics), self.name, self.settings.batch, lease),
        )
        self._held_until = time.monotonic() + self.settings.lease
        self._held = [Job(*row) for row in rows]
        return self._held

    def _work(self, jobs: list[Job]) -> list[Job]:
        """Do them one after the other; answers those that are done and not yet completed."""
        self._read_shops()
        finished: list[Job] = []
        waiting = list(jobs)
        while waiting and not self.stopping:
            job = waiting[0]
            try:
                _TOPICS[job.topic](self, job)
            except _Stopped:
                break
            except Failed as error:
                self._fail(job, error)
            else:
                finished.append(job)
                self.done += 1
            del waiting[0]
            self.progress(self.done, self.failed)
        if waiting:
            ids = [job.id for job in waiting]
            self._rpc(
                "select public.extend_work_lease(%s, %s, '0')", waiting[0].token, ids
            )  # back to the queue, untouched
        return finished

    def _fail(self, job: Job, error: Failed) -> None:
        self._held = [held for held in self._held if held is not job]
        delay = None if error.delay is None else timedelta(seconds=error.delay)
        self._rpc("select public.fail_work(%s, %s, %s, %s)", job.token, [job.id], str(error), delay)
        self.failed += 1
        self.say(f"{job.topic} {job.id}: {error}")

    def _keep_lease(self) -> None:
        """Before whatever takes time: hold on to the batch."""
        left = self._held_until - time.monotonic()
        if self._held and left < self.settings.lease / 2:
            self._rpc(
                "select public.extend_work_lease(%s, %s, %s)",
                self._held[0].token,
                [job.id for job in self._held],
                timedelta(seconds=self.settings.lease),
            )
            self._held_until = time.monotonic() + self.settings.lease

    def _read_shops(self) -> None:
        """Anew for each batch: tokens and locations change."""
        rows = self.conn.execute(
            "select code, shop_domain, app.shop_secret(code, 'token') from public.stores "
            "where shop_domain is not null order by code"
        ).fetchall()
        self._shops = [
            Shop(str(store), self.settings.endpoint.format(domain=domain), str(token))
            for store, domain, token in rows
            if token
        ]
        self._locations = {}

    # Topics

    def push(self, job: Job) -> None:
        """Show in every shop that sells an item how many there are."""
        items = self._rpc(
            "select sku, available, shopify_product_ids from public.get_push_items(%s)",
            [str(job.payload.get("sku"))],
        )
        for sku, available, products in items:  # none: gone, or no longer for sale
            if not self._shops:
                raise Failed("no store has a token for Shopify")
            failures, found = [], False
            for shop in self._shops:
                try:
                    found |= self._push_to(shop, sku, available, products)
                except Failed as error:
                    failures.append(error)
            if failures:
                delays = [error.delay for error in failures if error.delay is not None]
                raise Failed("; ".join(map(str, failures)), max(delays, default=None))
            if not found:
                raise Failed(f"no shop has {sku}")

    def _push_to(self, shop: Shop, sku: str, available: int, products: list[str]) -> bool:
        numbers = [number for product in products if (number := re.sub(r"\D", "", product))]
        search = " OR ".join(f"product_id:{number}" for number in numbers)
        if not search:
            escaped = sku.replace("\\", "\\\\").replace('"', '\\"')
            search = f'sku:"{escaped}"'
        items = [
            node["inventoryItem"]["id"]
            for node in self._pages(shop, _VARIANTS, "productVariants", search=search)
            if numbers or node["sku"] == sku  # the search is by words, and finds more
        ]
        if not items:
            return False
        if shop.store not in self._locations:
            self._locations[shop.store] = [
                node["id"]
                for node in self._pages(shop, _LOCATIONS, "locations")
                if node["isActive"]
            ]
        quantities = [
            {"inventoryItemId": item, "locationId": location, "quantity": available}
            for item in items
            for location in self._locations[shop.store]
        ]
        if not quantities:
            raise Failed(f"{shop.store}: no active location")
        for start in range(0, len(quantities), _CHUNK):
            change = {
                "name": "available",
                "reason": "correction",
                "ignoreCompareQuantity": True,
                "quantities": quantities[start : start + _CHUNK],
            }
            answer = self._ask(shop, _SET, {"input": change})["inventorySetQuantities"]
            if answer is None or answer["userErrors"]:
                raise Failed(f"{shop.store}: {_said(answer and answer['userErrors'])}")
        return True

    def reconcile(self, job: Job) -> None:
        """Tell the database how many of everything a shop has; it decides what to believe."""
        store = job.payload.get("store")
        shop = self._shop(store)
        counts: list[dict[str, object]] = []
        for item in self._pages(shop, _STOCK, "inventoryItems"):
            levels = [
                quantity["quantity"]
                for level in item["inventoryLevels"]["nodes"]
                if level["location"]["isActive"]
                for quantity in level["quantities"]
            ]
            if item["sku"] and levels:  # every location shows all there is
                counts.append({"sku": item["sku"], "available": min(levels)})
        self._keep_lease()
        answer = self._rpc("select public.apply_reconcile(%s::jsonb)", json.dumps(counts))[0][0]
        for one in answer["corrected"]:
            self.say(f"{store}: {one['sku']} was {one['was']}, is {one['is']}")

    def sync(self, job: Job) -> None:
        """Fetch a shop's open orders. Those that are known stay as they are; how it went is in the
        run, where the Admin who asked for it looks: it is not tried again by itself."""
        store, run = job.payload.get("store"), job.payload.get("run_id")
        shop = self._shop(store)
        outcomes: list[str] = []
        trouble = None
        try:
            for order in self._pages(shop, _ORDERS, "orders"):
                self._keep_lease()
                outcomes.append(self._import(shop, order))
        except Failed as error:
            trouble = str(error)
        self._rpc(
            "select public.finish_sync_run(p_run_id => %s, p_status => %s,"
            " p_orders_imported => %s, p_orders_skipped => %s, p_errors => %s,"
            " p_error_message => %s)",
            *(run, "error" if trouble else "success", outcomes.count("created")),
            *(outcomes.count("known"), outcomes.count("refused") + (trouble is not None), trouble),
        )
        self.say(f"{store}: {len(outcomes)} orders, {outcomes.count('created')} of them new")

    def _import(self, shop: Shop, order: dict[str, Any]) -> str:
        try:
            row = self._rpc(
                "select public.import_shopify_order(%s, %s::jsonb)", shop.store, json.dumps(order)
            )
        except psycopg.Error as error:
            if error.sqlstate not in ("PT400", "PT409"):  # such an order is refused for good
                raise
            self.say(f"{shop.store}: {order.get('id')}: {error.diag.message_primary}")
            return "refused"
        return "created" if row[0][0] == "created" else "known"

    def _shop(self, store: object) -> Shop:
        shop = next((shop for shop in self._shops if shop.store == store), None)
        if shop is None:
            raise Failed(f"{store}: no token for Shopify")
        return shop

    # The shop's API

    def _pages(
        self, shop: Shop, query: str, name: str, **variables: object
    ) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = self._ask(shop, query, variables | {"after": after})[name]
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def _ask(self, shop: Shop, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of the answer; waits as told when there were too many questions."""
        wait = 0.0
        for _ in range(_TRIES):
            self._wait(wait)
            self._keep_lease()
            answer = self._post(shop, {"query": query, "variables": variables})
            if isinstance(answer, float):
                wait = answer
            elif not isinstance(answer, dict):
                raise Failed(f"{shop.store}: an answer that is no object")
            elif not answer.get("errors"):
                return dict(answer["data"])
            elif _throttled(answer):
                wait = _restored_in(answer)
            else:
                raise Failed(f"{shop.store}: {_said(answer['errors'])}")
            if wait > _PATIENCE:
                break
        raise Failed(f"{shop.store}: throttled", wait)

    def _post(self, shop: Shop, body: dict[str, Any]) -> object:
        """What came back; a number when it was: come again in so many seconds."""
        request = Request(  # noqa: S310  # _require_sane allows http and https only
            shop.url,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-Shopify-Access-Token": shop.token},
        )
        try:
            with _http.open(request, timeout=self.settings.timeout) as response:
                return json.loads(response.read(_LARGEST))
        except HTTPError as error:
            with error:
                if error.code != 429:
                    raise Failed(f"{shop.store}: HTTP {error.code}") from None
                return _seconds(error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:  # refused, reset, no name, too late
            reason = getattr(error, "reason", error)
            raise Failed(f"{shop.store}: no answer ({type(reason).__name__})") from None
        except ValueError:
            raise Failed(f"{shop.store}: an answer that is not JSON") from None

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stopping:
                raise _Stopped
            self._keep_lease()
            time.sleep(min(left, 0.5))


_TOPICS: dict[str, Callable[[Worker, Job], None]] = {
    "inventory_push": Worker.push,
    "reconcile": Worker.reconcile,
    "shopify_sync": Worker.sync,
}


def _require_sane(settings: Settings) -> None:
    unknown = [topic for topic in settings.topics if topic not in _TOPICS]
    if unknown or not settings.topics:
        raise BakehouseError(
            "usage",
            f"no work is called {', '.join(unknown) or 'that'}",
            f"Topics: {', '.join(_TOPICS)}.",
        )
    if not 0 < settings.timeout <= settings.lease / 2 - 1:
        raise BakehouseError(
            "usage",
            "a lease must outlast two answers",
            f"With --timeout {settings.timeout:g}, --lease is at least "
            f"{settings.timeout * 2 + 2:g}.",
        )
    try:
        url = urlsplit(settings.endpoint.format(domain="shop.example"))
    except (KeyError, IndexError, ValueError):
        raise BakehouseError(
            "usage", "the template of the shops' endpoint cannot be read", f"Such as {ENDPOINT}"
        ) from None
    if url.scheme != "https" and (url.scheme, url.hostname) != ("http", "127.0.0.1"):
        raise BakehouseError(
            "usage",
            "the shops' endpoint is not https",
            "Tokens go there: only 127.0.0.1 may do with http.",
        )


def _throttled(answer: dict[str, Any]) -> bool:
    codes = [(error.get("extensions") or {}).get("code") for error in answer["errors"]]
    return "THROTTLED" in codes


def _restored_in(answer: dict[str, Any]) -> float:
    """When the shop's bucket will hold enough for what was asked."""
    cost = (answer.get("extensions") or {}).get("cost") or {}
    status = cost.get("throttleStatus") or {}
    missing = cost.get("requestedQueryCost", 0) - status.get("currentlyAvailable", 0)
    return max(1.0, float(missing) / max(float(status.get("restoreRate", 50)), 1.0))


def _seconds(text: str | None) -> float:
    try:
        return max(0.1, float(text or 2))
    except ValueError:  # a date, or nonsense
        return 2.0


def _said(errors: object) -> str:
    """The messages of the shop, cut short."""
    messages = [str(error.get("message")) for error in errors] if isinstance(errors, list) else []
    return "; ".join(messages)[:200] or "refused without a reason"
