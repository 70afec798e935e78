"""The in-process pubsub: events in, each encoded once, offered to the subscribers they match.

The one argument that matters: *nothing can fall between a replay and the live events.* `publish`,
`join` and the ring's reads run in one event loop without an await inside. A replay reads up to
some position; then, in one step, `join` sees whether the subscriber's cursor has reached
`position` (the last event published here). If so it enters the index, and every later event is
offered to it. If not, the replay reads on. An event at or below the cursor is never offered
again, so joining "too late" cannot deliver twice either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, cast

from server.log.model import Event, EventId, GapReason
from server.stream import wire
from server.stream.latency import Latency
from server.stream.names import Index, Matcher
from server.stream.subscriber import Subscriber

if TYPE_CHECKING:
    from server.stream.outbound import Line

ENTRY = 200
"""Bytes that a frame costs in the ring beside its own."""
OFFERS = 20_000
"""Events times subscribers after which the loop has a turn."""
SCAN = 2_000
"""Frames that one look into the ring goes through: about a millisecond."""


class Ring:
    """The most recent frames, bounded in bytes. Positions in it follow each other."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._frames: dict[int, tuple[str, bytes]] = {}
        # Counted, not found: a dictionary that loses its first entries is slow to tell the next.
        self._oldest = 0

    @property
    def first(self) -> int | None:
        """The oldest position in it."""
        return self._oldest if self._frames else None

    def append(self, pos: int, channel: str, frame: bytes) -> None:
        """Add the next frame, dropping the oldest beyond the capacity."""
        if not self._frames:
            self._oldest = pos
        self._frames[pos] = (channel, frame)
        self.size += len(frame) + ENTRY
        while self.size > self.capacity:
            self.size -= len(self._frames.pop(self._oldest)[1]) + ENTRY
            self._oldest += 1

    def clear(self) -> None:
        """Forget everything: what follows does not continue it."""
        self._frames.clear()
        self.size = 0

    def reaches(self, pos: int) -> bool:
        """Whether every event after `pos` that was published here is in it."""
        first = self.first
        return first is not None and first <= pos + 1

    def after(self, pos: int, channels: Matcher, limit: int) -> tuple[list[bytes], int] | None:
        """Matching frames after `pos`, about `limit` bytes, and the position looked through to.

        Looks through at most `SCAN` frames. `None` when the ring does not reach back to `pos`.
        """
        first = self.first
        if first is None or first > pos + 1:
            return None
        last = min(first + len(self._frames) - 1, pos + SCAN)
        frames: list[bytes] = []
        wanted: dict[str, bool] = {}  # most frames are of a few channels
        size = 0
        while pos < last and size < limit:
            pos += 1
            channel, frame = self._frames[pos]
            if channel not in wanted:
                wanted[channel] = channel in channels
            if wanted[channel]:
                frames.append(frame)
                size += len(frame)
        return frames, pos


class PubSub:
    """Channels and patterns → live subscribers. The reader's sink."""

    def __init__(self, ring_bytes: int) -> None:
        self.epoch = ""
        self.position = 0
        self.ring = Ring(ring_bytes)
        self.subscribers: dict[Subscriber, None] = {}
        self.on_waiting: Callable[[list[Subscriber]], None] = lambda _: None
        """Is told of the subscribers that are not parked and have something to send now."""
        self.on_single: Callable[[str, int, bytes], None] = lambda *_: None
        """Is told of each event of a channel that is in `single`: channel, position, frame."""
        self.waits: Callable[[str], bool] = lambda _: False
        """Whether what was told so has still to reach some of the channel's lines."""
        self.before_rebase: Callable[[], None] = lambda: None
        """Everything that was told is to be in the subscribers' own buffers after this."""
        self.on_reached: Callable[[Event], None] = lambda _: None
        """Is told of one event of each batch that somebody live is given."""
        self.single: dict[str, dict[Line, None]] = {}
        """By channel, the live lines that have this channel alone: rounds.py serves them."""
        self.published = 0
        self.delivered = 0
        self.latency = Latency()
        self._live: Index[Subscriber] = Index()

    @property
    def id(self) -> EventId:
        """The position of the last event published here, as an SSE id."""
        return EventId(self.epoch, self.position)

    def register(self, subscriber: Subscriber) -> None:
        """Count a subscriber in: it is told of rebases from now on, whether live or not."""
        self.subscribers[subscriber] = None

    def unregister(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self.leave(subscriber)
        self.subscribers.pop(subscriber, None)

    def join(self, subscriber: Subscriber) -> bool:
        """Make a subscriber live if it has reached the present; see the module's argument."""
        if subscriber.cursor < self.position or subscriber.epoch != self.epoch:
            return False
        subscriber.live = True
        if subscriber.single is not None:
            self.single.setdefault(subscriber.single, {})[cast("Line", subscriber)] = None
        else:
            for name in subscriber.channels:
                self._live.add(name, subscriber)
        return True

    @property
    def bearable(self) -> int:
        """Events that may be published in one go: about two milliseconds of it."""
        return max(1, OFFERS // max(1, len(self.subscribers)))

    def publish(self, events: Sequence[Event]) -> None:
        """Encode each event once and offer the same bytes to every live subscriber it matches."""
        reached: Event | None = None
        for item in events:
            before = self.delivered
            frame = wire.event(self.epoch, item)
            self.position = item.pos
            self.ring.append(item.pos, item.channel, frame)
            if item.channel in self.single:
                self.on_single(item.channel, item.pos, frame)
                reached = item
            full = self._offer(item.pos, frame, self._live.matching(item.channel))
            for subscriber in full:
                self.leave(subscriber)
                # It was live, so it has everything before this event.
                subscriber.cursor = max(subscriber.cursor, item.pos - 1)
            if self.delivered != before:
                reached = item
        self.published += len(events)
        if reached is not None:
            self.on_reached(reached)

    def _offer(self, pos: int, frame: bytes, matching: Iterable[Subscriber]) -> list[Subscriber]:
        """Hand a frame to all; whose buffers are full.

        `Subscriber.offer` for thousands, written out: its calls would cost half of a delivery.
        """
        full: list[Subscriber] = []
        waiting: list[Subscriber] = []
        size, delivered = len(frame), 0
        for subscriber in matching:
            if subscriber.parked or subscriber.left is not None:
                if subscriber.offer(pos, frame):
                    delivered += 1
                else:
                    full.append(subscriber)
                continue
            if subscriber.cursor >= pos or subscriber.ended:
                continue
            pending = subscriber.pending
            if not pending:
                waiting.append(subscriber)
            elif subscriber.pending_bytes + size > subscriber.capacity:
                subscriber.lagged += 1
                full.append(subscriber)
                continue
            pending.append(frame)
            subscriber.pending_bytes += size
            subscriber.cursor = pos
            delivered += 1
        self.delivered += delivered
        if waiting:
            self.on_waiting(waiting)
        return full

    def announce(self, channel: str, body: str) -> None:
        """Offer an ephemeral event to who is live now."""
        frame = wire.ephemeral(body)
        for subscriber in chain(self._live.matching(channel), self.single.get(channel, ())):
            subscriber.offer_ephemeral(frame)

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        """Go on after `pos` in `epoch`; with a gap every subscriber is told."""
        self.before_rebase()
        if gap is not None:
            self.ring.clear()
        self.epoch, self.position = epoch, pos
        for subscriber in self.subscribers:
            subscriber.rebase(epoch, pos, gap)

    def heartbeat(self, subscriber: Subscriber) -> None:
        """Give an idle live subscriber the log's position: it has everything up to here."""
        if subscriber.single is not None and self.waits(subscriber.single):
            return  # it has not everything yet, and will hear of it soon
        if subscriber.live and subscriber.idle and not subscriber.ended:
            subscriber.cursor = max(subscriber.cursor, self.position)
            subscriber.put(wire.mark(subscriber.position))

    def leave(self, subscriber: Subscriber) -> None:
        """Offer a subscriber nothing more: it lags, until it joins again."""
        subscriber.live = False
        if subscriber.single is not None:
            lines = self.single.get(subscriber.single)
            if lines is not None:
                lines.pop(cast("Line", subscriber), None)
                if not lines:
                    del self.single[subscriber.single]
            return
        for name in subscriber.channels:
            self._live.discard(name, subscriber)
