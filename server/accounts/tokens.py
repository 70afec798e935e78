"""Stream tokens: made by those who may read the channels, and exchanged for a cookie."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web
from pydantic import Field

from server.accounts.keys import Pattern
from server.auth import cookies, tokens
from server.auth.principal import Principal
from server.errors import FORBIDDEN, UNAUTHORIZED, ApiError, invalid
from server.openapi.access import KEY, Access
from server.openapi.fields import Input, Moment, Output
from server.openapi.route import NO_STORE, route
from server.stream.channels import readable
from server.stream.request import MAX_CHANNELS
from server.stream.service import OPENED

TAG = "Streams"

READER = Access(
    "A signed-in user, or an API key with the scope `read`.",
    lambda who: who.kind == "user" or (who.kind == "key" and "read" in who.scopes),
    KEY,
)
HOLDER = Access("The holder of a stream token.", lambda who: who.kind == "token", ("bearer",))


class Wish(Input):
    """Channels or patterns, and for how many seconds."""

    channels: list[Pattern] = Field(min_length=1, max_length=MAX_CHANNELS)
    expires_in: int = Field(600, ge=10, le=86_400)


class Token(Output):
    """A token that opens streams of its channels until it ends."""

    token: str
    expires_at: Moment


@route(
    "POST",
    "/api/streams/token",
    summary="A token for streams",
    tag=TAG,
    answers={200: Token},
    access=READER,
    errors=(UNAUTHORIZED, FORBIDDEN),
    rate="writes",
)
async def make_token(request: web.Request, who: Principal, body: Wish) -> Token:
    """For channels that you may read yourself, and no longer than you may.

    A token can't be revoked: it is good until its end, whatever becomes of its maker.
    """
    if not readable(who, body.channels, request.app[OPENED]):
        raise ApiError(FORBIDDEN, "these channels are not open to you")
    expires = int(time.time()) + body.expires_in
    if who.expires is not None:
        expires = min(expires, int(who.expires))
    by = f"user:{who.user_id}" if who.kind == "user" else f"key:{who.key_id}"
    channels = dict.fromkeys(body.channels)
    token = tokens.sign(channels, expires, by, request.app[tokens.TOKEN_KEY])
    if len(token) > tokens.MAX_TOKEN:
        raise invalid("channels", "together too long for a token: use patterns", "too_long")
    return Token(token=token, expires_at=datetime.fromtimestamp(expires, UTC))


@route(
    "POST",
    "/api/streams/cookie",
    summary="A cookie for streams",
    tag=TAG,
    answers={204: None},
    access=HOLDER,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Set-Cookie",),
    rate="writes",
)
async def make_cookie(request: web.Request, who: Principal) -> web.Response:
    """Exchange the token of the Authorization header for a cookie that EventSource can use.

    Only the streams see it, scripts do not, and it ends with the token.
    """
    token = request.headers["Authorization"].partition(" ")[2].strip()
    response = web.Response(status=204, headers=NO_STORE)
    cookies.add(
        response,
        cookies.STREAM_COOKIE,
        token,
        max_age=max(1, int((who.expires or 0) - time.time())),
        secure=cookies.is_https(request),
        path=cookies.STREAM_PATH,
    )
    return response


ROUTES = (make_token, make_cookie)
