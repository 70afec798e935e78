from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from server.webhooks.providers.payments import Credit, Refund, Subscription
from server.webhooks.providers.samples.example import Example
from server.webhooks.providers.stripe import STRIPE, credits_of, refund_of, subscription_of
from server.webhooks.signing.signatures import Signed

EXAMPLE = Example(user_id="u1", credits=50, reference="9")


def data_of(kind: str) -> Any:
    return STRIPE.read(STRIPE.sample(kind, EXAMPLE), {}, Signed(None, 1.0)).data


def test_an_events_id_is_its_own_and_its_key_the_customer() -> None:
    envelope = STRIPE.read(STRIPE.sample("invoice.paid", EXAMPLE), {}, Signed(None, 1.0))
    assert envelope.id == "evt_9_invoice_paid"
    assert envelope.key == "cus_u1"
    assert envelope.at == EXAMPLE.at
    created = STRIPE.read(STRIPE.sample("customer.created", EXAMPLE), {}, Signed(None, 1.0))
    assert created.key == "cus_u1"


def test_a_session_and_its_payment_intent_are_one_payment() -> None:
    one = Credit("u1", 50, "pi_9", 1000)
    assert credits_of(data_of("checkout.session.completed")) == one
    assert credits_of(data_of("payment_intent.succeeded")) == one


def test_the_sessions_reference_names_the_user_too() -> None:
    session = data_of("checkout.session.completed") | {"metadata": {"credits": "5"}}
    assert credits_of(session) == Credit("u1", 5, "pi_9", 1000)
    nobody = Credit(None, 5, "pi_9", 1000)
    assert credits_of(session | {"client_reference_id": None}) == nobody


def test_a_session_without_a_payment_is_the_payment_itself() -> None:
    free = {"payment_intent": None, "payment_status": "no_payment_required", "amount_total": 0}
    found = credits_of(data_of("checkout.session.completed") | free)
    assert found == Credit("u1", 50, "cs_test_9", 0)


@pytest.mark.parametrize("more", [{"payment_status": "unpaid"}, {"mode": "subscription"}])
def test_an_unpaid_session_and_one_of_a_subscription_give_none(more: dict[str, Any]) -> None:
    assert credits_of(data_of("checkout.session.completed") | more) is None


def test_an_invoice_gives_what_its_subscription_promises_for_each_period() -> None:
    invoice = data_of("invoice.paid")
    assert credits_of(invoice) == Credit("u1", 50, "in_9", 1000)
    assert credits_of(invoice | {"payment_intent": {"id": "pi_3"}}) == Credit(
        "u1", 50, "pi_3", 1000
    )
    assert credits_of(invoice | {"billing_reason": "subscription_update"}) is None
    assert credits_of(invoice | {"amount_paid": 0}) is None
    assert credits_of(invoice | {"status": "open"}) is None
    before_2025 = {"subscription_details": invoice["parent"]["subscription_details"], "parent": 0}
    assert credits_of(invoice | before_2025) == Credit("u1", 50, "in_9", 1000)
    own = {"metadata": {"user_id": "u2", "credits": "7"}, "billing_reason": "manual"}
    assert credits_of(invoice | own) == Credit("u2", 7, "in_9", 1000)


def test_subscriptions_are_read_in_the_forms_of_old_and_new_versions() -> None:
    data = data_of("customer.subscription.updated")
    end = datetime(2026, 12, 22, 16, 4, 5, tzinfo=UTC)
    expected = Subscription("sub_9", "cus_u1", "u1", "active", "prod_pro", end, cancel_at_end=False)
    assert subscription_of("customer.subscription.updated", data) == expected
    old = data | {"current_period_end": 1893456000, "customer": {"id": "cus_2"}, "items": None}
    assert subscription_of("customer.subscription.updated", old) == expected._replace(
        customer="cus_2", product=None, period_end=datetime(2030, 1, 1, tzinfo=UTC)
    )
    deleted = subscription_of(
        "customer.subscription.deleted", data_of("customer.subscription.deleted")
    )
    assert deleted is not None
    assert deleted.status == "canceled"


def test_a_charges_refunds_are_their_sum_under_the_charges_id() -> None:
    charge = data_of("charge.refunded")
    assert refund_of(charge) == Refund("ch_9", "pi_9", "u1", True, None, dispute=False)
    part = charge | {"refunded": False, "amount_refunded": 400, "payment_intent": None}
    assert refund_of(part) == Refund("ch_9", "ch_9", "u1", True, 400, dispute=False)


@pytest.mark.parametrize(
    ("status", "held"),
    [
        ("needs_response", True),
        ("under_review", True),
        ("lost", True),
        ("won", False),
        ("prevented", False),
        ("warning_needs_response", False),
        ("warning_closed", False),
    ],
)
def test_a_dispute_holds_its_amount_until_it_is_won(status: str, held: bool) -> None:
    found = refund_of(data_of("charge.dispute.created") | {"status": status})
    assert found == Refund("dp_9", "pi_9", None, held, 1000, dispute=True)


def test_a_disputes_status_that_nobody_knows_changes_nothing() -> None:
    assert refund_of(data_of("charge.dispute.created") | {"status": "imagined"}) is None


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"object": []}, {"object": "invoice"}])
def test_data_of_another_shape_mean_nothing(data: object) -> None:
    assert credits_of(data) is None
    assert subscription_of("customer.subscription.updated", data) is None
    assert refund_of(data) is None
