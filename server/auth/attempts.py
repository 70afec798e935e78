"""Limits of guessing: so many failures an account, and so many an address, in this process.

Unlike the rate limits they can't be switched off and ask nobody else: guessing must not become
possible because Redis is down. An attempt counts as a failure until it has succeeded, so that a
thousand guesses at once are no better than one after the other.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from server.errors import RATE, ApiError


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` in any `seconds`."""

    count: int
    seconds: float


PER_ACCOUNT = Limit(5, 900)
PER_ADDRESS = Limit(30, 900)
MAX_KEYS = 20_000
"""Accounts, and addresses, that are remembered; see `Window` for which of them give way."""


class Window:
    """Times of one kind of attempts, by whom they are counted. Time is monotonic, in seconds.

    When there are too many keys, the one whose last attempt is oldest gives way (so those that are
    over go first), but one that is locked only if all are: else a flood of others would unlock it.
    """

    def __init__(self, limit: Limit, max_keys: int) -> None:
        self._limit = limit
        self._max_keys = max_keys
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def wait(self, key: str, now: float) -> float:
        """Seconds until one more may be tried, 0 if it may now."""
        times = self._times.get(key)
        while times and times[0] + self._limit.seconds <= now:
            times.popleft()
        if not times or len(times) < self._limit.count:
            return 0
        return times[0] + self._limit.seconds - now

    def add(self, key: str, now: float) -> None:
        self._times.setdefault(key, deque()).append(now)
        self._times.move_to_end(key)
        if len(self._times) > self._max_keys:
            del self._times[self._dispensable(key, now)]

    def take_back(self, key: str) -> None:
        """Forget the latest: it was no attempt after all."""
        times = self._times.get(key)
        if times:
            times.pop()
        if not times:
            self._times.pop(key, None)

    def clear(self, key: str) -> None:
        self._times.pop(key, None)

    def _dispensable(self, added: str, now: float) -> str:
        """Never the one just added: it would not be counted at all."""
        free = (key for key in self._times if key != added and self.wait(key, now) == 0)
        return next(free, None) or next(iter(self._times))


class Attempts:
    """Who tried to sign in how often. An account counts whether it exists or not."""

    def __init__(
        self,
        *,
        per_account: Limit = PER_ACCOUNT,
        per_address: Limit = PER_ADDRESS,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accounts = Window(per_account, max_keys)
        self.addresses = Window(per_address, max_keys)
        self._clock = clock

    def begin(self, email: str, address: str) -> None:
        """Count an attempt; `succeeded` or `undone` follow, if it does not fail.

        Raises:
            ApiError: 429, with the time from which on there is another.
        """
        account, now = email.lower(), self._clock()
        wait = max(self.accounts.wait(account, now), self.addresses.wait(address, now))
        if wait > 0:
            raise _too_many(wait)
        self.accounts.add(account, now)
        self.addresses.add(address, now)

    def succeeded(self, email: str, address: str) -> None:
        """Forget the account's failures, and that of the address that was none; others stay.

        One address may be a whole office, but one account of one's own must not free guesses.
        """
        self.accounts.clear(email.lower())
        self.addresses.take_back(address)

    def undone(self, email: str, address: str) -> None:
        """The password was not looked at: it counts for nothing."""
        self.accounts.take_back(email.lower())
        self.addresses.take_back(address)


def _too_many(wait: float) -> ApiError:
    until = datetime.fromtimestamp(time.time() + wait, UTC).isoformat(timespec="milliseconds")
    return ApiError(
        RATE,
        "too many attempts to sign in",
        headers={"Retry-After": str(math.ceil(wait))},
        more={"resetAt": until.replace("+00:00", "Z")},
    )


ATTEMPTS = web.AppKey("attempts", Attempts)
