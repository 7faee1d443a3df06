"""Orders in the two formats of Shopify: REST and GraphQL."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Payload = dict[str, Any]


@dataclass(frozen=True)
class Line:
    title: str
    quantity: int = 1
    variant: str | None = None  # null in REST, "Default Title" in GraphQL
    price: str = "60.00"
    sku: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    gift_card: bool = False
    removed: int = 0  # the number of pieces that a later edit removed
    product: bool = True  # False for a line that was typed in by hand


@dataclass(frozen=True)
class Order:
    number: int = 24517
    lines: tuple[Line, ...] = (Line("Gelato Cake", variant="Medium / Vanilla"),)
    total: str = "180.00"
    current_total: str | None = None
    currency: str = "AUD"
    presentment: tuple[str, str] | None = None  # the currency and the total that the customer saw
    recipient: str | None = None
    customer: tuple[str, str] | None = ("Test", "Customer")
    note: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    source: str = "web"
    cancelled_at: str | None = None

    @property
    def id(self) -> int:
        return 5_800_000_000_000 + self.number


def rest(order: Order) -> Payload:
    """The order as a webhook sends it."""
    shown_currency, shown_total = order.presentment or (order.currency, order.total)
    first, last = order.customer or (None, None)
    return {
        "id": order.id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order.id}",
        "name": f"#B{order.number}",
        "number": order.number - 1000,
        "order_number": order.number,
        "created_at": "2025-09-01T12:15:00+10:00",
        "updated_at": "2025-09-01T12:15:00+10:00",
        "cancelled_at": order.cancelled_at,
        "source_name": order.source,
        "currency": order.currency,
        "presentment_currency": shown_currency,
        "total_price": order.total,
        "current_total_price": order.current_total or order.total,
        "total_price_set": {
            "shop_money": {"amount": order.total, "currency_code": order.currency},
            "presentment_money": {"amount": shown_total, "currency_code": shown_currency},
        },
        "note": order.note,
        "note_attributes": [{"name": k, "value": v} for k, v in order.attributes.items()],
        "tags": ", ".join(order.tags),
        "customer": order.customer and {"id": 9, "first_name": first, "last_name": last},
        "shipping_address": order.recipient and {"name": order.recipient, "city": "Sydney"},
        "line_items": [_rest_line(order, at) for at in range(len(order.lines))],
    }


def _rest_line(order: Order, at: int) -> Payload:
    line, number = order.lines[at], order.number * 100 + at
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{number}",
        "title": line.title,
        "name": f"{line.title} - {line.variant}" if line.variant else line.title,
        "variant_title": line.variant,
        "variant_id": number + 1_000_000 if line.product else None,
        "product_id": number + 2_000_000 if line.product else None,
        "sku": line.sku or "",
        "quantity": line.quantity,
        "current_quantity": line.quantity - line.removed,
        "fulfillable_quantity": 0,
        "price": line.price,
        "gift_card": line.gift_card,
        "properties": [{"name": k, "value": v} for k, v in line.properties.items()],
    }


def sign(body: str, secret: str) -> str:
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def graphql(order: Order) -> Payload:
    """The order as the Admin API answers a query."""
    shown_currency, shown_total = order.presentment or (order.currency, order.total)
    first, last = order.customer or (None, None)
    return {
        "id": f"gid://shopify/Order/{order.id}",
        "legacyResourceId": str(order.id),
        "name": f"#B{order.number}",
        "createdAt": "2025-09-01T02:15:00Z",
        "updatedAt": "2025-09-01T02:15:00Z",
        "cancelledAt": order.cancelled_at,
        "sourceName": order.source,
        "currencyCode": order.currency,
        "presentmentCurrencyCode": shown_currency,
        "totalPriceSet": {
            "shopMoney": {"amount": order.total, "currencyCode": order.currency},
            "presentmentMoney": {"amount": shown_total, "currencyCode": shown_currency},
        },
        "currentTotalPriceSet": {
            "shopMoney": {
                "amount": order.current_total or order.total,
                "currencyCode": order.currency,
            },
        },
        "note": order.note,
        "customAttributes": [{"key": k, "value": v} for k, v in order.attributes.items()],
        "tags": list(order.tags),
        "customer": order.customer
        and {
            "id": "gid://shopify/Customer/9",
            "firstName": first,
            "lastName": last,
            "displayName": "someone@example.com",
        },
        "shippingAddress": order.recipient and {"name": order.recipient, "city": "Sydney"},
        "lineItems": {
            "edges": [{"node": _graphql_line(order, at)} for at in range(len(order.lines))],
            "pageInfo": {"hasNextPage": False},
        },
    }


def _graphql_line(order: Order, at: int) -> Payload:
    line, number = order.lines[at], order.number * 100 + at
    return {
        "id": f"gid://shopify/LineItem/{number}",
        "title": line.title,
        "variantTitle": line.variant or "Default Title",
        "variant": {"id": f"gid://shopify/ProductVariant/{number + 1_000_000}"}
        if line.product
        else None,
        "product": {"id": f"gid://shopify/Product/{number + 2_000_000}"} if line.product else None,
        "sku": line.sku,
        "quantity": line.quantity,
        "currentQuantity": line.quantity - line.removed,
        "originalUnitPriceSet": {
            "shopMoney": {"amount": line.price, "currencyCode": order.currency}
        },
        "isGiftCard": line.gift_card,
        "customAttributes": [{"key": k, "value": v} for k, v in line.properties.items()],
    }


SINGLE = Order(
    recipient="Test Recipient",
    attributes={
        "Local Delivery Date and Time": "2025-09-16 between 10:00 AM and 1:00 PM",
        "Delivery Method": "Local Delivery",
        "Delivery Instructions": "Ring twice",
        "_LocalDeliveryID": "77",
    },
    lines=(
        Line(
            "Gelato Cake",
            variant="Medium / Vanilla",
            sku="CAKE-M",
            properties={
                "_gelato flavours_raw": "Mango|Vanilla",
                "Gelato Flavours": "Mango\nVanilla/Choc",
                "gwp_offer": "Gelato flavour of the month",
                "Writing on cake": "Happy Birthday",
                "Writing on board": "40",
            },
        ),
    ),
    note="Nut free",
    tags=("VIP", "DEL:2025-09-17"),
)
SPLIT = Order(
    number=24518,
    lines=(
        Line("Gelato Cake", 2, "Medium / Vanilla", price="65.00"),
        Line("Candle", 1, "Number / 4", price="5.00", sku="CANDLE-4"),
        Line("Vegan Cake", 1, "Small Tall / Mango", price="40.00"),
        Line("Balloon", 1, price="5.00"),
    ),
    tags=("DEL:2025-09-16",),
)
COUNTER = Order(
    number=24519,
    lines=(Line("Gelato Cake", variant="Large + Pistachio"), Line("Coffee", price="4.50")),
    customer=None,
    source="pos",
)
EXTRAS = Order(
    number=24520,
    lines=(Line("Cake Topper", 3), Line("Cake Gift Card", gift_card=True, product=False)),
    tags=("PICKUP:2025-09-16",),
)
EDITED = Order(
    number=24521,
    lines=(Line("Gelato Cake", 3, "Gift Size", removed=2), Line("Candle", removed=1)),
    current_total="70.00",
    presentment=("USD", "120.00"),
    cancelled_at="2025-09-02T00:00:00Z",
    tags=("Fri 14 Nov 2025", "wholesale"),
)
GOLDEN = (SINGLE, SPLIT, COUNTER, EXTRAS, EDITED)
