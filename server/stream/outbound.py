"""What leaves for the streams that were taken over: one write each and turn of the loop.

No task, no queue and no coroutine belongs to a delivery. Lines that have one channel and no other
are sent to in rounds (rounds.py). For all others, and for what only one line is told, an event is
put into the line's list, and the line once into one queue. At the loop's next turn the queue is
emptied: what waits for a line leaves in one write, and lines that have the same to send share its
bytes, joined and framed once. Long queues are emptied in slices, so that the server keeps
answering.

A line whose connection takes no more leaves the pubsub and keeps only its position. When there is
room again it catches up, from the ring if that reaches back, else from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from os import write

from server.db.faults import LOST
from server.log.model import Event, EventId
from server.stream import wire
from server.stream.carrier import Carrier
from server.stream.names import Matcher
from server.stream.pubsub import PubSub
from server.stream.replay import Replay
from server.stream.rounds import MOST, SMALL, Rounds
from server.stream.subscriber import Subscriber

log = logging.getLogger(__name__)

SLICE = 200
"""Lines written to before the loop may do something else: about two milliseconds."""
FEW = 50
"""Of them, those that are written to in any case while rounds go on."""
CATCHING = 8
"""Lines that catch up at a time: each look takes about a millisecond."""


class Line(Subscriber):
    """The subscriber of a stream that was taken over."""

    __slots__ = ("carrier", "catching", "outbound")

    parked = False
    carrier: Carrier

    def __init__(
        self,
        channels: Matcher,
        start: EventId,
        outbound: Outbound,
        *,
        capacity: int,
        limit: int | None = None,
        latest: bool = False,
    ) -> None:
        super().__init__(channels, start, capacity=capacity, limit=limit, latest=latest)
        self.outbound = outbound
        if limit is None:
            self.single = channels.only
        self.catching: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """There is something to send, or to catch up with."""
        self.outbound.touch([self])


class Outbound:
    """Empties what waits for the lines; `on_lost(line)` is told of each that is gone."""

    def __init__(
        self, pubsub: PubSub, replay: Replay, on_lost: Callable[[Subscriber], None]
    ) -> None:
        self._pubsub = pubsub
        self._replay = replay
        self._on_lost = on_lost
        self._queue: deque[Line] = deque()
        self._touched = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(CATCHING)
        # What the line before had to send, and its bytes: the next one's are mostly the same.
        self._same: list[bytes] = []
        self._size = 0
        self._raw = b""
        self._chunk = b""
        pubsub.on_waiting = self.touch  # type: ignore[assignment]  # who is not parked is a line
        self._rounds = Rounds(pubsub, self.touch)
        pubsub.on_single = self._publish
        pubsub.waits = self._rounds.waits
        pubsub.before_rebase = self._rounds.spill
        self._latency = pubsub.latency
        pubsub.on_reached = self._follow

    @property
    def catching(self) -> int:
        """How many lines catch up."""
        return len(self._tasks)

    def touch(self, lines: list[Line]) -> None:
        """Look after these lines at the loop's next turn. Twice does no harm."""
        self._queue.extend(lines)
        self._touched += len(lines)
        self._schedule()

    def _follow(self, event: Event) -> None:
        """Measure how long this event takes to those who wait for it now."""
        if self._latency.begin(event.body, self._touched, self._rounds.begun):
            self._schedule()  # or it waits for ever where all are parked

    def _publish(self, channel: str, pos: int, frame: bytes) -> None:
        """An event for lines that have this channel alone."""
        self._rounds.add(channel, pos, frame)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._empty)

    def _empty(self) -> None:  # noqa: C901, PLR0912 - hot, see below
        """Send what waits for the next lines, then see whether they are to end or to catch up.

        Hot: its body runs once for each delivery, so it calls nothing that it can do itself.
        """
        queue = self._queue
        line: Line | None = None
        try:
            done = self._rounds.send(SLICE) if self._rounds else 0
            for _ in range(min(max(SLICE - done, FEW), len(queue))):
                line = queue.popleft()
                carrier = line.carrier
                if carrier.paused:
                    continue
                if line.pending:
                    if line.pending != self._same:
                        self._join(line)
                    line.pending = line.pending[len(self._same) :]
                    line.pending_bytes -= self._size
                    if self._size > SMALL:
                        carrier.write(self._raw)
                    elif self._size:
                        data = self._chunk if carrier.chunked else self._raw
                        carrier.written += len(data)
                        sent = 0
                        if carrier.descriptor >= 0:
                            try:
                                sent = write(carrier.descriptor, data)
                            except OSError:
                                sent = 0  # full, or broken: the transport knows what to do
                        if sent != len(data):
                            carrier.transport.write(data[sent:] if sent else data)
                if not line.live or line.ended or line.pending:
                    self._go_on(line)
        except Exception as error:
            # Whatever is wrong with one, the others get theirs.
            log.exception("a stream failed, its client has to come again: %r", error)
            self._same = []
            with suppress(Exception):
                if line is not None:
                    line.carrier.abort()
        finally:
            if self._latency.waits:
                self._latency.passed(self._touched - len(queue), self._rounds.ended)
            if queue or self._rounds:
                asyncio.get_running_loop().call_soon(self._empty)
            else:
                self._scheduled = False
                self._same, self._size, self._raw, self._chunk = [], 0, b"", b""

    def _join(self, line: Line) -> None:
        """Make a line's next frames the ones that are joined and framed."""
        frames = line.first(MOST)
        raw = frames[0] if len(frames) == 1 else b"".join(frames)
        self._raw, self._size = raw, len(raw)
        self._chunk = wire.chunk(raw) if 0 < len(raw) <= SMALL else b""
        self._same = frames  # last: what fails above must not be sent to others

    def _go_on(self, line: Line) -> None:
        """A line that is not simply live: it has more to send, has ended, or is to catch up."""
        if line.pending:
            line.touch()
        elif line.carrier.paused:
            pass  # it goes on when there is room again
        elif line.ended:
            line.carrier.finish()
        elif self._pubsub.join(line):
            line.put(wire.mark(line.position))
        elif line.catching is None:
            line.catching = asyncio.create_task(self._catch_up(line), name="catch up")
            self._tasks.add(line.catching)
            line.catching.add_done_callback(self._tasks.discard)

    async def _catch_up(self, line: Line) -> None:
        """Until it is live, or its connection takes no more."""
        carrier = line.carrier
        try:
            while line.idle and not (line.ended or line.live or carrier.paused or carrier.closed):
                pause = 0.0
                async with self._turn:
                    if line.carrier.paused:
                        break  # while it waited for its turn: it must not become live
                    try:
                        data = await self._replay.feed(line)
                    except LOST:
                        data, pause = b"", 0.2  # the database is away; the client waits with us
                    if data and not carrier.closed:
                        carrier.write(data)
                await asyncio.sleep(pause)  # the ring answers without waiting: others have a turn
        except Exception as error:
            log.exception("catching up failed, the client has to come again: %r", error)
            carrier.abort()
        finally:
            line.catching = None
            self.touch([line])

    def paused(self, line: Line) -> None:
        """A connection takes no more: the line lags from here on."""
        if line.live:
            line.lagged += 1
            self._pubsub.leave(line)

    def lost(self, line: Line) -> None:
        """A connection is gone."""
        line.ended = True
        line.hand_over()
        if line.catching is not None:
            line.catching.cancel()
        self._on_lost(line)

    async def close(self) -> None:
        """End what catches up."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
