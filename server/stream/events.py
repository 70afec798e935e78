"""`/api/events`: history and long poll as JSON, and publishing over HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema

from server.auth.identify import identify
from server.auth.principal import Principal
from server.errors import FORBIDDEN, INVALID, UNAUTHORIZED, ApiError, Issue
from server.guard.rates import address_of
from server.log.model import Event, GapReason
from server.log.outbox import Draft, draft
from server.openapi.access import READERS, scope
from server.openapi.fields import EVENT_ID
from server.openapi.reading import check, read_json
from server.openapi.route import answer, route
from server.stream import wire
from server.stream.handlers import (
    AfterText,
    ChannelText,
    SinceText,
    allow,
    allow_again,
    last_event_id,
)
from server.stream.names import Matcher, covers
from server.stream.poll import Found, Poll
from server.stream.request import MAX_CHANNELS, WantedHistory
from server.stream.service import SERVICE

MAX_EVENTS = 1_000
"""Events in one publish."""
MAX_FIELDS = 20
"""Fields of an event that are looked at one by one: whatever is more is refused at once."""
MAX_BODY = 8 * 1024 * 1024

# What draft() checks, in JSON Schema's words: for the document.
NAME = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
    "maxLength": 200,
    "not": {"pattern": r"^ops(\.|$)"},
    "examples": ["public.hello"],
}
LINE = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$"}


class NewEvent(BaseModel):
    """One event to publish."""

    model_config = ConfigDict(extra="forbid")

    channel: Annotated[str, WithJsonSchema(NAME)]
    type: Annotated[str, WithJsonSchema(LINE | {"minLength": 1, "maxLength": 100})]
    data: Any = Field(description="Any JSON, at most 1 MiB, without NUL characters.")
    key: Annotated[str, WithJsonSchema(LINE | {"maxLength": 512})] | None = Field(
        None, description="What the event is about."
    )
    message_id: uuid.UUID | None = Field(
        None, description="Makes a repeat within 24 hours harmless."
    )


class Publish(BaseModel):
    """Several events, published in one transaction."""

    model_config = ConfigDict(extra="forbid")

    events: list[NewEvent] = Field(min_length=1, max_length=MAX_EVENTS)


class Publication(RootModel[NewEvent | Publish]):
    """One event, or several."""


class Published(BaseModel):
    """What was published."""

    ids: list[uuid.UUID] = Field(description="The message ids, in the order of the events.")


class StoredEvent(BaseModel):
    """One event of the log."""

    id: str = Field(pattern=EVENT_ID)
    channel: str
    type: str
    key: str | None
    at: datetime = Field(description="When it was published; its place is that of its commit.")
    message_id: uuid.UUID
    data: Any


class Missing(BaseModel):
    """Events between `after` and `resumed` are missing: fetch the state again."""

    after: str | None = Field(description="As the request gave it.")
    resumed: str = Field(pattern=EVENT_ID)
    reason: GapReason


class History(BaseModel):
    """A page of the log."""

    events: list[StoredEvent]
    next: str = Field(pattern=EVENT_ID, description="Where the next page starts (`after`).")
    gap: Missing | None


class HistoryWanted(WantedHistory):
    """A page of history."""

    channel: list[ChannelText] = Field(
        min_length=1, max_length=MAX_CHANNELS, description="A channel or pattern."
    )
    after: AfterText | None = Field(None, description="Resume after this id, or `earliest`.")
    since: SinceText | None = Field(
        None, description="Start at a time, or so long ago: `30s`, `10m`, `2h`, `7d`."
    )


@route(
    "POST",
    "/api/events",
    summary="Publish events",
    tag="Events",
    answers={200: Published},
    access=scope("publish"),
    headers=("Cache-Control",),
    max_body=MAX_BODY,
    body=Publication,
)
async def post_events(request: web.Request) -> web.Response:
    """One event, or up to 1,000 in one transaction; answers after the commit.

    After a 503 the outcome may be unknown: repeat with the same `message_id`.
    """
    drafts = _drafts(await read_json(request, MAX_BODY))
    _must_cover(await identify(request), drafts)
    await request.app[SERVICE].log.outbox.publish(drafts)
    return answer(Published(ids=[item.message_id for item in drafts]))


def _must_be_narrow(events: Any) -> None:
    """An event has five fields; judging thousands of unknown ones would hold up the loop.

    Raises:
        ApiError: 400.
    """
    for index, item in enumerate(events if isinstance(events, list) else ()):
        if isinstance(item, dict) and len(item) > MAX_FIELDS:
            message = f"an event has at most {len(NewEvent.model_fields)} fields"
            raise ApiError(INVALID, issues=(Issue(("events", index), message, "too_many"),))


def _must_cover(who: Principal, drafts: list[Draft]) -> None:
    """A key's channels are all that it may publish to, as they are all that it may read.

    Raises:
        ApiError: 403.
    """
    if who.kind != "key":
        return
    for channel in {item.channel for item in drafts}:
        if not any(covers(pattern, channel) for pattern in who.patterns):
            raise ApiError(FORBIDDEN, f"this key may not publish to {channel}")


def _drafts(body: Any) -> list[Draft]:
    """All events, or all faults of all of them."""
    many = isinstance(body, dict) and "events" in body
    _must_be_narrow(body["events"] if many else [body])
    events = check(Publish, body).events if many else [check(NewEvent, body)]
    drafts: list[Draft] = []
    issues: list[Issue] = []
    for index, item in enumerate(events):
        place = ("events", index) if many else ()
        if item.channel == "ops" or item.channel.startswith("ops."):
            message = "channels under ops belong to the server"
            issues.append(Issue((*place, "channel"), message, "reserved"))
            continue
        try:
            drafts.append(draft(item.channel, item.type, item.data, item.key, item.message_id))
        except ApiError as error:
            issues += [Issue((*place, *it.path), it.message, it.code) for it in error.issues]
    if issues:
        raise ApiError(INVALID, issues=tuple(issues))
    return drafts


@route(
    "GET",
    "/api/events",
    summary="The history of channels, or a long poll",
    tag="Events",
    answers={200: History},
    access=READERS,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Cache-Control",),
)
async def get_events(request: web.Request, query: HistoryWanted) -> web.Response:
    """The same ids and parameters as a stream's; `wait` (seconds) makes it a long poll.

    A page may be short, or empty, although more follows: the end is where `next` stays.
    """
    who = await allow(request, query.channel)
    service = request.app[SERVICE]
    start = await service.start(query, Matcher(query.channel), last_event_id(request))
    end = asyncio.get_running_loop().time() + query.wait
    poll = Poll(service, query, address_of(request), who)
    found = await poll.look(start)
    if query.wait and not found.tells:
        found = await poll.wait(found, end)
        if found.page.events:
            # What was allowed when it came may have been taken away while it waited.
            await allow_again(request, query.channel)
    return _page(found)


def _page(found: Found) -> web.Response:
    """The answer, put together as text: the events' JSON is not parsed here."""
    page, start, reached = found
    epoch = start.id.epoch
    gap = None
    if start.gap:
        gap = {"after": start.after, "resumed": str(start.id), "reason": start.gap}
    events = ",".join(_with_id(epoch, item) for item in page.events)
    text = f'{{"events":[{events}],"next":"{epoch}.{reached}","gap":{json.dumps(gap)}}}'
    return web.Response(
        text=text, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _with_id(epoch: str, item: Event) -> str:
    return f'{{"id":"{epoch}.{item.pos}",{wire.one_line(item.body)[1:]}'
