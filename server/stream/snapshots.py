"""Streams of snapshots: not the events themselves, but the state anew whenever one has come.

For clients that expect whole lists, as the source text's. Events that come while a snapshot is
read or written make one further snapshot, not one each; a slow reader gets fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from server.auth.principal import Principal
from server.db.faults import LOST
from server.guard.rates import address_of
from server.keys import SETTINGS
from server.log.model import GapReason
from server.stream import wire
from server.stream.connection import Connection
from server.stream.names import Matcher
from server.stream.service import SERVICE
from server.stream.streams import Stream
from server.stream.subscriber import Waiter


class Watcher(Waiter):
    """Takes events as the news that there are some."""

    __slots__ = ("stale",)

    stale: bool

    def offer(self, pos: int, frame: bytes) -> bool:
        """Remember that the state has changed."""
        del frame
        self.cursor = max(self.cursor, pos)
        self.news()
        return True

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        """Whatever was missed: the next snapshot has it."""
        del gap
        self.epoch, self.cursor = epoch, pos
        self.news()

    def news(self) -> None:
        """A snapshot is due."""
        self.stale = True
        self.touch()


async def snapshots(
    request: web.Request,
    principal: Principal,
    channel: str,
    first: bytes,
    snapshot: Callable[[], Awaitable[bytes]],
) -> web.StreamResponse:
    """Answer with a stream: `first`, a snapshot at once, and one after each event of `channel`."""
    service, settings = request.app[SERVICE], request.app[SETTINGS]
    address = address_of(request)
    connection = Connection(request, settings.write_deadline)
    watcher = Watcher(Matcher([channel]), service.pubsub.id, capacity=settings.stream_buffer)
    with service.streams.opened(Stream(watcher, connection, principal, address)):
        if not watcher.ended:
            # In the index before the state is read: a change after the reading makes it stale.
            service.pubsub.join(watcher)
            watcher.put(wire.retry(service.streams.retry()) + first)
            watcher.news()
        try:
            await connection.open()
            await _drive(watcher, connection, snapshot)
            await connection.close()
        except ConnectionError:
            connection.abort()
    return connection.response


async def _drive(
    watcher: Watcher, connection: Connection, snapshot: Callable[[], Awaitable[bytes]]
) -> None:
    while True:
        watcher.wakeup.clear()
        if data := watcher.take():
            await connection.write(data)
        elif watcher.ended:
            return
        elif watcher.stale:
            watcher.stale = False
            try:
                data = await snapshot()
            except LOST:
                await asyncio.sleep(0.2)
                watcher.news()
            else:
                await connection.write(data)
        else:
            await watcher.wakeup.wait()
