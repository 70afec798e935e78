"""What webhooks do, through the real doors: credits, refunds, disputes, subscriptions."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.intake.deliveries import Delivery
from server.webhooks.intake.intake import INTAKE
from server.webhooks.providers import PROVIDERS, Provider
from server.webhooks.providers.samples.example import Example
from server.webhooks.signing.signatures import Signed
from tests.clean import clean, reused
from tests.served import Served, served
from tests.waiting import until

__all__ = ["clean", "reused"]

DODO, STRIPE, GITHUB = PROVIDERS
FIRST = datetime(2026, 11, 22, 16, 0, 0, tzinfo=UTC)
HANDLED = "SELECT state, error FROM webhook_deliveries WHERE id = $1 AND handled_at IS NOT NULL"


class Shop:
    """A server, one of its users, and providers that tell of the user's purchases."""

    def __init__(self, server: Served, user: str) -> None:
        self.server = server
        self.user = user
        self._numbers = itertools.count(1)

    async def tell(
        self, provider: Provider, type_: str, *, minute: int = 0, reference: str = "1", **data: Any
    ) -> tuple[str, str | None]:
        """Have a delivery stored as the door does; how it was handled: state and reason."""
        example = Example(self.user, 100, reference, FIRST + timedelta(minutes=minute))
        event = json.loads(provider.sample(type_, example))
        target = event["data"]["object"] if provider is STRIPE else event["data"]
        target.update(data)
        return await self.store(provider, json.dumps(event).encode())

    async def store(self, provider: Provider, body: bytes) -> tuple[str, str | None]:
        """The same for a body as it stands."""
        number = f"msg_{next(self._numbers)}"
        read = provider.read(body, {}, Signed(number, None))
        stored = await self.server.app[INTAKE].submit(
            Delivery(provider.name, number, read.type, read.key, read.at, "{}", body)
        )
        return await self.handled(stored.id)

    async def handled(self, delivery: str) -> tuple[str, str | None]:
        pool = self.server.app[POOL]
        await until(lambda: pool.fetchrow(HANDLED, delivery))
        row = await pool.fetchrow(HANDLED, delivery)
        assert row is not None
        return row["state"], row["error"]

    async def credits(self) -> int:
        query = "SELECT credits_total FROM users WHERE id = $1"
        return int(await self.server.app[POOL].fetchval(query, self.user))

    async def told(self) -> list[str]:
        """The notifications of the user, in their order."""
        query = (
            "SELECT title || ': ' || body AS told FROM notifications WHERE user_id = $1 ORDER BY id"
        )
        return [row["told"] for row in await self.server.app[POOL].fetch(query, self.user)]


@pytest.fixture
async def shop(clean: Database) -> AsyncIterator[Shop]:
    async with served(clean) as running:
        user, _ = await running.sign_in()
        yield Shop(running, user)


DONE = ("done", None)


async def test_a_payment_gives_its_credits_and_a_notification(shop: Shop) -> None:
    assert await shop.tell(DODO, "payment.succeeded") == DONE
    assert await shop.credits() == 100
    assert await shop.told() == ["Payment received: Credits added: 100."]


async def test_the_texts_own_payment_counts_once_per_body(shop: Shop) -> None:
    body = json.dumps(
        {"type": "payment.succeeded", "data": {"customerId": shop.user, "credits": 7}}
    ).encode()
    assert await shop.store(DODO, body) == DONE
    assert await shop.credits() == 7


async def test_events_of_one_payment_count_once(shop: Shop) -> None:
    states = await asyncio.gather(
        shop.tell(STRIPE, "checkout.session.completed"),
        shop.tell(STRIPE, "payment_intent.succeeded"),
        shop.tell(STRIPE, "payment_intent.succeeded", metadata={"credits": "100"}),
        shop.tell(STRIPE, "payment_intent.succeeded"),
    )
    assert set(states) <= {DONE, ("unmatched", "it gives credits and names no user")}
    assert states[0] == DONE
    assert await shop.credits() == 100
    assert len(await shop.told()) == 1


@pytest.mark.parametrize(
    ("data", "state", "reason"),
    [
        ({"metadata": {}}, "unhandled", "it gives no credits"),
        (
            {"metadata": {"credits": "5"}, "customer": {}},
            "unmatched",
            "it gives credits and names no user",
        ),
        (
            {"metadata": {"credits": "5", "user_id": "ghost"}},
            "unmatched",
            "there is no user ghost",
        ),
        (
            {"metadata": {"credits": "1,000", "user_id": "ghost"}},
            "unmatched",
            "the credits that it promises are no whole number from 1 to 1,000,000,000",
        ),
    ],
)
async def test_a_payment_that_matches_nobody_is_kept_and_says_why(
    shop: Shop, data: dict[str, Any], state: str, reason: str
) -> None:
    assert await shop.tell(DODO, "payment.succeeded", **data) == (state, reason)
    assert await shop.credits() == 0
    assert await shop.told() == []


async def test_a_refund_takes_back_what_the_payment_gave(shop: Shop) -> None:
    await shop.tell(DODO, "payment.succeeded")
    await shop.tell(DODO, "payment.succeeded", reference="2")
    assert await shop.tell(DODO, "refund.succeeded", minute=1) == DONE
    assert await shop.tell(DODO, "refund.succeeded", minute=1) == DONE
    assert await shop.credits() == 100
    assert (await shop.told())[2:] == ["Payment taken back: Credits removed: 100."]


async def test_partial_refunds_take_back_in_proportion_and_never_more_than_all(shop: Shop) -> None:
    await shop.tell(DODO, "payment.succeeded")
    for number, (amount, left) in enumerate([(250, 75), (333, 42), (900, 0)]):
        await shop.tell(
            DODO,
            "refund.succeeded",
            minute=number,
            refund_id=f"ref_{number}",
            is_partial=True,
            amount=amount,
        )
        assert await shop.credits() == left


async def test_a_refund_before_its_payment_waits_for_it(shop: Shop) -> None:
    state, reason = await shop.tell(DODO, "refund.succeeded", minute=1)
    assert (state, reason) == ("unmatched", "payment pay_1 has not given credits (yet)")
    await shop.tell(DODO, "payment.succeeded")
    assert await shop.credits() == 0
    pool = shop.server.app[POOL]
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'done'") == 2


async def test_payment_and_refund_at_the_same_moment_leave_nothing(shop: Shop) -> None:
    # Disputes of Dodo name no customer, so nothing orders them against their payments.
    numbers = [str(number) for number in range(20)]
    await asyncio.gather(
        *(shop.tell(DODO, "payment.succeeded", reference=number) for number in numbers),
        *(shop.tell(DODO, "dispute.lost", reference=number, minute=1) for number in numbers),
    )
    assert await shop.credits() == 0
    query = "SELECT count(*) FROM payments WHERE taken = credits"
    assert await shop.server.app[POOL].fetchval(query) == 20


async def test_a_dispute_holds_the_credits_until_it_is_won(shop: Shop) -> None:
    await shop.tell(STRIPE, "payment_intent.succeeded")
    await shop.tell(STRIPE, "charge.dispute.created", minute=1)
    assert await shop.credits() == 0
    await shop.tell(STRIPE, "charge.dispute.closed", minute=3)
    assert await shop.credits() == 100
    # Told late: what it says is over.
    await shop.tell(STRIPE, "charge.dispute.created", minute=2)
    assert await shop.credits() == 100
    assert (await shop.told())[1:] == [
        "Payment taken back: Credits removed: 100.",
        "Payment restored: Credits added: 100.",
    ]


async def test_of_refunds_in_the_same_second_the_larger_sum_stays(shop: Shop) -> None:
    await shop.tell(STRIPE, "payment_intent.succeeded")
    for amount, left in [(600, 40), (200, 40)]:
        await shop.tell(STRIPE, "charge.refunded", amount_refunded=amount, refunded=False)
        assert await shop.credits() == left
    await shop.tell(STRIPE, "charge.refunded")
    assert await shop.credits() == 0


async def test_a_dispute_that_was_won_in_the_second_in_which_it_began_is_over(shop: Shop) -> None:
    await shop.tell(STRIPE, "payment_intent.succeeded")
    for type_, left in [("created", 0), ("closed", 100), ("created", 100)]:
        await shop.tell(STRIPE, f"charge.dispute.{type_}")
        assert await shop.credits() == left


async def subscription(shop: Shop) -> tuple[Any, ...]:
    row = await shop.server.app[POOL].fetchrow("SELECT * FROM subscriptions")
    assert row is not None
    return row["id"], row["user_id"], row["status"], row["event_at"] - FIRST


async def test_a_subscription_is_as_its_newest_event_says(shop: Shop) -> None:
    for minute, type_, status in [
        (1, "active", "active"),
        (4, "on_hold", "on_hold"),
        (3, "renewed", "on_hold"),
        (5, "cancelled", "cancelled"),
        (5, "renewed", "cancelled"),
    ]:
        assert await shop.tell(DODO, f"subscription.{type_}", minute=minute) == DONE
        assert (await subscription(shop))[2] == status
    assert await subscription(shop) == ("sub_1", shop.user, "cancelled", timedelta(minutes=5))
    assert await shop.told() == [
        "Subscription active: pdt_pro is now active.",
        "Subscription on_hold: pdt_pro is now on_hold.",
        "Subscription cancelled: pdt_pro is now cancelled.",
    ]


async def test_the_texts_subscription_created_is_kept(shop: Shop) -> None:
    assert await shop.tell(DODO, "subscription.created") == DONE
    assert (await subscription(shop))[:3] == ("sub_1", shop.user, "active")


async def test_stripes_subscriptions_likewise(shop: Shop) -> None:
    await shop.tell(STRIPE, "customer.subscription.deleted", minute=2)
    await shop.tell(STRIPE, "customer.subscription.created", minute=1)
    assert (await subscription(shop))[:3] == ("sub_1", shop.user, "canceled")


async def test_a_subscription_that_began_and_was_paid_in_one_second_is_active(shop: Shop) -> None:
    # Stripe sends both, in no order.
    for type_, status in [("updated", "active"), ("created", "incomplete")]:
        await shop.tell(STRIPE, f"customer.subscription.{type_}", status=status)
        assert (await subscription(shop))[2] == "active"


async def test_stripe_credits_that_are_no_number_are_shown(shop: Shop) -> None:
    metadata = {"user_id": shop.user, "credits": "ten"}
    state, _ = await shop.tell(STRIPE, "payment_intent.succeeded", metadata=metadata)
    assert state == "unmatched"


async def test_what_nobody_handles_is_kept_as_unhandled(shop: Shop) -> None:
    assert await shop.store(GITHUB, b'{"action":"opened"}') == (
        "unhandled",
        "nothing is done with unknown.opened of github",
    )
    assert (await shop.tell(STRIPE, "customer.created"))[0] == "unhandled"
    assert (await shop.store(DODO, b'{"type":"subscription.active","data":7}')) == (
        "unmatched",
        "it names no subscription",
    )


async def test_an_own_source_with_a_channel_publishes_its_events(shop: Shop) -> None:
    pool = shop.server.app[POOL]
    await pool.execute(
        "INSERT INTO webhook_sources (name, scheme, channel)"
        """ VALUES ('shop', '{"kind":"standard"}', 'public.orders')"""
    )
    stream, _ = await shop.server.live("public.orders")
    own = replace(DODO, name="shop")
    assert await shop.store(own, b'{"type":"order.paid","data":{"id":"o1","total":7}}') == DONE
    [block] = await stream.messages(1)
    assert block.data["type"] == "order.paid"
    assert block.data["data"] == {"id": "o1", "total": 7}
    # What Postgres has no place for is given up, and says so.
    state, reason = await shop.store(own, b'{"type":"order.paid","data":{"id":"\\u0000"}}')
    assert (state, reason and "UntranslatableCharacter" in reason) == ("dead", True)
