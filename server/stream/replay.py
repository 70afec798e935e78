"""Catching up: from a subscriber's cursor to the present, by the ring if it reaches, else the log.

A page of the log is filtered by channel, so its density proves nothing. What proves that no event
is missing is the floor, read in a later statement than the page: removal happens only below a
floor that was committed before, so a page from above the later floor is whole.
"""

from __future__ import annotations

import asyncio

from server.log.history import History, Page, next_limit
from server.log.model import Selection
from server.stream import wire
from server.stream.blocks import Block, Blocks
from server.stream.pubsub import PubSub
from server.stream.subscriber import Subscriber

CROWD = 4
"""So many subscribers that read the log at once share what they read."""
CROWDED = 2.0
"""Seconds after the last crowd within which reads are still shared."""
NEAR = 100_000
"""Positions from the present within which they do: far back a channel's own index is better."""
CHUNK = 256 * 1024
"""Bytes that are taken from ring or log at once: what one client may hold up in memory."""


class Replay:
    """Feeds lagging subscribers."""

    def __init__(self, pubsub: PubSub, history: History) -> None:
        self._pubsub = pubsub
        self._history = history
        self._blocks = Blocks(history)
        self._reading = 0
        self._forget: asyncio.TimerHandle | None = None
        self.pages = 0

    @property
    def shared_reads(self) -> int:
        """Reads of the log that several subscribers had together."""
        return self._blocks.reads

    async def feed(self, subscriber: Subscriber) -> bytes:
        """The next bytes for a subscriber that is not live.

        It is live when this returns the id-only block that ends a replay. Empty bytes: look
        again (something else waits, or the stream has ended).
        """
        while not subscriber.ended and subscriber.idle:
            if self._pubsub.join(subscriber):
                return wire.mark(subscriber.position)
            found = self._pubsub.ring.after(subscriber.cursor, subscriber.channels, CHUNK)
            if found is not None:
                frames, subscriber.cursor = found
                if frames:
                    return _hand_out(subscriber, frames)
                await asyncio.sleep(0)  # it was a long look
                continue
            self._reading += 1
            try:
                data = await self._read(subscriber)
            finally:
                self._reading -= 1
            if data is not None:
                return data
        return b""

    async def _read(self, subscriber: Subscriber) -> bytes | None:
        """The next bytes from the log; `None`: look again."""
        if self._shares(subscriber):
            before = subscriber.position
            block = await self._blocks.after(before.epoch, before.pos, self._pubsub.position)
            if subscriber.position != before:
                return None
            if block is not None:
                return _from_block(subscriber, block)
        page = await self._page(subscriber)
        if page is None:
            return None
        if page.head.floor > subscriber.cursor:
            before = subscriber.position
            subscriber.cursor = page.head.floor
            return wire.gap(str(before), subscriber.position, "pruned")
        subscriber.cursor = page.reached
        subscriber.page = next_limit(page.events, subscriber.page, CHUNK)
        if page.events:
            return _hand_out(subscriber, [wire.event(subscriber.epoch, e) for e in page.events])
        if page.reached < self._pubsub.position:
            return wire.mark(subscriber.position)  # a client that is cut here starts here
        return None

    def _shares(self, subscriber: Subscriber) -> bool:
        """Whether a subscriber reads with the others."""
        loop = asyncio.get_running_loop()
        if self._reading >= CROWD:
            if self._forget is not None:
                self._forget.cancel()
            self._forget = loop.call_later(CROWDED, self._thin_out)
        return self._forget is not None and self._pubsub.position - subscriber.cursor <= NEAR

    def _thin_out(self) -> None:
        """No crowd has been seen for a while."""
        self._forget = None
        self._blocks.clear()

    async def _page(self, subscriber: Subscriber) -> Page | None:
        """One page of the log; `None` when the ground has moved under it."""
        before = subscriber.position
        selection = Selection(tuple(subscriber.channels.exact), subscriber.channels.patterns)
        page = await self._history.page(
            selection, subscriber.cursor, self._pubsub.position, subscriber.page
        )
        self.pages += 1
        if subscriber.position != before:
            return None
        if page.head.epoch != subscriber.epoch:
            # The process's reader will find out, and rebase its subscribers.
            await asyncio.sleep(0.05)
            return None
        return page


def _from_block(subscriber: Subscriber, block: Block) -> bytes | None:
    """What a subscriber wants of a block, up to `CHUNK` bytes; `None` if that is nothing."""
    frames: list[bytes] = []
    size = 0
    wanted, cursor = subscriber.channels, subscriber.cursor
    for item in block:
        if item.pos <= cursor:
            continue
        if size >= CHUNK:
            break
        subscriber.cursor = item.pos
        if item.channel in wanted:
            frames.append(item.frame)
            size += len(item.frame)
    return _hand_out(subscriber, frames) if frames else None


def _hand_out(subscriber: Subscriber, frames: list[bytes]) -> bytes:
    """Join what is read, as far as the stream's own limit goes."""
    if subscriber.left is not None:
        frames = frames[: subscriber.left]
    data = b"".join(frames)
    subscriber.count(len(frames))
    return data
