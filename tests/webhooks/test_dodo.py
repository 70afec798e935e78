from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from server.webhooks.providers.dodo import DODO, credits_of, refund_of, subscription_of
from server.webhooks.providers.payments import MAX_CREDITS, Credit, Refund, Subscription, promised
from server.webhooks.providers.samples.example import Example
from server.webhooks.signing.signatures import Signed


def data_of(kind: str) -> Any:
    body = DODO.sample(kind, Example(user_id="u1", credits=50, reference="9"))
    return DODO.read(body, {}, Signed("msg_1", None)).data


def test_the_texts_payment_gives_its_credits() -> None:
    assert credits_of({"customerId": "u1", "credits": 50}) == Credit("u1", 50, None, None)


def test_a_real_payment_gives_what_its_metadata_say() -> None:
    assert credits_of(data_of("payment.succeeded")) == Credit("u1", 50, "pay_9", 1000)
    assert credits_of(data_of("payment.failed")) is None


@pytest.mark.parametrize(
    ("more", "user"),
    [
        ({"metadata": {"user_id": "a", "userId": "b"}, "customerId": "c"}, "a"),
        ({"metadata": {"userId": "b"}, "customerId": "c"}, "b"),
        ({"metadata": {}, "customer": {"metadata": {"user_id": "d"}}, "customerId": "c"}, "d"),
        ({"customerId": "c", "customer": {"customer_id": "cus_1"}}, "c"),
        ({"customer": {"customer_id": "cus_1"}}, "cus_1"),
        ({"customerId": 17}, "17"),
    ],
)
def test_the_user_is_the_first_that_is_named(more: dict[str, Any], user: str) -> None:
    assert credits_of({"credits": 1} | more) == Credit(user, 1, None, None)


@pytest.mark.parametrize("value", [1, "1", "0001", 1.0, MAX_CREDITS, str(MAX_CREDITS)])
def test_metadata_hold_credits_as_text_or_number(value: object) -> None:
    found = credits_of({"customerId": "u", "metadata": {"credits": value}})
    assert found is not None
    assert found.credits == int(str(value).removesuffix(".0"))


WRONG: list[object] = [
    0,
    -1,
    1.5,
    True,
    None,
    "",
    "-1",
    "+1",
    "1.0",
    "1e3",
    " 1",
    "١",
    "\ud800",
    [1],
    {},
    1e400,
]


@pytest.mark.parametrize("value", [*WRONG, MAX_CREDITS + 1, "9" * 11, float("nan"), 10**400])
def test_anything_else_gives_none(value: object) -> None:
    found = [
        credits_of({"customerId": "u", "metadata": {"credits": value}}),
        credits_of({"customerId": "u", "credits": value}),
    ]
    # What promises nothing is no payment of credits; all else is shown, as one of no number.
    assert found == [Credit("u", None, None, None) if promised(value) else None] * 2


@pytest.mark.parametrize("value", ["1", 1.0])
def test_beside_the_metadata_credits_are_a_number_alone(value: object) -> None:
    assert credits_of({"customerId": "u", "credits": value}) == Credit("u", None, None, None)


@pytest.mark.parametrize("value", [None, "", 0, "0", False])
def test_no_credits_are_no_promise(value: object) -> None:
    assert not promised(value)


@pytest.mark.parametrize("user", ["", "a b", "é", "x" * 101, "a\0", None, True, -1, ["u"]])
def test_what_can_be_no_users_id_matches_nobody(user: object) -> None:
    assert credits_of({"customerId": user, "credits": 1}) == Credit(None, 1, None, None)


@pytest.mark.parametrize(
    "more",
    [
        {"status": "processing"},
        {"is_update_payment_method": True},
        {"charge_type": "plan_change"},
        {"charge_type": "new", "total_amount": 0},
    ],
)
def test_a_charge_that_buys_nothing_gives_none(more: dict[str, Any]) -> None:
    assert credits_of(data_of("payment.succeeded") | more) is None


def test_a_renewal_gives_credits_again_under_its_own_payment() -> None:
    renewal = {"charge_type": "renewal", "payment_id": "pay_10"}
    found = credits_of(data_of("payment.succeeded") | renewal)
    assert found == Credit("u1", 50, "pay_10", 1000)


def test_subscriptions_are_read_in_dodos_form_and_in_the_texts() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    assert subscription_of("subscription.active", data_of("subscription.active")) == Subscription(
        "sub_9", "cus_u1", "u1", "active", "pdt_pro", end, cancel_at_end=False
    )
    assert subscription_of("subscription.created", data_of("subscription.created")) == (
        Subscription("sub_9", "u1", "u1", "active", "pdt_pro", None, cancel_at_end=False)
    )
    cancelled = subscription_of("subscription.cancelled", data_of("subscription.cancelled"))
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert subscription_of("subscription.active", {"status": "active"}) is None
    assert subscription_of("payment.succeeded", data_of("subscription.active")) is None


def test_refunds_take_back_all_or_a_part_and_only_once_they_have_succeeded() -> None:
    whole = data_of("refund.succeeded")
    assert refund_of(whole) == Refund("ref_9", "pay_9", "u1", True, None, dispute=False)
    part = refund_of(whole | {"is_partial": True, "amount": 250})
    assert part == Refund("ref_9", "pay_9", "u1", True, 250, dispute=False)
    failed = refund_of(whole | {"status": "failed"})
    assert failed is not None
    assert not failed.held


@pytest.mark.parametrize(
    ("state", "held"),
    [
        ("opened", True),
        ("challenged", True),
        ("accepted", True),
        ("lost", True),
        ("won", False),
        ("cancelled", False),
    ],
)
def test_a_dispute_holds_the_payment_until_it_is_won(state: str, held: bool) -> None:
    found = refund_of(data_of("dispute.opened") | {"dispute_status": f"dispute_{state}"})
    assert found == Refund("dis_9", "pay_9", None, held, None, dispute=True)


def test_a_dispute_that_expired_or_names_no_payment_changes_nothing() -> None:
    dispute = data_of("dispute.opened")
    assert refund_of(dispute | {"dispute_status": "dispute_expired"}) is None
    assert refund_of(dispute | {"payment_id": None}) is None


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"customer": []}, {"metadata": "x"}])
def test_data_of_another_shape_mean_nothing(data: object) -> None:
    assert credits_of(data) is None
    assert subscription_of("subscription.active", data) is None
    assert refund_of(data) is None


def test_a_sample_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"payment\.succeeded"):
        DODO.sample("payment.imagined", Example())
    assert json.loads(DODO.sample("license_key.created", Example()))["data"]["key"]


CREDITS = {"pdt_small": 100, "pdt_large": 500}


def bought(*cart: tuple[str, Any]) -> Any:
    items = [{"product_id": product, "quantity": quantity} for product, quantity in cart]
    return data_of("payment.succeeded") | {
        "product_cart": items,
        "metadata": {"user_id": "u1", "credits": "1000000000"},
    }


def test_with_products_the_cart_decides_and_not_the_metadata() -> None:
    found = credits_of(bought(("pdt_small", 3), ("pdt_large", 1), ("pdt_shirt", 2)), CREDITS)
    assert found == Credit("u1", 800, "pay_9", 1000)
    assert credits_of(bought(("pdt_shirt", 1)), CREDITS) is None


@pytest.mark.parametrize("quantity", [-1, 1.5, "1", True, None, 10**9])
def test_a_cart_that_cannot_be_read_is_shown_and_gives_nothing(quantity: object) -> None:
    assert credits_of(bought(("pdt_small", quantity)), CREDITS) == Credit("u1", None, "pay_9", 1000)


def test_a_subscriptions_charge_has_no_cart() -> None:
    found = credits_of(data_of("payment.succeeded") | {"product_cart": None}, CREDITS)
    assert found == Credit("u1", None, "pay_9", 1000)


def test_a_partial_refund_of_an_unknown_sum_is_none() -> None:
    part = data_of("refund.succeeded") | {"is_partial": True, "amount": "7"}
    assert refund_of(part) is None
