"""Bodies as Stripe sends them, for `tailrace webhooks send` and the tests."""

from __future__ import annotations

import json
from typing import Any

from server.webhooks.providers.samples.example import Example

TYPES = (
    "checkout.session.completed",
    "payment_intent.succeeded",
    "invoice.paid",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.closed",
    "customer.created",
)


def sample(type_: str, example: Example) -> bytes:
    """An event as Stripe sends it, of an API version of 2025 or later."""
    if type_ not in TYPES:
        msg = f"no sample of {type_}: there are {', '.join(TYPES)}"
        raise ValueError(msg)
    thing, _, what = type_.rpartition(".")
    data = {
        "checkout.session": _session,
        "payment_intent": _intent,
        "invoice": _invoice,
        "customer.subscription": _subscription,
        "charge": _charge,
        "charge.dispute": _dispute,
        "customer": _customer,
    }[thing](what, example)
    event = {
        "id": f"evt_{example.reference}_{type_.replace('.', '_')}",
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": example.seconds(),
        "data": {"object": data},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
    }
    return json.dumps(event, indent=2).encode()


def _common(kind: str, prefix: str, example: Example) -> dict[str, Any]:
    return {
        "id": f"{prefix}_{example.reference}",
        "object": kind,
        "created": example.seconds(),
        "livemode": False,
        "currency": "usd",
        "customer": f"cus_{example.user_id}",
        "metadata": {"user_id": example.user_id, "credits": str(example.credits)},
    }


def _session(what: str, example: Example) -> dict[str, Any]:
    del what
    return _common("checkout.session", "cs_test", example) | {
        "client_reference_id": example.user_id,
        "amount_subtotal": 1000,
        "amount_total": 1000,
        "mode": "payment",
        "payment_intent": f"pi_{example.reference}",
        "payment_status": "paid",
        "status": "complete",
        "subscription": None,
        "invoice": None,
    }


def _intent(what: str, example: Example) -> dict[str, Any]:
    return _common("payment_intent", "pi", example) | {
        "amount": 1000,
        "amount_received": 1000,
        "latest_charge": f"ch_{example.reference}",
        "status": what,
    }


def _invoice(what: str, example: Example) -> dict[str, Any]:
    common = _common("invoice", "in", example)
    metadata = common.pop("metadata")
    return common | {
        "metadata": {},
        "amount_due": 1000,
        "amount_paid": 1000,
        "billing_reason": "subscription_cycle",
        "parent": {
            "type": "subscription_details",
            "subscription_details": {
                "metadata": metadata,
                "subscription": f"sub_{example.reference}",
            },
        },
        "status": what,
    }


def _subscription(what: str, example: Example) -> dict[str, Any]:
    deleted = what == "deleted"
    item = {
        "id": f"si_{example.reference}",
        "object": "subscription_item",
        "current_period_start": example.seconds(),
        "current_period_end": example.seconds() + 30 * 86_400,
        "price": {"id": "price_pro", "object": "price", "product": "prod_pro"},
        "quantity": 1,
    }
    return _common("subscription", "sub", example) | {
        "cancel_at_period_end": False,
        "canceled_at": example.seconds() if deleted else None,
        "items": {"object": "list", "data": [item], "has_more": False},
        "start_date": example.seconds(),
        "status": "canceled" if deleted else "active",
    }


def _charge(what: str, example: Example) -> dict[str, Any]:
    del what
    return _common("charge", "ch", example) | {
        "amount": 1000,
        "amount_captured": 1000,
        "amount_refunded": 1000,
        "captured": True,
        "disputed": False,
        "paid": True,
        "payment_intent": f"pi_{example.reference}",
        "refunded": True,
        "status": "succeeded",
    }


def _dispute(what: str, example: Example) -> dict[str, Any]:
    common = _common("dispute", "dp", example)
    del common["customer"]  # Stripe's disputes have none, and metadata of their own
    return common | {
        "metadata": {},
        "amount": 1000,
        "charge": f"ch_{example.reference}",
        "payment_intent": f"pi_{example.reference}",
        "reason": "general",
        "status": "won" if what == "closed" else "needs_response",
    }


def _customer(what: str, example: Example) -> dict[str, Any]:
    del what
    return _common("customer", "cus", example) | {
        "id": f"cus_{example.user_id}",
        "customer": None,
        "email": "test@example.com",
        "name": "Test",
    }
