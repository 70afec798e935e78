"""Looking for a page of history, and waiting for one: the long poll behind `GET /api/events`."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from server.auth.principal import Principal
from server.log.history import PAGE_BYTES, Page, next_limit
from server.log.model import FIRST_PAGE, Event, EventId
from server.stream.names import Matcher
from server.stream.request import WantedHistory
from server.stream.service import Service, Start, selection_of
from server.stream.subscriber import Waiter

READ_SECONDS = 1.0
"""Seconds that one look reads on, for a page that is not full yet."""


class Found(NamedTuple):
    """A page from `start` on, looked through up to `reached`."""

    page: Page
    start: Start
    reached: int

    @property
    def tells(self) -> bool:
        """Whether there is something in it for the client."""
        return bool(self.page.events) or self.start.gap is not None

    @property
    def next(self) -> Start:
        """Where the page after it starts."""
        return Start(EventId(self.start.id.epoch, self.reached), self.start.gap, self.start.after)


class Poll:
    """One request for history; `address` and `who`: by which it is counted while it waits."""

    def __init__(
        self, service: Service, query: WantedHistory, address: str, who: Principal
    ) -> None:
        self._service = service
        self._channels = Matcher(query.channel)
        self._limit = query.limit
        self._address = address
        self._who = who

    async def look(self, start: Start) -> Found:
        """What there is now.

        Raises:
            ApiError: 503 while the process and the database tell of different epochs.
        """
        while True:
            page = await self._read(start.id.pos)
            moved = {page.head.epoch, self._service.pubsub.epoch} != {start.id.epoch}
            if not moved and page.head.floor <= start.id.pos:
                return Found(page, start, max(page.reached, start.id.pos))
            start = await self._service.again(start)

    async def wait(self, found: Found, end: float) -> Found:
        """What comes, until `end` (the loop's time), after a look that told nothing.

        It counts as an open stream meanwhile: one too many does not wait.

        Raises:
            ApiError: as `look`.
        """
        loop, streams = asyncio.get_running_loop(), self._service.streams
        refusal = streams.population.add(self._address, self._who)
        try:
            while refusal is None and not found.tells and not streams.closing:
                left = end - loop.time()
                if left <= 0:
                    break
                if found.reached >= self._service.pubsub.position:
                    await self._news(found.next.id, left)
                found = await self.look(found.next)
            return found
        finally:
            streams.population.drop(self._address, self._who)

    async def _read(self, after: int) -> Page:
        """Up to `limit` events, in several pages of the log; fewer if they are large or far
        between.

        `reached` tells how far it looked: the next request goes on from there.
        """
        loop, selection, limit = (
            asyncio.get_running_loop(),
            selection_of(self._channels),
            self._limit,
        )
        end = loop.time() + READ_SECONDS
        events: list[Event] = []
        reached, step, size = after, FIRST_PAGE, 0
        while True:
            upto = self._service.pubsub.position
            page = await self._service.log.history.page(
                selection, reached, upto, min(limit - len(events), step)
            )
            events += page.events
            reached = page.reached
            size += sum(len(item.body) for item in page.events)
            full = len(events) >= limit or size >= PAGE_BYTES
            if full or reached >= upto or loop.time() > end:
                return Page(events, reached, page.head)
            step = next_limit(page.events, step)

    async def _news(self, at: EventId, timeout: float) -> None:
        """Wait until an event of the channels is published here, or for `timeout` seconds."""
        pubsub = self._service.pubsub
        waiter = Waiter(self._channels, at, capacity=1)
        pubsub.register(waiter)
        try:
            async with asyncio.timeout(timeout):
                if pubsub.join(waiter):
                    await waiter.wakeup.wait()
                else:
                    await asyncio.sleep(0.05)  # new events, or an epoch that the reader will find
        except TimeoutError:
            pass
        finally:
            pubsub.unregister(waiter)
