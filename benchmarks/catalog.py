"""The twenty tools of the bench tenant, as plain typed functions.

Both sides of the comparison are made from this one file: `functions.py` registers them with the hub, `baseline.py`
derives the same descriptors for the bare SDK. It imports nothing of the hub, so that the baseline's memory figure is
the SDK's own. The tools work on a small in-memory order book: real answers, no I/O, so that what is measured is the
road to the tool and not the tool. They are async so that both sides run them in the event loop, without a thread.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

Currency = Literal["EUR", "USD", "GBP", "CHF", "SEK"]
Status = Literal["draft", "open", "paid", "shipped", "cancelled"]
OrderId = Annotated[str, Field(pattern=r"^ORD-[0-9]{4}$", description="Order number, for example ORD-0007.")]
Customer = Annotated[str, Field(min_length=1, max_length=80, description="Customer name, exactly as on the order.")]
Limit = Annotated[int, Field(ge=1, le=100, description="At most this many rows; 20 is a good start.")]


class Sum(TypedDict):
    sum: int


class Number(TypedDict):
    value: float


class Count(TypedDict):
    count: int


class Order(TypedDict):
    id: str
    customer: str
    status: Status
    currency: Currency
    total: float


class Orders(TypedDict):
    orders: list[Order]
    more: bool


class Words(TypedDict):
    text: str


_STATUSES: tuple[Status, ...] = ("draft", "open", "paid", "shipped", "cancelled")
_CURRENCIES: tuple[Currency, ...] = ("EUR", "USD", "GBP", "CHF", "SEK")
_EUROS = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "CHF": 1.04, "SEK": 0.088}
_BOOK: tuple[Order, ...] = tuple(
    Order(
        id=f"ORD-{n:04}",
        customer=f"Customer {n % 17}",
        status=_STATUSES[n % 5],
        currency=_CURRENCIES[n % 3],
        total=n * 12.5,
    )
    for n in range(1, 201)
)


def _page(orders: list[Order], limit: int) -> Orders:
    return Orders(orders=orders[:limit], more=len(orders) > limit)


def _in_euros(order: Order) -> float:
    return round(order["total"] * _EUROS[order["currency"]], 2)


async def add(a: int, b: int) -> Sum:
    """Add two whole numbers and return their sum. Use it for exact integer arithmetic; use convert_amount for money."""
    return Sum(sum=a + b)


async def get_order(order_id: OrderId) -> Orders:
    """Return one order by its number. Use search_orders when the number is not known. Read-only."""
    return _page([o for o in _BOOK if o["id"] == order_id], 1)


async def search_orders(query: Annotated[str, Field(min_length=1, max_length=200)], limit: Limit = 20) -> Orders:
    """Find orders whose number or customer contains a text, newest last.

    Use it to find an order from what a person remembers of it. It does not look into order lines.
    """
    text = query.casefold()
    return _page([o for o in _BOOK if text in o["customer"].casefold() or text in o["id"].casefold()], limit)


async def list_orders(status: Status, limit: Limit = 20) -> Orders:
    """List the orders in one status, oldest first. Use search_orders to find orders of a person instead."""
    return _page([o for o in _BOOK if o["status"] == status], limit)


async def list_customer_orders(customer: Customer, status: Status | None = None, limit: Limit = 20) -> Orders:
    """List the orders of one customer, optionally of one status only.

    The name has to match exactly; use search_orders when only a part of it is known.
    """
    return _page([o for o in _BOOK if o["customer"] == customer and status in (None, o["status"])], limit)


async def count_orders(status: Status | None = None) -> Count:
    """Count the orders, all of them or those in one status. Cheaper than listing when only the number matters."""
    return Count(count=sum(1 for o in _BOOK if status in (None, o["status"])))


async def count_customer_orders(customer: Customer) -> Count:
    """Count the orders of one customer, in every status. Returns 0 for a customer without orders."""
    return Count(count=sum(1 for o in _BOOK if o["customer"] == customer))


async def total_revenue(status: Status = "paid") -> Number:
    """Sum the totals of all orders in a status, converted to euros at the book's fixed rates."""
    return Number(value=round(sum(_in_euros(o) for o in _BOOK if o["status"] == status), 2))


async def customer_revenue(customer: Customer) -> Number:
    """Sum the paid and shipped orders of one customer in euros. Cancelled orders and drafts do not count."""
    counted = ("paid", "shipped")
    return Number(value=round(sum(_in_euros(o) for o in _BOOK if o["customer"] == customer and o["status"] in counted)))


async def average_order(currency: Currency | None = None) -> Number:
    """Return the average order total in euros, over all orders or those in one currency."""
    found = [_in_euros(o) for o in _BOOK if currency in (None, o["currency"])]
    return Number(value=round(sum(found) / len(found), 2) if found else 0.0)


async def largest_orders(limit: Limit = 10, currency: Currency | None = None) -> Orders:
    """List the largest orders by their total in euros, largest first, optionally of one currency."""
    found = [o for o in _BOOK if currency in (None, o["currency"])]
    return _page(sorted(found, key=_in_euros, reverse=True), limit)


async def convert_amount(
    amount: Annotated[float, Field(ge=0, le=1e9, description="The amount to convert.")],
    source: Annotated[Currency, Field(description="Currency of the amount.")],
    target: Annotated[Currency, Field(description="Currency wanted.")] = "EUR",
) -> Number:
    """Convert an amount of money between two currencies at the book's fixed rates. Not for live exchange rates."""
    return Number(value=round(amount * _EUROS[source] / _EUROS[target], 2))


async def apply_discount(
    amount: Annotated[float, Field(ge=0, le=1e9)],
    percent: Annotated[float, Field(ge=0, le=100, description="Discount in percent, 0 to 100.")],
) -> Number:
    """Return what remains of an amount after a discount. It computes only: no order is changed."""
    return Number(value=round(amount * (100 - percent) / 100, 2))


async def add_vat(
    amount: Annotated[float, Field(ge=0, le=1e9)],
    rate: Annotated[float, Field(ge=0, le=30, description="Tax rate in percent.")] = 19,
) -> Number:
    """Return the gross amount for a net amount and a tax rate in percent. It computes only: no order is changed."""
    return Number(value=round(amount * (100 + rate) / 100, 2))


async def split_amount(
    amount: Annotated[float, Field(ge=0, le=1e9)],
    parts: Annotated[int, Field(ge=1, le=120, description="Number of equal instalments.")],
) -> Number:
    """Return the size of one instalment when an amount is paid in equal parts. Rounded to cents."""
    return Number(value=round(amount / parts, 2))


async def draft_reminder(order_id: OrderId, tone: Literal["friendly", "firm"] = "friendly") -> Words:
    """Write the text of a payment reminder for an order. It is only drafted: nothing is sent to the customer."""
    opening = "A friendly reminder:" if tone == "friendly" else "Payment is overdue:"
    return Words(text=f"{opening} order {order_id} has not been paid yet.")


async def draft_receipt(order_id: OrderId, language: Literal["en", "de", "fr"] = "en") -> Words:
    """Write the text of a receipt for an order in one of three languages. It is only drafted, nothing is sent."""
    words = {"en": "Receipt for order", "de": "Quittung zur Bestellung", "fr": "Reçu de la commande"}
    return Words(text=f"{words[language]} {order_id}")


async def format_amount(amount: Annotated[float, Field(ge=0, le=1e9)], currency: Currency = "EUR") -> Words:
    """Write an amount the way invoices show it, with thousands separators and the currency code."""
    return Words(text=f"{amount:,.2f} {currency}")


async def normalise_order_id(text: Annotated[str, Field(min_length=1, max_length=20)]) -> Words:
    """Turn what a person typed for an order number ("7", "ord 7") into the canonical form ORD-0007."""
    digits = "".join(c for c in text if c.isdigit())
    return Words(text=f"ORD-{int(digits or 0):04}")


async def describe_status(status: Status) -> Words:
    """Explain in one sentence what an order status means and which status may follow it."""
    step = _STATUSES.index(status)
    following = _STATUSES[step + 1] if step + 1 < len(_STATUSES) else "nothing"
    return Words(text=f"{status} is step {step + 1} of {len(_STATUSES)}; {following} may follow.")


TOOLS: tuple[Callable[..., Awaitable[Any]], ...] = (
    add, get_order, search_orders, list_orders, list_customer_orders, count_orders, count_customer_orders,
    total_revenue, customer_revenue, average_order, largest_orders, convert_amount, apply_discount, add_vat,
    split_amount, draft_reminder, draft_receipt, format_amount, normalise_order_id, describe_status,
)  # fmt: skip
