"""What leaves for the streams that were taken over: one write each and turn of the loop.

No task, no queue and no coroutine belongs to a delivery. An event that is published is put into
each line's list, and the line once into one queue. At the loop's next turn the queue is emptied:
what waits for a line leaves in one write, and lines that have the same to send share its bytes,
joined and framed once. Long queues are emptied in slices, so that the server keeps answering.

A line whose connection takes no more leaves the pubsub and keeps only its position. When there is
room again it catches up, from the ring if that reaches back, else from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from server.db.faults import LOST
from server.log.model import EventId
from server.stream import wire
from server.stream.carrier import Carrier
from server.stream.names import Matcher
from server.stream.pubsub import PubSub
from server.stream.replay import Replay
from server.stream.subscriber import Subscriber

log = logging.getLogger(__name__)

SLICE = 200
"""Lines written to before the loop may do something else: about two milliseconds."""
MOST = 256 * 1024
"""Bytes joined for one write; a larger frame goes alone."""


class Line(Subscriber):
    """The subscriber of a stream that was taken over."""

    __slots__ = ("carrier", "catching", "outbound", "queued")

    carrier: Carrier

    def __init__(
        self,
        channels: Matcher,
        start: EventId,
        outbound: Outbound,
        *,
        capacity: int,
        limit: int | None = None,
    ) -> None:
        super().__init__(channels, start, capacity=capacity, limit=limit)
        self.outbound = outbound
        self.queued = False
        self.catching = False

    def touch(self) -> None:
        """There is something to send, or to catch up with."""
        if not self.queued:
            self.outbound.touch(self)


class Outbound:
    """Empties what waits for the lines; `on_lost(line)` is told of each that is gone."""

    def __init__(
        self, pubsub: PubSub, replay: Replay, on_lost: Callable[[Subscriber], None]
    ) -> None:
        self._pubsub = pubsub
        self._replay = replay
        self._on_lost = on_lost
        self._queue: deque[Line] = deque()
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        # What the line before had to send, and its bytes: the next one's are mostly the same.
        self._same: list[bytes] = []
        self._raw = b""
        self._chunk = b""

    def touch(self, line: Line) -> None:
        """Look after this line at the loop's next turn."""
        if line.queued:
            return
        line.queued = True
        self._queue.append(line)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._empty)

    def _empty(self) -> None:
        queue = self._queue
        for _ in range(min(SLICE, len(queue))):
            line = queue.popleft()
            line.queued = False
            carrier = line.carrier
            if not carrier.paused:
                if line.pending:
                    self._send(line, carrier)
                if (line.ended or not line.live) and not line.pending and not carrier.paused:
                    self._go_on(line)
        if queue:
            asyncio.get_running_loop().call_soon(self._empty)
        else:
            self._scheduled = False
            self._same, self._raw, self._chunk = [], b"", b""

    def _send(self, line: Line, carrier: Carrier) -> None:
        pending = line.hand_over(MOST)
        if pending != self._same:
            self._same = pending
            self._raw = pending[0] if len(pending) == 1 else b"".join(pending)
            self._chunk = wire.chunk(self._raw)
        if self._raw:
            carrier.write(self._chunk if carrier.chunked else self._raw)
        if line.pending:
            self.touch(line)

    def _go_on(self, line: Line) -> None:
        """Nothing waits for a line that is not live: it has ended, or is to catch up."""
        if line.ended:
            line.carrier.finish()
        elif self._pubsub.join(line):
            line.put(wire.mark(line.position))
        elif not line.catching:
            line.catching = True
            task = asyncio.create_task(self._catch_up(line), name="catch up")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _catch_up(self, line: Line) -> None:
        """Until it is live, or its connection takes no more."""
        carrier = line.carrier
        try:
            while line.idle and not (line.ended or line.live or carrier.paused or carrier.closed):
                try:
                    data = await self._replay.feed(line)
                except LOST:
                    await asyncio.sleep(0.2)  # the database is away; the client waits with us
                    continue
                if data and not carrier.closed:
                    carrier.write(wire.chunk(data) if carrier.chunked else data)
        except Exception as error:
            log.exception("catching up failed, the client has to come again: %r", error)
            carrier.abort()
        finally:
            line.catching = False
            self.touch(line)

    def paused(self, line: Line) -> None:
        """A connection takes no more: the line lags from here on."""
        if line.live:
            line.lagged += 1
            self._pubsub.leave(line)

    def lost(self, line: Line) -> None:
        """A connection is gone."""
        line.ended = True
        line.hand_over(0)
        self._on_lost(line)

    async def close(self) -> None:
        """End what catches up."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
