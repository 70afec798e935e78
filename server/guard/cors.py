"""Cross-origin requests: the allow-list `CORS_ORIGINS`, by aiohttp-cors and what it lacks.

aiohttp-cors stays: it decides every origin and preflight, and its documented router adapter turns
its rules per route, which miss 404s, 405s and methods of another route on the same path, into one
rule for `/api/`; `Vary` and lists that do not depend on the one question are added by a hook.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import aiohttp_cors
from aiohttp import web
from aiohttp_cors.abc import AbstractRouterAdapter

METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
ALLOWED = (
    "Authorization",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-Id",
)
EXPOSED = (
    "Stream-Position",
    "X-Request-Id",
    "Retry-After",
    "Location",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Link",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)
MAX_AGE = 3600
"""Seconds that a browser may remember a preflight; Chromium takes 7200 at most."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Options = Mapping[str, aiohttp_cors.ResourceOptions]


def set_up(app: web.Application, origins: Iterable[str]) -> None:
    """Open everything under `/api/` to pages of `origins`, with credentials.

    Comes last: its hook sees the headers of all others, its middleware stands next to the router.
    """
    preflight: Handler | None = None
    # Browsers write origins in lower case, and they are compared as text.
    listed = [origin.lower() for origin in origins]
    if listed:
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
            allow_credentials=True,
            expose_headers=EXPOSED,
            allow_headers=ALLOWED,
            allow_methods=METHODS,
            max_age=MAX_AGE,
        )
        rule = _Rule(dict.fromkeys(listed, options))
        cors = aiohttp_cors.CorsConfig(app, router_adapter=rule)
        cors.add(None)  # hands its preflight handler to the rule
        preflight = rule.preflight
        app.on_response_prepare.append(_vary)
    app.middlewares.append(_answering(preflight))


class _Rule(AbstractRouterAdapter):
    """Tells aiohttp-cors that one configuration holds for every path under `/api/`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.preflight: Handler | None = None

    def add_preflight_handler(
        self, routing_entity: object, handler: Handler, webview: bool = False
    ) -> None:
        """Keep it for the middleware: a route of its own would turn every 404 into a 405."""
        self.preflight = handler

    def set_config_for_routing_entity(self, routing_entity: object, config: object) -> None:
        """There is one configuration."""

    def is_preflight_request(self, request: web.Request) -> bool:
        return is_preflight(request)

    def is_cors_enabled_on_request(self, request: web.Request) -> bool:
        return _ours(request)

    async def get_preflight_request_config(
        self, preflight_request: web.Request, origin: str, requested_method: str
    ) -> Options:
        """The methods are judged here. Not by path: a page may read its 404s and 405s."""
        if requested_method not in METHODS:
            raise KeyError(requested_method)
        return self._options

    def get_non_preflight_request_config(self, request: web.Request) -> Options:
        return self._options


def is_preflight(request: web.BaseRequest) -> bool:
    """Whether a browser asks for permission; it does so without credentials."""
    headers = request.headers
    return (
        request.method == "OPTIONS"
        and "Origin" in headers
        and "Access-Control-Request-Method" in headers
    )


def _answering(preflight: Handler | None) -> Any:
    """The middleware that answers OPTIONS under `/api/`."""

    @web.middleware
    async def answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "OPTIONS" or not _ours(request):
            return await handler(request)
        if preflight is not None and is_preflight(request):
            answer = await preflight(request)
            # In full, for aiohttp-cors repeats what was asked: a browser then asks once per path.
            answer.headers["Access-Control-Allow-Methods"] = ", ".join(METHODS)
            answer.headers["Access-Control-Allow-Headers"] = ", ".join(ALLOWED)
            return answer
        missing = request.match_info.http_exception
        if isinstance(missing, web.HTTPMethodNotAllowed):
            allow = ", ".join(sorted({*missing.allowed_methods, "OPTIONS"}))
            return web.Response(status=204, headers={"Allow": allow})
        return await handler(request)

    return answer_options


async def _vary(request: web.Request, response: web.StreamResponse) -> None:
    """One origin's answer must not be handed to another by a cache."""
    if not _ours(request):
        return
    if "Vary" not in response.headers and request.method != "OPTIONS":
        response.headers["Vary"] = "Origin"
        return
    names = ",".join(response.headers.getall("Vary", [])).split(",")
    names.append("Origin")
    if request.method == "OPTIONS":
        names += ["Access-Control-Request-Method", "Access-Control-Request-Headers"]
    once: dict[str, str] = {}
    for name in map(str.strip, names):
        if name:
            once.setdefault(name.lower(), name)
    response.headers["Vary"] = ", ".join(once.values())


def _ours(request: web.BaseRequest) -> bool:
    return request.path.startswith("/api/")
