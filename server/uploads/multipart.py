"""`POST /api/upload`: one file in a form, as the source text has it (RFC 7578)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from aiohttp import web
from aiohttp.helpers import parse_mimetype
from aiohttp.http_exceptions import HttpProcessingError

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
from server.uploads.form import Malformed, Part, Scanner
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
SLOW = 60.0
"""Seconds after which an upload must have come at `LEAST_RATE` on average."""
LEAST_RATE = 512
"""Bytes in a second: who sends a byte now and then holds up a slot for nothing."""


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
        await uploads.require_room(owner)
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
        if incoming is None:
            raise ApiError(NO_FILE, f"the form has no file in its field {FIELD!r}")
        return await incoming.finish()
    except BaseException:
        if incoming is not None:
            await asyncio.shield(incoming.discard())
        raise


async def continue_later(_: web.Request) -> None:
    """For `Expect`: nothing is asked for before it is known whether it would be taken."""


async def go_on(request: web.Request) -> None:
    """Ask a client for the body, if it waits to be asked."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Or this would be counted as part of the answer.
        request.writer.output_size = 0


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
        self._content = request.content
        self._transport = request.transport
        self._stall = uploads.stall
        self._turn = uploads.spool.turn
        self._policy = policy
        self._began, self._came = time.monotonic(), 0
        try:
            self._scanner = Scanner(_boundary(request))
        except Malformed as error:
            raise malformed(error) from None

    async def pieces(self) -> AsyncGenerator[Part | bytes]:
        """The heads of the fields `file` that are files, and their bytes; the form's other fields
        are passed over. Ends when the whole body has come.

        Raises:
            ApiError: 400, 408, 413.
        """
        try:
            async for piece in self._wanted():
                yield piece
        finally:
            # Whatever the verdict is: the connection goes on, or lingers until it is read.
            self._listen(True)

    async def _wanted(self) -> AsyncGenerator[Part | bytes]:
        wanted, passed = False, 0
        while chunk := await self._chunk():
            self._judge(len(chunk))
            try:
                found = self._scanner.feed(chunk)
            except Malformed as error:
                raise malformed(error) from None
            for piece in found:
                if isinstance(piece, Part):
                    wanted, passed = _is_file(piece), 0
                if wanted:
                    yield piece
                elif not isinstance(piece, Part):
                    passed += len(piece)
                    if passed > MAX_FIELD:
                        raise ApiError(INVALID, f"a field has more than {MAX_FIELD} bytes")
        if not self._scanner.ended:
            raise ApiError(INVALID, f"the body is no {FORM}: its last boundary is missing")

    def _judge(self, count: int) -> None:
        """Whether a body that is so much further is neither too large nor too slow."""
        self._came += count
        if self._came > self._policy.max_bytes + OVERHEAD:
            raise too_large(self._policy)
        took = time.monotonic() - self._began
        if took > SLOW and self._came < took * LEAST_RATE:
            raise ApiError(TIMEOUT, f"less than {LEAST_RATE} bytes a second came")

    async def _chunk(self) -> bytes:
        """The next bytes; nothing more is taken from the socket until they are dealt with."""
        try:
            async with self._turn():
                self._listen(True)
                async with asyncio.timeout(self._stall):
                    return await self._content.readany()
        except TimeoutError:
            raise ApiError(TIMEOUT, f"nothing came for {self._stall:g} s") from None
        except (OSError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
            # The client has hung up, or what it sends is no HTTP any more.
            raise ApiError(INVALID, "the body ended before it was whole") from None
        finally:
            self._listen(False)

    def _listen(self, more: bool) -> None:
        """Whether more is to be taken from the socket."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.resume_reading if more else self._transport.pause_reading)()


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
