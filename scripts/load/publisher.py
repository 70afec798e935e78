"""Publishes on a timetable, whatever the server does (open loop).

Latency counts from when an event was *due*: a server that makes the publisher wait does not get
its delay left out of the figures (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import NamedTuple

from scripts.load.crowd import RefusalError
from scripts.load.ledger import Ledger
from scripts.load.meter import Meter, micros
from scripts.load.options import Options, Target
from scripts.load.poster import Poster, RejectedError, UncertainError

BEHIND = 0.1
"""Seconds by which a hundredth of the requests may be late; more is told."""

STOP_SECONDS = 3.0
"""Seconds that requests under way have when a run is ended early."""
PROBE_SECONDS = 1.0
"""Seconds for which the first event is tried: a server that is not there is told soon."""


class Due(NamedTuple):
    """`events` are to be sent `at` seconds after the start, in one request."""

    at: float
    events: int


def timetable(options: Options) -> Iterator[Due]:
    """All requests of a run, in order of time."""
    steady = _steady(options)
    bursts = _bursts(options) if options.burst else iter(())
    one, other = next(steady, None), next(bursts, None)
    while one or other:
        if other is None or (one is not None and one.at <= other.at):
            assert one is not None
            yield one
            one = next(steady, None)
        else:
            yield other
            other = next(bursts, None)


def _steady(options: Options) -> Iterator[Due]:
    step = options.batch / options.rate
    number = 0
    while (at := number * step) < options.seconds:
        yield Due(at, options.batch)
        number += 1


def _bursts(options: Options) -> Iterator[Due]:
    """The first one in the middle of the first interval."""
    number = 0
    while (at := (number + 0.5) * options.interval) < options.seconds:
        left = options.burst
        size = max(options.batch, min(100, -(-left // options.publishers)))
        while left:
            yield Due(at, min(size, left))
            left -= min(size, left)
        number += 1


class Publisher:
    """`uncertain`: events whose outcome is not known. `unsent`: those whose turn never came."""

    def __init__(self, options: Options, target: Target, ledger: Ledger, meter: Meter) -> None:
        self._options = options
        self._ledger = ledger
        self._meter = meter
        self._posters = [
            Poster(target, options.key, meter.faults) for _ in range(options.publishers)
        ]
        self._next = 0
        self._pad = "x" * options.size
        self.uncertain = 0
        self.unsent = 0
        self.asked = 0
        self.stopping = asyncio.Event()

    async def probe(self) -> None:
        """One event beside the test: whether there is a server, and whether it lets us publish.

        Raises:
            RefusalError: it does not.
        """
        event = {"channel": f"public.load.{self._ledger.run}.probe", "type": "load", "data": {}}
        try:
            async with asyncio.timeout(PROBE_SECONDS + 10):
                await self._posters[0].post(json.dumps(event).encode(), PROBE_SECONDS)
        except RejectedError as error:
            raise RefusalError(f"{error}{_advice(error.status)}") from None
        except (TimeoutError, UncertainError):
            faults = ", ".join(self._meter.faults) or "no answer in time"
            raise RefusalError(f"the server can't be reached: {faults}") from None
        self._meter.faults.clear()

    async def run(self) -> None:
        """Publish until the timetable ends or `stopping` is set.

        Raises:
            RefusalError: the server will not take it any more.
        """
        began = micros()
        dues = timetable(self._options)
        workers = [asyncio.create_task(self._work(it, dues, began)) for it in self._posters]
        ending = asyncio.create_task(self._end(workers))
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (*workers, ending):
                task.cancel()
            await asyncio.gather(*workers, ending, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                raise RefusalError(str(error)) from error
        if not self.stopping.is_set():
            self.unsent += sum(due.events for due in dues)

    async def _end(self, workers: list[asyncio.Task[None]]) -> None:
        """End those that wait for a server which does not answer, so that a run is bounded."""
        try:
            async with asyncio.timeout(self._options.seconds + self._options.settle):
                await self.stopping.wait()
                await asyncio.sleep(STOP_SECONDS)
        except TimeoutError:
            pass
        for worker in workers:
            worker.cancel()

    def close(self) -> None:
        """Close its connections."""
        for poster in self._posters:
            poster.abort()

    async def _work(self, poster: Poster, dues: Iterator[Due], began: int) -> None:
        """Take the next request that is due, as soon as this connection is free."""
        end = began + int(self._options.seconds * 1e6)
        for due in dues:
            at = began + int(due.at * 1e6)
            self.asked += due.events
            if (ahead := at - micros()) > 0 and await self._stopped(ahead / 1e6):
                return
            if self.stopping.is_set():
                return
            now = micros()
            self._meter.late.record(max(0, now - at))
            if now > end:  # the time is over, and this one has not had its turn
                self.unsent += due.events
                continue
            await self._publish(poster, at, due.events)

    async def _stopped(self, seconds: float) -> bool:
        """Wait; whether it was told to stop meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False

    async def _publish(self, poster: Poster, due: int, count: int) -> None:
        ledger, events, ours = self._ledger, [], []
        for _ in range(count):
            number = self._next % len(ledger.channels)
            self._next += 1
            seq = ledger.channels[number].publish(due)
            ours.append((number, seq))
            events.append(self._event(number, seq))
        body = {"events": events} if count > 1 else events[0]
        try:
            ids = await poster.post(json.dumps(body).encode())
        except UncertainError:
            self.uncertain += count
            return
        except asyncio.CancelledError:
            self.uncertain += count
            raise
        took = micros() - due
        if ids != [str(event["message_id"]) for event in events]:
            raise RejectedError(200, b"it answers other ids than it was given")
        for number, seq in ours:
            ledger.channels[number].acknowledge(seq)
        self._meter.published += count
        self._meter.publish.now.record(took, count)

    def _event(self, number: int, seq: int) -> dict[str, object]:
        data = {"load": f"{number}.{seq}"}
        if self._pad:
            data["pad"] = self._pad
        return {
            "channel": self._ledger.name(number),
            "type": "load",
            "data": data,
            "message_id": self._ledger.message_id(number, seq),
        }

    @property
    def kept_up(self) -> bool:
        """Whether what was asked for was sent, and in time."""
        return not self.unsent and self._meter.late.quantile(0.99) <= BEHIND * 1e6


def _advice(status: int) -> str:
    if status in (401, 403):
        return ". Give a key that may publish to public.load.> with --key or TAILRACE_API_KEY"
    if status == 404:
        return ". Is --url the address of a Tailrace server?"
    return ""
