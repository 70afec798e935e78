"""Sliding windows in Redis: the same exact log, shared by all processes and told by one clock."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from typing import ClassVar, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.errors import StartError
from server.guard.policy import Policy, Verdict, identity
from server.guard.windows import Refusals

PREFIX = "tailrace:rate:"
PATIENCE = 0.19
"""Seconds that a call to Redis is given; what it leaves behind is cleared up after that."""
SOCKET_TIMEOUT = 0.2
"""Seconds for each step inside, of which redis-py makes several."""
CONNECTIONS = 8
"""At once, per process. More are not faster, for one event loop reads them all, and opening many
in a crowd takes time that the first calls do not have."""
BELIEVED = 5.0
"""Seconds that a refusal is repeated without asking Redis, which may have been cleared since."""
OUTAGE = (RedisError, OSError, TimeoutError)
"""What a call raises when Redis gives no answer, or none of use."""

# One key is one sorted set: a member per counted request, scored with its time in microseconds.
# The time is the server's, so that processes with different clocks agree. A refused request
# writes nothing. Answer: allowed, remaining, microseconds until a request leaves the window.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local requests, window = tonumber(ARGV[1]), ARGV[2] * 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local count = redis.call('ZCARD', KEYS[1])
local allowed = count < requests
local rank = 0
if allowed then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[2] * 1000)
  count = count + 1
else
  rank = count - requests
end
local leaving = redis.call('ZRANGE', KEYS[1], rank, rank, 'WITHSCORES')[2]
return {allowed and 1 or 0, math.max(0, requests - count), leaving + window - now}
"""


class CrowdedError(Exception):
    """This process has more calls waiting than it can make in time; Redis may be well."""


class SharedWindows:
    """Windows in the Redis at `url`; connects at the first hit.

    `outage` and `crowded` are what a hit raises, for those who import this module only at need.
    """

    outage: ClassVar[tuple[type[Exception], ...]] = OUTAGE
    crowded: ClassVar[type[Exception]] = CrowdedError

    def __init__(self, url: str) -> None:
        try:
            self._redis = Redis.from_url(
                url,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
                # redis-py tries ten times otherwise, for 4 s on a dead server.
                retry=Retry(NoBackoff(), 0),
                max_connections=CONNECTIONS,
                # With protocol 3 redis-py also uses connections that hold unread data.
                protocol=2,
            )
        except ValueError as error:
            # Not the URL: it may hold a password.
            msg = "REDIS_URL cannot be read: write it as redis://[user:password@]host:port[/db]"
            raise StartError(msg) from error
        self._script = self._redis.register_script(SCRIPT)
        # redis-py's own pool raises when it is empty; here calls wait their turn.
        self._turn = asyncio.Semaphore(CONNECTIONS)
        # Members must differ even when two requests arrive in the same microsecond.
        self._me = secrets.token_hex(6)
        self._numbers = itertools.count()
        self._under_way: dict[int, float] = {}
        self._refusals = Refusals()

    def known(self, policy: Policy, key: str) -> Verdict | None:
        """The verdict on a key that Redis has refused and would refuse again."""
        return self._refusals.get(policy, key, time.monotonic())

    def forget(self) -> None:
        """Refuse nobody without asking Redis."""
        self._refusals.clear()

    async def hit(self, policy: Policy, key: str, *, probe: bool = False) -> Verdict:
        """Count one request, unless it is refused. A probe asks Redis even what is known.

        Raises:
            CrowdedError: no connection became free within `PATIENCE` seconds.
            one of `OUTAGE`: no answer within that time, or an error. A connection that hangs is
                closed first, and that takes redis-py up to `SOCKET_TIMEOUT` more.
        """
        call = next(self._numbers)
        asked: float | None = None
        try:
            async with asyncio.timeout(PATIENCE), self._turn:
                # Those who waited behind the request that was refused need not ask either.
                if not probe and (known := self.known(policy, key)):
                    return known
                asked = self._under_way[call] = time.monotonic()
                return await self._ask(policy, key, f"{self._me}{call:x}")
        except TimeoutError:
            # Redis has not failed who asked it when the time was nearly up.
            if asked is not None and time.monotonic() - asked > PATIENCE / 2:
                raise
            raise CrowdedError from None
        finally:
            self._under_way.pop(call, None)

    @property
    def hangs(self) -> bool:
        """Whether a call has had all its time and has not ended: it is closing a connection."""
        late = time.monotonic() - PATIENCE
        return any(asked <= late for asked in self._under_way.values())

    async def _ask(self, policy: Policy, key: str, member: str) -> Verdict:
        name = PREFIX + identity(policy, key)
        answer = await self._script([name], [policy.requests, policy.seconds, member])
        allowed, remaining, micros = cast("list[int]", answer)
        left = micros / 1e6
        # Told on our own clock: headers are computed with it, and Redis' may be another.
        verdict = Verdict(policy, bool(allowed), remaining, time.time() + left)
        if not allowed:
            now = time.monotonic()
            self._refusals.note(key, verdict, now, now + min(left, BELIEVED))
        return verdict

    async def close(self) -> None:
        await self._redis.aclose()
