"""`/api/auth/*`: who is signed in. The paths and answers are better-auth's."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from server.auth.identify import identify


async def get_session(request: web.Request) -> web.Response:
    """The session of this request, or `null`."""
    who = await identify(request)
    body = None
    if who.kind == "user" and who.expires is not None:
        expires = datetime.fromtimestamp(who.expires, UTC).isoformat(timespec="milliseconds")
        body = {
            "session": {"userId": who.user_id, "expiresAt": expires.replace("+00:00", "Z")},
            "user": {"id": who.user_id, "name": who.name, "email": who.email, "role": who.role},
        }
    return web.json_response(body, headers={"Cache-Control": "no-store"})


def add_routes(app: web.Application) -> None:
    """Put the routes on the application."""
    app.router.add_get("/api/auth/get-session", get_session)
