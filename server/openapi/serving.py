"""`/openapi.json`, and `/docs`: the page that shows it. Made once, served from memory."""

from __future__ import annotations

import asyncio
import functools
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
    @functools.cache
    def of(cls, body: bytes, kind: str) -> Held:
        """These bytes, under the tag that they have in every process."""
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


class Document:
    """The document of all routes, made when it is first asked for.

    It takes a tenth of a second, so a thread makes it: streams must not stand still for that, nor
    every start wait for what few ask for.
    """

    def __init__(self, routes: list[Route], version: str, events: Iterable[EventType]) -> None:
        self._routes = routes
        self._version = version
        self._events = events
        self._made: asyncio.Future[Held] | None = None

    async def __call__(self, request: web.Request) -> web.Response:
        """As of any other thing in memory; all who ask at first wait for the same one."""
        if self._made is None:
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        held = await asyncio.shield(self._made)
        return await held(request)

    def _make(self) -> Held:
        made = document(self._routes, version=self._version, events=self._events)
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
        return Held.of(text.encode(), JSON)


def add_routes(app: web.Application, *, version: str, events: Iterable[EventType]) -> None:
    """Serve the document of all routes that have been added to `app`, and its page."""
    app.router.add_get("/openapi.json", Document(app[ROUTES], version, events).__call__)
    for path in sorted(STATIC.iterdir()):
        if path.suffix in KINDS:
            url = "/docs" if path.name == PAGE else f"/docs/{path.name}"
            app.router.add_get(url, Held.of(path.read_bytes(), KINDS[path.suffix]).__call__)
