"""The sessions of a user: the present one, all of them, and their end."""

from __future__ import annotations

from aiohttp import web

from server.accounts.ending import end_streams
from server.accounts.models import (
    USER,
    Account,
    Current,
    CurrentOrNull,
    RevokeSession,
    Session,
    SessionList,
    Status,
)
from server.auth import sessions
from server.auth.cookies import take_back
from server.auth.principal import Principal
from server.errors import FORBIDDEN, UNAUTHORIZED
from server.keys import POOL
from server.openapi.access import SIGNED_IN
from server.openapi.route import route

TAG = "Accounts"

_USER = f"SELECT {USER} FROM public.users WHERE id = $1"  # noqa: S608


@route(
    "GET",
    "/api/auth/get-session",
    summary="Who is signed in",
    tag=TAG,
    answers={200: CurrentOrNull},
    errors=(UNAUTHORIZED,),
    headers=("Set-Cookie",),
)
async def get_session(request: web.Request, who: Principal) -> CurrentOrNull:
    """The session of this request and its user, or `null`. In use, it is renewed once a day."""
    if who.user_id is None or who.session_id is None:
        return CurrentOrNull(None)
    pool = request.app[POOL]
    row = await sessions.get(pool, who.session_id)
    user = await pool.fetchrow(_USER, who.user_id)
    if row is None or user is None:  # revoked a moment ago
        return CurrentOrNull(None)
    return CurrentOrNull(Current(session=Session.of(row), user=Account.of(user)))


@route(
    "GET",
    "/api/auth/list-sessions",
    summary="Where you are signed in",
    tag=TAG,
    answers={200: SessionList},
    access=SIGNED_IN,
    errors=(UNAUTHORIZED, FORBIDDEN),
)
async def list_sessions(request: web.Request, who: Principal) -> SessionList:
    """Your sessions, the newest first; `token` is what `revoke-session` takes."""
    rows = await sessions.listed(request.app[POOL], str(who.user_id))
    return SessionList([Session.of(row) for row in rows])


@route(
    "POST",
    "/api/auth/revoke-session",
    summary="End one session",
    tag=TAG,
    answers={200: Status},
    access=SIGNED_IN,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Set-Cookie",),
    rate="auth",
)
async def revoke_session(request: web.Request, who: Principal, body: RevokeSession) -> Status:
    """End one of your sessions. One that has ended already, or is another's, changes nothing."""
    _ended(request, who, await sessions.revoke(request.app[POOL], str(who.user_id), body.token))
    return Status()


@route(
    "POST",
    "/api/auth/revoke-sessions",
    summary="End all sessions",
    tag=TAG,
    answers={200: Status},
    access=SIGNED_IN,
    errors=(UNAUTHORIZED, FORBIDDEN),
    headers=("Set-Cookie",),
    rate="auth",
)
async def revoke_sessions(request: web.Request, who: Principal) -> Status:
    """End all your sessions, this one included."""
    _ended(request, who, await sessions.revoke_all(request.app[POOL], str(who.user_id)))
    return Status()


@route(
    "POST",
    "/api/auth/revoke-other-sessions",
    summary="End all other sessions",
    tag=TAG,
    answers={200: Status},
    access=SIGNED_IN,
    errors=(UNAUTHORIZED, FORBIDDEN),
    rate="auth",
)
async def revoke_other_sessions(request: web.Request, who: Principal) -> Status:
    """End all your sessions but this one."""
    pool, user_id = request.app[POOL], str(who.user_id)
    _ended(request, who, await sessions.revoke_all(pool, user_id, keep=who.session_id))
    return Status()


def _ended(request: web.Request, who: Principal, ids: list[str]) -> None:
    end_streams(request.app, sessions=ids)
    if who.by_cookie and who.session_id in ids:
        take_back(request)


ROUTES = (get_session, list_sessions, revoke_session, revoke_sessions, revoke_other_sessions)
