"""Who may call a route: declared with it, checked before its handler, told in the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from server.auth.identify import (
    forbid_foreign_origin,
    forbid_foreign_page,
    identify,
    unauthorized,
)
from server.auth.principal import Principal
from server.errors import FORBIDDEN, ApiError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: `allows(principal)`; `sentence` says whom, `schemes` by what they may show it.

    `optional`: they need not show it; the handler decides what strangers get. `own_pages`: no page
    of another origin, whoever is signed in.
    """

    sentence: str
    allows: Callable[[Principal], bool]
    schemes: tuple[str, ...] = ()
    optional: bool = False
    own_pages: bool = False

    @property
    def open(self) -> bool:
        """Whether everybody may, so that nobody has to say who they are."""
        return self.optional or not self.schemes


SESSION = ("session", "bearer")
KEY = ("session", "bearer", "apiKey")

ANYONE = Access("Everybody.", lambda _: True)
OWN_PAGES = Access("Everybody, but no page of another origin.", lambda _: True, own_pages=True)
READERS = Access("Everybody, as far as the channels are open to them.", lambda _: True, KEY, True)
SIGNED_IN = Access("A signed-in user.", lambda who: who.kind == "user", SESSION)
ADMIN = Access("A signed-in admin.", lambda who: who.is_admin, SESSION)


def scope(name: str) -> Access:
    """Admins, and API keys with this scope."""
    return Access(
        f"An admin, or an API key with the scope `{name}`.",
        lambda who: who.is_admin or name in who.scopes,
        KEY,
    )


def check_page(request: web.Request, access: Access, who: Principal | None) -> None:
    """Refuse another site's page where the route wants none.

    A bearer token was put there on purpose: no browser sends one by itself.

    Raises:
        ApiError: 403.
    """
    bearer = who is not None and who.kind != "anonymous" and not who.by_cookie
    if access.own_pages and not bearer:
        forbid_foreign_page(request)


async def admit(request: web.Request, access: Access, method: str) -> Principal:
    """Who asks, if they may.

    Raises:
        ApiError: 401 without credentials, 403 with, or for another site's page.
    """
    who = await identify(request)
    if not access.allows(who):
        if who.kind == "anonymous":
            raise unauthorized("this needs credentials")
        raise ApiError(FORBIDDEN, f"not open to you. {access.sentence}")
    if method not in SAFE:
        forbid_foreign_origin(request, who)
    return who
