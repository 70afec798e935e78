"""From a request to its principal: bearer header first, then the session's cookie."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from server.auth import sessions
from server.auth.principal import ANONYMOUS, BOOTSTRAP, Principal
from server.errors import FORBIDDEN, UNAUTHORIZED, ApiError
from server.keys import POOL, SETTINGS

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


PRINCIPAL = web.RequestKey("principal", Principal)


async def identify(request: web.Request) -> Principal:
    """Who makes this request; looked up once.

    A cookie that is not (or no longer) a session's is anonymous, so that public pages stay
    public; a bearer token that is not valid is an error of the program that sent it.

    Raises:
        ApiError: 401 for an invalid Authorization header.
    """
    known = request.get(PRINCIPAL)
    if known is None:
        known = request[PRINCIPAL] = await _identify(request)
    return known


async def _identify(request: web.Request) -> Principal:
    header = request.headers.get("Authorization")
    if header is not None:
        return await _bearer(request, header)
    for name in (sessions.SECURE_COOKIE, sessions.COOKIE):
        if token := request.cookies.get(name):
            found = await sessions.find(request.app[POOL], token, by_cookie=True)
            if found is not None:
                return found
    return ANONYMOUS


async def _bearer(request: web.Request, header: str) -> Principal:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and token:
        key = request.app[SETTINGS].api_key
        if key is not None and hmac.compare_digest(_raw(token), _raw(key)):
            return BOOTSTRAP
        found = await sessions.find(request.app[POOL], token, by_cookie=False)
        if found is not None:
            return found
    raise ApiError(UNAUTHORIZED, "the Authorization header is not valid", headers=_CHALLENGE)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def unauthorized(detail: str) -> ApiError:
    """The 401 for a request without credentials."""
    return ApiError(UNAUTHORIZED, detail, headers=_CHALLENGE)


def forbid_foreign_origin(request: web.Request, principal: Principal) -> None:
    """Refuse a write that another site's page makes with this user's cookie (CSRF).

    Browsers send `Origin` with every cross-site write; what sends none is not a browser's page.

    Raises:
        ApiError: 403.
    """
    if not principal.by_cookie:
        return
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Sec-Fetch-Site") in (None, "same-origin", "none"):
        return
    allowed = request.app[SETTINGS].cors_origins
    if origin is None or (urlsplit(origin).netloc != request.host and origin not in allowed):
        raise ApiError(FORBIDDEN, "the request comes from a page of another origin")
