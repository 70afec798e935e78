"""One run from the first connection to the verdict."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from scripts.load.crowd import Crowd, RefusalError
from scripts.load.judge import Verdict, judge
from scripts.load.ledger import Ledger
from scripts.load.library import Reader
from scripts.load.meter import Meter, line, micros
from scripts.load.options import Options, Target
from scripts.load.publisher import Publisher
from scripts.load.scenarios import Happenings, Scenario

TICK = 1.0
LAG_STEP = 0.02
EARLY_SETTLE = 5.0
"""Seconds that a run which was ended early waits for what is under way."""


@dataclass
class Result:
    """All that a report is made of."""

    options: Options
    target: Target
    ledger: Ledger
    meter: Meter
    publisher: Publisher
    readers: list[Reader]
    happened: Happenings
    verdict: Verdict
    settled: bool
    settle_seconds: float
    early: bool
    connected: int
    """Clients that were ready at the end."""


class Run:
    """Plays a scenario and judges it. `say`: takes a line of progress."""

    def __init__(self, options: Options, target: Target, pid: int | None) -> None:
        self._options = options
        self._target = target
        self._ledger = Ledger(secrets.token_hex(6), options.channels)
        self._meter = Meter(pid)
        self._crowd = Crowd(options, target, self._ledger, self._meter)
        self._publisher = Publisher(options, target, self._ledger, self._meter)
        self._readers = [
            Reader(options.clients + number, options, target, self._crowd.decoder)
            for number in range(options.readers)
        ]
        self._interrupted = asyncio.Event()

    async def play(self) -> Result:
        """All of it.

        Raises:
            RefusalError: the server can't be reached, or does not let it happen.
        """
        scenario = Scenario(self._crowd)
        ticking = [
            asyncio.create_task(self._tick(), name="progress"),
            asyncio.create_task(self._lag(), name="lag"),
        ]
        try:
            with self._signals():
                await self._publisher.probe()
                await self._unless_interrupted(self._open())
                with _calm():
                    async with scenario.playing() as happened:
                        await self._publish()
                    settled, seconds = await self._settle()
            return self._result(happened, settled, seconds)
        finally:
            for task in ticking:
                task.cancel()
            await asyncio.gather(*ticking, return_exceptions=True)
            self._publisher.close()
            await asyncio.gather(*(reader.close() for reader in self._readers))
            await self._crowd.close()

    async def _open(self) -> None:
        await self._crowd.open()
        await asyncio.gather(*(reader.open() for reader in self._readers))

    def _settled(self) -> bool:
        return self._crowd.settled() and all(reader.settled() for reader in self._readers)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C ends early, with a report; a second one at once."""
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            self._interrupted.set()
            self._publisher.stopping.set()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def _unless_interrupted(self, opening: object) -> None:
        task = asyncio.ensure_future(opening)  # type: ignore[call-overload]
        waiting = asyncio.create_task(self._interrupted.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise RefusalError("ended before the streams were open: there is nothing to report")
        task.result()

    async def _publish(self) -> None:
        """For the time that was asked for, even if the timetable ends before it."""
        end = micros() + int(self._options.seconds * 1e6)
        await self._publisher.run()
        left = (end - micros()) / 1e6
        if left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._interrupted.wait()

    async def _settle(self) -> tuple[bool, float]:
        """Wait until everybody has everything, within a bound."""
        self._meter.enter("settling")
        began = micros()
        patience = self._options.settle
        if self._interrupted.is_set():
            patience = min(patience, EARLY_SETTLE)
        end = began + int(patience * 1e6)
        while not (settled := self._settled()) and micros() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self._meter.roll()
        return settled, (micros() - began) / 1e6

    def _result(self, happened: Happenings, settled: bool, seconds: float) -> Result:
        early = self._interrupted.is_set()
        witnesses = [it.witness for it in (*self._crowd.clients, *self._readers)]
        verdict = judge(
            self._ledger, witnesses, settled=settled or not early, gaps=self._options.gaps
        )
        return Result(
            self._options, self._target, self._ledger, self._meter, self._publisher,
            self._readers, happened, verdict, settled, seconds, early, self._meter.ready,
        )  # fmt: skip

    # --- beside it --------------------------------------------------------------------------

    async def _tick(self) -> None:
        """A row and a line each second."""
        while True:
            await asyncio.sleep(TICK)
            self._crowd.sweep()
            row = self._meter.roll()
            if not self._options.quiet:
                print(line(row, self._options.clients), file=sys.stderr, flush=True)

    async def _lag(self) -> None:
        """How late this process's own loop is: its delay is in every latency."""
        while True:
            before = micros()
            await asyncio.sleep(LAG_STEP)
            late = micros() - before - int(LAG_STEP * 1e6)
            self._meter.loop_lag = max(self._meter.loop_lag, late)


@contextmanager
def _calm() -> Iterator[None]:
    """Thousands of clients are not looked at again by each collection."""
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
