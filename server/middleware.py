"""What stands around every handler: its request id, its line in the log, and the one error form.

docs/http.md tells the whole order, of which a route's own checks are the inner part.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from server.auth.cookies import CHANGE, tell_session
from server.db.faults import LOST
from server.errors import INTERNAL, TABLE, TOO_LARGE, UNAVAILABLE, ApiError, Kind, problem
from server.guard.rates import VERDICT, tell_rate
from server.keys import LAST, REQUEST_ID
from server.ops.access import ACCESS_LOG

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Request id, access log and error form around a handler, in this order.

    One middleware, as each is one more coroutine for every request.
    """
    given = request.headers.get("X-Request-Id")
    if given is None or not _REQUEST_ID.fullmatch(given):
        given = f"{random.getrandbits(64):016x}"
    request[REQUEST_ID] = given
    lines = request.app.get(ACCESS_LOG)
    start = time.perf_counter()
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        if answer.status < 400:  # a redirect
            if lines is not None:
                lines.add(request, answer, time.perf_counter() - start)
            raise
        response = _answer(request, _translated(answer))
    except Exception as error:
        response = _answer(request, _fault(request, error))
    if lines is not None:
        lines.add(request, response, time.perf_counter() - start)
    return response


def _fault(request: web.Request, error: Exception) -> ApiError:
    """What is told of an error; of an unknown one nothing but the request id."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, LOST):
        # The raw path: decoded, it may have line breaks.
        place = request.raw_path[:200]
        log.warning("%s %s: %r (%s)", request.method, place, error, request[REQUEST_ID])
        return ApiError(UNAVAILABLE, "the database is not reachable", headers={"Retry-After": "1"})
    log.error(
        "%s %s failed (%s)",
        request.method,
        request.raw_path[:200],
        request[REQUEST_ID],
        exc_info=error,
    )
    return ApiError(INTERNAL)


def _translated(error: web.HTTPException) -> ApiError:
    """aiohttp's own errors in our form."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ApiError(TOO_LARGE, error.text)
    kind = TABLE.get(error.status) or Kind("http", error.status, error.reason)
    kept = {name: value for name, value in error.headers.items() if name != "Content-Type"}
    kept.pop("Content-Length", None)
    return ApiError(kind, headers=kept)


def _answer(request: web.Request, error: ApiError) -> web.Response:
    return web.Response(
        body=problem(error.kind, request[REQUEST_ID], error.detail, error.issues, error.more),
        status=error.kind.status,
        content_type="application/problem+json",
        headers={**error.headers, "Cache-Control": "no-store"},
    )


async def tell(request: web.Request, response: web.StreamResponse) -> None:
    """An `on_response_prepare` signal: streams send their headers before the handler returns."""
    headers = response.headers
    if identifier := request.get(REQUEST_ID):
        headers["X-Request-Id"] = identifier
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if len(request) > 1:  # more than its id was noted; asking for what is not there is dear
        if VERDICT in request:
            tell_rate(request, response)
        if CHANGE in request:
            tell_session(request, response)
        if LAST in request:
            response.force_close()
            headers["Connection"] = "close"


MIDDLEWARES = (envelope,)
"""In order, the outermost first; `cors.set_up` adds one inside of them."""
