"""What a handler is: a short function in its provider's file, and what it may do.

It runs in the transaction that changes its delivery's state: everything that it does through
`Effects` is committed with that, once, or not at all. It is pure itself: no I/O but by `Effects`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from server.webhooks.providers.payments import Credit, Refund, Subscription


class Event(NamedTuple):
    """A delivery as its handler sees it."""

    delivery: str
    """The delivery's id."""
    source: str
    id: str
    """The provider's id of it, or its body's hash: the same for every attempt to deliver it."""
    type: str
    key: str | None
    at: datetime
    """When it happened, as the provider says; without that, when it was received."""
    data: Any
    """The provider's object, `None` where the body has none."""


class Outcome(NamedTuple):
    """What came of it, and why it is not `done`."""

    state: Literal["done", "unhandled", "unmatched"]
    reason: str | None = None
    waits_for: str | None = None
    """The payment with which it will be done after all."""


DONE = Outcome("done")


def unhandled(reason: str) -> Outcome:
    """Nothing is to be done with it."""
    return Outcome("unhandled", reason)


def unmatched(reason: str, waits_for: str | None = None) -> Outcome:
    """It is about money, and nobody here is meant: an operator has to see it."""
    return Outcome("unmatched", reason, waits_for)


class Effects(Protocol):
    """What a handler may do, all in the transaction of its delivery."""

    async def give(self, credit: Credit | None) -> Outcome:
        """Add a payment's credits to its user, once per payment; `None`: it gives none."""

    async def take_back(self, refund: Refund | None) -> Outcome:
        """Take back what a refund or dispute holds of a payment, which may come later."""

    async def keep(self, subscription: Subscription | None) -> Outcome:
        """Keep a subscription as it stands at the event's time, unless a newer event told of it."""

    async def notify(self, user_id: str, title: str, body: str = "") -> None:
        """A notification, live on the user's pages; nothing for users that are not there."""

    async def publish(self, channel: str, type_: str, data: Any, key: str | None = None) -> None:
        """An event on a channel."""

    async def execute(self, statement: str, *arguments: Any) -> None:
        """SQL of the handler's own."""


Handler = Callable[[Event, Effects], Awaitable[Outcome]]
"""Whatever it raises is a failed attempt: it is undone, and tried again later."""
