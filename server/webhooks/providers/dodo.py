"""Dodo Payments: Standard Webhooks in an envelope `{business_id, type, timestamp, data}`.

The source text's own form is taken, too: `x-dodo-signature` holds the hex HMAC-SHA256 of the body,
keyed with the setting's string as it stands. It has no id and no time, so identical bytes are one
delivery. Its events are `payment.succeeded` with `data.customerId` and `data.credits`, and
`subscription.created`, which Dodo itself does not send.

| ours | in Dodo's payload |
|---|---|
| user | `metadata.user_id` or `.userId`, `customer.metadata` likewise, `customerId`,
         `customer.customer_id` |
| credits | `metadata.credits` (text or number), else `credits` (a number) |

A new card on file, the charge for a change of plan, and a subscription's charge of nothing (a
trial) give no credits, although they have the subscription's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.webhooks.providers import payments
from server.webhooks.providers.envelope import (
    Envelope,
    body_id,
    first_text,
    member,
    moment,
    parse,
    text_or_none,
    type_name,
)
from server.webhooks.providers.handlers import Effects, Event, Handler, Outcome
from server.webhooks.providers.payments import Credit, Refund, Subscription, credits_in
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.providers.samples import dodo as samples
from server.webhooks.signing.schemes import Either, HmacHeader, StandardWebhooks
from server.webhooks.signing.signatures import Signed

STANDARD = StandardWebhooks()
"""The door's scheme where the text's form is refused."""
TEXT_FORM = HmacHeader(header="x-dodo-signature")

HELD = {
    "dispute_opened": True,
    "dispute_challenged": True,
    "dispute_accepted": True,
    "dispute_lost": True,
    "dispute_won": False,
    "dispute_cancelled": False,
}
"""Whether a dispute in this state holds the payment; one that has expired leaves it as it is."""


def read(body: bytes, headers: Headers, signed: Signed) -> Envelope:
    """What is stored of a body; raises BodyError when it is not JSON."""
    del headers
    value = parse(body)
    data = member(value, "data")
    return Envelope(
        id=signed.id or body_id(body),
        type=type_name(member(value, "type")),
        at=moment(member(value, "timestamp")),
        key=first_text(
            member(data, "customer", "customer_id"),
            member(data, "customerId"),
            member(data, "subscription_id"),
            member(data, "payment_id"),
        ),
        data=data,
    )


def credits_of(data: Any, products: Mapping[str, int] | None = None) -> Credit | None:
    """The credits that a `payment.succeeded` gives; `None`: none.

    `products`: credits of each product. With it what buyers pay for counts, and not the metadata:
    on Dodo's static payment links the buyer's address bar writes those.
    """
    if member(data, "status") not in (None, "succeeded") or _gives_nothing(data):
        return None
    user = _user(data)
    if products is not None:
        number = _bought(member(data, "product_cart"), products)
        payment = text_or_none(member(data, "payment_id"))
        if number == 0 or payment is None:
            return None
        return Credit(user, number, payment, payments.amount(member(data, "total_amount")))
    promises = (member(data, "metadata", "credits"), member(data, "credits"))
    number = credits_in(promises[0], texts=True)
    if number is None:
        number = credits_in(promises[1], texts=False)
    if number is None and not payments.promised(*promises):
        return None
    payment = text_or_none(member(data, "payment_id"))
    return Credit(user, number, payment, payments.amount(member(data, "total_amount")))


def _bought(cart: Any, products: Mapping[str, int]) -> int | None:
    """The credits of a cart; `None`: of more than may be given, or of a cart that can't be read.

    A subscription's charges have no cart.
    """
    if not isinstance(cart, list):
        return None
    total = 0
    for item in cart:
        quantity = member(item, "quantity")
        if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
            return None
        total += products.get(str(member(item, "product_id")), 0) * quantity
    return total if total <= payments.MAX_CREDITS else None


def _gives_nothing(data: Any) -> bool:
    """A subscription's charges repeat its metadata: not each of them is a purchase."""
    charge = member(data, "charge_type")
    return (
        member(data, "is_update_payment_method") is True
        or charge == "plan_change"
        or (charge is not None and member(data, "total_amount") == 0)
    )


def subscription_of(type_: str, data: Any) -> Subscription | None:
    """The subscription that a `subscription.*` event tells of; `None` if it names none."""
    found = first_text(member(data, "subscription_id"), member(data, "id"))
    if not type_.startswith("subscription.") or found is None:
        return None
    customer = first_text(member(data, "customer", "customer_id"), member(data, "customerId"))
    # The text's subscription.created has no status of its own.
    status = text_or_none(member(data, "status")) or type_.removeprefix("subscription.")
    return Subscription(
        id=found,
        customer=customer,
        user_id=_user(data),
        status="active" if status == "created" else status,
        product=first_text(member(data, "product_id"), member(data, "productId")),
        period_end=moment(member(data, "next_billing_date")),
        cancel_at_end=member(data, "cancel_at_next_billing_date") is True,
    )


def refund_of(data: Any) -> Refund | None:
    """What a `refund.*` or `dispute.*` event takes back; `None`: nothing, or of no payment.

    A dispute names no user: the payment does.
    """
    payment = text_or_none(member(data, "payment_id"))
    refund, dispute = (text_or_none(member(data, name)) for name in ("refund_id", "dispute_id"))
    if payment is None:
        return None
    if refund is not None:
        # Only a partial refund is told by its amount: a whole one is all, whatever the rounding.
        partial = member(data, "is_partial") is True
        part = payments.amount(member(data, "amount")) if partial else None
        if partial and part is None:
            return None
        held = member(data, "status") == "succeeded"
        return Refund(refund, payment, _named_user(data), held, part, dispute=False)
    held_by_dispute = HELD.get(str(member(data, "dispute_status")))
    if dispute is None or held_by_dispute is None:
        return None
    return Refund(dispute, payment, _named_user(data), held_by_dispute, None, dispute=True)


def _named_user(data: Any) -> str | None:
    places = (member(data, "metadata"), member(data, "customer", "metadata"))
    names = ("user_id", "userId")
    return payments.user_id(*(member(place, name) for place in places for name in names))


def _user(data: Any) -> str | None:
    return payments.user_id(
        _named_user(data), member(data, "customerId"), member(data, "customer", "customer_id")
    )


def paid(products: Mapping[str, int] | None) -> Handler:
    """The handler of payments; `products` as of `credits_of`."""

    async def give(event: Event, effects: Effects) -> Outcome:
        return await effects.give(credits_of(event.data, products))

    return give


async def taken_back(event: Event, effects: Effects) -> Outcome:
    return await effects.take_back(refund_of(event.data))


async def subscribed(event: Event, effects: Effects) -> Outcome:
    return await effects.keep(subscription_of(event.type, event.data))


DODO = Provider(
    name="dodo",
    path="/api/payments/dodo/webhook",
    setting="dodo_payments_webhook_key",
    scheme=Either(STANDARD, TEXT_FORM),
    read=read,
    types=samples.TYPES,
    sample=samples.sample,
    handlers={
        "payment.succeeded": paid(None),
        "subscription.*": subscribed,
        "refund.*": taken_back,
        **{f"dispute.{state.removeprefix('dispute_')}": taken_back for state in HELD},
    },
)
