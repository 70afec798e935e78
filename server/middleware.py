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

from server.db.faults import LOST
from server.errors import INTERNAL, TABLE, TOO_LARGE, UNAVAILABLE, ApiError, Kind, problem
from server.keys import REQUEST_ID
from server.ops.access import ACCESS_LOG

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id: the caller's `X-Request-Id` if it is a plain one, else a new one."""
    given = request.headers.get("X-Request-Id")
    if given is None or not _REQUEST_ID.fullmatch(given):
        given = f"{random.getrandbits(64):016x}"
    request[REQUEST_ID] = given
    return await handler(request)


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note what was answered; outside the error form, so that refusals are noted as they left."""
    log = request.app.get(ACCESS_LOG)
    if log is None:
        return await handler(request)
    start = time.perf_counter()
    try:
        response = await handler(request)
    except web.HTTPException as answer:  # a redirect
        log.add(request, answer, time.perf_counter() - start)
        raise
    log.add(request, response, time.perf_counter() - start)
    return response


@web.middleware
async def error_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into the error form; tell nothing of unknown errors but the id."""
    try:
        return await handler(request)
    except ApiError as error:
        return _answer(request, error)
    except web.HTTPRequestEntityTooLarge as error:
        return _answer(request, ApiError(TOO_LARGE, error.text))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kind = TABLE.get(error.status) or Kind("http", error.status, error.reason)
        kept = {name: value for name, value in error.headers.items() if name != "Content-Type"}
        kept.pop("Content-Length", None)
        return _answer(request, ApiError(kind, headers=kept))
    except LOST as error:
        log.warning("%s %s: %r (%s)", request.method, request.path, error, request[REQUEST_ID])
        fault = ApiError(UNAVAILABLE, "the database is not reachable", headers={"Retry-After": "1"})
        return _answer(request, fault)
    except Exception:
        log.exception("%s %s failed (%s)", request.method, request.path, request[REQUEST_ID])
        return _answer(request, ApiError(INTERNAL))


def _answer(request: web.Request, error: ApiError) -> web.Response:
    return web.Response(
        body=problem(error.kind, request[REQUEST_ID], error.detail, error.issues, error.more),
        status=error.kind.status,
        content_type="application/problem+json",
        headers={**error.headers, "Cache-Control": "no-store"},
    )


async def tell_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """An `on_response_prepare` signal: streams send their headers before the handler returns."""
    if identifier := request.get(REQUEST_ID):
        response.headers["X-Request-Id"] = identifier
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


MIDDLEWARES = (request_id, access_log, error_form)
"""In order, the outermost first."""
