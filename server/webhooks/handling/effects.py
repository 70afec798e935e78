"""What handlers do, as SQL in the transaction that also changes the delivery's state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from server.webhooks.providers.handlers import DONE, Event, Outcome, unhandled, unmatched
from server.webhooks.providers.payments import ENDED, MAX_CREDITS, Credit, Refund, Subscription

if TYPE_CHECKING:
    from server.db.pool import Either

_COUNTED = "SELECT EXISTS (SELECT FROM public.payments WHERE source = $1 AND id = $2)"
_GIVE = "SELECT tailrace.give_credits($1, $2, $3, $4, $5, $6)"
_TAKE_BACK = "SELECT tailrace.take_back($1, $2, $3, $4, $5, $6, $7, $8)"
_KEEP = "SELECT tailrace.keep_subscription($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_NOTIFY = "SELECT tailrace.notify_user($1, $2, $3)"
_PUBLISH = "SELECT tailrace.publish($1, $2, $3::jsonb, $4)"

_NOBODY = "it gives credits and names no user"
_NUMBER = f"the credits that it promises are no whole number from 1 to {MAX_CREDITS:,}"


class Applied:
    """The effects of one event. See `server.webhooks.providers.handlers.Effects`."""

    def __init__(self, connection: Either, event: Event) -> None:
        self._connection = connection
        self._event = event

    async def give(self, credit: Credit | None) -> Outcome:
        """Once per (source, payment), whichever of its events comes first."""
        if credit is None:
            return unhandled("it gives no credits")
        # Without an id of its own a payment is as unique as its message.
        payment = credit.payment or f"message:{self._event.id}"
        if credit.user_id is None or credit.credits is None:
            counted = await self._connection.fetchval(_COUNTED, self._event.source, payment)
            return DONE if counted else unmatched(_NOBODY if credit.user_id is None else _NUMBER)
        given = await self._connection.fetchval(
            _GIVE,
            self._event.source,
            payment,
            credit.user_id,
            credit.credits,
            credit.amount,
            self._event.delivery,
        )
        return unmatched(f"there is no user {credit.user_id}") if given == "nobody" else DONE

    async def take_back(self, refund: Refund | None) -> Outcome:
        """In proportion to the sum that is held, at most what the payment gave."""
        if refund is None:
            return unmatched("it takes something back, and names no payment")
        known = await self._connection.fetchval(
            _TAKE_BACK,
            self._event.source,
            refund.id,
            refund.payment,
            refund.dispute,
            refund.held,
            refund.amount,
            self._event.at,
            self._event.delivery,
        )
        if known:
            return DONE
        why = f"payment {refund.payment} has not given credits (yet)"
        return unmatched(why, waits_for=refund.payment)

    async def keep(self, subscription: Subscription | None) -> Outcome:
        """By the event's time, whatever the order of arrival."""
        if subscription is None:
            return unmatched("it names no subscription")
        await self._connection.execute(
            _KEEP,
            self._event.source,
            subscription.id,
            subscription.customer,
            subscription.user_id,
            subscription.status,
            subscription.product,
            subscription.period_end,
            subscription.cancel_at_end,
            self._event.at,
            self._event.delivery,
            list(ENDED),
        )
        return DONE

    async def notify(self, user_id: str, title: str, body: str = "") -> None:
        """A row in `notifications`, which is watched."""
        await self._connection.execute(_NOTIFY, user_id, title, body)

    async def publish(self, channel: str, type_: str, data: Any, key: str | None = None) -> None:
        """Into the outbox, as any SQL client does."""
        await self._connection.execute(_PUBLISH, channel, type_, json.dumps(data), key)

    async def execute(self, statement: str, *arguments: Any) -> None:
        """Whatever the handler wants."""
        await self._connection.execute(statement, *arguments)
