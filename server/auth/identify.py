"""From a request to its principal: bearer header first, then the cookies.

What a bearer token is, its prefix tells: `trs_` a session, `trk_` an API key, `trt_` a stream
token. The operator's own key (`TAILRACE_API_KEY`) may be any string, and is compared first.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import replace

from aiohttp import web

from server.auth import cookies, keys, sessions, tokens
from server.auth.principal import ANONYMOUS, BOOTSTRAP, Principal
from server.errors import FORBIDDEN, UNAUTHORIZED, ApiError
from server.keys import POOL, SETTINGS

_CHALLENGE = {"WWW-Authenticate": "Bearer"}

READS = frozenset({"/api/stream", "/api/events"})
"""Where a stream token may also stand in the address, and its cookie counts."""

PRINCIPAL = web.RequestKey("principal", Principal)


async def identify(request: web.Request) -> Principal:
    """Who makes this request; looked up once.

    A cookie that is not (or no longer) a session's is anonymous, so that public pages stay
    public; a bearer token that is not valid is an error of the program that sent it.

    Raises:
        ApiError: 401 for an invalid Authorization header or `token=`.
    """
    known = request.get(PRINCIPAL)
    if known is None:
        known = request[PRINCIPAL] = await _identify(request)
    return known


async def _identify(request: web.Request) -> Principal:
    header = request.headers.get("Authorization")
    if header is not None:
        return await _bearer(request, header)
    reads = request.path in READS
    if reads and (given := request.query.get("token")) is not None:
        holder = _stream_token(request, given)
        if holder is None:
            raise unauthorized("token= is not a valid stream token")
        return holder
    who = await _by_cookie(request)
    if reads and (given := request.cookies.get(cookies.STREAM_COOKIE)):
        holder = _stream_token(request, given)
        if holder is not None:
            return _both(who, replace(holder, by_cookie=True))
    return who


async def _by_cookie(request: web.Request) -> Principal:
    # Over https, the plain cookie may have been planted by whoever sits on an http connection.
    plain = () if cookies.is_https(request) else (sessions.COOKIE,)
    for name in (sessions.SECURE_COOKIE, *plain):
        if token := request.cookies.get(name):
            found = await _session(request, token, by_cookie=True)
            if found is not None:
                return found
    return ANONYMOUS


async def _bearer(request: web.Request, header: str) -> Principal:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    found = None
    if scheme.lower() == "bearer" and token:
        key = request.app[SETTINGS].api_key
        if key is not None and hmac.compare_digest(_raw(token), _raw(key)):
            return BOOTSTRAP
        if token.startswith(keys.PREFIX):
            found = await _key(request, token)
        elif token.startswith(tokens.PREFIX):
            found = _stream_token(request, token)
        else:
            found = await _session(request, token, by_cookie=False)
    if found is None:
        raise unauthorized("the Authorization header is not valid")
    return found


async def _session(request: web.Request, token: str, *, by_cookie: bool) -> Principal | None:
    """The session's user; a session in use is renewed once a day, and its cookie with it."""
    pool = request.app[POOL]
    found = await sessions.find(pool, token, by_cookie=by_cookie)
    if found is None:
        return None
    who = found.principal
    if found.stale and who.session_id is not None:
        end = await sessions.renew(pool, who.session_id)
        if end is not None:
            who = replace(who, expires=end.timestamp())
            if by_cookie:
                cookies.give(request, token)
    return who


async def _key(request: web.Request, token: str) -> Principal | None:
    found = await keys.find(request.app[POOL], token)
    uses = request.app.get(keys.USES)
    if found is not None and found.key_id is not None and uses is not None:
        uses.note(found.key_id)
    return found


def _stream_token(request: web.Request, token: str) -> Principal | None:
    key = request.app.get(tokens.TOKEN_KEY)
    return tokens.read(token, key, time.time()) if key is not None else None


def _both(who: Principal, holder: Principal) -> Principal:
    """A user who also holds a token's cookie may read by either, until the first of them ends."""
    if who.kind == "anonymous":
        return holder
    ends = [end for end in (who.expires, holder.expires) if end is not None]
    return replace(who, patterns=holder.patterns, scopes=holder.scopes, expires=min(ends))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def unauthorized(detail: str) -> ApiError:
    """The 401 for a request without credentials."""
    return ApiError(UNAUTHORIZED, detail, headers=_CHALLENGE)


def forbid_foreign_origin(request: web.Request, principal: Principal) -> None:
    """Refuse a write that another site's page makes with this user's cookie (CSRF).

    Raises:
        ApiError: 403.
    """
    if principal.by_cookie:
        forbid_foreign_page(request)


def forbid_foreign_page(request: web.Request) -> None:
    """Refuse a write of another site's page, whoever is signed in.

    Also before anybody is: a page must not sign its visitor in as somebody else. Browsers send
    `Origin` with every cross-site write; what sends none is not a browser's page.

    Raises:
        ApiError: 403.
    """
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Sec-Fetch-Site") in (None, "same-origin", "none"):
        return
    host = request.host.lower()
    # The https page of this host is ours, also behind a proxy that nobody has declared. Its http
    # page may be anybody's on the way, unless that is how we are spoken to.
    ours = (
        (f"https://{host}",) if cookies.is_https(request) else (f"http://{host}", f"https://{host}")
    )
    allowed = (*ours, *request.app[SETTINGS].cors_origins)
    if origin is None or origin.lower() not in allowed:
        raise ApiError(FORBIDDEN, "the request comes from a page of another origin")
