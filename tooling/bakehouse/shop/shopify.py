"""The API of the shops: ask Shopify, wait if the shop throttles, and explain errors in one line."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from bakehouse.errors import BakehouseError

ENDPOINT = "https://{domain}/admin/api/2025-01/graphql.json"
_TRIES = 5  # tries of a request that the shop throttles
_PATIENCE = 60.0  # seconds: for a longer wait, the job returns to the queue
_LARGEST = 16 * 2**20  # bytes of the largest answer

_PAGE = "pageInfo { hasNextPage endCursor }"
VARIANTS = f"""query ($after: String, $search: String!) {{
  productVariants(first: 100, after: $after, query: $search) {{
    nodes {{ sku inventoryItem {{ id }} }} {_PAGE} }} }}"""
STOCK = f"""query ($after: String) {{
  inventoryItems(first: 50, after: $after) {{
    nodes {{ sku inventoryLevels(first: 50) {{
      nodes {{ location {{ id isActive }} quantities(names: ["available"]) {{ quantity }} }}
    }} }} {_PAGE} }} }}"""
_MONEY = "{ shopMoney { amount currencyCode } }"
_ATTRIBUTES = "customAttributes { key value }"
ORDERS = f"""query ($after: String) {{
  orders(first: 25, after: $after, query: "status:open fulfillment_status:unfulfilled") {{
    nodes {{
      id legacyResourceId name createdAt updatedAt cancelledAt sourceName currencyCode note tags
      totalPriceSet {_MONEY} currentTotalPriceSet {_MONEY} {_ATTRIBUTES}
      customer {{ firstName lastName }} shippingLine {{ title }}
      shippingAddress {{ firstName lastName name company address1 address2 city province
        provinceCode country countryCodeV2 zip phone }}
      lineItems(first: 100) {{
        edges {{ node {{
          id title variantTitle sku quantity currentQuantity isGiftCard {_ATTRIBUTES}
          variant {{ id }} product {{ id }} originalUnitPriceSet {_MONEY}
        }} }} pageInfo {{ hasNextPage }}
      }}
    }} {_PAGE} }} }}"""
SET_QUANTITIES = """mutation ($input: InventorySetQuantitiesInput!) {
  inventorySetQuantities(input: $input) { userErrors { message } } }"""


@dataclass(frozen=True)
class Shop:
    store: str
    url: str
    token: str = field(repr=False)


class Failed(Exception):
    """A job that must be tried again, after `delay` seconds if the shop named a delay."""

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class Stopped(Exception):
    """The worker was asked to stop while it waited."""


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects, because a redirect would send the token to another host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


_http = build_opener(_NoRedirect)


class Client:
    """Sends requests to shops. Lets the worker extend its lease while it waits."""

    def __init__(
        self, timeout: float, keep_lease: Callable[[], None], is_stopping: Callable[[], bool]
    ) -> None:
        self._timeout, self._keep_lease, self._is_stopping = timeout, keep_lease, is_stopping

    def pages(
        self, shop: Shop, query: str, name: str, **variables: object
    ) -> Iterator[dict[str, Any]]:
        """Yield the nodes of every page of a connection."""
        after: str | None = None
        while True:
            page = self.ask(shop, query, variables | {"after": after})[name]
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def ask(self, shop: Shop, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the answer. Waits and asks again if the shop throttles."""
        wait = 0.0
        for _ in range(_TRIES):
            self._wait(wait)
            self._keep_lease()
            answer = self._post(shop, {"query": query, "variables": variables})
            if isinstance(answer, float):
                wait = answer
            elif not isinstance(answer, dict):
                raise Failed(f"{shop.store}: an answer that is not a JSON object")
            elif not answer.get("errors"):
                return dict(answer["data"])
            elif _is_throttled(answer):
                wait = _seconds_to_restore(answer)
            else:
                raise Failed(f"{shop.store}: {messages_of(answer['errors'])}")
            if wait > _PATIENCE:
                break
        raise Failed(f"{shop.store}: throttled", wait)

    def _post(self, shop: Shop, body: dict[str, Any]) -> object:
        """Return the decoded answer, or the seconds to wait after HTTP 429."""
        request = Request(  # noqa: S310  # require_endpoint allows http and https only
            shop.url,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-Shopify-Access-Token": shop.token},
        )
        try:
            with _http.open(request, timeout=self._timeout) as response:
                return json.loads(response.read(_LARGEST))
        except HTTPError as error:
            with error:
                if error.code != 429:
                    raise Failed(f"{shop.store}: HTTP {error.code}") from None
                return _retry_after(error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:  # such as refused, reset, unknown host, timeout
            reason = getattr(error, "reason", error)
            raise Failed(f"{shop.store}: no answer ({type(reason).__name__})") from None
        except ValueError:
            raise Failed(f"{shop.store}: an answer that is not JSON") from None

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._is_stopping():
                raise Stopped
            self._keep_lease()
            time.sleep(min(left, 0.5))


def require_endpoint(endpoint: str) -> None:
    """Refuse a template that cannot be read, or that would send tokens without TLS."""
    try:
        url = urlsplit(endpoint.format(domain="shop.example"))
    except (KeyError, IndexError, ValueError):
        raise BakehouseError(
            "usage", "--shop-url-template is not valid", f"Write it like this: {ENDPOINT}"
        ) from None
    if url.scheme != "https" and (url.scheme, url.hostname) != ("http", "127.0.0.1"):
        raise BakehouseError(
            "usage",
            "--shop-url-template is not https",
            "Tokens are sent there: only 127.0.0.1 may use http.",
        )


def _is_throttled(answer: dict[str, Any]) -> bool:
    codes = [(error.get("extensions") or {}).get("code") for error in answer["errors"]]
    return "THROTTLED" in codes


def _seconds_to_restore(answer: dict[str, Any]) -> float:
    """Return the seconds until the shop allows a request of this cost."""
    cost = (answer.get("extensions") or {}).get("cost") or {}
    status = cost.get("throttleStatus") or {}
    missing = cost.get("requestedQueryCost", 0) - status.get("currentlyAvailable", 0)
    return max(1.0, float(missing) / max(float(status.get("restoreRate", 50)), 1.0))


def _retry_after(text: str | None) -> float:
    try:
        return max(0.1, float(text or 2))
    except ValueError:  # Retry-After can also be a date
        return 2.0


def messages_of(errors: object) -> str:
    """Join the messages of the shop, and shorten the result."""
    messages = [str(error.get("message")) for error in errors] if isinstance(errors, list) else []
    return "; ".join(messages)[:200] or "refused without a reason"
