"""What a stream's handlers need, put together; and where a stream starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web

from server.errors import UNAVAILABLE, ApiError
from server.log.model import Event, EventId, GapReason, Head, Selection, parse_id
from server.log.service import Log
from server.stream import takeover
from server.stream.names import Matcher
from server.stream.outbound import Outbound
from server.stream.pubsub import PubSub
from server.stream.replay import Replay
from server.stream.request import Wanted
from server.stream.streams import Streams


class Start:
    """Where a stream starts. With a `gap`, the client is told that it misses what is before."""

    __slots__ = ("after", "gap", "id")

    def __init__(self, at: EventId, gap: GapReason | None = None, after: str | None = None) -> None:
        self.id = at
        self.gap = gap
        self.after = after


class Service:
    """The streams of one process."""

    outbound: Outbound | None = None
    """What drives streams whose connections are taken over; without it handlers are parked."""

    def __init__(self, log: Log, pubsub: PubSub, streams: Streams) -> None:
        self.log = log
        self.pubsub = pubsub
        self.streams = streams
        self.replay = Replay(pubsub, log.history)
        pubsub.on_reached = self._follow

    async def take_over(self) -> None:
        """Take connections over from now on, if this aiohttp bears it."""
        if await takeover.works():
            self.outbound = Outbound(self.pubsub, self.replay, self.streams.remove)

    def _follow(self, event: Event) -> None:
        """Without an outbound: parked handlers are woken with this turn of the loop."""
        latency = self.pubsub.latency
        if latency.begin(event.body):
            asyncio.get_running_loop().call_soon(latency.end)

    async def start(self, wanted: Wanted, channels: Matcher, last_event_id: str | None) -> Start:
        """Decide where a stream begins; `last_event_id` is what a browser came back with.

        Raises:
            ApiError: 503 while the process and the database tell of different epochs.
        """
        if last_event_id is None and wanted.rewind is None and wanted.since is None:
            if wanted.after is None:
                return Start(self.pubsub.id)
            last_event_id = wanted.after
        if last_event_id is not None and (here := self._present(last_event_id)):
            return Start(here)
        return await self._agreed(lambda: self._look_up(wanted, channels, last_event_id))

    async def again(self, start: Start) -> Start:
        """Where a reader that had begun at `start` goes on, after the ground has moved under it.

        Raises:
            ApiError: 503 as `start`.
        """

        async def look_up() -> Start:
            resume, head = await self.log.history.resume(str(start.id))
            at = EventId(head.epoch, resume.pos)
            return Start(at, resume.gap or start.gap, start.after or str(start.id))

        return await self._agreed(look_up)

    async def _agreed(self, look_up: Callable[[], Awaitable[Start]]) -> Start:
        """A start in the epoch that this process publishes in: positions of another say nothing."""
        for _ in range(50):
            start = await look_up()
            if start.id.epoch == self.pubsub.epoch:
                return start
            self.log.reader.wake()  # it will find the new epoch, too
            await asyncio.sleep(0.1)
        raise ApiError(UNAVAILABLE, "the log is changing its epoch", headers={"Retry-After": "1"})

    def _present(self, text: str) -> EventId | None:
        """The id itself if this process can go on from it without asking the database."""
        at = parse_id(text)
        if at is None or at.epoch != self.pubsub.epoch or at.pos > self.pubsub.position:
            return None
        whole = at.pos == self.pubsub.position or self.pubsub.ring.reaches(at.pos)
        return at if whole else None

    async def _look_up(self, wanted: Wanted, channels: Matcher, after: str | None) -> Start:
        history = self.log.history
        if after is not None:
            resume, head = await history.resume(after)
            return Start(EventId(head.epoch, resume.pos), resume.gap, after)
        head = await history.head()
        selection = selection_of(channels)
        if wanted.rewind is not None:
            return Start(EventId(head.epoch, await history.rewound(selection, wanted.rewind, head)))
        return Start(EventId(head.epoch, await self._since(wanted.since, head)))

    async def _since(self, moment: datetime | None, head: Head) -> int:
        return head.pos if moment is None else await self.log.history.since(moment, head)


def selection_of(channels: Matcher) -> Selection:
    """The channels as the log's pages take them."""
    return Selection(tuple(sorted(channels.exact)), channels.patterns)


SERVICE = web.AppKey("streams", Service)
OPENED = web.AppKey("opened", tuple[str, ...])
"""Patterns that everybody may read here beside what the policies open (the demo's metrics)."""
