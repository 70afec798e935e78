"""`/api/stream`: Server-Sent Events. See docs/streams.md for the contract."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aiohttp import web

from server.auth.identify import identify, unauthorized
from server.auth.principal import Principal
from server.db.faults import LOST
from server.errors import FORBIDDEN, UNAVAILABLE, ApiError
from server.keys import SETTINGS
from server.openapi.reading import read_query
from server.stream import wire
from server.stream.channels import readable
from server.stream.connection import Connection, drive
from server.stream.names import Matcher
from server.stream.request import Wanted, from_body
from server.stream.service import OPENED, SERVICE, Service
from server.stream.streams import Stream
from server.stream.subscriber import Subscriber

log = logging.getLogger(__name__)

MAX_ID_LENGTH = 200


async def get_stream(request: web.Request) -> web.StreamResponse:
    """GET and HEAD: channels and start in the query."""
    return await _stream(request, read_query(Wanted, request))


async def post_stream(request: web.Request) -> web.StreamResponse:
    """POST: the same in a JSON body."""
    return await _stream(request, await from_body(Wanted, request))


async def _stream(request: web.Request, wanted: Wanted) -> web.StreamResponse:
    service = request.app[SERVICE]
    connection = Connection(request, request.app[SETTINGS].write_deadline)
    channels = Matcher(wanted.channel)
    start = None
    try:
        principal = await allow(request, wanted.channel)
        if request.method == "HEAD":
            return web.Response(headers=wire.HEADERS)
        if service.streams.refusal is None:
            start = await service.start(wanted, channels, last_event_id(request))
    except ApiError as error:
        if error.kind != UNAVAILABLE:
            raise
    except LOST as error:
        log.info("a stream has to wait for the database: %r", error)
    # Asked again: others may have been admitted while this one looked up its start.
    if start is None or service.streams.refusal:
        return await refuse(service, connection, service.streams.refusal or "overload")
    subscriber = Subscriber(
        channels,
        start.id,
        capacity=request.app[SETTINGS].stream_buffer,
        limit=wanted.limit,
    )
    stream = Stream(subscriber, connection, principal)
    with service.streams.opened(stream):
        subscriber.put(wire.retry(service.streams.retry()))
        subscriber.put(
            wire.ready(
                None if start.gap else start.id,
                stream.id,
                wanted.channel,
                service.streams.heartbeat,
            )
        )
        if start.gap:
            subscriber.put(wire.gap(start.after, start.id, start.gap))
        await serve(service, stream)
    return connection.response


async def serve(service: Service, stream: Stream) -> None:
    """Send the stream's headers and drive it to its end."""
    try:
        await stream.connection.open()
        await drive(stream.subscriber, stream.connection, service.replay)
        await stream.connection.close()
    except ConnectionError:
        stream.connection.abort()  # the client has gone: nothing is left to tell it


async def refuse(
    service: Service, connection: Connection, reason: wire.ByeReason
) -> web.StreamResponse:
    """Answer a stream that can't be had with 200 and `bye`: EventSource gives up on any error."""
    try:
        await connection.open()
        await connection.write(wire.bye(reason, service.streams.retry()))
        await connection.close()
    except ConnectionError:
        connection.abort()
    return connection.response


def last_event_id(request: web.Request) -> str | None:
    """What a browser came back with, short enough and of characters that a `gap` can repeat."""
    given = request.headers.get("Last-Event-ID")
    # aiohttp hands bytes that are no UTF-8 on as surrogates, which can't be encoded again.
    return given[:MAX_ID_LENGTH].encode(errors="replace").decode() if given else None


async def allow(request: web.Request, channels: Sequence[str]) -> Principal:
    """Who asks, if they may read all of `channels`.

    Raises:
        ApiError: 401 without credentials, 403 with.
    """
    principal = await identify(request)
    if not readable(principal, channels, request.app[OPENED]):
        if principal.kind == "anonymous":
            raise unauthorized("these channels need credentials")
        raise ApiError(FORBIDDEN, "these channels are not open to you")
    return principal
