"""What tus answers with in headers, and what it asks of a request's bytes before they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import CONFLICT, ApiError
from server.uploads.tus import protocol
from server.uploads.tus.receiving import too_much

if TYPE_CHECKING:
    from aiohttp import web

    from server.uploads.tus.parts import Upload


def require_offset(given: int, size: int) -> None:
    """Whether bytes go on where the file ends.

    Raises:
        ApiError: 409.
    """
    if given != size:
        there = {"Upload-Offset": str(size)}
        raise ApiError(CONFLICT, f"{size} bytes are there, not {given}", headers=there)


def require_fit(request: web.Request, left: int) -> None:
    """Whether a body fits into what is missing; one without a length is judged as it comes.

    Raises:
        ApiError: 413.
    """
    if (request.content_length or 0) > left:
        raise too_much(left)


def told(upload: Upload, offset: int) -> dict[str, str]:
    """The headers of an answer to bytes."""
    ends = None if upload.whole else upload.record.expires_at
    return {"Upload-Offset": str(offset), **protocol.expires(ends)}


def state(upload: Upload, offset: int) -> dict[str, str]:
    """The headers of an answer to HEAD."""
    found = {**told(upload, offset), "Upload-Length": str(upload.record.size)}
    if upload.metadata.text is not None:
        found["Upload-Metadata"] = upload.metadata.text
    return found
