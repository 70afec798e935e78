"""A stream's beginning: what it says first, and who carries it from there.

Mostly its connection is taken over (takeover.py). Where that is off, or this aiohttp does not bear
it, the handler stays parked for as long as the stream lives. Both send the same bytes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from aiohttp import web

from server.auth.principal import Principal
from server.log.model import parse_id
from server.stream import takeover, wire
from server.stream.carrier import Carrier
from server.stream.connection import Connection, drive
from server.stream.names import Matcher
from server.stream.outbound import Line, Outbound
from server.stream.request import WantedStream
from server.stream.service import Service, Start
from server.stream.streams import Stream
from server.stream.subscriber import Subscriber, Waiter


@dataclass(slots=True)
class Opening:
    """All that is known of a stream before it begins. `address`: its client's, as it is counted.
    `capacity`: bytes that may wait for it."""

    service: Service
    principal: Principal
    address: str
    wanted: WantedStream
    channels: Matcher
    start: Start
    capacity: int

    async def answer(self, request: web.Request, deadline: float) -> web.StreamResponse:
        """The response that becomes, or is, the stream; `deadline`: seconds that a client of a
        parked one may take nothing."""
        outbound = self.service.outbound
        if outbound is None:
            return await self._parked(Connection(request, deadline))

        def begin(transport: asyncio.Transport, chunked: bool) -> tuple[asyncio.Protocol, bytes]:
            return self._begin(outbound, transport, chunked=chunked)

        return takeover.Response(begin)

    def _begin(
        self, outbound: Outbound, transport: asyncio.Transport, *, chunked: bool
    ) -> tuple[asyncio.Protocol, bytes]:
        line = Line(
            self.channels,
            self.start.id,
            outbound,
            capacity=self.capacity,
            limit=self.wanted.limit,
            latest=self.wanted.mode == "latest",
        )
        carrier = line.carrier = Carrier(line, transport, chunked=chunked)
        try:
            self._greet(Stream(line, carrier, self.principal, self.address))
            if not line.ended and self.service.pubsub.join(line):
                line.put(wire.mark(line.position))
        except BaseException:
            outbound.lost(line)
            raise
        first = b"".join(line.hand_over())
        carrier.written += len(first)
        return carrier, first

    async def _parked(self, connection: Connection) -> web.StreamResponse:
        waiter = Waiter(
            self.channels,
            self.start.id,
            capacity=self.capacity,
            limit=self.wanted.limit,
            latest=self.wanted.mode == "latest",
        )
        stream = Stream(waiter, connection, self.principal, self.address)
        try:
            self._greet(stream)
            await connection.open()
            await drive(waiter, connection, self.service.replay)
            await connection.close()
        except ConnectionError:
            connection.abort()  # the client has gone: nothing is left to tell it
        finally:
            self.service.streams.remove(waiter)
        return connection.response

    def _greet(self, stream: Stream) -> None:
        """Register the stream, and put what it says first."""
        streams, start, subscriber = self.service.streams, self.start, stream.subscriber
        refusal = streams.add(stream)
        if refusal is not None:
            streams.turn_away(stream, refusal)
            return
        expires = stream.principal.expires
        if expires is not None and expires <= time.time():  # while it looked up its start
            streams.end(stream, "expired")
            return
        gap = start.gap or ("epoch" if self._unsure() else None)
        at = None if gap else start.id
        subscriber.put(
            wire.retry(streams.retry())
            + wire.ready(at, stream.id, self.wanted.channel, streams.heartbeat)
        )
        if gap:
            subscriber.put(wire.gap(start.after, start.id, gap))
        _check_epoch(subscriber, self.service)

    def _unsure(self) -> bool:
        """Whether the client comes from a former epoch, of which this one need not have the
        events that replaced what was skipped (latest.py)."""
        at = parse_id(self.start.after or "")
        return self.wanted.mode == "latest" and at is not None and at.epoch != self.start.id.epoch


def _check_epoch(subscriber: Subscriber, service: Service) -> None:
    """A log that forked while the headers were on their way: the subscriber was not told."""
    if subscriber.epoch != service.pubsub.epoch:
        subscriber.end()
