from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
from aiohttp import web

from server.errors import RATE, UNAUTHORIZED, ApiError
from server.guard import cors
from server.middleware import MIDDLEWARES
from tests.served import Served, Stream

OURS = "https://app.example.com"
EXPOSED = {
    "Stream-Position", "X-Request-Id", "Retry-After", "Location", "ETag", "RateLimit",
    "RateLimit-Policy", "Link", "Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size",
    "Tus-Resumable", "Tus-Version", "Upload-Expires", "Upload-Length", "Upload-Metadata",
    "Upload-Offset", "Accept-Ranges", "Content-Disposition", "Content-Range",
}  # fmt: skip
ALLOWED = {
    "authorization", "content-type", "if-match", "if-none-match", "last-event-id", "x-request-id",
    "tus-resumable", "upload-checksum", "upload-length", "upload-metadata", "upload-offset",
    "x-http-method-override", "range", "if-range",
}  # fmt: skip
METHODS = {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"}


async def fine(_: web.Request) -> web.Response:
    return web.Response(text="fine", headers={"Vary": "Accept-Encoding, origin"})


async def limited(_: web.Request) -> NoReturn:
    raise ApiError(RATE, headers={"Retry-After": "7"})


async def closed(_: web.Request) -> NoReturn:
    raise ApiError(UNAUTHORIZED)


async def broken(_: web.Request) -> NoReturn:
    raise RuntimeError


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"a")
    return response


async def uploads(_: web.Request) -> web.Response:
    return web.Response(headers={"Tus-Version": "1.0.0"})


@asynccontextmanager
async def small(*origins: str) -> AsyncIterator[Served]:
    """An application with a route of each kind, some of them on overlapping paths."""
    app = web.Application(middlewares=MIDDLEWARES)
    router = app.router
    router.add_get("/api/fine", fine)
    router.add_get("/api/limited", limited)
    router.add_get("/api/closed", closed)
    router.add_get("/api/broken", broken)
    router.add_get("/api/stream", stream)
    router.add_get("/api/posts/mine", fine)
    router.add_route("OPTIONS", "/api/uploads", uploads)
    router.add_patch(r"/api/posts/{id:\d+|mine}", fine)
    router.add_post("/api/fine", fine)
    router.add_get("/healthz", fine)
    router.add_get("/openapi.json", fine)
    cors.set_up(app, origins)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    running = Served(app, runner)
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield running
    finally:
        for opened in running.streams:
            opened.abort()
        await runner.cleanup()


async def ask(server: Served, method: str, path: str, **headers: str) -> Stream:
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n")


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/fine", 200),
        ("HEAD", "/api/fine", 200),
        ("POST", "/api/fine", 200),
        ("GET", "/api/stream", 200),
        ("GET", "/api/limited", 429),
        ("GET", "/api/closed", 401),
        ("GET", "/api/broken", 500),
        ("GET", "/api/nowhere", 404),
        ("GET", "/api/", 404),
        ("DELETE", "/api/fine", 405),
        ("PATCH", "/api/posts/7", 200),
        ("GET", "/api/posts/seven", 404),
    ],
)
async def test_every_answer_can_be_read_by_our_pages(method: str, path: str, status: int) -> None:
    async with small(OURS) as server:
        answer = await ask(server, method, path, Origin=OURS)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == OURS
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert set(words(answer.headers["access-control-expose-headers"])) == EXPOSED
        assert [word.lower() for word in words(answer.headers["vary"])].count("origin") == 1


@pytest.mark.parametrize("path", ["/api/fine", "/api/stream", "/api/nowhere", "/api/broken"])
@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "*", "", f"{OURS}:443", f"{OURS}, {OURS}"]
)
async def test_caches_are_told_even_when_the_origin_is_not_ours(
    path: str, origin: str | None
) -> None:
    async with small(OURS) as server:
        answer = await ask(
            server, "GET", path, **({"Origin": origin} if origin is not None else {})
        )
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert [word.lower() for word in words(answer.headers["vary"])].count("origin") == 1


async def test_what_a_handler_varies_by_is_kept() -> None:
    async with small(OURS) as server:
        answer = await ask(server, "GET", "/api/fine")
        assert answer.headers["vary"] == "Accept-Encoding, origin"


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("path", ["/api/fine", "/api/posts/mine", "/api/uploads", "/api/nowhere"])
async def test_a_preflight_of_any_path_tells_all_that_is_allowed(method: str, path: str) -> None:
    async with small(OURS) as server:
        answer = await ask(
            server, "OPTIONS", path, Origin=OURS, Access_Control_Request_Method=method,
            Access_Control_Request_Headers=",".join(sorted(ALLOWED)),
        )  # fmt: skip
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == OURS
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert set(words(answer.headers["access-control-allow-methods"])) == METHODS
        told = words(answer.headers["access-control-allow-headers"].lower())
        assert set(told) == ALLOWED
        assert answer.headers["access-control-max-age"] == "3600"
        assert words(answer.headers["vary"]) == [
            "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        (OURS, "TRACE", "content-type"),
        (OURS, "get", "content-type"),
        (OURS, "GET", "x-evil"),
        ("https://evil.example", "GET", "content-type"),
        ("null", "GET", "content-type"),
    ],
)
async def test_a_preflight_that_asks_too_much_gets_nothing(
    origin: str, method: str, headers: str
) -> None:
    async with small(OURS) as server:
        answer = await ask(
            server, "OPTIONS", "/api/fine", Origin=origin, Access_Control_Request_Method=method,
            Access_Control_Request_Headers=headers,
        )  # fmt: skip
        assert answer.status == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" in words(answer.headers["vary"])


@pytest.mark.parametrize("origins", [(), (OURS,)])
async def test_options_that_is_no_preflight_tells_the_methods(origins: tuple[str, ...]) -> None:
    async with small(*origins) as server:
        for path, allow in (
            ("/api/fine", "GET, HEAD, OPTIONS, POST"),
            ("/api/posts/mine", "GET, HEAD, OPTIONS, PATCH"),
            ("/api/posts/7", "OPTIONS, PATCH"),
        ):
            answer = await ask(server, "OPTIONS", path)
            assert (answer.status, answer.headers["allow"]) == (204, allow)
        assert (await ask(server, "OPTIONS", "/api/nowhere")).status == 404
        assert (await ask(server, "OPTIONS", "/api/uploads")).headers["tus-version"] == "1.0.0"


async def test_without_a_list_a_preflight_opens_nothing_and_nothing_varies() -> None:
    async with small() as server:
        answer = await ask(
            server, "OPTIONS", "/api/fine", Origin=OURS, Access_Control_Request_Method="GET"
        )
        assert answer.status == 204
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "vary" not in answer.headers
        assert "vary" not in (await ask(server, "GET", "/api/closed", Origin=OURS)).headers


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/api"])
async def test_what_is_not_under_api_is_left_alone(path: str) -> None:
    async with small(OURS) as server:
        answer = await ask(server, "GET", path, Origin=OURS)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" not in answer.headers.get("vary", "")


async def test_an_origin_is_listed_however_its_letters_are_written() -> None:
    async with small("https://App.Example.com") as server:
        answer = await ask(server, "GET", "/api/fine", Origin=OURS)
        assert answer.headers["access-control-allow-origin"] == OURS
