"""`POST /api/upload`: one file in a form, as the source text has it (RFC 7578)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
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
from server.uploads.incoming import Incoming, too_large
from server.uploads.models import Form as UploadForm
from server.uploads.models import Upload, Wanted, shown
from server.uploads.owners import UPLOADERS, owner_of
from server.uploads.policies import POLICIES, Policy
from server.uploads.records import Record
from server.uploads.service import UPLOADS, Uploads

FORM = "multipart/form-data"
FIELD = "file"
MAX_FIELDS = 20
"""Parts of a form; all but the file are passed over."""
MAX_FIELD = 64 * 1024
"""Bytes of such a part."""
OVERHEAD = 1024 * 1024
"""Bytes that a form may have beside its file."""
CHUNK = 64 * 1024
SLOW = 60.0
"""Seconds after which an upload must have come at `LEAST_RATE` on average."""
LEAST_RATE = 512
"""Bytes in a second: who sends a byte now and then holds up a slot for nothing."""
_PLAIN = frozenset({"", "binary", "8bit", "7bit"})
# What aiohttp's reader raises on malformed forms.
_MALFORMED = (ValueError, AssertionError, RuntimeError, LookupError, HttpProcessingError)

T = TypeVar("T")


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
        part = await form.file()
        incoming = await uploads.begin(
            owner, policy, part.filename, part.headers.get("Content-Type"), length
        )
        try:
            await form.copy(part, incoming)
            await form.end()
            return await incoming.finish()
        except BaseException:
            await asyncio.shield(incoming.discard())
            raise


class Form:
    """The parts of a request's body, one after the other."""

    def __init__(self, request: web.Request, uploads: Uploads, policy: Policy) -> None:
        if request.content_type != FORM:
            raise ApiError(MEDIA_TYPE, f"the body must be {FORM}")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ApiError(MEDIA_TYPE, "the body must not be compressed")
        self._content = request.content
        self._stall = uploads.stall
        self._most = policy.max_bytes + OVERHEAD
        self._policy = policy
        self._began = time.monotonic()
        self._fields = 0
        try:
            self._reader = MultipartReader(request.headers, request.content)
        except _MALFORMED as error:
            raise malformed(error) from error

    async def file(self) -> BodyPartReader:
        """The part with the file; what stands before it is passed over."""
        while (part := await self._next()) is not None:
            if part.name == FIELD and part.filename is not None:
                encoding = part.headers.get("Content-Transfer-Encoding", "").lower()
                if encoding not in _PLAIN or "Content-Encoding" in part.headers:
                    raise ApiError(MEDIA_TYPE, "the file must not be encoded")
                return part
            await self._pass(part)
        raise ApiError(NO_FILE, f"the form has no file in its field {FIELD!r}")

    async def copy(self, part: BodyPartReader, incoming: Incoming) -> None:
        """Hand a part's bytes over as they come."""
        while chunk := await self._wait(part.read_chunk(CHUNK)):
            await incoming.write(chunk)

    async def end(self) -> None:
        """Pass over the rest: the form must come to its end, and hold no second file."""
        while (part := await self._next()) is not None:
            if part.name == FIELD:
                raise ApiError(INVALID, f"the form has more than one field {FIELD!r}")
            await self._pass(part)

    async def _next(self) -> BodyPartReader | None:
        part = await self._wait(self._reader.next())
        if part is None:
            return None
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ApiError(INVALID, f"the form has more than {MAX_FIELDS} fields")
        if not isinstance(part, BodyPartReader):
            raise ApiError(INVALID, "a form in a form is not taken")
        return part

    async def _pass(self, part: BodyPartReader) -> None:
        size = 0
        while chunk := await self._wait(part.read_chunk(CHUNK)):
            size += len(chunk)
            if size > MAX_FIELD:
                raise ApiError(INVALID, f"a field has more than {MAX_FIELD} bytes")

    async def _wait(self, reading: Awaitable[T]) -> T:
        """Read on, with patience for so long as something comes."""
        try:
            async with asyncio.timeout(self._stall):
                found = await reading
        except TimeoutError:
            raise ApiError(TIMEOUT, f"nothing came for {self._stall:g} s") from None
        except (ConnectionError, web.RequestPayloadError):
            raise ApiError(INVALID, "the body ended before it was whole") from None
        except _MALFORMED as error:
            raise malformed(error) from error
        came, took = self._content.total_bytes, time.monotonic() - self._began
        if came > self._most:
            raise too_large(self._policy)
        if took > SLOW and came < took * LEAST_RATE:
            raise ApiError(TIMEOUT, f"less than {LEAST_RATE} bytes a second came")
        return found


def malformed(error: Exception) -> ApiError:
    """The 400 for a body that is no form; what exactly, the log of the client's own will tell."""
    del error
    return ApiError(INVALID, f"the body is no {FORM}: a boundary is missing, or a part's header")


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
