"""One subscriber of the pubsub: what it wants, how far it is, and what waits for its socket.

It is in one of two states. *Live*: the pubsub offers it each event, which waits in a bounded
buffer until the connection takes it. *Lagging* (also at the start): it is not in the pubsub's
index, has only its cursor, and whoever drives its connection reads from the ring or the log until
it can be joined again. A slow reader loses nothing; it only becomes slower to serve.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from server.log.model import FIRST_PAGE, EventId, GapReason
from server.stream import wire
from server.stream.names import Matcher


class Subscriber:
    """Not a task and no queue: state. `touch` tells whoever drives its connection to look at it.

    `cursor`: every matching event at or below it has been handed out (to the buffer or socket).
    `page`: events that its next page of the log may have.
    `pending`: frames that wait for its connection. `capacity`: bytes that may wait.
    `left`: events until the stream ends by itself, if it does. `latest`: while it lags it wants
    only the newest event of each channel and key. `single`: its channel, if it has no other and is
    served in rounds (rounds.py).
    """

    __slots__ = (
        "capacity",
        "channels",
        "cursor",
        "ended",
        "epoch",
        "lagged",
        "latest",
        "left",
        "live",
        "page",
        "pending",
        "pending_bytes",
        "single",
    )

    def __init__(
        self,
        channels: Matcher,
        start: EventId,
        *,
        capacity: int,
        limit: int | None = None,
        latest: bool = False,
    ) -> None:
        self.channels = channels
        self.epoch, self.cursor = start
        self.left = limit
        self.latest = latest
        self.capacity = capacity
        self.live = False
        self.ended = False
        self.single: str | None = None
        self.lagged = 0
        self.page = FIRST_PAGE
        self.pending: list[bytes] = []
        self.pending_bytes = 0

    parked: ClassVar[bool] = True
    """Whether it is told of each event by `offer` and `touch`; else the pubsub does both itself,
    for many at once."""

    def touch(self) -> None:
        """There is something to send, or to catch up with."""

    @property
    def position(self) -> EventId:
        """The id at which a client that has taken everything handed out goes on."""
        return EventId(self.epoch, self.cursor)

    def offer(self, pos: int, frame: bytes) -> bool:
        """Take a live event. False when the buffer is full: the subscriber lags from here on."""
        if pos <= self.cursor or self.ended:
            return True
        if self.pending and self.pending_bytes + len(frame) > self.capacity:
            self.live = False
            self.lagged += 1
            self.touch()
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
        if not self.ended and self.pending_bytes + len(frame) <= self.capacity // 2:
            self.put(frame)

    def put(self, frame: bytes) -> None:
        """Add bytes for the connection."""
        was_idle = not self.pending
        self.pending.append(frame)
        self.pending_bytes += len(frame)
        if was_idle:
            self.touch()

    def first(self, most: int) -> list[bytes]:
        """The frames that go next: of `most` bytes together, or one that is larger."""
        if self.pending_bytes <= most:
            return self.pending
        count, size = 1, len(self.pending[0])
        while count < len(self.pending) and size + len(self.pending[count]) <= most:
            size += len(self.pending[count])
            count += 1
        return self.pending[:count]

    def hand_over(self) -> list[bytes]:
        """All that waits, which is then taken."""
        pending, self.pending, self.pending_bytes = self.pending, [], 0
        return pending

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the connection."""
        return not self.pending

    def end(self, last: bytes = b"") -> None:
        """End the stream after what waits and `last`."""
        if not self.ended:
            self.ended = True
            self.put(last)

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        """The log's ground has moved: it goes on after `pos`. What that misses is told.

        A cursor beyond `pos` is of the former epoch (a client may be ahead of its process):
        what it has seen need not be what the new epoch has there. Nor need the new epoch have
        the events that replace what was skipped (latest.py). Only within an epoch is pruning
        below a cursor no matter: where the new one began is not known here.
        """
        if self.ended:
            return
        before, moved = self.position, epoch != self.epoch
        ahead = moved and self.cursor > pos
        if gap == "pruned" and self.cursor >= pos:
            if not moved:
                return
            gap = "epoch"
        unsure = self.latest and moved
        self.epoch = epoch
        if gap is not None or ahead:
            self.cursor = pos
            self.put(wire.gap(str(before), self.position, gap or "epoch"))
        elif unsure:
            self.put(wire.gap(str(before), self.position, "epoch"))


class Waiter(Subscriber):
    """A subscriber that a coroutine waits on: a parked stream, a long poll."""

    __slots__ = ("wakeup",)

    def __init__(
        self,
        channels: Matcher,
        start: EventId,
        *,
        capacity: int,
        limit: int | None = None,
        latest: bool = False,
    ) -> None:
        super().__init__(channels, start, capacity=capacity, limit=limit, latest=latest)
        self.wakeup = asyncio.Event()

    def touch(self) -> None:
        """Wake the coroutine."""
        self.wakeup.set()

    def take(self) -> bytes:
        """Everything that waits, joined: events of one tick leave in one write."""
        if not self.pending:
            return b""
        pending = self.hand_over()
        return pending[0] if len(pending) == 1 else b"".join(pending)
