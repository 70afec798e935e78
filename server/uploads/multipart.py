"""`POST /api/upload`: one file in a form, as the source text has it (RFC 7578)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from aiohttp import web
from aiohttp.helpers import parse_mimetype

from server.auth.principal import Principal
from server.errors import (
    BAD_TYPE,
    FILE_TOO_LARGE,
    INVALID,
    MEDIA_TYPE,
    NO_FILE,
    RATE,
    STORAGE,
    TIMEOUT,
    UNAVAILABLE,
    ApiError,
)
from server.openapi.route import route
from server.uploads.body import Body, go_on
from server.uploads.chunks import Chunk
from server.uploads.form import Malformed, Part, Parts, Scanner
from server.uploads.incoming import Incoming, too_large
from server.uploads.models import Form as UploadForm
from server.uploads.models import Upload, Wanted, shown
from server.uploads.owners import UPLOADERS, owner_of
from server.uploads.policies import POLICIES, Policy
from server.uploads.records import Record
from server.uploads.service import UPLOADS, Uploads

FORM = "multipart/form-data"
FIELD = "file"
MAX_FIELD = 64 * 1024
"""Bytes of a part that is passed over."""
OVERHEAD = 1024 * 1024
"""Bytes that a form may have beside its file."""


async def receive(request: web.Request, who: Principal, policy: Policy) -> Record:
    """Receive the one file of a form.

    Raises:
        ApiError: 400 for no file, two files, a wrong type or a malformed form, 408, 413, 415, 429,
            507, 503.
    """
    uploads, owner = request.app[UPLOADS], owner_of(who)
    length = request.content_length
    if length is not None and length > policy.max_bytes + OVERHEAD:
        raise too_large(policy)
    async with uploads.slot(owner):
        form = Form(request, uploads, policy)
        await uploads.require_room(owner, max(1, (length or 0) - OVERHEAD))
        await go_on(request)

        async def begin(part: Part) -> Incoming:
            return await uploads.begin(owner, policy, part.filename, part.type, length)

        return await _receive(form, begin)


async def _receive(form: Form, begin: Callable[[Part], Awaitable[Incoming]]) -> Record:
    incoming: Incoming | None = None
    try:
        async with aclosing(form.pieces()) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Part):
                    if incoming is not None:
                        await incoming.write(piece)
                elif incoming is None:
                    incoming = await begin(piece)
                else:
                    raise ApiError(INVALID, f"the form has more than one file in {FIELD!r}")
                del piece  # as in `pieces`
        if incoming is None:
            raise ApiError(NO_FILE, f"the form has no file in its field {FIELD!r}")
        return await incoming.finish()
    except BaseException:
        if incoming is not None:
            await asyncio.shield(incoming.discard())
        raise


class Form:
    """A request's body, as it comes."""

    def __init__(self, request: web.Request, uploads: Uploads, policy: Policy) -> None:
        """The body is given up after `uploads.stall` seconds without a byte.

        Raises:
            ApiError: 415, 400.
        """
        if request.content_type != FORM:
            raise ApiError(MEDIA_TYPE, f"the body must be {FORM}")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ApiError(MEDIA_TYPE, "the body must not be compressed")
        self._body = Body(request, stall=uploads.stall, turns=uploads.spool.turns)
        self._policy = policy
        try:
            self._scanner = Scanner(_boundary(request))
        except Malformed as error:
            raise malformed(error) from None

    async def pieces(self) -> AsyncGenerator[Part | Chunk]:
        """The heads of the fields `file` that are files, and their bytes; the form's other fields
        are passed over. Ends when the whole body has come.

        Raises:
            ApiError: 400, 408, 413.
        """
        wanted, passed = False, 0
        found: Parts = []
        try:
            while await self._read(found):
                while found:
                    piece = found.pop(0)
                    if isinstance(piece, Part):
                        wanted, passed = _is_file(piece), 0
                    if wanted:
                        yield piece
                    elif not isinstance(piece, Part):
                        passed += len(piece)
                        if passed > MAX_FIELD:
                            raise ApiError(INVALID, f"a field has more than {MAX_FIELD} bytes")
                    # What has a name here is in memory until more has come, of each sender.
                    del piece
        finally:
            self._body.leave()

    async def _read(self, found: Parts) -> bool:
        """Whether more has come; `found` has then what is in it."""
        chunk = await self._body.read()
        if self._body.came > self._policy.max_bytes + OVERHEAD:
            raise too_large(self._policy)
        if not chunk and not self._scanner.ended:
            raise ApiError(INVALID, f"the body is no {FORM}: its last boundary is missing")
        try:
            found += self._scanner.feed(chunk)
        except Malformed as error:
            raise malformed(error) from None
        return bool(chunk)


def _boundary(request: web.Request) -> str:
    """The parameter `boundary` of the request; empty without one."""
    parameters = parse_mimetype(request.headers.get("Content-Type", "")).parameters
    return str(parameters.get("boundary", ""))


def _is_file(part: Part) -> bool:
    if part.name != FIELD or part.filename is None:
        return False
    if not part.plain:
        raise ApiError(MEDIA_TYPE, "the file must not be encoded")
    return True


def malformed(error: Malformed) -> ApiError:
    """The 400 for a body that is no form."""
    return ApiError(INVALID, f"the body is no {FORM}: {error}")


@route(
    "POST",
    "/api/upload",
    summary="Upload a file",
    tag="Uploads",
    answers={200: Upload},
    access=UPLOADERS,
    errors=(INVALID, BAD_TYPE, TIMEOUT, FILE_TOO_LARGE, MEDIA_TYPE, RATE, STORAGE, UNAVAILABLE),
    rate="writes",
    body=UploadForm,
    consumes=FORM,
)
async def upload(request: web.Request, who: Principal, query: Wanted) -> Upload:
    """One file in the field `file`. It is there for others when it is whole, checked and stored;
    until then the user's open pages are told how far it is."""
    kept = await receive(request, who, POLICIES[query.policy])
    return shown(kept)
