"""`/openapi.json`, and `/docs`: the page that shows it. Made once at start, served from memory."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from server.log.catalog import EventType
from server.openapi.document import document
from server.openapi.route import JSON, ROUTES, Route

STATIC = Path(__file__).parent / "static"
PAGE = "docs.html"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

# As the dashboard's: nothing inline runs, nothing foreign loads.
POLICY: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Held:
    """One thing in memory, plain and compressed."""

    plain: bytes
    packed: bytes
    kind: str
    etag: str

    @classmethod
    def of(cls, body: bytes, kind: str) -> Held:
        etag = hashlib.sha256(body).hexdigest()[:32]
        return cls(body, gzip.compress(body, mtime=0), kind, etag)

    async def __call__(self, request: web.Request) -> web.Response:
        """200, or 304 to who has it. Each form has its own strong ETag."""
        gzipped = "gzip" in request.headers.get("Accept-Encoding", "")
        etag = f"{self.etag}-gzip" if gzipped else self.etag
        # Revalidated each time: a new version shows at once, an old one costs a 304.
        headers = {**POLICY, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if any(tag.value in {etag, "*"} for tag in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            body = self.packed if gzipped else self.plain
            response = web.Response(body=body, headers=headers | {"Content-Type": self.kind})
            if gzipped:
                response.headers["Content-Encoding"] = "gzip"
        response.etag = etag
        return response


def add_routes(app: web.Application, *, version: str, events: Iterable[EventType]) -> None:
    """Serve the document of all routes that have been added to `app`, and its page.

    Raises:
        ValueError: the routes contradict each other; see `document()`.
    """
    routes: list[Route] = app[ROUTES]
    made = document(routes, version=version, events=events)
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    app.router.add_get("/openapi.json", Held.of(text.encode(), JSON).__call__)
    for path in sorted(STATIC.iterdir()):
        if path.suffix in KINDS:
            url = "/docs" if path.name == PAGE else f"/docs/{path.name}"
            app.router.add_get(url, Held.of(path.read_bytes(), KINDS[path.suffix]).__call__)
