"""The one error form of every HTTP answer, and the sentences that stop a start (RFC 9457).

Drivers' and libraries' errors are translated into these where they enter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class StartError(Exception):
    """The server cannot start; the message is one sentence that says what to do about it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the error table: an HTTP status and the sentence that goes with it."""

    code: str
    status: int
    error: str


INVALID = Kind("invalid", 400, "Invalid input")
UNAUTHORIZED = Kind("unauthorized", 401, "Unauthorized")
FORBIDDEN = Kind("forbidden", 403, "Forbidden")
NO_SIGNATURE = Kind("no-signature", 400, "No signature")
BAD_SIGNATURE = Kind("invalid-signature", 401, "Invalid signature")
NO_FILE = Kind("no-file", 400, "No file provided")
BAD_TYPE = Kind("invalid-file-type", 400, "Invalid file type")
NOT_FOUND = Kind("not-found", 404, "Not found")
CONFLICT = Kind("conflict", 409, "Conflict")
GONE = Kind("gone", 410, "Gone")
PRECONDITION = Kind("precondition-failed", 412, "Precondition failed")
TUS_VERSION = Kind("tus-version", 412, "Precondition failed")
METHOD = Kind("method-not-allowed", 405, "Method not allowed")
TIMEOUT = Kind("timeout", 408, "Request timeout")
TOO_LARGE = Kind("too-large", 413, "Payload too large")
FILE_TOO_LARGE = Kind("file-too-large", 413, "File too large")
MEDIA_TYPE = Kind("unsupported-media-type", 415, "Unsupported media type")
RANGE = Kind("range", 416, "Range not satisfiable")
UNPROCESSABLE = Kind("unprocessable", 422, "Unprocessable entity")
LOCKED = Kind("locked", 423, "Locked")
RATE = Kind("rate", 429, "Too many requests")
CHECKSUM = Kind("checksum-mismatch", 460, "Checksum mismatch")
INTERNAL = Kind("internal", 500, "Internal server error")
UNAVAILABLE = Kind("unavailable", 503, "Service unavailable")
STORAGE = Kind("insufficient-storage", 507, "Insufficient storage")

TABLE: dict[int, Kind] = {
    kind.status: kind
    for kind in (
        INVALID,
        UNAUTHORIZED,
        FORBIDDEN,
        NOT_FOUND,
        METHOD,
        TIMEOUT,
        CONFLICT,
        PRECONDITION,
        TOO_LARGE,
        MEDIA_TYPE,
        UNPROCESSABLE,
        RATE,
        INTERNAL,
        UNAVAILABLE,
        STORAGE,
    )
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a request: where (`path`), what (`message`) and a stable `code`."""

    path: tuple[str | int, ...]
    message: str
    code: str


class ApiError(Exception):
    """An answer in the error form; raised by handlers, rendered by the middleware.

    `headers` are added to the answer (`Retry-After`, `Allow`, …), `more` to its body.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        issues: tuple[Issue, ...] = (),
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or kind.error)
        self.kind = kind
        self.detail = detail
        self.issues = issues
        self.headers = headers or {}
        self.more = more or {}


def invalid(path: str, message: str, code: str = "invalid") -> ApiError:
    """The 400 for one bad parameter or field."""
    return ApiError(INVALID, issues=(Issue((path,), message, code),))


def problem(
    kind: Kind,
    request_id: str,
    detail: str | None = None,
    issues: tuple[Issue, ...] = (),
    more: dict[str, Any] | None = None,
) -> bytes:
    """Render the error form: an `application/problem+json` body (RFC 9457)."""
    body: dict[str, Any] = {
        "type": f"urn:tailrace:error:{kind.code}",
        "title": kind.error,
        "status": kind.status,
        "error": kind.error,
    }
    if detail:
        body["detail"] = detail
    if issues:
        body["issues"] = [
            {"path": list(issue.path), "message": issue.message, "code": issue.code}
            for issue in issues
        ]
    body |= more or {}
    body["request_id"] = request_id
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
