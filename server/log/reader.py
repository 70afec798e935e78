"""The process's one reader of the log: it hands every event to the pubsub, in order, exactly once.

Events come in three ways, all in one event loop: from this process's stamper (already read, no
round trip), by a notification that says how far the log goes, and by looking at the head now and
then. Whatever the way, only the event that follows the last one is ever delivered: that is
asserted, not assumed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from server.db.faults import LOST
from server.log.history import Page, next_limit, read_forks, read_on
from server.log.model import FIRST_PAGE, Event, EventId, Head, Sink, resume

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds after which the head is looked at although nothing woke the reader."""


class Reader:
    """Delivers the log to a sink from the head at `start` on."""

    def __init__(self, pool: Pool, sink: Sink) -> None:
        self._pool = pool
        self._sink = sink
        self._wake = asyncio.Event()
        self._limit = FIRST_PAGE
        self.epoch = ""
        self.position = 0
        self.delivered = 0
        self.pages = 0

    async def start(self) -> None:
        """Begin at the head as it is now."""
        page = await read_on(self._pool, 2**63 - 1, 1)
        self.epoch, self.position = page.head.epoch, page.head.pos
        self._sink.rebase(self.epoch, self.position, None)

    def wake(self, upto: int | None = None) -> None:
        """Read on; nothing to do when everything up to `upto` has been delivered."""
        if upto is None or upto > self.position:
            self._wake.set()

    def offer(self, epoch: str, events: Sequence[Event]) -> None:
        """Events just stamped here: delivered at once if they are the next ones."""
        next_one = epoch == self.epoch and events and events[0].pos <= self.position + 1
        if next_one and len(events) <= self._sink.bearable:
            self._deliver(events)
        else:
            self._wake.set()

    async def run(self) -> None:
        """Read whenever woken, and every `LOOK_EVERY` seconds; survives a lost database."""
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._catch_up()
            except LOST as error:
                log.warning("the log can't be read now: %r", error)
                await asyncio.sleep(0.2)
                self._wake.set()

    async def _catch_up(self) -> None:
        while True:
            after, limit = self.position, self._limit
            page = await read_on(self._pool, after, limit)
            self.pages += 1
            if page.head.epoch != self.epoch or page.head.pos < after or _pruned(page, after):
                await self._rebase(page.head)
                continue
            await self._deliver_in_slices(page.events)
            self._limit = next_limit(page.events, limit)
            if len(page.events) < limit:
                return

    async def _deliver_in_slices(self, events: Sequence[Event]) -> None:
        """What is offered in between is either the next one, or makes this reader look again."""
        while events:
            step = self._sink.bearable
            self._deliver(events[:step])
            events = events[step:]
            if events:
                await asyncio.sleep(0)

    def _deliver(self, events: Sequence[Event]) -> None:
        """Publish what is new of `events`. No await: nothing can come in between."""
        skip = self.position + 1 - events[0].pos if events else 0
        fresh = events[skip:] if skip > 0 else events
        if not fresh:
            return
        for expected, event in enumerate(fresh, self.position + 1):
            if event.pos != expected:
                # A hole below the head cannot be: the stamper's lock forbids it. Better to stop
                # than to pass over an event in silence.
                msg = f"the log is not contiguous: expected {expected}, read {event.pos}"
                raise AssertionError(msg)
        self.position = fresh[-1].pos
        self.delivered += len(fresh)
        self._sink.publish(fresh)

    async def _rebase(self, head: Head) -> None:
        """The ground has moved: pruned past this process, a fork, or a log that went back."""
        forks = await read_forks(self._pool)
        here = resume(EventId(self.epoch, self.position), head, forks)
        log.warning(
            "the log moved from %s.%d to %s: going on after %d (%s)",
            self.epoch, self.position, head, here.pos, here.gap or "nothing missing",
        )  # fmt: skip
        self.epoch, self.position = head.epoch, here.pos
        self._sink.rebase(self.epoch, self.position, here.gap)


def _pruned(page: Page, after: int) -> bool:
    """Whether events behind `after` are gone. Pruning takes from the bottom, so a page that
    begins with the next position is whole even if the floor has passed it since."""
    begins = bool(page.events) and page.events[0].pos <= after + 1
    return page.head.floor > after and not begins
