"""Catching up: from a subscriber's cursor to the present, by the ring if it reaches, else the log.

A page of the log is filtered by channel, so its density proves nothing. What proves that no event
is missing is the floor, read in a later statement than the page: removal happens only below a
floor that was committed before, so a page from above the later floor is whole.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import NamedTuple

from server.log.history import History, Page, next_limit
from server.log.model import Selection
from server.stream import wire
from server.stream.blocks import Block, Blocks
from server.stream.latest import HOLD, LONG, Newest, position
from server.stream.names import Matcher
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


class Look(NamedTuple):
    """The matching frames after a position, and the position that was looked through to.

    `pruned`: instead, events up to `reached` are gone. `far`: it may have been a long way.
    """

    frames: list[bytes]
    reached: int
    pruned: bool = False
    far: bool = False


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

        It is live when this returns the id-only block that ends a replay. Empty bytes: see again
        whether it may be fed (something else waits or has been sent, or the stream has ended),
        and ask again. While this waited its connection may have become full: a gap that a rebase
        put was written. So only the caller, who sees that, may let it join.
        """
        if subscriber.ended or not subscriber.idle:
            return b""
        if self._pubsub.join(subscriber):
            return wire.mark(subscriber.position)
        read = self._newest if subscriber.latest else self._next
        data = await read(subscriber)
        if not data:
            await asyncio.sleep(0)  # it was a long look
        return data

    async def _next(self, subscriber: Subscriber) -> bytes:
        """What follows the cursor; empty: look again."""
        look = await self._look(subscriber, subscriber.cursor, CHUNK)
        if look is None or subscriber.ended:
            return b""  # nothing may follow the last word
        if look.pruned:
            return _gap(subscriber, look.reached)
        if not look.frames:
            return self._pass(subscriber, look)
        subscriber.cursor = look.reached
        return _hand_out(subscriber, look.frames[: subscriber.left])

    async def _newest(self, subscriber: Subscriber) -> bytes:
        """What follows the cursor, without what later events replace; empty: look again.

        Others wait for their turn meanwhile: what was found is handed out after `LONG` seconds,
        and where nothing was found each look is a turn of its own.
        """
        newest = Newest()
        ground, reached = subscriber.position, subscriber.cursor
        end = monotonic() + LONG
        while True:
            look = await self._look(subscriber, reached, HOLD)
            if look is None or subscriber.ended:
                return b""
            if look.pruned:
                if newest.seen:
                    break  # first what there is
                return _gap(subscriber, look.reached)
            newest.add(look.frames)
            if not newest.seen:
                return self._pass(subscriber, look)
            reached = look.reached
            if reached >= self._pubsub.position or newest.size >= HOLD or monotonic() >= end:
                break
            await asyncio.sleep(0)
            if subscriber.position != ground or not subscriber.idle:
                return b""
        frames, skipped = newest.first(CHUNK, subscriber.left)
        subscriber.cursor = reached if len(frames) == len(newest) else position(frames[-1])
        told = wire.skipped(skipped, ground) if skipped else b""
        return told + _hand_out(subscriber, frames)

    def _pass(self, subscriber: Subscriber, look: Look) -> bytes:
        """Go on over a stretch that has nothing for a subscriber."""
        subscriber.cursor = look.reached
        if look.far and look.reached < self._pubsub.position:
            return wire.mark(subscriber.position)  # a client that is cut here starts here
        return b""

    async def _look(self, subscriber: Subscriber, after: int, most: int) -> Look | None:
        """A look at what follows a position, at about `most` bytes of it; `None`: look again.

        Nothing is awaited between what proves a look and its return: the caller may move the
        subscriber by it.
        """
        found = self._pubsub.ring.after(after, subscriber.channels, most)
        if found is not None:
            return Look(*found)
        self._reading += 1
        try:
            return await self._read(subscriber, after)
        finally:
            self._reading -= 1

    async def _read(self, subscriber: Subscriber, after: int) -> Look | None:
        """A look into the log."""
        if self._shares(subscriber):
            before = subscriber.position
            block = await self._blocks.after(before.epoch, after, self._pubsub.position)
            if subscriber.position != before:
                return None
            if block is not None:
                return _of_block(block, after, subscriber.channels)
        page = await self._page(subscriber, after)
        if page is None:
            return None
        if page.head.floor > after:
            return Look([], page.head.floor, pruned=True)
        subscriber.page = next_limit(page.events, subscriber.page, CHUNK)
        frames = [wire.event(subscriber.epoch, item) for item in page.events]
        return Look(frames, page.reached, far=True)

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

    async def _page(self, subscriber: Subscriber, after: int) -> Page | None:
        """One page of the log; `None` when the ground has moved under it."""
        before = subscriber.position
        selection = Selection(tuple(subscriber.channels.exact), subscriber.channels.patterns)
        page = await self._history.page(selection, after, self._pubsub.position, subscriber.page)
        self.pages += 1
        if subscriber.position != before:
            return None
        if page.head.epoch != subscriber.epoch:
            # The process's reader will find out, and rebase its subscribers.
            await asyncio.sleep(0.05)
            return None
        return page


def _of_block(block: Block, after: int, wanted: Matcher) -> Look:
    """What is wanted of a block behind a position, up to `CHUNK` bytes."""
    frames: list[bytes] = []
    size, reached = 0, after
    for item in block:
        if item.pos <= after:
            continue
        if size >= CHUNK:
            break
        reached = item.pos
        if item.channel in wanted:
            frames.append(item.frame)
            size += len(item.frame)
    return Look(frames, reached)


def _gap(subscriber: Subscriber, floor: int) -> bytes:
    """Move a subscriber to the floor, and tell."""
    before = subscriber.position
    subscriber.cursor = floor
    return wire.gap(str(before), subscriber.position, "pruned")


def _hand_out(subscriber: Subscriber, frames: list[bytes]) -> bytes:
    """Join what is read, and count it."""
    subscriber.count(len(frames))
    return b"".join(frames)
