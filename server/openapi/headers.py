"""The headers of answers and requests, described once for every operation that has them."""

from __future__ import annotations

from typing import Any

Header = dict[str, Any]

_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_PAIR = f"[!-+\\--~]{{1,100}}( {_BASE64})?"


def _number(description: str, example: int, *, minimum: int = 0) -> Header:
    schema = {"type": "integer", "minimum": minimum}
    return {"description": description, "schema": schema, "example": example}


def _text(description: str, example: str, pattern: str | None = None) -> Header:
    schema: dict[str, Any] = {"type": "string"}
    if pattern is not None:
        schema["pattern"] = pattern
    return {"description": description, "schema": schema, "example": example}


HEADERS: dict[str, Header] = {
    "X-Request-Id": _text(
        "The request's id: the caller's own if it is a plain one, else a new one.",
        "8f14e45fceea167a",
        r"^[A-Za-z0-9_.-]{1,64}$",
    ),
    "Stream-Position": _text(
        "The position in the event log of the snapshot that this answer was read from: a stream"
        " opened with `after=` it misses no later change.",
        "3f2a9c1e.1042",
        r"^[0-9a-f]{8}\.[0-9]+$",
    ),
    "ETag": _text("This version, for `If-None-Match` and `If-Match`.", '"4f1c"', '^(W/)?".*"$'),
    "Location": _text("Where what was made can be fetched.", "/api/posts/17"),
    "Link": _text('The next page, `rel="next"` (RFC 8288).', '</api/posts?after=17>; rel="next"'),
    "Cache-Control": _text("How long the answer may be kept.", "no-store"),
    "Set-Cookie": _text(
        "The session's cookie.", "tailrace.session_token=trs_…; HttpOnly; SameSite=Lax; Path=/"
    ),
    "WWW-Authenticate": _text("How to show credentials.", "Bearer"),
    "Allow": _text("The methods that the path has.", "GET, HEAD"),
    "Vary": _text("What the answer depends on.", "Origin"),
    "Last-Modified": _text("When it last changed.", "Sun, 22 Nov 2026 16:04:05 GMT"),
    "Content-Disposition": _text("The file's name.", 'attachment; filename="report.pdf"'),
    "Accept-Ranges": _text("That a `Range` may be asked for.", "bytes"),
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 3,
    },
    "Upload-Offset": _number("How many bytes of the file have come.", 70),
    "Upload-Length": _number("How many bytes the file has.", 100),
    "Upload-Metadata": _text("As it was given when the upload began.", "filename YS5wbmc="),
    "Upload-Expires": _text(
        "When an upload is removed that is not whole.", "Sun, 22 Nov 2026 16:04:05 GMT"
    ),
    "Tus-Version": _text("The versions of tus that are spoken.", "1.0.0"),
    "Tus-Extension": _text("The extensions of tus.", "creation,checksum"),
    "Tus-Max-Size": _number("Bytes of the largest file.", 2147483648),
    "Tus-Checksum-Algorithm": _text("The algorithms of `Upload-Checksum`.", "sha1,sha256"),
    "RateLimit": _text(
        "How many requests are left, and the seconds until there are more.",
        '"forms";r=9;t=10',
        r'^"[a-z]+";r=[0-9]+;t=[0-9]+$',
    ),
    "RateLimit-Policy": _text(
        "The policy that counts this request: so many in so many seconds.",
        '"forms";q=10;w=10',
        r'^"[a-z]+";q=[0-9]+;w=[0-9]+$',
    ),
}

LIMITED = ("RateLimit", "RateLimit-Policy")
"""On every answer to a request that was counted."""
ON_ERROR = {
    401: ("WWW-Authenticate",),
    423: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

REQUEST: dict[str, Header] = {
    "If-Match": _text("Only if this is still the version (its ETag), else 412.", '"4f1c"'),
    "If-None-Match": _text("Only if this is no longer the version (its ETag), else 304.", '"4f1c"'),
    "Range": _text("Only these bytes of it; one range.", "bytes=0-1023"),
    "Last-Event-ID": _text(
        "Resume after this id; wins over `after`. Browsers send it when they come back.",
        "3f2a9c1e.1042",
    ),
    "Tus-Resumable": {**_text("The version of tus.", "1.0.0", r"^1\.0\.0$"), "required": True},
    "Upload-Length": {
        **_number("How many bytes the file has.", 100, minimum=1),
        "required": True,
    },
    "Upload-Offset": {
        **_number("Where these bytes belong: behind all that have come.", 70),
        "required": True,
    },
    "Upload-Metadata": _text(
        "Pairs of a key and a value in base64: `filename`, `filetype`, `policy`.",
        "filename YS5wbmc=,policy aW1hZ2Vz",
        f"^{_PAIR}(,{_PAIR})*$",
    ),
    "Upload-Checksum": _text(
        "An algorithm and the hash of this request's bytes in base64.",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        r"^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$",
    ),
    "X-HTTP-Method-Override": {
        "description": "The method that is meant.",
        "schema": {"type": "string", "enum": ["PATCH", "DELETE", "HEAD"]},
        "example": "PATCH",
        "required": True,
    },
}


def refs(*names: str) -> dict[str, Header]:
    """The headers of an answer, as references to the components.

    Raises:
        ValueError: a route names a header that is not described here.
    """
    if unknown := set(names) - set(HEADERS):
        msg = f"describe {sorted(unknown)} in server/openapi/headers.py"
        raise ValueError(msg)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in dict.fromkeys(names)}
