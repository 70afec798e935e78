"""`GET /api/edge`: which region answers; it touches no database."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from server.keys import SETTINGS
from server.openapi.fields import Output
from server.openapi.route import Route, route


class Edge(Output):
    """`region`: the setting `REGION`, where there is one."""

    message: Literal["This runs on the Edge!"] = "This runs on the Edge!"
    region: str | None


@route("GET", "/api/edge", summary="Which region answers", tag="Basics", answers={200: Edge})
async def edge(request: web.Request) -> Edge:
    """The region in which this process runs."""
    return Edge(region=request.app[SETTINGS].region)


ROUTES: tuple[Route, ...] = (edge,)
