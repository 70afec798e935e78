"""Rounds: what is published on a channel, sent to all the lines that have only this channel.

Most streams have one channel. For them nothing is noted line by line when an event is published:
the frame goes into the channel's open round, and a round is one pass over the lines, which writes
the same bytes to each. What is published before a round begins goes with it, what comes later is
the next one's. So a line that is live may be behind the pubsub's position: its cursor tells where
it is, and is moved only when the bytes are handed over.

That each line gets each event once and in order follows from the cursor alone. A round's positions
follow those of the channel's round before it, which ends before it begins. A line that joined
after some of them has a cursor beyond those, and is given the rest. A line that lags is not in the
pass, keeps its cursor, and reads on from there.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from os import write
from typing import TYPE_CHECKING

from server.stream import wire

if TYPE_CHECKING:
    from server.stream.outbound import Line
    from server.stream.pubsub import PubSub

log = logging.getLogger(__name__)

MOST = 256 * 1024
"""Bytes joined for one write; a larger frame goes alone."""
SMALL = 32 * 1024
"""Bytes up to which a write is framed once for all, and handed over in one piece."""
WAITING = 8 * 1024 * 1024
"""Bytes that wait for their rounds, of all channels; beyond it a channel's lines catch up one by
one, from the ring or the log."""


class Round:
    """Frames for the lines of one channel; `rest`: who has still to get them, once it began."""

    __slots__ = ("channel", "chunk", "frames", "raw", "rest", "size")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.frames: list[tuple[int, bytes]] = []
        self.size = 0
        self.rest: Iterator[Line] | None = None
        self.raw = self.chunk = b""

    def add(self, pos: int, frame: bytes) -> None:
        """Take the next event of the channel."""
        self.frames.append((pos, frame))
        self.size += len(frame)

    def begin(self, lines: Iterable[Line]) -> Iterator[Line]:
        """From here on it is closed."""
        self.rest = iter(lines)
        self.raw = b"".join([frame for _, frame in self.frames])
        self.chunk = wire.chunk(self.raw) if self.size <= SMALL else b""
        return self.rest


class Rounds:
    """The rounds of all channels, in the order of their first events.

    `touch(lines)`: they have something in their own buffers, or are to catch up.
    """

    def __init__(self, pubsub: PubSub, touch: Callable[[list[Line]], None]) -> None:
        self._pubsub = pubsub
        self._touch = touch
        self._queue: deque[Round] = deque()
        self._open: dict[str, Round] = {}
        self._busy: dict[str, int] = {}
        self._waiting = 0
        self.begun = 0

    @property
    def ended(self) -> int:
        """How many of the `begun` rounds are over: the first ones, as they end in turn."""
        return self.begun - len(self._queue)

    def __bool__(self) -> bool:
        return bool(self._queue)

    def waits(self, channel: str) -> bool:
        """Whether lines of this channel have still to get what was published."""
        return channel in self._busy

    def add(self, channel: str, pos: int, frame: bytes) -> None:
        """Put an event into the channel's open round."""
        found = self._open.get(channel)
        if found is None or found.size + len(frame) > MOST:
            found = self._open[channel] = Round(channel)
            self._queue.append(found)
            self.begun += 1
            self._busy[channel] = self._busy.get(channel, 0) + 1
        found.add(pos, frame)
        self._waiting += len(frame)
        if self._waiting > WAITING:
            self._give_up(channel)

    def send(self, most: int) -> int:
        """Send to up to `most` lines; how many were gone through."""
        done = 0
        while self._queue and done < most:
            current = self._queue[0]
            rest = current.rest or self._begin(current)
            count = self._pass(current, rest, most - done)
            if count < most - done:
                self._queue.popleft()
                self._ended(current)
            done += count
        return done

    def _begin(self, current: Round) -> Iterator[Line]:
        """Who is live now gets it; who joins later has seen its events already."""
        if self._open.get(current.channel) is current:
            del self._open[current.channel]
        return current.begin(list(self._pubsub.single.get(current.channel, ())))

    def _pass(self, current: Round, rest: Iterator[Line], most: int) -> int:
        """Go on with a round; fewer than `most` lines: it is over.

        Hot: its body runs once for each delivery, so it calls nothing that it can do itself.
        """
        first, last = current.frames[0][0], current.frames[-1][0]
        raw, chunk, small = current.raw, current.chunk, current.size <= SMALL
        count = sent_to = 0
        for line in islice(rest, most):
            count += 1
            if not line.live or line.ended or line.cursor >= last:
                continue
            carrier = line.carrier
            if line.pending or line.cursor >= first or carrier.paused:
                self._append(line, current)
                continue
            line.cursor = last
            sent_to += 1
            try:
                if not small:
                    carrier.write(raw)
                    continue
                data = chunk if carrier.chunked else raw
                carrier.written += len(data)
                sent = 0
                if carrier.descriptor >= 0:
                    try:
                        sent = write(carrier.descriptor, data)
                    except OSError:
                        sent = 0  # full, or broken: the transport knows what to do
                if sent != len(data):
                    carrier.transport.write(data[sent:] if sent else data)
            except Exception as error:
                # Whatever is wrong with one, the others get theirs.
                log.exception("a stream failed, its client has to come again: %r", error)
                with suppress(Exception):
                    carrier.abort()
        self._pubsub.delivered += sent_to * len(current.frames)
        return count

    def _append(self, line: Line, current: Round) -> None:
        """Into its own buffer, behind what waits there; one whose buffer is full lags."""
        if line.carrier.paused:
            self._pubsub.leave(line)
            return
        for pos, frame in current.frames:
            if pos <= line.cursor:
                continue
            if line.pending and line.pending_bytes + len(frame) > line.capacity:
                line.lagged += 1
                self._pubsub.leave(line)
                break
            line.pending.append(frame)
            line.pending_bytes += len(frame)
            line.cursor = pos
            self._pubsub.delivered += 1
        self._touch([line])

    def spill(self) -> None:
        """Hand what waits to the lines' own buffers, at once: the ground is about to move."""
        while self._queue:
            current = self._queue.popleft()
            for line in current.rest or self._begin(current):
                if line.live and not line.ended:
                    self._append(line, current)
            self._ended(current)

    def _give_up(self, channel: str) -> None:
        """Too much waits: the lines of this channel catch up by themselves."""
        for current in [it for it in self._queue if it.channel == channel and it.rest is None]:
            self._begin(current)
            self._queue.remove(current)
            self._ended(current)
        lines = list(self._pubsub.single.get(channel, ()))
        for line in lines:
            line.lagged += 1
            self._pubsub.leave(line)
        self._touch(lines)

    def _ended(self, current: Round) -> None:
        self._waiting -= current.size
        left = self._busy[current.channel] - 1
        if left:
            self._busy[current.channel] = left
        else:
            del self._busy[current.channel]
