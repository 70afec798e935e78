"""What happens at the providers, by a seed: purchases, refunds, disputes, subscriptions, pushes.

Each story is several events, and they are sent nearly in their order: near enough that some
overtake others, a refund its payment among them, as it is with real senders that retry.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from server.webhooks.providers.dodo import DODO
from server.webhooks.providers.github import GITHUB
from server.webhooks.providers.samples.example import Example
from server.webhooks.providers.stripe import STRIPE
from tests.webhooks.oracle.model import Back, Kept, Message, Paid

START = datetime(2026, 11, 1, tzinfo=UTC)
REACH = 40.0
"""How many places an event may be sent too early or too late."""
PRICE = 1000
STRANGER = "nobody-here"
DODO_STATES = ("active", "renewed", "on_hold", "cancelled")
STRIPE_STATES = ("trialing", "active", "past_due", "unpaid", "paused")


class Plan:
    """Messages without end. `users`: the ids of those who buy."""

    def __init__(self, seed: int, users: int = 16, repositories: int = 3) -> None:
        self.users = [f"user-{number}" for number in range(users)]
        self._rng = random.Random(f"{seed}/plan")
        self._repositories = repositories
        self._number = 0
        self._place = 0.0

    def messages(self) -> Iterator[Message]:
        """In the order in which senders are to take them."""
        heap: list[tuple[float, int, Message]] = []
        count = 0
        while True:
            for message in self._story():
                self._place += 1
                count += 1
                place = self._place + self._rng.uniform(-REACH, REACH)
                heapq.heappush(heap, (place, count, message))
            while heap and heap[0][0] < self._place - REACH:
                yield heapq.heappop(heap)[2]

    def _story(self) -> list[Message]:
        self._number += 1
        stories = (self._dodo, self._stripe, self._text, self._dodo_subscribed)
        more = (self._stripe_subscribed, self._pushed, self._strange)
        return self._rng.choices((*stories, *more), (6, 6, 2, 2, 2, 3, 1))[0]()

    def _example(self, second: int = 0, *, user: str | None = None, worth: int = 0) -> Example:
        return Example(
            user_id=user or self._rng.choice(self.users),
            credits=worth or 10 * self._rng.randint(1, 50),
            reference=f"{self._number}",
            at=START + timedelta(seconds=60 * self._number + second),
        )

    # --- Dodo -------------------------------------------------------------------------------

    def _dodo(self) -> list[Message]:
        """A purchase, now and then told twice under two ids, and what becomes of it."""
        of, payment = self._example(), f"pay_{self._number}"
        paid = Paid(of.user_id, payment, of.credits)
        found = [_dodo_message("payment.succeeded", of, paid)]
        if self._rng.random() < 0.2:
            found.append(_dodo_message("payment.succeeded", of, paid, mark="again"))
        fate = self._rng.choice(("kept", "kept", "refund", "parts", "won", "lost"))
        if fate == "refund":
            found.append(self._refund(of, payment, 0))
        elif fate == "parts":
            found += [self._refund(of, payment, part) for part in (200, 300)]
        elif fate in ("won", "lost"):
            found += [self._dispute(of, payment, what) for what in ("opened", fate)]
        return found

    def _refund(self, of: Example, payment: str, part: int) -> Message:
        """`part` of the price; 0: all of it."""
        mark = str(part or "all")
        back = Back(payment, f"ref_{mark}_{of.reference}", _seconds(of), True, _share(of, part))
        changes: dict[str, Any] = {"refund_id": back.id}
        if part:
            changes |= {"is_partial": True, "amount": part}
        return _dodo_message("refund.succeeded", of, back, mark=mark, **changes)

    def _dispute(self, of: Example, payment: str, what: str) -> Message:
        of = self._example(1 if what == "opened" else 2, user=of.user_id, worth=of.credits)
        back = Back(payment, f"dis_{of.reference}", _seconds(of), what != "won", of.credits)
        return _dodo_message(f"dispute.{what}", of, back)._replace(key=payment)

    def _text(self) -> list[Message]:
        """A purchase in the source text's form."""
        of = self._example()
        data = {"customerId": of.user_id, "credits": of.credits, "order": of.reference}
        body = json.dumps({"type": "payment.succeeded", "data": data}).encode()
        return [
            Message(
                "dodo text",
                f"body-sha256:{hashlib.sha256(body).hexdigest()}",
                "payment.succeeded",
                of.user_id,
                body,
                Paid(of.user_id, None, of.credits),
            )
        ]

    def _dodo_subscribed(self) -> list[Message]:
        user, found = self._rng.choice(self.users), []
        for second in range(self._rng.randint(2, 5)):
            of = self._example(second, user=user)
            what = self._rng.choice(DODO_STATES)
            status = "active" if what == "renewed" else what
            kept = Kept(f"sub_{of.reference}", user, status, _seconds(of))
            found.append(_dodo_message(f"subscription.{what}", of, kept, mark=str(second)))
        return found

    def _strange(self) -> list[Message]:
        """Nothing to be done with it, and a payment of somebody who is not there."""
        payment = f"pay_{self._number}"
        key = _dodo_message("license_key.created", self._example(), None)._replace(key=payment)
        of = self._example(user=STRANGER, worth=10)
        paid = _dodo_message("payment.succeeded", of, Paid(STRANGER, payment, 10))
        return [key, paid._replace(matched=False)]

    # --- Stripe -----------------------------------------------------------------------------

    def _stripe(self) -> list[Message]:
        """A purchase, which two events tell of, and what becomes of it."""
        of, payment = self._example(), f"pi_{self._number}"
        paid = Paid(of.user_id, payment, of.credits)
        found = [
            _stripe_message("checkout.session.completed", of, paid),
            _stripe_message("payment_intent.succeeded", of, paid),
        ]
        fate = self._rng.choice(("kept", "kept", "refund", "parts", "won"))
        if fate in ("refund", "parts"):
            # The charge's sum of all refunds so far.
            for second, part in enumerate((200, 500) if fate == "parts" else (0,)):
                now = self._example(second + 1, user=of.user_id, worth=of.credits)
                back = Back(payment, f"ch_{of.reference}", _seconds(now), True, _share(of, part))
                changes = {"amount_refunded": part, "refunded": False} if part else {}
                mark = str(second)
                found.append(_stripe_message("charge.refunded", now, back, mark=mark, **changes))
        elif fate == "won":
            for second, what in enumerate(("created", "closed")):
                now = self._example(second + 1, user=of.user_id, worth=of.credits)
                held = what == "created"
                back = Back(payment, f"dp_{of.reference}", _seconds(now), held, of.credits)
                message = _stripe_message(f"charge.dispute.{what}", now, back)
                found.append(message._replace(key=payment))
        return found

    def _stripe_subscribed(self) -> list[Message]:
        user, found = self._rng.choice(self.users), []
        for second in range(self._rng.randint(2, 5)):
            of, status = self._example(second, user=user), self._rng.choice(STRIPE_STATES)
            kept = Kept(f"sub_{of.reference}", user, status, _seconds(of))
            type_ = "customer.subscription.updated"
            found.append(_stripe_message(type_, of, kept, mark=str(second), status=status))
        return found

    # --- GitHub -----------------------------------------------------------------------------

    def _pushed(self) -> list[Message]:
        of, found = self._example(), []
        repository = f"octo/demo-{self._rng.randrange(self._repositories)}"
        for type_ in ("push", "issues.opened"):
            value = json.loads(GITHUB.sample(type_, of))
            value["repository"]["full_name"] = repository
            id_ = f"guid-{of.reference}-{type_}"
            body = json.dumps(value).encode()
            found.append(Message("github", id_, type_, repository, body, None))
        return found


def _seconds(of: Example) -> int:
    return of.seconds()


def _share(of: Example, part: int) -> int:
    """The credits that a part of the price is; 0: all. The numbers are chosen to come out even."""
    return of.credits * part // PRICE if part else of.credits


def _dodo_message(
    type_: str, of: Example, tells: Paid | Back | Kept | None, mark: str = "", **changes: Any
) -> Message:
    value = json.loads(DODO.sample(type_, of))
    value["data"] |= changes
    id_ = f"msg_{of.reference}_{type_}{mark}"
    return Message("dodo", id_, type_, f"cus_{of.user_id}", json.dumps(value).encode(), tells)


def _stripe_message(
    type_: str, of: Example, tells: Paid | Back | Kept | None, mark: str = "", **changes: Any
) -> Message:
    value = json.loads(STRIPE.sample(type_, of))
    value["id"] += mark
    value["data"]["object"] |= changes
    body = json.dumps(value).encode()
    return Message("stripe", value["id"], type_, f"cus_{of.user_id}", body, tells)
