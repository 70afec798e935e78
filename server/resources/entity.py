"""ETags (RFC 9110, 13): what a client has is not sent again, what it has not seen not overwritten.

A tag is made of the representation itself, so it is strong, and the same in every process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from aiohttp import hdrs, web
from pydantic import BaseModel

from server.errors import PRECONDITION, ApiError
from server.openapi.route import JSON, NO_STORE
from server.openapi.shapes import POSITION

REVALIDATE = {"Cache-Control": "no-cache"}
"""It may be kept, but is asked for again with its tag."""
_KEPT = (hdrs.ETAG, hdrs.CACHE_CONTROL, POSITION)


def tag(body: bytes) -> str:
    """The tag of a representation, without its quotes."""
    return hashlib.sha256(body).hexdigest()[:32]


def tagged(
    model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer with its ETag."""
    body = model.model_dump_json().encode()
    return web.Response(
        body=body,
        status=status,
        content_type=JSON,
        headers={**NO_STORE, **(headers or {}), hdrs.ETAG: f'"{tag(body)}"'},
    )


def unless_known(request: web.Request, model: BaseModel, position: str) -> web.Response:
    """The answer to a GET: 304 when the client has this very representation."""
    response = tagged(model, headers={**REVALIDATE, POSITION: position})
    current = response.headers[hdrs.ETAG].strip('"')
    if any(item.value in {"*", current} for item in request.if_none_match or ()):
        headers = {name: response.headers[name] for name in _KEPT}
        return web.Response(status=304, headers=headers)
    return response


def require_match(request: web.Request, model: BaseModel) -> None:
    """Refuse a write of what the client has not seen; `model` is the row under its lock.

    Raises:
        ApiError: 412 when `If-Match` names other representations, or cannot be understood.
    """
    current = tag(model.model_dump_json().encode())
    for item in request.if_match or ():
        if item.value == "*" or (item.value == current and not item.is_weak):
            return
    raise ApiError(PRECONDITION, "it has changed since you read it")
