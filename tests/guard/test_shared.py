from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from server.errors import StartError
from server.guard.limiter import Limiter
from server.guard.policy import Policy, Verdict
from server.guard.shared import PREFIX, SharedWindows
from tests.guard.valkey import Valkey
from tests.waiting import until

FIFTY = Policy("fifty", 50, 60)
THREE = Policy("three", 3, 1)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is held here, exactly; on a busy machine a healthy Redis may take longer
    than a request waits for it. How long that is, is held by test_limiter.py."""
    for name in ("shared.PATIENCE", "shared.SOCKET_TIMEOUT", "limiter.PATIENCE"):
        monkeypatch.setattr(f"server.guard.{name}", 10.0)


@pytest.fixture
async def shared(valkey: Valkey) -> AsyncIterator[SharedWindows]:
    windows = SharedWindows(valkey.url)
    yield windows
    await windows.close()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


async def test_two_processes_share_one_limit_exactly(valkey: Valkey) -> None:
    limiters = [Limiter(valkey.url), Limiter(valkey.url)]
    verdicts = await asyncio.gather(
        *(limiters[number % 2].hit(FIFTY, "a") for number in range(200))
    )
    for limiter in limiters:
        await limiter.close()
    assert all(verdict.counted for verdict in verdicts)
    assert Counter(verdict.allowed for verdict in verdicts) == {True: 50, False: 150}
    left = sorted(verdict.remaining for verdict in verdicts if verdict.allowed)
    assert left == list(range(50))
    assert sum(limiter.refused for limiter in limiters) == 150
    assert not any(limiter.failures for limiter in limiters)


async def test_a_verdict_tells_the_time_on_our_clock(shared: SharedWindows) -> None:
    before = time.time()
    verdicts = [await shared.hit(THREE, "a", probe=True) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    # All tell when the first leaves the window.
    for verdict in verdicts:
        assert before + 0.99 <= verdict.reset_at <= time.time() + 1.01


async def test_a_refused_request_passes_when_it_was_told(shared: SharedWindows) -> None:
    verdicts: list[tuple[float, Verdict]] = []

    async def passes_again() -> bool:
        verdicts.append((time.time(), await shared.hit(THREE, "a")))
        return len(verdicts) > 4 and verdicts[-1][1].allowed

    await until(passes_again)
    told = verdicts[3][1].reset_at
    assert abs(verdicts[-1][0] - told) < 0.1
    assert all(not verdict.allowed for _, verdict in verdicts[3:-1])


async def test_a_refused_request_is_not_counted_and_keys_expire(
    shared: SharedWindows, redis: Redis
) -> None:
    for _ in range(10):
        await shared.hit(FIFTY, "a")
        await shared.hit(Policy("one", 1, 3600), "a", probe=True)
    assert await redis.zcard(f"{PREFIX}fifty:60:a") == 10
    assert await redis.zcard(f"{PREFIX}one:3600:a") == 1
    assert 59_000 < await redis.pttl(f"{PREFIX}fifty:60:a") <= 60_000
    assert 3_599_000 < await redis.pttl(f"{PREFIX}one:3600:a") <= 3_600_000


async def test_long_keys_are_hashed(shared: SharedWindows, redis: Redis) -> None:
    await shared.hit(THREE, "k" * 5000)
    (name,) = map(str, await redis.keys())
    assert name.startswith(f"{PREFIX}three:1:sha256-")
    assert len(name) < 120


async def test_a_lowered_limit_counts_what_has_passed(shared: SharedWindows) -> None:
    for _ in range(3):
        last = await shared.hit(Policy("p", 3, 60), "a")
    refused = await shared.hit(Policy("p", 1, 60), "a")
    assert not refused.allowed
    assert refused.reset_at > last.reset_at


async def test_a_refused_key_is_not_asked_for_again(shared: SharedWindows, redis: Redis) -> None:
    for _ in range(4):
        await shared.hit(THREE, "a")
    known = shared.known(THREE, "a")
    assert known is not None
    await redis.flushall()
    assert await shared.hit(THREE, "a") == known
    shared.forget()
    assert (await shared.hit(THREE, "a")).allowed


async def test_a_flood_of_one_client_opens_the_limit_for_nobody(valkey: Valkey) -> None:
    limiter = Limiter(valkey.url)
    flood = await asyncio.gather(*(limiter.hit(FIFTY, "flood") for _ in range(5000)))
    after = await limiter.hit(FIFTY, "somebody")
    await limiter.close()
    # Redis lets 50 pass, and this process 50 of those that found no turn to ask.
    assert sum(verdict.allowed for verdict in flood) <= 100
    assert (after.counted, limiter.down) == (True, False)


@pytest.mark.parametrize("url", ["redis://localhost:port/0", "redis://u:secret@[::1/0"])
def test_a_url_that_cannot_be_read_stops_the_start_without_telling_it(url: str) -> None:
    with pytest.raises(StartError, match="REDIS_URL") as caught:
        SharedWindows(url)
    assert "secret" not in str(caught.value)
