"""Notifications: rows of a user, each visible to that user alone, and two ways to follow them.

`GET /api/notifications/stream` stays as the source text's client code expects it: first
`{"type":"connected"}`, then the unread ones as a whole, at once and on every change. What pushes
is the log (the table is watched), so a change by any SQL client is told as well. The channel
`user.<id>.notifications` tells the single changes, from a list's `Stream-Position` on.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from server.auth.identify import identify, unauthorized
from server.auth.principal import Principal
from server.db.faults import LOST
from server.errors import INVALID, NOT_FOUND, ApiError, invalid
from server.keys import POOL
from server.openapi.access import SIGNED_IN, scope
from server.openapi.fields import Input, Key, Line, Moment, Output, ServerSentEvent, Text
from server.openapi.route import Route, answer, route
from server.openapi.shapes import POSITION, Flag, Id, Paged, RowPath, Success, cut
from server.resources import notifications_sql as sql
from server.stream import wire
from server.stream.handlers import refuse, turned_away
from server.stream.service import SERVICE
from server.stream.snapshots import snapshots

PATH = "/api/notifications"
TAG = "Notifications"
MAX_UNREAD = 100
"""Of the newest unread ones; a snapshot must stay small however many there are."""


class Notification(Output):
    """What a user is told."""

    id: Id
    user_id: str
    title: str
    body: str
    read: bool
    created_at: Moment


class Notifications(Output):
    """A page of notifications, the newest first; `next` is the following page's `after`."""

    notifications: list[Notification]
    next: str | None


class Count(Output):
    """How many are unread."""

    count: int


class Updated(Output):
    """How many have become read."""

    updated: int


class Wanted(Paged):
    """A page of the list, of all or of the unread ones."""

    unread: Flag = False


class NewNotification(Input):
    """A notification to be."""

    user_id: Key
    title: Annotated[Line, Field(min_length=1, max_length=200)]
    body: Annotated[Text, Field(max_length=10_000)] = ""


@route(
    "GET",
    PATH,
    summary="A page of your notifications",
    tag=TAG,
    answers={200: Notifications},
    access=SIGNED_IN,
    headers=(POSITION, "Link"),
)
async def list_notifications(request: web.Request, who: Principal, query: Wanted) -> web.Response:
    """The newest first."""
    statement = sql.LIST_UNREAD if query.unread else sql.LIST
    found = await request.app[POOL].fetch(statement, query.after, query.limit + 1, who.user_id)
    page = cut(found, query.limit)
    given: dict[str, str | int] = {"limit": query.limit} | (
        {"unread": "true"} if query.unread else {}
    )
    body = Notifications(notifications=[Notification(**row) for row in page.rows], next=page.next)
    return answer(body, headers=page.headers(PATH, **given))


@route(
    "GET",
    PATH + "/unread-count",
    summary="How many of your notifications are unread",
    tag=TAG,
    answers={200: Count},
    access=SIGNED_IN,
    headers=(POSITION,),
)
async def unread_count(request: web.Request, who: Principal) -> web.Response:
    """All of them, not only a page's."""
    row = await request.app[POOL].fetchrow(sql.COUNT_UNREAD, who.user_id)
    if row is None:
        msg = "an aggregate without a row"
        raise RuntimeError(msg)
    return answer(Count(count=row["count"]), headers={POSITION: row["position"]})


@route(
    "POST",
    PATH,
    summary="Notify a user",
    tag=TAG,
    answers={201: Notification},
    access=scope("notify"),
    errors=(INVALID,),
    rate="writes",
)
async def create_notification(request: web.Request, body: NewNotification) -> web.Response:
    """By admins and servers. The user's open streams have it at once."""
    row = await request.app[POOL].fetchrow(sql.CREATE, body.user_id, body.title, body.body)
    if row is None:
        raise invalid("userId", "there is no such user", "unknown_user")
    return answer(Notification(**row), status=201)


@route(
    "POST",
    PATH + "/{id}/read",
    summary="Mark one of your notifications as read",
    tag=TAG,
    answers={200: Notification},
    access=SIGNED_IN,
    errors=(NOT_FOUND,),
    rate="writes",
)
async def mark_read(request: web.Request, who: Principal, path: RowPath) -> Notification:
    """Again is no error, and no event."""
    row = await request.app[POOL].fetchrow(sql.MARK_READ, path.id, who.user_id)
    if row is None:
        raise ApiError(NOT_FOUND)
    return Notification(**row)


@route(
    "POST",
    PATH + "/read-all",
    summary="Mark all your notifications as read",
    tag=TAG,
    answers={200: Updated},
    access=SIGNED_IN,
    rate="writes",
)
async def mark_all_read(request: web.Request, who: Principal) -> Updated:
    """In one transaction."""
    return Updated(updated=await request.app[POOL].fetchval(sql.MARK_ALL_READ, who.user_id))


@route(
    "DELETE",
    PATH + "/{id}",
    summary="Delete one of your notifications",
    tag=TAG,
    answers={200: Success},
    access=SIGNED_IN,
    errors=(NOT_FOUND,),
    rate="writes",
)
async def delete_notification(request: web.Request, who: Principal, path: RowPath) -> Success:
    """Others' are as good as missing: 404."""
    if await request.app[POOL].fetchval(sql.DELETE, path.id, who.user_id) is None:
        raise ApiError(NOT_FOUND)
    return Success()


@route(
    "GET",
    PATH + "/stream",
    summary="Your unread notifications, pushed",
    tag=TAG,
    answers={200: ServerSentEvent},
    access=SIGNED_IN,
    media="text/event-stream",
    raw={},
)
async def stream(request: web.Request) -> web.StreamResponse:
    """First `connected`, then the newest unread ones as a whole, at once and on every change."""
    refused = turned_away(request)
    if refused is not None:
        return refused
    try:
        principal = await identify(request)
    except LOST:
        population = request.app[SERVICE].streams.population
        return refuse(request, population.refuse("database"))
    if principal.user_id is None:
        raise unauthorized("notifications are a signed-in user's")
    user_id = principal.user_id

    async def snapshot() -> bytes:
        found = await request.app[POOL].fetch(sql.UNREAD, user_id, MAX_UNREAD)
        rows = [Notification(**row).model_dump(mode="json") for row in found]
        return wire.message({"type": "notifications", "data": rows})

    return await snapshots(
        request,
        principal,
        f"user.{user_id}.notifications",
        wire.message({"type": "connected"}),
        snapshot,
    )


ROUTES: tuple[Route, ...] = (
    list_notifications,
    unread_count,
    create_notification,
    mark_all_read,
    mark_read,
    delete_notification,
    stream,
)
