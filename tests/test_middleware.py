from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from server.errors import INVALID, RATE, ApiError, Issue
from server.middleware import MIDDLEWARES, tell

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ask = Callable[..., Awaitable[tuple[Any, Any]]]


@pytest.fixture
def ask(aiohttp_client: AiohttpClient) -> Ask:
    """Asks an application whose only handler raises `error`."""

    async def ask(error: Exception | None = None, path: str = "/", **options: Any) -> Any:
        async def handler(_request: web.Request) -> web.StreamResponse:
            if error is not None:
                raise error
            return web.json_response({})

        app = web.Application(middlewares=MIDDLEWARES, client_max_size=10)
        app.on_response_prepare.append(tell)
        app.router.add_get("/", handler)
        app.router.add_post("/", _echo)
        client: TestClient[Any, Any] = await aiohttp_client(app)
        method = options.pop("method", "GET")
        async with client.request(method, path, **options) as answer:
            return answer, await answer.json(content_type=None) if answer.status >= 400 else None

    return ask


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


async def test_unknown_errors_tell_nothing_but_the_request_id(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    answer, body = await ask(RuntimeError("password=hunter2"), headers={"X-Request-Id": "abc"})
    assert answer.status == 500
    assert answer.headers["X-Request-Id"] == "abc"
    assert body == {
        "type": "urn:tailrace:error:internal", "title": "Internal server error", "status": 500,
        "error": "Internal server error", "request_id": "abc",
    }  # fmt: skip
    assert "abc" in caplog.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ({"path": "/nothing"}, 404, "Not found"),
        ({"method": "DELETE"}, 405, "Method not allowed"),
        ({"method": "POST", "data": b"x" * 100}, 413, "Payload too large"),
        ({"error": web.HTTPUnsupportedMediaType()}, 415, "Unsupported media type"),
        ({"error": ApiError(RATE, headers={"Retry-After": "3"})}, 429, "Too many requests"),
        ({"error": ConnectionRefusedError("10.0.0.7")}, 503, "Service unavailable"),
        ({"error": asyncpg.AdminShutdownError("x")}, 503, "Service unavailable"),
        ({"error": asyncpg.UndefinedTableError("secret_table")}, 500, "Internal server error"),
    ],
)
async def test_every_error_has_the_one_form(
    ask: Ask, options: dict[str, Any], status: int, error: str
) -> None:
    answer, body = await ask(**options)
    assert answer.status == body["status"] == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert body["error"].startswith(error)
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "10.0.0.7" not in str(body)
    assert "secret_table" not in str(body)


async def test_a_405_keeps_its_allow(ask: Ask) -> None:
    answer, _ = await ask(method="DELETE")
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_issues_and_headers_reach_the_client(ask: Ask) -> None:
    issues = (Issue(("a", 1), "wrong", "bad"),)
    answer, body = await ask(ApiError(INVALID, "d", issues=issues, headers={"Retry-After": "3"}))
    assert body["issues"] == [{"path": ["a", 1], "message": "wrong", "code": "bad"}]
    assert (body["detail"], answer.headers["Retry-After"]) == ("d", "3")


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "ä", "a<b>", '"'])
async def test_a_strange_request_id_is_replaced(ask: Ask, given: str) -> None:
    answer, _ = await ask(headers={"X-Request-Id": given})
    assert len(answer.headers["X-Request-Id"]) == 16


async def test_redirects_pass(ask: Ask) -> None:
    answer, _ = await ask(web.HTTPSeeOther("/x"), allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/x")
