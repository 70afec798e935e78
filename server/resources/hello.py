"""`GET /api/hello`: the smallest route; it touches no database."""

from __future__ import annotations

from typing import Literal

from server.openapi.fields import Output
from server.openapi.route import Route, route


class Hello(Output):
    """A greeting."""

    message: Literal["Hello World"] = "Hello World"


HELLO = Hello()


@route("GET", "/api/hello", summary="Say hello", tag="Basics", answers={200: Hello})
async def hello() -> Hello:
    """Always the same; it tells that the server answers, not that its database does."""
    return HELLO


ROUTES: tuple[Route, ...] = (hello,)
