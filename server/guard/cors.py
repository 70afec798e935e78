"""Cross-origin requests: the allow-list `CORS_ORIGINS`, by aiohttp-cors and what it lacks.

It sends no `Vary: Origin`; a shared cache would then hand one origin's answer to another.
"""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp_cors
from aiohttp import web

EXPOSED = ("Stream-Position", "X-Request-Id", "Retry-After", "Location")
ALLOWED = ("Authorization", "Content-Type", "Last-Event-ID", "X-Request-Id")


def set_up(app: web.Application, origins: Iterable[str]) -> None:
    """Open every `/api/` route of `app` to pages of `origins`, with credentials."""
    origins = tuple(origins)
    routes = [
        route
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/")
    ]
    if not origins:
        _answer_options(app, routes)
        return
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        allow_credentials=True,
        expose_headers=EXPOSED,
        allow_headers=ALLOWED,
        max_age=3600,
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    for route in routes:
        cors.add(route)
    app.on_response_prepare.append(_vary)


def _answer_options(app: web.Application, routes: Iterable[web.AbstractRoute]) -> None:
    """Without an allow-list OPTIONS tells the methods, and opens nothing."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        if route.resource is not None:
            methods.setdefault(route.resource.canonical, {"OPTIONS"}).add(route.method)
    for path, allowed in methods.items():
        headers = {"Allow": ", ".join(sorted(allowed))}

        async def options(_: web.Request, headers: dict[str, str] = headers) -> web.Response:
            return web.Response(status=204, headers=headers)

        app.router.add_route("OPTIONS", path, options)


async def _vary(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith("/api/"):
        response.headers.add("Vary", "Origin")
