from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from server.uploads.threads import Line, Threads


@pytest.fixture
def thread() -> Iterator[Threads]:
    """A pool of one."""
    threads = Threads("test", 1)
    yield threads
    threads.close()


async def test_the_calls_of_a_line_run_one_behind_the_other() -> None:
    threads = Threads("test", 3)
    line, ran = Line(threads), list[int]()
    at_work = threading.Lock()

    def call(number: int) -> int:
        assert at_work.acquire(blocking=False)
        ran.append(number)
        at_work.release()
        return -number

    calls = []
    for number in range(3000):
        calls.append(line.start(call, number))
        if number % 7 == 0:
            await calls[-1]  # so that the thread is now at work, now about to end, now gone
        elif number % 3 == 0:
            await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [-number for number in range(3000)]
    assert ran == list(range(3000))
    threads.close()


async def test_a_call_that_fails_is_told_and_the_next_one_runs(thread: Threads) -> None:
    line = Line(thread)
    failing, next_one = line.start(int, "x"), line.start(int, "5")
    with pytest.raises(ValueError, match="invalid literal"):
        await failing
    assert await next_one == 5


async def test_one_that_is_cancelled_in_time_does_not_run(thread: Threads) -> None:
    line, ran = Line(thread), list[int]()
    go = threading.Event()
    first = line.start(go.wait, 10)
    second, third = line.start(ran.append, 2), line.start(ran.append, 3)
    second.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, third)
    assert ran == [3]


async def test_what_was_started_before_the_pool_closes_is_done(thread: Threads) -> None:
    line, other, go = Line(thread), Line(thread), threading.Event()
    calls: list[asyncio.Future[int]] = [
        line.start(go.wait, 10),
        *(line.start(int) for _ in range(3)),
        other.start(int),
    ]
    thread.close()
    go.set()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*calls) == [True, 0, 0, 0, 0]


async def test_a_long_line_lets_others_in(thread: Threads) -> None:
    long, ran = Line(thread), list[str]()
    go = threading.Event()
    first = long.start(go.wait, 10)
    rest = [long.start(ran.append, "long") for _ in range(5)]
    others = [Line(thread).start(ran.append, "another"), thread.start(ran.append, "a call")]
    go.set()
    await asyncio.gather(first, *rest, *others)
    assert ran[:2] == ["another", "a call"]
    assert ran.count("long") == 5
    assert await thread.start(lambda: "there are threads") == "there are threads"
