"""`/api/uploads/tus`: the requests of tus 1.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from pydantic import RootModel

from server.auth.principal import Principal
from server.errors import (
    BAD_TYPE,
    CHECKSUM,
    CONFLICT,
    FILE_TOO_LARGE,
    GONE,
    INVALID,
    LOCKED,
    MEDIA_TYPE,
    METHOD,
    RATE,
    STORAGE,
    TIMEOUT,
    TUS_VERSION,
    UNAVAILABLE,
    ApiError,
)
from server.keys import SETTINGS
from server.openapi.route import add, answer, route
from server.uploads import models
from server.uploads.body import continue_later, go_on
from server.uploads.incoming import too_large
from server.uploads.models import UploadPath, shown
from server.uploads.owners import UPLOADERS, Owner, owner_of
from server.uploads.service import UPLOADS
from server.uploads.tus import protocol
from server.uploads.tus.answers import require_fit, require_offset, state, told
from server.uploads.tus.service import TUS, Tus

BASE = "/api/uploads/tus"
ONE = f"{BASE}/{{id}}"
TAG = "Uploads"
OVERRIDE = "X-HTTP-Method-Override"
SPOKEN = "Tus-Resumable"
_STATE = ("Upload-Offset", "Upload-Expires")
_FAULTS = (INVALID, BAD_TYPE, CONFLICT, GONE, TUS_VERSION, FILE_TOO_LARGE, LOCKED, STORAGE)
"""Of all that may make an upload whole."""


class Bytes(RootModel[str]):
    """Bytes of the file, from `Upload-Offset` on."""

    model_config = {"json_schema_extra": {"contentMediaType": "application/octet-stream"}}


@route(
    "POST",
    BASE,
    summary="Begin an upload in pieces",
    tag=TAG,
    answers={201: None},
    access=UPLOADERS,
    errors=(*_FAULTS, TIMEOUT, CHECKSUM, MEDIA_TYPE, RATE, UNAVAILABLE),
    headers=("Location", *_STATE),
    reads=(SPOKEN, "Upload-Length", "Upload-Metadata"),
    rate="writes",
)
async def tus_create(request: web.Request, who: Principal) -> web.Response:
    """tus 1.0, creation: `Location` is where the bytes go. With a body of the type
    `application/offset+octet-stream` the first bytes come with it; if they fail, nothing is left.
    """
    headers, tus, owner = request.headers, request.app[TUS], owner_of(who)
    protocol.require_version(headers.get(SPOKEN))
    if headers.get(OVERRIDE, "POST").upper() != "POST":
        raise ApiError(METHOD, headers={"Allow": "OPTIONS, POST"})
    length = protocol.read_length(headers)
    metadata = protocol.read_metadata(headers.get("Upload-Metadata"))
    checksum = protocol.read_checksum(headers.get("Upload-Checksum"))
    if length > metadata.policy.max_bytes:
        raise too_large(metadata.policy)
    filled = request.content_type == protocol.BYTES and request.body_exists
    if filled:
        protocol.require_bytes(request.content_type, headers.get("Content-Encoding", "identity"))
        require_fit(request, length)
    async with request.app[UPLOADS].slot(owner):
        upload = await tus.create(owner, metadata, length)
        offset = 0
        if filled:
            try:
                await go_on(request)
                async with tus.locks.take(upload.record.id) as hold:
                    upload, offset = await tus.receive(upload, hold, tus.body(request), checksum)
            except BaseException:
                # Its address was never told.
                await asyncio.shield(tus.discard(upload.record.id))
                raise
    location = f"{BASE}/{upload.record.id}"
    return answer(None, status=201, headers={"Location": location, **told(upload, offset)})


@route(
    "GET",
    ONE,
    summary="How much of an upload has come",
    tag=TAG,
    answers={200: models.Upload},
    access=UPLOADERS,
    errors=(*_FAULTS, UNAVAILABLE),
    headers=(*_STATE, "Upload-Length", "Upload-Metadata"),
)
async def tus_status(request: web.Request, who: Principal, path: UploadPath) -> web.Response:
    """tus 1.0. `HEAD` is from where to go on: whoever still writes to the upload, as the server
    believes, is made to leave before it is answered. `GET` disturbs nobody, and tells the file."""
    tus, owner = request.app[TUS], owner_of(who)
    if request.method == "HEAD":
        return await _head(request, owner, path.id)
    protocol.require_version(request.headers.get(SPOKEN), safe=True)
    upload = await tus.require(path.id, owner)
    return answer(shown(upload.record), headers=state(upload, await tus.received(upload)))


@route(
    "PATCH",
    ONE,
    summary="Send bytes of an upload",
    tag=TAG,
    answers={204: None},
    access=UPLOADERS,
    errors=(*_FAULTS, CHECKSUM, RATE),
    headers=_STATE,
    reads=(SPOKEN, "Upload-Offset", "Upload-Checksum"),
    body=Bytes,
    consumes=protocol.BYTES,
)
async def tus_send(request: web.Request, who: Principal, path: UploadPath) -> web.Response:
    """tus 1.0. What came before the connection broke is kept, but for bytes with a checksum. With
    the last byte the file is checked and stored; one that is refused is removed."""
    return await _send(request, owner_of(who), path.id)


@route(
    "DELETE",
    ONE,
    summary="End an upload",
    tag=TAG,
    answers={204: None},
    access=UPLOADERS,
    errors=(CONFLICT, GONE, TUS_VERSION, LOCKED),
    reads=(SPOKEN,),
)
async def tus_end(request: web.Request, who: Principal, path: UploadPath) -> web.Response:
    """tus 1.0, termination: the upload is removed, be it whole or not."""
    return await _end(request, owner_of(who), path.id)


@route(
    "POST",
    ONE,
    summary="Any of these, for clients that can only POST",
    tag=TAG,
    answers={200: None, 204: None},
    access=UPLOADERS,
    errors=(*_FAULTS, METHOD, CHECKSUM, RATE, TIMEOUT, MEDIA_TYPE),
    headers=_STATE,
    reads=(SPOKEN, OVERRIDE),
)
async def tus_override(request: web.Request, who: Principal, path: UploadPath) -> web.Response:
    """tus 1.0: the method is that of `X-HTTP-Method-Override`."""
    method = request.headers.get(OVERRIDE, "POST").upper()
    if method == "PATCH":
        return await _send(request, owner_of(who), path.id)
    if method == "DELETE":
        return await _end(request, owner_of(who), path.id)
    if method == "HEAD":
        return await _head(request, owner_of(who), path.id)
    raise ApiError(METHOD, headers={"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"})


@route(
    "OPTIONS",
    BASE,
    summary="What of tus is spoken here",
    tag=TAG,
    answers={204: None},
    headers=tuple(protocol.ABOUT),
)
async def tus_about() -> web.Response:
    """tus 1.0: version, extensions, checksums, and the size of the largest file."""
    return answer(None, status=204, headers=protocol.ABOUT)


@route(
    "OPTIONS",
    ONE,
    summary="What of tus is spoken here, asked at an upload",
    tag=TAG,
    answers={204: None},
    headers=tuple(protocol.ABOUT),
)
async def tus_about_one(path: UploadPath) -> web.Response:
    """The same as where uploads begin, whether there is such an upload or not."""
    del path
    return answer(None, status=204, headers=protocol.ABOUT)


def add_routes(app: web.Application) -> None:
    """Put the routes on the application, and what they need into its life: behind the uploads'."""
    app.cleanup_ctx.append(_live)
    app.on_response_prepare.append(_say_version)
    add(app, tus_create, tus_send, tus_override, expect=continue_later)
    add(app, tus_status, tus_end, tus_about, tus_about_one)


async def _live(app: web.Application) -> AsyncIterator[None]:
    tus = app[TUS] = Tus(app[UPLOADS], app[SETTINGS].upload_expires)
    yield
    tus.close()


async def _say_version(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, errors and 404s included."""
    path = request.path
    if path.startswith(BASE) and path[len(BASE) :][:1] in ("", "/"):
        response.headers[SPOKEN] = protocol.VERSION


async def _head(request: web.Request, owner: Owner, id_: str) -> web.Response:
    protocol.require_version(request.headers.get(SPOKEN), safe=True)
    upload, offset = await request.app[TUS].offset(id_, owner)
    return answer(None, headers=state(upload, offset))


async def _send(request: web.Request, owner: Owner, id_: str) -> web.Response:
    headers, tus = request.headers, request.app[TUS]
    protocol.require_version(headers.get(SPOKEN))
    protocol.require_bytes(request.content_type, headers.get("Content-Encoding", "identity"))
    offset = protocol.read_number(headers, "Upload-Offset")
    checksum = protocol.read_checksum(headers.get("Upload-Checksum"))
    upload = await tus.require(id_, owner)
    if not upload.whole:
        async with tus.locks.take(id_) as hold:
            upload = await tus.require(id_, owner)
            if not upload.whole:
                size = await tus.require_file(upload, hold)
                require_offset(offset, size)
                require_fit(request, upload.record.size - size)
                async with request.app[UPLOADS].slot(owner):
                    await go_on(request)
                    upload, offset = await tus.receive(upload, hold, tus.body(request), checksum)
                return answer(None, status=204, headers=told(upload, offset))
    # The answer to the last bytes was lost, and they are sent again.
    require_offset(offset, upload.record.size)
    require_fit(request, 0)
    return answer(None, status=204, headers=told(upload, offset))


async def _end(request: web.Request, owner: Owner, id_: str) -> web.Response:
    protocol.require_version(request.headers.get(SPOKEN))
    await request.app[TUS].end(id_, owner)
    return answer(None, status=204)
