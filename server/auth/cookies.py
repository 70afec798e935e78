"""The cookies: the session's, and the one that lets EventSource use a stream token.

Handlers decide (`give`, `take_back`), as does the renewal of a session; `tell_session` writes when
the answer's headers go out. So there is one cookie an answer, on streams and errors as well.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http.cookies import SimpleCookie

from aiohttp import web

from server.auth.sessions import COOKIE, LIFETIME, SECURE_COOKIE
from server.keys import SETTINGS

STREAM_COOKIE = "tailrace.stream_token"
STREAM_PATH = "/api/stream"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the session's cookie. `token` None: it is deleted; `max_age` in seconds."""

    token: str | None
    max_age: int | None


CHANGE = web.RequestKey("session_cookie", Change)


def give(request: web.Request, token: str, *, remember: bool = True) -> None:
    """Let this request's answer set the session's cookie; it may end with the browser."""
    request[CHANGE] = Change(token, int(LIFETIME.total_seconds()) if remember else None)


def take_back(request: web.Request) -> None:
    """Let this request's answer delete the session's cookie."""
    request[CHANGE] = Change(None, 0)


def tell_session(request: web.Request, response: web.StreamResponse) -> None:
    """Before the headers of an answer go out: set or delete the session's cookie, if decided."""
    change = request.get(CHANGE)
    if change is None:
        return
    # Whatever the answer is otherwise: no cache may hand this cookie to somebody else.
    if "no-store" not in response.headers.get("Cache-Control", ""):
        response.headers["Cache-Control"] = "no-store"
    secure = is_https(request)
    name = SECURE_COOKIE if secure else COOKIE
    if change.token is not None:
        add(response, name, change.token, max_age=change.max_age, secure=secure)
        return
    # A client that came by http first has both.
    for item in {name, *({COOKIE, SECURE_COOKIE} & set(request.cookies))}:
        add(response, item, "", max_age=0, secure=secure or item == SECURE_COOKIE)


def add(
    response: web.StreamResponse,
    name: str,
    value: str,
    *,
    max_age: int | None,
    secure: bool,
    path: str = "/",
) -> None:
    """Add one `Set-Cookie`: never readable by scripts, never sent with other sites' writes.

    As a header: when the signal runs, aiohttp has written its own cookies already.
    """
    cookie: SimpleCookie = SimpleCookie({name: value})
    morsel = cookie[name]
    morsel["path"] = path
    morsel["httponly"] = True
    morsel["samesite"] = "Lax"
    if secure:
        morsel["secure"] = True
    if max_age is not None:
        morsel["max-age"] = str(max_age)
    response.headers.add("Set-Cookie", morsel.OutputString())


def is_https(request: web.Request) -> bool:
    """Whether the client came by https: to us, or to a proxy that we trust to say so."""
    if request.secure:
        return True
    proto = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    return proto == "https" and _from_trusted(request)


def _from_trusted(request: web.Request) -> bool:
    trusted = request.app[SETTINGS].trusted_proxies
    if not trusted:
        return False
    try:
        peer = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return request.remote is not None  # a unix socket, which our own proxy connects to
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in trusted)
