"""How many streams there may be: in all, begun in a second, of one address, of one user.

EventSource gives up for good on any answer but 200, so none of these is an error: who is over a
limit is told `bye: overload`, and when to come again. Kept by one process for its own streams.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Literal, NamedTuple

from server.auth.principal import Principal
from server.settings import Settings
from server.stream.wire import ByeReason, spread

CROWDED_RETRY = 20.0
"""Seconds, at random up to half as many more, until who has too many streams of his own may ask
again: unlike an overload of the server this does not pass by waiting a moment."""

Limit = Literal["shutdown", "total", "per_second", "per_address", "per_user", "database"]


class Limits(NamedTuple):
    """`None` is no limit. `max_age`: seconds after which a stream is told to come again."""

    total: int | None = None
    per_second: int | None = None
    per_address: int | None = None
    per_user: int | None = None
    max_age: float | None = None


def limits_of(settings: Settings) -> Limits:
    """As the settings have them; `TAILRACE_LIMITS=off` leaves only the age, which is no limit."""
    age = settings.max_age or None
    if settings.limits == "off":
        return Limits(max_age=age)
    return Limits(
        settings.max_streams,
        settings.stream_rate,
        settings.streams_per_address,
        settings.streams_per_user,
        age,
    )


class Refusal(NamedTuple):
    """Why there is no stream now, and after how many milliseconds to ask again."""

    limit: Limit
    retry: int

    @property
    def reason(self) -> ByeReason:
        """As the client is told."""
        return "shutdown" if self.limit == "shutdown" else "overload"


class Population:
    """Counts the open streams of addresses and users. `refused`: how often which limit held."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.total = 0
        self.refused: Counter[Limit] = Counter()
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._allowance = float(limits.per_second or 0)
        self._at = time.monotonic()
        self._second = 0
        self._begun: Counter[str] = Counter()

    def begin(self, address: str) -> Refusal | None:
        """Before anything is looked up for a new stream: whether it can be had at all."""
        limits = self.limits
        if limits.total is not None and self.total >= limits.total:
            return self.refuse("total")
        if limits.per_address is not None and self._addresses[address] >= limits.per_address:
            return self.refuse("per_address")
        if limits.per_second is not None and not self._spend(limits.per_second, address):
            return self.refuse("per_second")
        return None

    def give_back(self) -> None:
        """A stream that was let begin may not be had at all: it has cost the others nothing."""
        self._allowance += 1

    def add(self, address: str, who: Principal) -> Refusal | None:
        """Count a stream in, which is to be `drop`ped later even when it is one too many."""
        self.total += 1
        self._addresses[address] += 1
        limits, user = self.limits, payer(who)
        if user is not None:
            self._users[user] += 1
            if limits.per_user is not None and self._users[user] > limits.per_user:
                return self.refuse("per_user")
        # Asked again: others may have begun while this one looked up where it starts.
        if limits.total is not None and self.total > limits.total:
            return self.refuse("total")
        if limits.per_address is not None and self._addresses[address] > limits.per_address:
            return self.refuse("per_address")
        return None

    def drop(self, address: str, who: Principal) -> None:
        """A stream that was added has ended."""
        self.total -= 1
        _less(self._addresses, address)
        user = payer(who)
        if user is not None:
            _less(self._users, user)

    def refuse(self, limit: Limit) -> Refusal:
        """Note a refusal."""
        self.refused[limit] += 1
        if limit in ("per_address", "per_user"):
            return Refusal(limit, int(1000 * CROWDED_RETRY * random.uniform(1, 1.5)))
        return Refusal(limit, spread(self.total))

    def lifetime(self) -> float | None:
        """Seconds that a new stream may last: not the same for all that came together."""
        age = self.limits.max_age
        return None if age is None else age * random.uniform(0.75, 1)

    def _spend(self, rate: int, address: str) -> bool:
        """A token bucket that holds one second's worth, of which one address gets half."""
        now = time.monotonic()
        if int(now) != self._second:
            self._second = int(now)
            self._begun.clear()
        if self._begun[address] >= max(1, rate // 2):
            return False
        self._allowance = min(float(rate), self._allowance + (now - self._at) * rate)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        self._begun[address] += 1
        return True


def payer(who: Principal) -> str | None:
    """The user whose streams count: his own, and those of tokens that he had made.

    A server's key makes tokens for browsers of many people, so it is not counted as one.
    """
    if who.user_id is not None:
        return who.user_id
    if who.kind == "token" and who.name is not None and who.name.startswith("user:"):
        return who.name.removeprefix("user:")
    return None


def _less(counter: Counter[str], name: str) -> None:
    if counter[name] > 1:
        counter[name] -= 1
    else:
        del counter[name]
