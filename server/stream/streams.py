"""The open streams of this process: their limits, heartbeat, expiry, and their end at shutdown."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from server.auth.principal import Principal
from server.stream import wire
from server.stream.carrier import Carrier
from server.stream.connection import Connection
from server.stream.limits import Limits, Population, Refusal
from server.stream.pubsub import PubSub
from server.stream.subscriber import Subscriber

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a stream which is ended has to take what waits for it; then it is cut."""
TICK = 1.0
"""Seconds between looks at the open streams: how late a heartbeat or an expiry may be."""


@dataclass(eq=False, slots=True)
class Stream:
    """One open stream. `address`: its client's. `id`: names its process too, once it is added."""

    subscriber: Subscriber
    connection: Connection | Carrier
    principal: Principal
    address: str = ""
    id: str = ""
    opened: float = field(default_factory=time.monotonic)
    written: int = 0
    quiet_since: float = 0.0
    asked: float = 0.0
    ends: float | None = None
    ended: float | None = None

    def __post_init__(self) -> None:
        """Nothing is amiss with it at first."""
        self.quiet_since = self.asked = self.opened


class Streams:
    """All open streams; each is in it exactly as long as its client is connected.

    `process`: what the ids of its streams begin with.
    `heartbeat`: seconds of silence that an idle one bears. `deadline`: seconds after which one
    that takes nothing is cut.
    `begun`: how many there were since the start. `lagging`: those that were not live, or took
    nothing, at the last look. `written`: bytes given to all, those that have ended included, up to
    that look.
    """

    def __init__(
        self, pubsub: PubSub, *, heartbeat: float, deadline: float, limits: Limits | None = None
    ) -> None:
        self.process = secrets.token_hex(4)
        self.pubsub = pubsub
        self.heartbeat = heartbeat
        self.closing = False
        self.begun = 0
        self.lagging = 0
        self.written = 0
        self._deadline = deadline
        self.population = Population(limits or Limits())
        self._open: dict[Subscriber, Stream] = {}
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._open.values()))

    def refusal(self, address: str) -> Refusal | None:
        """Whether a further stream of this address can be had now, before it is looked at."""
        if self.closing:
            return self.population.refuse("shutdown")
        return self.population.begin(address)

    def retry(self) -> int:
        """A reconnection time in ms for one client of the present population."""
        return wire.spread(len(self._open))

    def find(self, stream_id: str) -> Stream | None:
        """The open stream of this id."""
        return next((stream for stream in self if stream.id == stream_id), None)

    def add(self, stream: Stream) -> Refusal | None:
        """Register a stream, and name it. When it is one too many it is to be turned away."""
        stream.id = f"{self.process}-{random.getrandbits(64):016x}"
        lifetime = self.population.lifetime()
        stream.ends = None if lifetime is None else stream.opened + lifetime
        self._open[stream.subscriber] = stream
        self.begun += 1
        self.pubsub.register(stream.subscriber)
        refusal = self.population.add(stream.address, stream.principal)
        return self.population.refuse("shutdown") if self.closing else refusal

    def turn_away(self, stream: Stream, refusal: Refusal) -> None:
        """End a stream that is one too many."""
        stream.subscriber.end(wire.bye(refusal.reason, refusal.retry))

    def remove(self, subscriber: Subscriber) -> None:
        """Forget the stream of a subscriber."""
        self.pubsub.unregister(subscriber)
        stream = self._open.pop(subscriber, None)
        if stream is not None:
            self.population.drop(stream.address, stream.principal)
            self.written += stream.connection.written - stream.written
            if not self._open:
                self._empty.set()

    @contextmanager
    def opened(self, stream: Stream) -> Iterator[Stream]:
        """Register a stream for as long as its handler serves it."""
        refusal = self.add(stream)
        try:
            if refusal is not None:
                self.turn_away(stream, refusal)
            yield stream
        finally:
            self.remove(stream.subscriber)

    def end(self, stream: Stream, reason: wire.ByeReason) -> None:
        """End one stream after what already waits for it, which it has `GRACE` to take."""
        if stream.ended is None:
            stream.ended = time.monotonic()
        stream.subscriber.end(wire.bye(reason, self.retry()))

    async def run(self) -> None:
        """Heartbeats, expiry and clients that have gone, until cancelled."""
        while True:
            await asyncio.sleep(min(TICK, self.heartbeat / 2))
            now, clock = time.monotonic(), time.time()
            lagging = 0
            for count, stream in enumerate(self):
                if count % 500 == 499:
                    await asyncio.sleep(0)
                if not stream.subscriber.live or stream.connection.paused:
                    lagging += 1
                try:
                    self._look(stream, now, clock)
                except Exception as error:
                    # Whatever is wrong with one, the others get their heartbeats.
                    log.exception("a stream failed, its client has to come again: %r", error)
                    stream.connection.abort()
            self.lagging = lagging

    def _look(self, stream: Stream, now: float, clock: float) -> None:
        if stream.connection.paused or now - stream.asked >= self.heartbeat:
            stream.asked = now
            if stream.connection.stalled(now, self._deadline):
                stream.connection.abort()  # it has vanished, or takes nothing
        if stream.connection.closed:
            stream.subscriber.end()
        elif stream.ended is not None:
            if now - stream.ended >= GRACE:
                stream.connection.abort()
        elif stream.principal.expires is not None and stream.principal.expires <= clock:
            self.end(stream, "expired")
        elif stream.ends is not None and stream.ends <= now:
            self.end(stream, "max-age")
        elif stream.connection.written != stream.written:
            self.written += stream.connection.written - stream.written
            stream.written, stream.quiet_since = stream.connection.written, now
        elif now - stream.quiet_since >= self.heartbeat:
            stream.quiet_since = now
            self.pubsub.heartbeat(stream.subscriber)

    async def shut_down(self) -> None:
        """Say `bye` to every stream and wait, a little, until it is delivered."""
        self.closing = True
        for stream in self:
            self.end(stream, "shutdown")
        for subscriber in self.pubsub.subscribers:
            subscriber.touch()  # long polls answer now
        self._empty.clear()
        if self._open:
            try:
                async with asyncio.timeout(1.5):
                    await self._empty.wait()
            except TimeoutError:
                for stream in self:  # readers that take nothing: they resume elsewhere
                    stream.connection.abort()
