"""Notifications: rows of a user, and the source text's own stream of them.

`GET /api/notifications/stream` stays as that text's client code expects it: first
`{"type":"connected"}`, then the unread ones as a whole, at once and on every change. What pushes
is the log (the table is watched), so a change by any SQL client is told as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from server.auth.identify import identify, unauthorized
from server.db.faults import LOST
from server.keys import POOL, SETTINGS
from server.stream import wire
from server.stream.connection import Connection
from server.stream.handlers import refuse
from server.stream.service import SERVICE
from server.stream.snapshots import snapshots

if TYPE_CHECKING:
    from server.db.pool import Pool

MAX_UNREAD = 100
"""Of the newest unread ones; a snapshot must stay small however many there are."""

_UNREAD = """
    SELECT id, user_id, title, body, read_at, created_at FROM public.notifications
    WHERE user_id = $1 AND read_at IS NULL ORDER BY id DESC LIMIT $2"""


async def unread(pool: Pool, user_id: str) -> list[dict[str, Any]]:
    """A user's unread notifications, the newest first."""
    return [
        {
            "id": str(row["id"]),
            "userId": row["user_id"],
            "title": row["title"],
            "body": row["body"],
            "read": False,
            "createdAt": row["created_at"].isoformat().replace("+00:00", "Z"),
        }
        for row in await pool.fetch(_UNREAD, user_id, MAX_UNREAD)
    ]


async def stream(request: web.Request) -> web.StreamResponse:
    """The signed-in user's unread notifications, pushed."""
    try:
        principal = await identify(request)
    except LOST:
        connection = Connection(request, request.app[SETTINGS].write_deadline)
        return await refuse(request.app[SERVICE], connection, "overload")
    if principal.user_id is None:
        raise unauthorized("notifications are a signed-in user's")
    user_id = principal.user_id

    async def snapshot() -> bytes:
        data = await unread(request.app[POOL], user_id)
        return wire.message({"type": "notifications", "data": data})

    return await snapshots(
        request,
        principal,
        f"user.{user_id}.notifications",
        wire.message({"type": "connected"}),
        snapshot,
    )


def add_routes(app: web.Application) -> None:
    """Put the resource's routes on the application."""
    app.router.add_get("/api/notifications/stream", stream)
