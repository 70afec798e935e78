"""Rate limits: judged in Redis or in this process, and open while Redis is down.

A limit is protection, not the service: an outage of Redis must not become one of ours.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Literal

from server.guard.policy import Policy, Verdict
from server.guard.windows import Windows

if TYPE_CHECKING:
    from server.guard.shared import SharedWindows

log = logging.getLogger(__name__)

PATIENCE = 0.2
"""Seconds that a request waits at most, a little more than `shared.PATIENCE`."""
LINE = 400
"""Calls to Redis that may wait for each other; at 0.3 ms a call, more would not be in time."""
PAUSE = 1.0
"""Seconds between two attempts to reach a Redis that is down."""


class Limiter:
    """The limits of one process; `failures` and `refused` only grow."""

    def __init__(self, redis_url: str | None) -> None:
        self.mode: Literal["redis", "process"] = "redis" if redis_url else "process"
        self.failures = 0
        """Requests that Redis gave no verdict on, without those that did not ask as it was down."""
        self.refused = 0
        """Requests that were over a limit."""
        self._shared = _shared(redis_url) if redis_url else None
        self._windows = Windows()
        self._down = False
        self._try_at = 0.0
        self._calls: set[asyncio.Task[Verdict]] = set()

    @property
    def down(self) -> bool:
        """Whether Redis is configured and does not answer: requests pass uncounted."""
        return self._down

    async def hit(self, policy: Policy, key: str) -> Verdict:
        """Judge one request of `key`. Never raises, and takes 0.2 s at most."""
        if self._shared is None:
            return self.local(policy, key)
        now = time.monotonic()
        probe = self._down
        if probe:
            if now < self._try_at:
                return _open(policy)
            # Set before anything is awaited: one request a second, not all that come meanwhile.
            self._try_at = now + PAUSE
        elif known := self._shared.known(policy, key):
            return self._told(known)
        if len(self._calls) >= LINE:
            return self._told(self._unasked(policy, key))
        # A task of its own: a client that hangs up must not leave a half-read answer behind,
        # nor count as a failure of Redis.
        call = asyncio.create_task(self._ask(self._shared, policy, key, probe), name="rate limit")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        await asyncio.wait([call], timeout=PATIENCE)
        if call.done():
            return self._told(call.result())
        if self._shared.hangs:
            self._trip(self._shared, TimeoutError())
        return self._told(self._unasked(policy, key))

    def local(self, policy: Policy, key: str) -> Verdict:
        """Judge in this process alone, whatever Redis does: for attempts to sign in."""
        return self._told(self._here(policy, key))

    async def close(self) -> None:
        """Wait for the calls under way (0.4 s at most) and close the connections."""
        if self._calls:
            await asyncio.wait(self._calls)
        if self._shared is not None:
            await self._shared.close()

    async def _ask(self, shared: SharedWindows, policy: Policy, key: str, probe: bool) -> Verdict:
        try:
            verdict = await shared.hit(policy, key, probe=probe)
        except shared.crowded:
            return self._unasked(policy, key)
        except shared.outage as error:
            self.failures += 1
            self._trip(shared, error)
            return _open(policy)
        # Only the probe: an answer that was under way when Redis died says nothing.
        if probe:
            self._down = False
            log.info("Redis answers again: rate limits are counted")
        return verdict

    def _here(self, policy: Policy, key: str) -> Verdict:
        now = time.monotonic()
        verdict = self._windows.hit(policy, key, now)
        # The windows run on a clock that nobody can set back.
        return dataclasses.replace(verdict, reset_at=time.time() + verdict.reset_at - now)

    def _unasked(self, policy: Policy, key: str) -> Verdict:
        """The verdict on a request that found no turn to ask.

        Redis may be well, so it is not open: whoever floods would bring that about.
        """
        self.failures += 1
        return _open(policy) if self._down else self._here(policy, key)

    def _trip(self, shared: SharedWindows, error: Exception) -> None:
        if self._down:
            return
        self._down = True
        self._try_at = time.monotonic() + PAUSE
        shared.forget()
        why = str(error) or f"no answer ({type(error).__name__})"
        log.warning("Redis is down, requests pass without rate limits until it answers: %s", why)

    def _told(self, verdict: Verdict) -> Verdict:
        self.refused += not verdict.allowed
        return verdict


def _shared(redis_url: str) -> SharedWindows:
    # redis-py takes some 40 ms of a start: only who has a Redis waits for it.
    from server.guard.shared import SharedWindows  # noqa: PLC0415

    return SharedWindows(redis_url)


def _open(policy: Policy) -> Verdict:
    return Verdict(policy, True, policy.requests, time.time(), counted=False)
