"""What happens to the clients beside publishing: storms, and readers that stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from scripts.load.client import Client
from scripts.load.crowd import Crowd
from scripts.load.meter import micros


@dataclass
class Storm:
    """One cut. `back`: seconds until all were ready again, `None` if not in time."""

    at: float
    cut: int
    back: float | None = None


@dataclass
class Happenings:
    """What the scenario did."""

    storms: list[Storm] = field(default_factory=list)
    stalled: int = 0
    stall: tuple[float, float] | None = None


class Scenario:
    """Plays a scenario on a crowd. Made before the clients connect."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._options = crowd.options
        self.happened = Happenings()
        self._slow = crowd.some(self._options.slow)
        for client in self._slow:
            client.slow = True

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[Happenings]:
        """Play while the body runs; nobody is left paused."""
        self._crowd.meter.enter("before" if self._slow else "steady")
        tasks = []
        if self._options.share:
            tasks.append(asyncio.create_task(self._churn(), name="storms"))
        if self._slow:
            tasks.append(asyncio.create_task(self._stall(), name="stall"))
        try:
            yield self.happened
        finally:
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for client in self._slow:
                client.resume()
            for error in done:
                if isinstance(error, Exception):
                    raise error

    async def _churn(self) -> None:
        """The first storm comes in the middle of the first interval, as a burst does not."""
        crowd, interval = self._crowd, self._options.interval
        await asyncio.sleep(interval / 4)
        while True:
            chosen = [it for it in crowd.some(self._options.share) if it.state == "ready"]
            began = micros()
            storm = Storm((began - crowd.meter.began) / 1e6, crowd.cut(chosen))
            self.happened.storms.append(storm)
            await self._back(chosen, storm, began)
            await asyncio.sleep(max(0.0, interval - (micros() - began) / 1e6))

    async def _back(self, cut: list[Client], storm: Storm, began: int) -> None:
        """Wait until all are ready again, for at most the interval."""
        if not self._slow:
            self._crowd.meter.enter("storm")
        end = began + int(self._options.interval * 1e6)
        await asyncio.sleep(0)  # the connections are told of their end first
        while micros() < end:
            await asyncio.sleep(0.01)
            if all(client.state == "ready" and not client.cut for client in cut):
                storm.back = (micros() - began) / 1e6
                break
        if not self._slow:
            self._crowd.meter.enter("steady")

    async def _stall(self) -> None:
        """A third of what is left before it, two thirds after it."""
        meter, options = self._crowd.meter, self._options
        await asyncio.sleep((options.seconds - options.stall) / 3)
        meter.enter("stall")
        began = micros()
        for client in self._slow:
            client.pause()
            self.happened.stalled += client.paused
        try:
            await asyncio.sleep(options.stall)
        finally:
            for client in self._slow:
                client.resume()
            ended = micros()
            start = meter.began
            self.happened.stall = ((began - start) / 1e6, (ended - start) / 1e6)
            meter.enter("after")
