"""One client: a raw protocol that reads a stream, is witnessed, and comes back when it ends.

Its receiving path runs for each delivery, so it is written out: no task, no call but the witness's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, cast

from scripts.load.histogram import BITS, EXACT, HIGHEST
from scripts.load.judge import Witness
from scripts.load.meter import micros
from scripts.load.wire import Bye, Event, Gap, Mark, Moved, Reader, Ready, Stray, WireError

if TYPE_CHECKING:
    from scripts.load.crowd import Crowd

State = Literal["away", "asking", "ready"]
SHIFT = BITS - 1


class Client(asyncio.Protocol):
    """`slow`: one of those that stop reading. `since`: when it began to want a connection, µs."""

    __slots__ = (
        "_reader", "asked", "attempts", "bye", "crowd", "cut", "dialing", "path", "paused", "retry",
        "since", "sink", "slow", "state", "told", "transport", "witness",
    )  # fmt: skip

    def __init__(self, crowd: Crowd, witness: Witness, path: str) -> None:
        self.crowd = crowd
        self.witness = witness
        self.path = path
        self.slow = False
        self.state: State = "away"
        self.transport: asyncio.Transport | None = None
        self.since = 0
        self.asked = 0
        self.attempts = 0
        self.retry = 1_000
        self.bye: str | None = None
        self.cut = False
        """Whether its connection was cut by a storm."""
        self.dialing = False
        """Whether a connection is being made, or will be after a wait."""
        self.told = False
        """Whether why it ended is counted already."""
        self.paused = False
        self.sink = crowd.meter.live
        self._reader = Reader(crowd.decoder)

    def home(self) -> None:
        """Its latencies are those of a client that keeps up, or of one that is slow."""
        meter = self.crowd.meter
        self.sink = meter.slow if self.slow else meter.live

    def request(self) -> bytes:
        """What it asks for, from its last id on."""
        target, witness = self.crowd.target, self.witness
        last = ""
        if witness.start is not None:
            last = f"Last-Event-ID: {self.crowd.decoder.ledger.epochs.text(witness.cursor)}\r\n"
        return (
            f"GET {target.prefix}{self.path} HTTP/1.1\r\nHost: {target.host}\r\n"
            f"Accept: text/event-stream\r\nUser-Agent: tailrace-loadtest\r\n{last}\r\n"
        ).encode("latin-1")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._reader = Reader(self.crowd.decoder)
        self.state, self.bye, self.paused = "asking", None, False
        self.cut = self.told = False
        self.asked = micros()
        if self.witness.start is not None:
            self.sink = self.crowd.meter.recovered
        self.crowd.meter.open += 1
        self.transport.write(self.request())

    def data_received(self, data: bytes) -> None:
        try:
            blocks = self._reader.feed(data)
        except WireError as error:
            self.witness.fault("malformed", str(error))
            self.told = True
            self.abort()
            return
        if not blocks:
            if self._reader.answer.status not in (0, 200):
                self._refused()
            elif self._reader.answer.ended:
                self.abort()
            return
        now = micros()
        counts = self.sink.now.counts
        for block in blocks:
            if block.__class__ is Event:
                self.witness.event(block)
                took = now - block.due
                # histogram.index, written out.
                if took < EXACT:
                    counts[took] += 1
                else:
                    shift = (took if took < HIGHEST else HIGHEST).bit_length() - BITS
                    counts[(shift << SHIFT) + (took >> shift)] += 1
            else:
                self._control(block)
                counts = self.sink.now.counts
        if self.bye or self._reader.answer.ended:
            # The answer is over, though a proxy may keep its connection for another request.
            self.abort()

    def _control(self, block: object) -> None:
        crowd, witness = self.crowd, self.witness
        if isinstance(block, Mark):
            witness.mark(block.key)
            if self.sink is crowd.meter.recovered:
                self.home()  # the end of a replay
        elif isinstance(block, Ready):
            first = witness.start is None
            witness.ready(block.key, crowd.decoder.ledger)
            self.retry = block.retry or self.retry
            self._is_ready(first=first)
        elif isinstance(block, Gap):
            witness.gap(block.key, crowd.decoder.ledger)
            crowd.meter.gaps[block.reason] += 1
        elif isinstance(block, Bye):
            self.bye = block.reason
            self.retry = block.retry or self.retry
            crowd.meter.byes[block.reason] += 1
            if self.state != "ready":
                crowd.refuse(block)
        elif isinstance(block, Moved):
            witness.moved(block)
        elif isinstance(block, Stray):
            witness.stray(block)

    def _is_ready(self, *, first: bool) -> None:
        meter = self.crowd.meter
        if self.state == "ready":
            self.witness.fault("malformed", "a second ready in one connection")
            return
        self.state, self.attempts = "ready", 0
        meter.ready += 1
        (meter.opening if first else meter.returning).record(micros() - self.since)
        self.crowd.arrived(self)

    def _refused(self) -> None:
        answer = self._reader.answer
        self.crowd.meter.faults[f"stream answered {answer.status}"] += 1
        self.crowd.denied(answer)
        after = answer.headers.get(b"retry-after", b"")
        if after.isdigit():
            self.retry = min(int(after), 60) * 1000
        self.told = True
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        meter = self.crowd.meter
        was, self.state, self.transport = self.state, "away", None
        self.witness.waiting = False
        meter.open -= 1
        if was == "ready":
            meter.ready -= 1
            meter.fewest = min(meter.fewest, meter.ready)
        if self.crowd.closing:
            return
        if was == "ready":
            self.since = micros()
        if not (self.cut or self.told or self.bye):
            meter.faults["connection lost" if exc else "stream ended without bye"] += 1
        self.crowd.left(self)

    def pause(self) -> None:
        """Take nothing from the socket any more."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            self.paused = True

    def resume(self) -> None:
        """Read again."""
        if self.paused and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        self.paused = False

    def abort(self) -> None:
        """End the connection on the spot."""
        if self.transport is not None:
            self.transport.abort()
