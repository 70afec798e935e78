"""Bodies as Dodo Payments sends them, for `tailrace webhooks send` and the tests."""

from __future__ import annotations

import json
from typing import Any

from server.webhooks.providers.samples.example import Example

TYPES = (
    "payment.succeeded",
    "payment.failed",
    "refund.succeeded",
    "dispute.opened",
    "dispute.won",
    "dispute.lost",
    "subscription.active",
    "subscription.renewed",
    "subscription.on_hold",
    "subscription.cancelled",
    "subscription.created",
    "license_key.created",
)


def sample(type_: str, example: Example) -> bytes:
    """A body as Dodo sends it; `subscription.created` as the text has it."""
    if type_ not in TYPES:
        msg = f"no sample of {type_}: there are {', '.join(TYPES)}"
        raise ValueError(msg)
    kind, _, what = type_.partition(".")
    data = {
        "payment": _payment,
        "refund": _refund,
        "dispute": _dispute,
        "subscription": _subscription,
        "license_key": _license,
    }[kind](what, example)
    event = {"business_id": "bus_sample", "type": type_, "timestamp": example.when(), "data": data}
    return json.dumps(event, separators=(",", ":")).encode()


def _common(payload: str, example: Example) -> dict[str, Any]:
    return {
        "payload_type": payload,
        "business_id": "bus_sample",
        "brand_id": "bus_sample",
        "created_at": example.when(),
        "customer": {
            "customer_id": f"cus_{example.user_id}",
            "email": "test@example.com",
            "name": "Test",
        },
        "metadata": {"user_id": example.user_id, "credits": str(example.credits)},
    }


def _payment(what: str, example: Example) -> dict[str, Any]:
    return _common("Payment", example) | {
        "payment_id": f"pay_{example.reference}",
        "status": what,
        "total_amount": 1000,
        "tax": 0,
        "currency": "USD",
        "settlement_amount": 1000,
        "settlement_currency": "USD",
        "payment_method": "card",
        "card_last_four": "4242",
        "product_cart": [{"product_id": "pdt_credits", "quantity": 1}],
        "billing": {"country": "US", "city": "New York", "zipcode": "10001"},
        "subscription_id": None,
        "refunds": [],
        "disputes": [],
        "error_code": "CARD_DECLINED" if what == "failed" else None,
    }


def _refund(what: str, example: Example) -> dict[str, Any]:
    return _common("Refund", example) | {
        "refund_id": f"ref_{example.reference}",
        "payment_id": f"pay_{example.reference}",
        "status": what,
        "amount": 1000,
        "currency": "USD",
        "is_partial": False,
        "reason": None,
    }


def _dispute(what: str, example: Example) -> dict[str, Any]:
    common = _common("Dispute", example)
    del common["customer"], common["metadata"]  # Dodo's dispute events have neither
    return common | {
        "dispute_id": f"dis_{example.reference}",
        "payment_id": f"pay_{example.reference}",
        "dispute_stage": "dispute",
        "dispute_status": f"dispute_{what}",
        "amount": "1000",
        "currency": "USD",
        "remarks": None,
    }


def _subscription(what: str, example: Example) -> dict[str, Any]:
    if what == "created":
        return {
            "id": f"sub_{example.reference}",
            "customerId": example.user_id,
            "productId": "pdt_pro",
        }
    return _common("Subscription", example) | {
        "subscription_id": f"sub_{example.reference}",
        "product_id": "pdt_pro",
        "quantity": 1,
        "status": "active" if what == "renewed" else what,
        "currency": "USD",
        "recurring_pre_tax_amount": 1000,
        "previous_billing_date": example.when(),
        "next_billing_date": "2030-01-01T00:00:00Z",
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "cancel_at_next_billing_date": False,
        "cancelled_at": example.when() if what == "cancelled" else None,
    }


def _license(what: str, example: Example) -> dict[str, Any]:
    del what
    return {
        "payload_type": "LicenseKey",
        "id": f"lic_{example.reference}",
        "business_id": "bus_sample",
        "customer_id": f"cus_{example.user_id}",
        "payment_id": f"pay_{example.reference}",
        "product_id": "pdt_pro",
        "key": "SAMPLE-0000",
        "status": "active",
        "created_at": example.when(),
        "instances_count": 0,
    }
