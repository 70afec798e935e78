"""`GET /api/uploads/{id}`: a file to whoever may read it, harmless whatever its bytes are.

A file can be another's script or page, dressed as an image or text (server/uploads/sniff.py). So it
goes out under the type that was found, which no browser may guess anew (`nosniff`); only images are
shown in the browser, everything else is saved; and what is shown all the same stands in a sandbox
without scripts, forms and an origin (CSP).
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from aiohttp import hdrs, web
from pydantic import BeforeValidator, Field, RootModel

from server.auth.identify import identify
from server.auth.principal import Principal
from server.errors import (
    FORBIDDEN,
    NOT_FOUND,
    PRECONDITION,
    RANGE,
    RATE,
    UNAUTHORIZED,
    UNAVAILABLE,
    ApiError,
)
from server.guard.rates import charge
from server.keys import POOL
from server.openapi.access import KEY, Access
from server.openapi.fields import Input, Moment, Output
from server.openapi.route import answer, route
from server.openapi.shapes import PlainId
from server.uploads import records
from server.uploads.conditions import FIELDS, OutOfRangeError, Part, Version, judge, part
from server.uploads.models import UploadPath, address
from server.uploads.names import content_disposition
from server.uploads.owners import UPLOADERS, owns
from server.uploads.policies import POLICIES, FileType, Kind
from server.uploads.records import Record
from server.uploads.sending import Sender
from server.uploads.signing import URL_KEY, sign, verify
from server.uploads.store import NotStored, StoreError

MAX_AGE = 3600
"""Seconds for which caches may hand out a public file without asking, also one that is deleted."""
MAX_SIGNED = 7 * 24 * 3600
"""Seconds that a signed address may be good for."""
UNKNOWN = "application/octet-stream"
TYPES: dict[str, FileType] = {
    each.name: each for policy in POLICIES.values() for each in policy.types
}
# The styles are those with which browsers surround an image that is opened by itself.
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

SENDER = web.AppKey("upload_sender", Sender)
READERS = Access(
    "Everybody for public files; for private ones their owner, an admin, or whoever has a signed"
    " address.",
    lambda _: True,
    KEY,
    optional=True,
)

log = logging.getLogger(__name__)


class Content(RootModel[str]):
    """The file, or the part of it that was asked for."""


class Address(Input):
    """What may stand behind the address of a file."""

    download: Literal["1"] | None = Field(None, description="To be saved, also an image.")
    expires: PlainId | None = Field(None, description="Of a signed address: Unix time.")
    signature: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="Of a signed address. It alone decides then, no cookie or key."
    )


def _whole(value: Any) -> Any:
    """`300.0` is an integer in JSON Schema, and `"300"` is none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Wish(Input):
    """For how long an address is to be good, in seconds."""

    expires_in: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_SIGNED, strict=True)] = (
        300
    )


class Signed(Output):
    """An address that anybody may open who has it."""

    url: str = Field(examples=["/api/uploads/0123456789abcdef0123456789abcdef?expires=…"])
    expires_at: Moment


@route(
    "GET",
    # Or `GET /api/uploads/tus` would be 404 where it is 405.
    "/api/uploads/{id:(?!tus$)[^/]+}",
    summary="A file",
    tag="Uploads",
    answers={200: Content, 206: Content, 304: None},
    access=READERS,
    errors=(UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PRECONDITION, RANGE, RATE, UNAVAILABLE),
    headers=("ETag", "Last-Modified", "Cache-Control", "Content-Disposition", "Accept-Ranges"),
    media="*/*",
)
async def get_upload(request: web.Request, path: UploadPath, query: Address) -> web.StreamResponse:
    """Its bytes, or one range of them. A private file of somebody else is as good as missing: 404.
    An address with a wrong or expired signature is 403, whoever opens it."""
    found = await readable(request, path.id, query)
    version = Version(
        f'"{found.sha256}"', (found.ready_at or found.created_at).replace(microsecond=0)
    )
    verdict = judge(_asked(request), version)
    if verdict == "failed":
        raise ApiError(PRECONDITION, "the file is another one")
    headers = describe(found, version, download=query.download is not None)
    if verdict == "not modified":
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return await _send(request, found, version, headers)


@route(
    "POST",
    "/api/uploads/{id}/url",
    summary="Sign the address of a file of yours",
    tag="Uploads",
    answers={200: Signed},
    access=UPLOADERS,
    errors=(NOT_FOUND,),
    rate="writes",
)
async def sign_upload(
    request: web.Request, who: Principal, path: UploadPath, body: Wish
) -> web.Response:
    """Whoever has it may read the file until it expires; `&download=1` may be added. It can't be
    taken back but by deleting the file."""
    found = await records.find(request.app[POOL], path.id)
    if found is None or not _is_there(found) or not owns(who, found.owner):
        raise ApiError(NOT_FOUND)
    expires = int(time.time()) + body.expires_in
    signature = sign(found.id, expires, request.app[URL_KEY])
    url = f"{address(found.id)}?expires={expires}&signature={signature}"
    return answer(Signed(url=url, expires_at=datetime.fromtimestamp(expires, UTC)))


async def readable(request: web.Request, id_: str, query: Address) -> Record:
    """The file, if whoever asks may read it.

    Raises:
        ApiError: 404, 403 for a bad signature, 401 for a bad key, 429 beyond a key's rate.
    """
    signed = query.expires is not None or query.signature is not None
    if signed:
        verify(id_, query.expires, query.signature, request.app[URL_KEY], time.time())
    found = await records.find(request.app[POOL], id_)
    if found is not None and not _is_there(found):
        found = None
    if not signed and (found is None or found.visibility != "public"):
        # Also where there is nothing: a bad key is told the same whatever the id.
        who = await identify(request)
        await charge(request, None, who)
        if found is not None and not owns(who, found.owner):
            found = None
    if found is None:
        raise ApiError(NOT_FOUND)
    return found


def describe(found: Record, version: Version, *, download: bool) -> dict[str, str]:
    """The headers of a file, whatever part of it is sent."""
    kind = TYPES.get(found.type)
    public = found.visibility == "public"
    inline = kind is not None and kind.kind is Kind.IMAGE and not download
    media = kind.name if kind is not None else UNKNOWN
    if kind is not None and kind.kind is Kind.TEXT:
        media += "; charset=utf-8"  # it was read to its end
    return {
        hdrs.CONTENT_TYPE: media,
        hdrs.CONTENT_DISPOSITION: content_disposition(found.name, inline=inline),
        hdrs.ETAG: version.etag,
        hdrs.LAST_MODIFIED: format_datetime(version.modified, usegmt=True),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: _cached(found) if public else "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
        "Cross-Origin-Resource-Policy": "cross-origin" if public else "same-origin",
        "Referrer-Policy": "no-referrer",
    }


async def _send(
    request: web.Request, found: Record, version: Version, headers: dict[str, str]
) -> web.StreamResponse:
    wanted = _part(request, found, version)
    response = web.StreamResponse(headers=headers)
    if wanted is not None:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        last = wanted.start + wanted.length - 1
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {wanted.start}-{last}/{found.size}"
    start, length = wanted or Part(0, found.size)
    response.content_length = length
    sender = request.app[SENDER]
    try:
        if request.method == hdrs.METH_HEAD or not length:
            await sender.prove(found.id)
        else:
            await sender.send(request, response, found.id, start, length)
    except NotStored:
        log.error("upload %s is known, but not in the store", found.id)
        raise ApiError(NOT_FOUND) from None
    except StoreError as error:
        log.warning("upload %s can't be read: %s", found.id, error)
        raise ApiError(
            UNAVAILABLE, "the store did not give it", headers={"Retry-After": "5"}
        ) from None
    return response


def _part(request: web.Request, found: Record, version: Version) -> Part | None:
    """Only a GET has ranges (RFC 9110, 14.2)."""
    if request.method != hdrs.METH_GET:
        return None
    try:
        return part(_asked(request), version, found.size)
    except OutOfRangeError:
        size = f"bytes */{found.size}"
        raise ApiError(RANGE, headers={hdrs.CONTENT_RANGE: size}) from None


def _asked(request: web.Request) -> dict[str, str]:
    given = request.headers
    return {name: ", ".join(given.getall(name)) for name in FIELDS if name in given}


def _is_there(found: Record) -> bool:
    """Whole, and not to be removed any moment."""
    return found.state == "ready" and (
        found.expires_at is None or found.expires_at > datetime.now(UTC)
    )


def _cached(found: Record) -> str:
    """An id's bytes never change, but a file may be deleted."""
    seconds = MAX_AGE
    if found.expires_at is not None:
        left = (found.expires_at - datetime.now(UTC)).total_seconds()
        seconds = max(0, min(seconds, int(left)))
    return f"public, max-age={seconds}, immutable"
