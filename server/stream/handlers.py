"""`/api/stream`: Server-Sent Events. See docs/streams.md for the contract."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import HttpVersion11, web
from pydantic import BeforeValidator, Field, WithJsonSchema

from server.auth.identify import PRINCIPAL, identify, unauthorized
from server.auth.principal import Principal
from server.db.faults import LOST
from server.errors import FORBIDDEN, UNAUTHORIZED, UNAVAILABLE, ApiError
from server.guard.rates import address_of
from server.keys import SETTINGS
from server.openapi.access import READERS
from server.openapi.fields import EVENT_ID, ServerSentEvent
from server.openapi.route import route
from server.stream import wire
from server.stream.channels import readable
from server.stream.limits import Refusal
from server.stream.names import Matcher
from server.stream.opening import Opening
from server.stream.request import (
    MAX_CHANNELS,
    MAX_REWIND,
    After,
    Channel,
    Mode,
    Since,
    WantedStream,
    from_body,
)
from server.stream.service import OPENED, SERVICE

log = logging.getLogger(__name__)

MAX_ID_LENGTH = 200
LONG_AGO = 2.0
"""Seconds after which who asks is asked about again: a permission may have ended meanwhile."""


def _text(value: Any) -> Any:
    """A number is a time to pydantic; in a JSON body it is a mistake."""
    if value is not None and not isinstance(value, str):
        msg = "an ISO 8601 time, or a number with s, m, h or d"
        raise ValueError(msg)
    return value


# What these check in Python, in JSON Schema's words: for the document.
ChannelText = Annotated[
    Channel,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(([A-Za-z0-9_-]+|\*)\.)*([A-Za-z0-9_-]+|\*|>)$",
            "maxLength": 200,
            "examples": ["public.hello", "public.orders.>"],
        }
    ),
]
AfterText = Annotated[
    After,
    WithJsonSchema(
        {"type": "string", "anyOf": [{"const": "earliest"}, {"pattern": EVENT_ID}]},
    ),
]
SinceText = Annotated[
    Since,
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"format": "date-time"}, {"pattern": "^[0-9]{1,6}[smhd]$"}],
            "examples": ["10m", "2026-11-22T16:04:05Z"],
        }
    ),
]


class StreamWanted(WantedStream):
    """Channels, and at most one of `after`, `rewind` and `since`; without one, the present."""

    channel: list[ChannelText] = Field(
        min_length=1, max_length=MAX_CHANNELS, description="A channel or pattern."
    )
    after: AfterText | None = Field(None, description="Resume after this id, or `earliest`.")
    since: SinceText | None = Field(
        None, description="Start at a time, or so long ago: `30s`, `10m`, `2h`, `7d`."
    )
    mode: Mode = Field(
        "all", description="`latest`: while lagging, only the newest event of each channel and key."
    )


class StreamBody(StreamWanted):
    """The same in JSON, where a number is a number."""

    rewind: int | None = Field(None, ge=0, le=MAX_REWIND, strict=True)
    limit: int | None = Field(None, ge=1, le=1_000_000, strict=True)


@route(
    "GET",
    "/api/stream",
    summary="A live stream of channels",
    tag="Streams",
    answers={200: ServerSentEvent},
    access=READERS,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Cache-Control",),
    media="text/event-stream",
)
async def get_stream(request: web.Request, query: StreamWanted) -> web.StreamResponse:
    """Server-Sent Events: first `ready`, then events as they are committed, without a hole.

    What passes by itself (overload, a shutdown, an id that can't be used) is answered with 200
    and `bye` or `gap`, as EventSource gives up for good on any other status.
    """
    return await _stream(request, query)


@route(
    "POST",
    "/api/stream",
    summary="A live stream of many channels",
    tag="Streams",
    answers={200: ServerSentEvent},
    access=READERS,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Cache-Control",),
    media="text/event-stream",
    body=StreamBody,
)
async def post_stream(request: web.Request) -> web.StreamResponse:
    """The same, for lists that are too long for an address."""
    return await _stream(request, await from_body(StreamBody, request))


async def _stream(request: web.Request, wanted: StreamWanted) -> web.StreamResponse:
    service, settings = request.app[SERVICE], request.app[SETTINGS]
    head = request.method == "HEAD"
    refused = None if head else turned_away(request)
    if refused is not None:
        return refused
    channels = Matcher(wanted.channel)
    asked = time.monotonic()
    try:
        principal = await allow(request, wanted.channel)
        if head:
            return web.Response(headers=wire.HEADERS)
        start = await service.start(wanted, channels, last_event_id(request))
        if time.monotonic() - asked > LONG_AGO:
            principal = await allow_again(request, wanted.channel)
    except ApiError as error:
        if error.kind != UNAVAILABLE:
            if not head:  # which took nothing
                service.streams.population.give_back()
            raise
        return refuse(request, service.streams.population.refuse("database"))
    except LOST as error:
        log.info("a stream has to wait for the database: %r", error)
        return refuse(request, service.streams.population.refuse("database"))
    address, capacity = address_of(request), settings.stream_buffer
    opening = Opening(service, principal, address, wanted, channels, start, capacity)
    return await opening.answer(request, settings.write_deadline)


def turned_away(request: web.Request) -> web.Response | None:
    """The answer to a stream that can't be had now; asked first, for in a storm even finding out
    who asks is too much."""
    refusal = request.app[SERVICE].streams.refusal(address_of(request))
    return None if refusal is None else refuse(request, refusal)


def refuse(request: web.Request, refusal: Refusal) -> web.Response:
    """Answer a stream that can't be had with 200 and `bye`: EventSource gives up on any error."""
    response = web.Response(body=wire.bye(refusal.reason, refusal.retry), headers=wire.HEADERS)
    if request.version == HttpVersion11:
        response.enable_chunked_encoding()  # as every stream
    response.force_close()
    return response


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


async def allow_again(request: web.Request, channels: Sequence[str]) -> Principal:
    """The same, not by what was found out earlier.

    Raises:
        ApiError: 401, 403.
    """
    request.pop(PRINCIPAL, None)
    return await allow(request, channels)
