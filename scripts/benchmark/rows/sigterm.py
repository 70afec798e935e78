"""SIGTERM with thousands of streams open: when the server has ended, and what anybody missed."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from subprocess import TimeoutExpired

import uvloop

from scripts.benchmark.clients import Received, connect, first_failure
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.log import Log
from scripts.benchmark.meter import Meter
from scripts.benchmark.process import raise_files
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import CHANNEL, Target, World

CLIENTS = 5_000
EVERY = 0.2
"""Seconds between events."""
TOGETHER = 200
"""Connects in the making at a time."""
EXIT, BACK = "from SIGTERM to its end", "until the last is on the other server"
GOAL = Goal("at most", 5.0)
SECONDS = 90.0


def run(world: World, result: Result) -> None:
    """Two processes on one database."""
    options = world.options
    clients = options.population(CLIENTS)
    result.method = (
        f"{clients:,} clients on one of two processes, five events a second. It gets SIGTERM; each"
        " client waits as long as its `bye` says and connects to the other with its"
        " `Last-Event-ID`. Each one's positions are compared with the log's: none missing, none"
        " twice, no gap."
    )

    def measure(name: str) -> Measured:
        del name
        return uvloop.run(_drain(world, clients))

    collected = collect(
        ["tailrace"],
        ["tailrace"],
        measure,
        pairs=options.times(3),
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    for what, goal in ((EXIT, GOAL), (BACK, None)):
        value = collected.value("tailrace", what)
        result.lines.append(Line("tailrace", what, "s", value, goal=goal))
    events = sum(collected.of("tailrace", "events"))
    result.notes.append(
        f"in {len(collected.rounds)} runs {clients:,} clients each came back and had every one of"
        f" {events:.0f} events once, in order"
    )
    result.notes += collected.notes()


class Follower:
    """A client that comes back to another server when the first one has said `bye`."""

    def __init__(self, turn: asyncio.Semaphore) -> None:
        self.received = Received()
        self._turn = turn
        self.back = asyncio.Event()
        self.back_at = 0.0

    async def begin(self, first: Target) -> None:
        """Connect to the first server."""
        async with self._turn:
            self._stream = await connect(first.process.port, first.path, self.received)

    async def go_on(self, second: Target) -> None:
        """Follow to the second one, and stay."""
        await self._stream.lost
        if not self.received.retry:
            raise MeasureError("a stream ended without `bye`")
        await asyncio.sleep(self.received.retry / 1000)
        async with self._turn:
            self._stream = await connect(second.process.port, second.path, self.received)
        self.back_at = time.monotonic()
        self.back.set()

    def leave(self) -> None:
        """Hang up."""
        self._stream.transport.abort()


async def _drain(world: World, clients: int) -> Measured:
    raise_files(clients * 2 + 500)
    turn = asyncio.Semaphore(TOGETHER)
    followers = [Follower(turn) for _ in range(clients)]
    with world.serve("tailrace") as first, world.serve("tailrace") as second:
        async with Log(world) as log, asyncio.timeout(SECONDS + clients / 100):
            start = await log.settled()
            meter = Meter(first.process.pid, second.process.pid, *first.others)
            await asyncio.gather(*(one.begin(first) for one in followers))
            stop = asyncio.Event()
            publisher = asyncio.create_task(_publish(log, stop), name="publisher")
            try:
                await asyncio.sleep(5 * EVERY)
                figures = await _stop(first, second, followers)
                await asyncio.sleep(5 * EVERY)
            finally:
                stop.set()
                await publisher
            other = meter.other_pct()
            await log.settled()
            expected = await log.positions(CHANNEL, start)
            await _arrived(followers, len(expected))
        for one in followers:
            one.leave()
        if wrong := await first_failure([one.received for one in followers], expected):
            raise MeasureError(f"after SIGTERM: {wrong}")
    return Measured(figures | {"events": len(expected)}, other)


async def _stop(first: Target, second: Target, followers: list[Follower]) -> dict[str, float]:
    going = [asyncio.ensure_future(one.go_on(second)) for one in followers]
    begun = time.monotonic()
    first.process.signal(signal.SIGTERM)
    try:
        code = await asyncio.to_thread(first.process.wait, 30)
    except TimeoutExpired:
        raise MeasureError("it had not ended 30 s after SIGTERM") from None
    exit_seconds = time.monotonic() - begun
    if code != 0:
        raise MeasureError(f"it ended with {code}: {first.process.said}")
    await asyncio.gather(*going)
    return {EXIT: exit_seconds, BACK: max(one.back_at for one in followers) - begun}


async def _publish(log: Log, stop: asyncio.Event) -> None:
    """One event after the other. Never cancelled: the outcome of a statement would be unknown, and
    its connection still busy."""
    while not stop.is_set():
        await log.publish(CHANNEL, 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY):
                await stop.wait()


async def _arrived(followers: list[Follower], events: int) -> None:
    """Wait a little for the last events; who lacks some is told by the comparison."""
    for _ in range(200):
        if all(len(one.received.positions) >= events for one in followers):
            return
        await asyncio.sleep(0.05)
