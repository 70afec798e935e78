"""Changing one's password."""

from __future__ import annotations

from aiohttp import web

from server.accounts.ending import end_streams
from server.accounts.models import USER, ChangePassword, PasswordChanged, User
from server.accounts.signing import attempt, start_session
from server.auth import sessions
from server.auth.cookies import give
from server.auth.passwords import PASSWORDS
from server.auth.principal import Principal
from server.errors import FORBIDDEN, INVALID, RATE, UNAUTHORIZED, UNAVAILABLE, ApiError, Issue
from server.keys import POOL
from server.openapi.access import SIGNED_IN
from server.openapi.route import route

_STORED = "SELECT password_hash FROM public.users WHERE id = $1"
_CHANGE = f"""
    UPDATE public.users SET password_hash = $2, updated_at = now()
    WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $3
    RETURNING {USER}"""  # noqa: S608


@route(
    "POST",
    "/api/auth/change-password",
    summary="Change your password",
    tag="Accounts",
    answers={200: PasswordChanged},
    access=SIGNED_IN,
    errors=(UNAUTHORIZED, FORBIDDEN, RATE, UNAVAILABLE),
    headers=("Set-Cookie",),
    rate="auth",
)
async def change_password(
    request: web.Request, who: Principal, body: ChangePassword
) -> PasswordChanged:
    """Needs the present one: a session left open must not be enough to keep the account.

    With `revokeOtherSessions` every session ends, and this client gets a new one.
    """
    pool, user_id = request.app[POOL], str(who.user_id)
    stored = await pool.fetchval(_STORED, user_id)
    # Not under the address: whoever guesses at sign-in would lock the owner out of this as well.
    if not await attempt(request, f"session:{user_id}", stored, body.current_password):
        raise _wrong()
    hashed = await request.app[PASSWORDS].hash(body.new_password)
    token = None
    ended: list[str] = []
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(_CHANGE, user_id, hashed, stored)
        if row is None:  # the account was deleted, or its password changed, a moment ago
            raise _wrong()
        if body.revoke_other_sessions:
            ended = await sessions.revoke_all(connection, user_id)
            token = await start_session(request, connection, user_id, remember=True)
    end_streams(request.app, sessions=ended)
    if token is not None and who.by_cookie:
        give(request, token)
    return PasswordChanged(token=token, user=User.of(row))


def _wrong() -> ApiError:
    issue = Issue(("currentPassword",), "this is not your password", "invalid_password")
    return ApiError(
        INVALID,
        issues=(issue,),
        more={"code": "INVALID_PASSWORD", "message": "Invalid password"},
    )


ROUTES = (change_password,)
