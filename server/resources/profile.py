"""`GET /api/user/profile`: the signed-in user."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from server.auth.identify import unauthorized
from server.auth.principal import Principal
from server.keys import POOL
from server.openapi.access import SIGNED_IN
from server.openapi.fields import Moment, Output
from server.openapi.route import Route, route

_PROFILE = """
    SELECT id, name, email, email_verified, image, role, credits_total, created_at, updated_at
    FROM public.users WHERE id = $1"""


class User(Output):
    """What users may know about themselves."""

    id: str
    name: str
    email: str
    email_verified: bool
    image: str | None
    role: Literal["user", "admin"]
    credits_total: int
    created_at: Moment
    updated_at: Moment


class Profile(Output):
    """The signed-in user."""

    user: User


@route(
    "GET",
    "/api/user/profile",
    summary="The signed-in user",
    tag="User",
    answers={200: Profile},
    access=SIGNED_IN,
)
async def profile(request: web.Request, who: Principal) -> Profile:
    """Read anew, not from the session: credits change while one is signed in."""
    row = await request.app[POOL].fetchrow(_PROFILE, who.user_id)
    if row is None:
        raise unauthorized("this account is gone")
    return Profile(user=User(**row))


ROUTES: tuple[Route, ...] = (profile,)
