"""Stripe: events `{id: "evt_…", type, created, data: {object}}`, of which `data.object` is ours.

Users and credits come from metadata that the merchant sets on one object of a purchase:

| paid by | metadata of | counts as payment |
|---|---|---|
| `checkout.session.completed`, `….async_payment_succeeded`, mode `payment`, paid | the session; the
  user also as `client_reference_id` | its payment intent |
| `payment_intent.succeeded` | the payment intent | itself |
| `invoice.paid` of a new or renewed subscription, more than nothing paid | the invoice, or the
  subscription as the invoice holds it | its payment intent, in API versions that tell it; else the
  invoice |

A session and its payment intent are one payment, so both may tell of it. Charges of a subscription
that is changed in between, and sessions in mode `subscription`, are not counted: `invoice.paid` is.
"""

from __future__ import annotations

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
from server.webhooks.providers.handlers import Effects, Event, Outcome
from server.webhooks.providers.payments import Credit, Refund, Subscription, credits_in
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.providers.samples import stripe as samples
from server.webhooks.signing.schemes import StripeSignature
from server.webhooks.signing.signatures import Signed

PERIODS = {"subscription_create", "subscription_cycle"}
"""Why an invoice is a period's: only these give what the subscription's metadata promises."""
HELD = {
    "needs_response": True,
    "under_review": True,
    "lost": True,
    "appeal_needs_response": True,
    "appeal_under_review": True,
    "won": False,
    "prevented": False,
    "warning_needs_response": False,
    "warning_under_review": False,
    "warning_closed": False,
}
"""Whether a dispute in this state holds the payment; a warning is an inquiry, without money."""


def read(body: bytes, headers: Headers, signed: Signed) -> Envelope:
    """What is stored of a body; raises BodyError when it is not JSON."""
    del headers, signed
    value = parse(body)
    data = member(value, "data", "object")
    kind = member(data, "object")
    own = kind in ("customer", "subscription", "payment_intent", "charge")
    return Envelope(
        id=text_or_none(member(value, "id")) or body_id(body),
        type=type_name(member(value, "type")),
        at=moment(member(value, "created")),
        key=first_text(
            _id(member(data, "customer")),
            _id(member(data, "subscription")),
            _id(member(data, "payment_intent")),
            _id(member(data, "charge")),
            member(data, "id") if own else None,
        ),
        data=data,
    )


def credits_of(data: Any) -> Credit | None:
    """The credits that an event's object gives; `None`: none."""
    match member(data, "object"):
        case "checkout.session":
            return _of_session(data)
        case "payment_intent" if member(data, "status") == "succeeded":
            return _credit(data, [data], member(data, "id"), member(data, "amount_received"))
        case "invoice" if member(data, "status") == "paid":
            return _of_invoice(data)
    return None


def _of_session(data: Any) -> Credit | None:
    paid = member(data, "payment_status") in ("paid", "no_payment_required")
    if not paid or member(data, "mode") != "payment":
        return None
    payment = _id(member(data, "payment_intent")) or member(data, "id")
    user = member(data, "client_reference_id")
    return _credit(data, [data], payment, member(data, "amount_total"), user)


def _of_invoice(data: Any) -> Credit | None:
    paid = payments.amount(member(data, "amount_paid"))
    if not paid:
        return None
    sources = [data]
    if member(data, "billing_reason") in PERIODS:
        # In API versions of 2025 on, and before them.
        sources += [
            member(data, "parent", "subscription_details"),
            member(data, "subscription_details"),
        ]
    payment = _id(member(data, "payment_intent")) or member(data, "id")
    return _credit(data, sources, payment, paid)


def _credit(
    data: Any, sources: list[Any], payment: Any, amount: Any, user: Any = None
) -> Credit | None:
    """Credits by the first metadata that promises some to somebody, else by the first at all."""
    found = None
    for source in sources:
        metadata = member(source, "metadata")
        promise = member(metadata, "credits")
        number = credits_in(promise, texts=True)
        who = payments.user_id(member(metadata, "user_id"), member(metadata, "userId"), user)
        if payments.promised(promise) and (found is None or None in found[:2]):
            found = Credit(who, number, text_or_none(payment), payments.amount(amount))
    return found


def subscription_of(type_: str, data: Any) -> Subscription | None:
    """The subscription that a `customer.subscription.*` event tells of; `None` if none."""
    found = text_or_none(member(data, "id"))
    if member(data, "object") != "subscription" or found is None:
        return None
    items = member(data, "items", "data")
    item = items[0] if isinstance(items, list) and items else None
    status = text_or_none(member(data, "status"))
    if status is None:
        status = "canceled" if type_.endswith(".deleted") else "unknown"
    metadata = member(data, "metadata")
    return Subscription(
        id=found,
        customer=_id(member(data, "customer")),
        user_id=payments.user_id(member(metadata, "user_id"), member(metadata, "userId")),
        status=status,
        product=first_text(_id(member(item, "price", "product")), member(item, "price", "id")),
        # Of the subscription before 2025, of its items since.
        period_end=moment(member(data, "current_period_end"))
        or moment(member(item, "current_period_end")),
        cancel_at_end=member(data, "cancel_at_period_end") is True,
    )


def refund_of(data: Any) -> Refund | None:
    """What `charge.refunded` or a `charge.dispute.*` takes back; `None`: nothing that we know.

    Refunds come as the charge's sum of all of them, so they go under the charge's id.
    """
    found = text_or_none(member(data, "id"))
    charge = found if member(data, "object") == "charge" else _id(member(data, "charge"))
    payment = _id(member(data, "payment_intent")) or charge
    if found is None or payment is None:
        return None
    metadata = member(data, "metadata")
    user = payments.user_id(member(metadata, "user_id"), member(metadata, "userId"))
    match member(data, "object"):
        case "charge":
            back = payments.amount(member(data, "amount_refunded"))
            if back is None:
                return None
            whole = member(data, "refunded") is True
            return Refund(found, payment, user, back > 0, None if whole else back, dispute=False)
        case "dispute":
            held = HELD.get(str(member(data, "status")))
            if held is None:
                return None
            part = payments.amount(member(data, "amount"))
            return Refund(found, payment, user, held, part, dispute=True)
    return None


def _id(value: Any) -> str | None:
    """The id of an object that is told by its id, or whole (expanded)."""
    return first_text(value, member(value, "id"))


async def paid(event: Event, effects: Effects) -> Outcome:
    return await effects.give(credits_of(event.data))


async def taken_back(event: Event, effects: Effects) -> Outcome:
    return await effects.take_back(refund_of(event.data))


async def subscribed(event: Event, effects: Effects) -> Outcome:
    return await effects.keep(subscription_of(event.type, event.data))


STRIPE = Provider(
    name="stripe",
    path="/api/payments/stripe/webhook",
    setting="stripe_webhook_secret",
    scheme=StripeSignature(),
    read=read,
    types=samples.TYPES,
    sample=samples.sample,
    handlers={
        "checkout.session.completed": paid,
        "checkout.session.async_payment_succeeded": paid,
        "payment_intent.succeeded": paid,
        "invoice.paid": paid,
        "customer.subscription.*": subscribed,
        "charge.refunded": taken_back,
        "charge.dispute.*": taken_back,
    },
)
