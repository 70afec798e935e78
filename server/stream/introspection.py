"""`/api/streams` and `/api/channels`: who is connected, in all processes; for admins."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from operator import itemgetter
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, WithJsonSchema

from server.errors import (
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    UNAUTHORIZED,
    UNAVAILABLE,
    ApiError,
    invalid,
)
from server.openapi.access import ADMIN
from server.openapi.fields import EVENT_ID, Input, Key, Moment, Output
from server.openapi.route import answer, route
from server.stream.directory import DIRECTORY, Directory, Reports, ranked
from server.stream.handlers import ChannelText

TAG = "Streams"
MAX_LISTED = 1_000
_DIFFERENT = (AttributeError, KeyError, TypeError, ValueError)
"""What comes of a report by a process of another version, which tells it differently."""
STREAM_ID = r"^[0-9a-f]{8}-[0-9a-f]{16}$"

Process = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
ChannelName = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]


class StreamsWanted(Input):
    """Which streams."""

    limit: int = Field(100, ge=1, le=MAX_LISTED)
    channel: ChannelName | None = Field(None, description="Those that an event on it reaches.")
    user: Key | None = Field(None, description="Those of this user, or of tokens that they made.")
    process: Process | None = Field(None, description="Those of this process.")


class ChannelsWanted(Input):
    """Which channels."""

    limit: int = Field(100, ge=1, le=MAX_LISTED)
    match: ChannelText | None = Field(None, description="Those that this pattern covers.")


class StreamPath(Input):
    """Which stream."""

    id: Annotated[str, WithJsonSchema({"type": "string", "pattern": STREAM_ID})]


class StreamInfo(Output):
    """One open stream."""

    id: str
    process: str
    channels: list[str] = Field(description="Channels and patterns, at most 20 of them.")
    channel_count: int = Field(description="How many it has.")
    mode: Literal["all", "latest"]
    kind: Literal["anonymous", "user", "key", "token"] = Field(description="How it showed who.")
    user: str | None = Field(description="Whose session it is, or who made the token.")
    key: str | None = Field(description="The id of the API key, or of the one that made the token.")
    address: str = Field(description="The client's.")
    opened_at: Moment
    age: float = Field(description="Seconds.")
    position: str = Field(pattern=EVENT_ID, description="Up to here it was given its events.")
    lag: int | None = Field(description="Positions from there to the head of its process.")
    bytes: int = Field(description="Written so far.")
    waiting: int = Field(description="Bytes that the client has not taken yet.")
    state: Literal["live", "lagging", "ending"]


class ProcessInfo(Output):
    """One living process. `streams`: those open in it, whether they match or not; `null`: it did
    not answer in time."""

    id: str
    streams: int | None
    answered: bool


class StreamList(Output):
    """Open streams, the oldest first. `total`: how many match; `complete`: whether all processes
    are in it."""

    streams: list[StreamInfo]
    total: int
    processes: list[ProcessInfo]
    complete: bool


class ChannelInfo(Output):
    """A channel, or a pattern as clients subscribe to it."""

    name: str
    subscribers: int


class ChannelList(Output):
    """Channels and patterns with the most subscribers first. `total`: how many there are;
    `complete`: whether all processes, and all that they have, are in it."""

    channels: list[ChannelInfo]
    total: int
    processes: list[ProcessInfo]
    complete: bool


@route(
    "GET",
    "/api/streams",
    summary="The open streams",
    tag=TAG,
    answers={200: StreamList},
    access=ADMIN,
    errors=(UNAUTHORIZED, FORBIDDEN),
)
async def list_streams(request: web.Request, query: StreamsWanted) -> StreamList:
    """Of all processes, the oldest first. A process that does not answer within two seconds is
    left out, and `complete` is false; as it is for some seconds after the database was away."""
    args = {"limit": query.limit, "channel": query.channel, "user": query.user}
    reports = await request.app[DIRECTORY].streams(args, query.process)
    told: dict[str, int] = {}
    totals: dict[str, int] = {}
    oldest: list[tuple[float, str, Any]] = []
    for process, report in reports.found.items():
        # Cut before they are looked at closely: each process has told as many as are wanted.
        with suppress(*_DIFFERENT):
            some = [(float(item["opened_at"]), process, item) for item in report["streams"]]
            told[process], totals[process] = int(report["open"]), int(report["total"])
            oldest = sorted(oldest + some, key=itemgetter(0))[: query.limit]
        await asyncio.sleep(0)
    found: list[tuple[str, StreamInfo]] = []
    now = time.time()
    for number, (opened, process, item) in enumerate(oldest, 1):
        if number % 100 == 0:
            await asyncio.sleep(0)
        try:
            # By one clock: an answer that comes later must not make its streams older.
            age = max(0.0, round(now - opened, 3))
            found.append((process, StreamInfo.model_validate({**item, "age": age})))
        except _DIFFERENT:
            told.pop(process, None)
    processes, complete = _processes(reports, told)
    return StreamList(
        streams=[info for process, info in found if process in told],
        total=sum(totals[process] for process in told),
        processes=processes,
        complete=complete,
    )


@route(
    "GET",
    "/api/channels",
    summary="The channels that are read",
    tag=TAG,
    answers={200: ChannelList},
    access=ADMIN,
    errors=(UNAUTHORIZED, FORBIDDEN),
)
async def list_channels(request: web.Request, query: ChannelsWanted) -> ChannelList:
    """By open streams, of all processes: each channel or pattern as clients subscribe to it."""
    directory: Directory = request.app[DIRECTORY]
    reports = await directory.channels({"match": query.match})
    own = reports.found[directory.process]
    counts: dict[str, int] = own["channels"]
    told = {directory.process: int(own["open"])}
    whole = True
    for process, report in reports.found.items():
        if process == directory.process:
            continue
        try:
            names = {str(name): int(count) for name, count in report["channels"].items()}
            told[process], cut = int(report["open"]), bool(report["cut"])
        except _DIFFERENT:
            continue
        for name, count in names.items():
            counts[name] = counts.get(name, 0) + count
        whole = whole and not cut
        await asyncio.sleep(0)
    processes, complete = _processes(reports, told)
    return ChannelList(
        channels=[
            ChannelInfo(name=name, subscribers=subscribers)
            for name, subscribers in await ranked(counts, query.limit)
        ],
        total=len(counts),
        processes=processes,
        complete=complete and whole,
    )


@route(
    "DELETE",
    # The names beside it have methods of their own.
    "/api/streams/{id:(?!(?:token|cookie)$)[^/]+}",
    summary="End a stream",
    tag=TAG,
    answers={204: None},
    access=ADMIN,
    errors=(INVALID, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, UNAVAILABLE),
    rate="writes",
)
async def end_stream(request: web.Request, path: StreamPath) -> web.Response:
    """In whatever process it lives: its client is told `bye` with the reason `revoked`; one that
    takes nothing is cut a second later. A kick, not a ban: the client may come back."""
    if re.fullmatch(STREAM_ID.strip("^$"), path.id, re.ASCII) is None:
        raise invalid("id", "an id as `ready` and the list of streams tell it")
    ending = await request.app[DIRECTORY].end(path.id)
    if ending == "absent":
        raise ApiError(NOT_FOUND)
    if ending == "silent":
        detail = "the stream's process did not answer: it may have ended the stream or not"
        raise ApiError(UNAVAILABLE, detail, headers={"Retry-After": "1"})
    return answer(None, status=204)


def _processes(reports: Reports, told: dict[str, Any]) -> tuple[list[ProcessInfo], bool]:
    """All living processes, and whether each has told its part."""
    everybody = sorted({*reports.found, *reports.missing})
    processes = [
        ProcessInfo(id=process, streams=told.get(process), answered=process in told)
        for process in everybody
    ]
    return processes, reports.complete and len(told) == len(everybody)


ROUTES = (list_streams, list_channels, end_stream)
