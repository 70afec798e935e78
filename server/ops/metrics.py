"""Each process tells its figures once a second, as an ephemeral event on `ops.metrics`.

Its own subscribers hear it at once, also while the database is away; those of other processes by a
notification. A process without others sends none. One that has ended is silent: readers leave out
whom they have not heard for `SILENCE` seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from server import __version__
from server.log.catalog import CATALOG
from server.log.listener import Mode
from server.meters import Meters, Values
from server.ops.clock import Clock
from server.ops.usage import resident_bytes
from server.stream.service import Service

CHANNEL = "ops.metrics"
PERIOD = 1.0
SILENCE = 4.0


class Delay(BaseModel):
    """From an event's publishing to the sockets of its live subscribers, in milliseconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p50: float
    p99: float
    samples: int = Field(description="Events that were measured, at most 200 in a second.")


class Figures(BaseModel):
    """What one process tells of itself. Rates are of the time since it told them last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: str = Field(description="As in the list of streams; the event's key, too.")
    pid: int
    version: str
    uptime: float = Field(description="Seconds.")
    mode: Mode = Field(description="How events get here: `notify` or `polling`.")
    position: str = Field(description="Of the newest event, as an SSE id.")
    clients: int = Field(description="Open streams.")
    lagging: int = Field(description="Of them, those that catch up or take nothing now.")
    events_per_second: float = Field(description="Events of the log that came here.")
    deliveries_per_second: float = Field(description="Events handed to live streams.")
    bytes_per_second: float = Field(description="Written to streams.")
    latency: Delay | None = Field(description="`null`: nobody was given an event.")
    memory: int = Field(description="Resident bytes.")
    cpu: float = Field(description="Share of one core, 0 to 1; threads may make it more.")
    rates: dict[str, float | dict[str, float]] = Field(
        description="What features count, per second: by name, some by a label's values."
    )
    gauges: dict[str, float | dict[str, float]] = Field(
        description="What features have at this moment, in the same form."
    )


METRICS = CATALOG.ephemeral("metrics", CHANNEL, Figures, "A process' figures, once a second")


class Rates:
    """What counters have grown by, per second."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}
        self._at = time.monotonic()
        self._seconds = 1.0

    def tick(self) -> None:
        """Begin a look at the counters."""
        now = time.monotonic()
        self._seconds, self._at = max(now - self._at, 1e-3), now

    def of(self, name: str, value: float, label: str = "") -> float:
        """The rate of one; to be asked once in a look."""
        last, self._last[name, label] = self._last.get((name, label), 0.0), value
        return round((value - last) / self._seconds, 1)


class Metrics:
    """Announces `service` and what the features have put on `meters`."""

    def __init__(self, service: Service, meters: Meters, clock: Clock) -> None:
        self._service = service
        self._meters = meters
        self._clock = clock
        self._rates = Rates()
        self._started = time.monotonic()
        self.figures()  # what has happened before is no rate

    async def run(self) -> None:
        """Announce until cancelled."""
        process = self._service.streams.process
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + PERIOD, loop.time())  # not a little later each time
            await asyncio.sleep(due - loop.time())
            body = METRICS.body(self.figures(), key=process)
            self._service.log.announce(CHANNEL, body)

    def figures(self) -> Figures:
        """Everything now, and since the last look."""
        service, rates = self._service, self._rates
        pubsub, streams = service.pubsub, service.streams
        rates.tick()
        return Figures(
            process=streams.process,
            pid=os.getpid(),
            version=__version__,
            uptime=round(time.monotonic() - self._started, 3),
            mode=service.log.listener.mode,
            position=str(pubsub.id),
            clients=len(streams),
            lagging=min(streams.lagging, len(streams)),
            events_per_second=rates.of("", pubsub.published, "events"),
            deliveries_per_second=rates.of("", pubsub.delivered, "deliveries"),
            bytes_per_second=rates.of("", streams.written, "bytes"),
            latency=self._delay(),
            memory=resident_bytes(),
            cpu=round(rates.of("", time.process_time() * 1000, "cpu") / 1000, 3),
            rates={
                family.name: self._grown(family.name, family.read())
                for family in self._meters
                if family.kind == "counter"
            },
            gauges={
                family.name: _plain(family.read())
                for family in self._meters
                if family.kind == "gauge"
            },
        )

    def _grown(self, name: str, values: Values) -> float | dict[str, float]:
        if not isinstance(values, Mapping):
            return self._rates.of(name, values)
        return {label: self._rates.of(name, value, label) for label, value in values.items()}

    def _delay(self) -> Delay | None:
        taken = self._service.pubsub.latency.take(self._clock.ahead)
        if taken is None:
            return None
        p50, p99 = round(taken.p50 * 1000, 2), round(taken.p99 * 1000, 2)
        return Delay(p50=p50, p99=p99, samples=taken.samples)


def _plain(values: Values) -> float | dict[str, float]:
    return dict(values) if isinstance(values, Mapping) else values
