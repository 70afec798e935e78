"""What every payment provider's events come down to: credits given, taken back, subscriptions.

The providers' files map their payloads to these; the handlers know only these.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

MAX_CREDITS = 1_000_000_000
"""Credits of one payment; more is a mistake, and is shown instead of given."""
MAX_AMOUNT = 2**53

ENDED = frozenset({"canceled", "cancelled", "expired", "failed", "incomplete_expired"})
"""States of a subscription, in the providers' words, that nothing follows."""

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


class Credit(NamedTuple):
    """A payment that gives credits. Several events may tell of one payment: it counts once."""

    user_id: str | None
    """`None`: it promises credits, and says to nobody."""
    credits: int | None
    """`None`: it promises some, and what stands there is no number of credits."""
    payment: str | None
    """The provider's id of the payment; the source text's form has none."""
    amount: int | None
    """What was paid, in the currency's smallest unit, to take back a part in proportion."""


class Subscription(NamedTuple):
    """A subscription as it stands since `at` (the event's time, from the envelope)."""

    id: str
    customer: str | None
    user_id: str | None
    status: str
    """The provider's own word."""
    product: str | None
    period_end: datetime | None
    cancel_at_end: bool


class Refund(NamedTuple):
    """A refund, or a dispute. What a later event says of the same `id` replaces this."""

    id: str
    payment: str
    user_id: str | None
    held: bool
    """Whether the payment's credits are to be gone; `False`: not, or they come back."""
    amount: int | None
    """How much of the payment, all told under this id, in the smallest unit; `None`: all of it."""
    dispute: bool


def user_id(*values: Any) -> str | None:
    """The first of `values` that can be the id of one of our users."""
    for value in values:
        if isinstance(value, str) and _USER.fullmatch(value):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
            return str(value)
    return None


def credits_in(value: Any, *, texts: bool) -> int | None:
    """A number of credits: a positive whole one up to `MAX_CREDITS`.

    `texts`: whether decimal digits are one, too, as metadata has them (there 100 may be 100.0).
    """
    if texts and isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if texts and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_CREDITS else None


def promised(*values: Any) -> bool:
    """Whether one of `values` promises credits, in whatever words."""
    return any(value not in (None, "", 0, "0") for value in values)


def amount(value: Any) -> int | None:
    """A sum of money in the smallest unit, not negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_AMOUNT else None
