"""One subscriber of the pubsub: what it wants, how far it is, and what waits for its socket.

It is in one of two states. *Live*: the pubsub offers it each event, which waits in a bounded
buffer until the connection takes it. *Lagging* (also at the start): it is not in the pubsub's
index, has only its cursor, and whoever drives its connection reads from the ring or the log until
it can be joined again. A slow reader loses nothing; it only becomes slower to serve.
"""

from __future__ import annotations

import asyncio

from server.log.model import FIRST_PAGE, EventId, GapReason
from server.stream import wire
from server.stream.names import Matcher


class Subscriber:
    """Not a task and no queue: state, and an event that says that there is something to do.

    `cursor`: every matching event at or below it has been handed out (to the buffer or socket).
    `page`: events that its next page of the log may have.
    `capacity`: bytes that may wait. `left`: events until the stream ends by itself, if it does.
    """

    __slots__ = (
        "_pending",
        "_pending_bytes",
        "capacity",
        "channels",
        "cursor",
        "ended",
        "epoch",
        "lagged",
        "left",
        "live",
        "page",
        "wakeup",
    )

    def __init__(
        self,
        channels: Matcher,
        start: EventId,
        *,
        capacity: int,
        limit: int | None = None,
    ) -> None:
        self.channels = channels
        self.epoch, self.cursor = start
        self.left = limit
        self.capacity = capacity
        self.live = False
        self.ended = False
        self.lagged = 0
        self.page = FIRST_PAGE
        self.wakeup = asyncio.Event()
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    @property
    def position(self) -> EventId:
        """The id at which a client that has taken everything handed out goes on."""
        return EventId(self.epoch, self.cursor)

    def offer(self, pos: int, frame: bytes) -> bool:
        """Take a live event. False when the buffer is full: the subscriber lags from here on."""
        if pos <= self.cursor or self.ended:
            return True
        if self._pending and self._pending_bytes + len(frame) > self.capacity:
            self.live = False
            self.lagged += 1
            self.wakeup.set()
            return False
        self.cursor = pos
        self.put(frame)
        self.count(1)
        return True

    def count(self, events: int) -> None:
        """So many events were handed out; the stream ends when those were all it wanted."""
        if self.left is not None:
            self.left -= events
            if self.left <= 0:
                self.end()

    def offer_ephemeral(self, frame: bytes) -> None:
        """Take an ephemeral event, or drop it: a busy connection has better to carry."""
        if self._pending_bytes + len(frame) <= self.capacity // 2:
            self.put(frame)

    def put(self, frame: bytes) -> None:
        """Add bytes for the connection."""
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        self.wakeup.set()

    def take(self) -> bytes:
        """Everything that waits, joined: events of one tick leave in one write."""
        if not self._pending:
            return b""
        pending, self._pending = self._pending, []
        self._pending_bytes = 0
        return pending[0] if len(pending) == 1 else b"".join(pending)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the connection."""
        return not self._pending

    def end(self, last: bytes = b"") -> None:
        """End the stream after what waits and `last`."""
        if not self.ended:
            self.ended = True
            self.put(last)

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        """The log's ground has moved: it goes on after `pos`. What that misses is told.

        A cursor beyond `pos` is of the former epoch (a client may be ahead of its process):
        what it has seen need not be what the new epoch has there.
        """
        before, ahead = self.position, self.cursor > pos
        self.epoch = epoch
        if gap == "pruned" and self.cursor >= pos:
            return
        if gap is not None or ahead:
            self.cursor = pos
            self.put(wire.gap(str(before), self.position, gap or "epoch"))
