"""Sliding windows in this process: the exact times of the requests that were let through.

Exact, because a counter per fixed window lets twice the limit pass around its edge.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from server.guard.policy import Policy, Verdict, identity

MAX_KEYS = 50_000
"""Keys that are remembered: about 35 MB when each has a few hits."""
MAX_HITS = 2_000_000
"""Times that are remembered over all keys: 32 bytes each."""
SWEEP = 2
"""Expired keys that one hit drops at most: more than it can add, and never a pause."""

Times = deque[float]


class Windows:
    """A log of times per key. Time is given by the caller, in seconds, and should never go back.

    Beyond its bounds it forgets the keys whose newest hit is oldest: an attacker with that many
    addresses gets their limits anew, but no memory.
    """

    def __init__(self, max_keys: int = MAX_KEYS, max_hits: int = MAX_HITS) -> None:
        self._max_keys = max_keys
        self._max_hits = max_hits
        # By length of the window, so that within one the first key is the first to expire.
        # Inside, the key with the newest hit stands last.
        self._logs: dict[int, OrderedDict[str, Times]] = {}
        self.keys = 0
        self.hits = 0

    def hit(self, policy: Policy, key: str, now: float) -> Verdict:
        """Count one request, unless it is refused; `reset_at` is on the clock of `now`."""
        logs = self._logs.setdefault(policy.seconds, OrderedDict())
        self._sweep(policy.seconds, logs, now)
        name = identity(policy, key)
        times = logs.get(name)
        if times is None:
            times = Times()
        while times and times[0] + policy.seconds <= now:
            times.popleft()
            self.hits -= 1
        if len(times) >= policy.requests:
            # More than that are there when the limit has been lowered since.
            frees = times[len(times) - policy.requests]
            return Verdict(policy, False, 0, frees + policy.seconds)
        if name not in logs:
            logs[name] = times
            self.keys += 1
        times.append(now)
        self.hits += 1
        logs.move_to_end(name)
        while self.keys > self._max_keys or (self.hits > self._max_hits and self.keys > 1):
            self._evict(now)
        left = policy.requests - len(times)
        return Verdict(policy, True, left, times[0] + policy.seconds)

    def _sweep(self, seconds: int, logs: OrderedDict[str, Times], now: float) -> None:
        for _ in range(SWEEP):
            if not logs or _newest(logs) + seconds > now:
                return
            self._drop(logs)

    def _evict(self, now: float) -> None:
        """Drop an expired key if there is one, else the key whose newest hit is oldest."""
        oldest: tuple[float, int] | None = None
        for seconds, logs in list(self._logs.items()):
            if not logs:
                del self._logs[seconds]
                continue
            newest = _newest(logs)
            if newest + seconds <= now:
                self._drop(logs)
                return
            if oldest is None or newest < oldest[0]:
                oldest = newest, seconds
        if oldest is not None:
            self._drop(self._logs[oldest[1]])

    def _drop(self, logs: OrderedDict[str, Times]) -> None:
        _, times = logs.popitem(last=False)
        self.keys -= 1
        self.hits -= len(times)


class Refusals:
    """Keys that Redis has refused, each with when it may ask again.

    Refused requests are not counted, so the answer stays the same until the oldest hit leaves
    the window. Asking Redis each time would let one flooding client fill the queue to Redis until
    calls time out, and the limit would open for everybody.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._until: OrderedDict[tuple[int, str], tuple[float, Verdict]] = OrderedDict()

    def note(self, key: str, verdict: Verdict, now: float, until: float) -> None:
        """Answer `verdict` for this key and its policy until then."""
        name = _refused(verdict.policy, key)
        self._until[name] = until, verdict
        self._until.move_to_end(name)
        for _ in range(min(SWEEP, len(self._until))):
            first, _ = next(iter(self._until.values()))
            if first > now and len(self._until) <= self._max_keys:
                return
            self._until.popitem(last=False)

    def get(self, policy: Policy, key: str, now: float) -> Verdict | None:
        """The refusal that still holds."""
        found = self._until.get(_refused(policy, key)) if self._until else None
        return found[1] if found is not None and found[0] > now else None

    def clear(self) -> None:
        self._until.clear()


def _refused(policy: Policy, key: str) -> tuple[int, str]:
    """A raised limit is not refused as the old one was."""
    return policy.requests, identity(policy, key)


def _newest(logs: OrderedDict[str, Times]) -> float:
    """The newest hit of the key that has rested longest; a log is never empty."""
    return next(iter(logs.values()))[-1]
