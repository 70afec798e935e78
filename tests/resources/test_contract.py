"""What every route of every resource keeps. New resources are picked up from the registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from server.db.pool import Database
from server.openapi import reading
from server.openapi.access import SAFE
from server.openapi.route import JSON, Route
from server.resources import RESOURCES
from tests.resources.calls import Answer, call, cookie
from tests.resources.conftest import cleaned
from tests.resources.samples import replaced, sample, strings
from tests.served import Served, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [route for routes in RESOURCES for route in routes]
PLAIN = [route for route in ROUTES if route.media == JSON]
WITH_BODY = [route for route in ROUTES if "body" in route.models]
CLOSED = [route for route in ROUTES if not route.access.open]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One application for all tests: each has people and rows of its own."""
    async with served(await cleaned(reused), limits="off") as running:
        yield running


def over(routes: Iterable[Route]) -> pytest.MarkDecorator:
    found = list(routes)
    names = [f"{route.method} {route.path}" for route in found]
    return pytest.mark.parametrize("route", found, ids=names)


def path(route: Route, number: object = 1) -> str:
    """The route's address, for a row."""
    return route.path.replace("{id}", str(number))


def body(route: Route, **known: Any) -> list[Any]:
    """The route's body, if it has one."""
    return [sample(route.models["body"], **known)] if "body" in route.models else []


async def admitted(server: Served) -> tuple[str, str]:
    """Somebody whom every route lets in, by id and token."""
    return await server.sign_in("admin")


async def send(server: Served, route: Route, data: Any, **options: Any) -> Answer:
    """The route with this body, by somebody whom it lets in."""
    _, token = await admitted(server)
    answer = await call(server, route.method, path(route), data, token=token, **options)
    conforms(route, answer)
    return answer


def conforms(route: Route, answer: Answer) -> None:
    """An answer is of the declared model, or in the error form."""
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status >= 400:
        assert_error_form(answer)
        return
    assert answer.status in route.answers, answer.body
    for name in set(route.headers) - {"Link"}:  # there is not always a next page
        assert name.lower() in answer.headers
    model = route.answers[answer.status]
    if model is None:
        assert answer.body == b""
    else:
        assert answer.headers["content-type"].partition(";")[0] == route.media
        model.model_validate_json(answer.body)
        assert set(answer.json) <= set(model.model_json_schema(mode="serialization")["properties"])


def assert_error_form(answer: Answer) -> None:
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json
    assert body["type"].startswith("urn:tailrace:error:")
    assert body["title"] == body["error"]
    assert body["status"] == answer.status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert bool(body.get("issues")) == (answer.status == 400)


@over(WITH_BODY)
async def test_an_unknown_field_is_told_with_its_path(server: Served, route: Route) -> None:
    answer = await send(server, route, sample(route.models["body"]) | {"surprise": 1})
    assert (answer.status, answer.json["error"]) == (400, "Invalid input")
    assert (["surprise"], "extra_forbidden") in answer.issues


@over(WITH_BODY)
async def test_a_body_that_is_no_object_is_400(server: Served, route: Route) -> None:
    bodies: list[Any] = [None, [], "text", 1, [{}]]
    for data in bodies:
        assert (await send(server, route, data)).status == 400


@over(WITH_BODY)
@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_another_media_type_is_415(server: Served, route: Route, media: str) -> None:
    answer = await send(server, route, sample(route.models["body"]), Content_Type=media)
    assert answer.status == 415


@over(WITH_BODY)
async def test_malformed_json_is_told_with_its_place(server: Served, route: Route) -> None:
    _, token = await admitted(server)
    raw = b'{"a": 1,\n "b": }'
    answer = await call(server, route.method, path(route), raw=raw, token=token)
    conforms(route, answer)
    (issue,) = answer.json["issues"]
    assert (answer.status, issue["code"]) == (400, "invalid_json")
    assert "line 2 column 7 (char 15)" in issue["message"]
    for raw in (b"", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a":' + b"9" * 5_000 + b"}"):
        answer = await call(server, route.method, path(route), raw=raw, token=token)
        conforms(route, answer)
        assert answer.status == 400


@over(WITH_BODY)
async def test_too_large_a_body_is_413(server: Served, route: Route) -> None:
    _, token = await admitted(server)
    raw = b'"' + b"a" * (route.max_body - 1) + b'"'
    answer = await call(server, route.method, path(route), raw=raw, token=token)
    conforms(route, answer)
    assert answer.status == 413
    answer = await call(server, route.method, path(route), raw=raw[1:], token=token)
    assert answer.status == 400  # as many bytes as there may be


@over(WITH_BODY)
@pytest.mark.parametrize("character", ["\x00", "\ud800"], ids=ascii)
async def test_what_postgres_cannot_hold_is_400(
    server: Served, route: Route, character: str
) -> None:
    good = sample(route.models["body"])
    for place in strings(good):
        answer = await send(server, route, replaced(good, place, f"aaaaaaaaaaaa{character}"))
        assert answer.status == 400
        assert list(place) in [found for found, _ in answer.issues]
    assert (await send(server, route, good | {f"x{character}": 1})).status == 400


@over(WITH_BODY)
async def test_a_slow_body_is_408(
    server: Served, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BODY_TIMEOUT", 0.1)
    raw = json.dumps(sample(route.models["body"])).encode()
    _, token = await admitted(server)
    answer = await call(
        server,
        route.method,
        path(route),
        raw=raw[: len(raw) // 2],
        token=token,
        Content_Length=str(len(raw)),
    )
    assert (answer.status, answer.json["error"]) == (408, "Request timeout")
    conforms(route, answer)


@over(CLOSED)
async def test_without_credentials_it_is_401(server: Served, route: Route) -> None:
    data = body(route)
    _, token = await admitted(server)
    attempts: list[dict[str, str]] = [
        {}, {"Cookie": cookie("x")}, {"Cookie": cookie(token[:-1])},
        {"Cookie": cookie(token + "a")}, {"Authorization": "Bearer x"},
        {"Authorization": "Basic eDp4"}, {"Authorization": "Bearer"},
    ]  # fmt: skip
    for headers in attempts:
        answer = await call(server, route.method, path(route), *data, headers=headers)
        conforms(route, answer)
        assert (answer.status, answer.json["error"]) == (401, "Unauthorized")
        assert answer.headers["www-authenticate"]


@over(route for route in CLOSED if route.method not in SAFE)
async def test_another_sites_page_cannot_use_the_cookie(server: Served, route: Route) -> None:
    data = body(route)
    _, token = await admitted(server)
    for origin in ("https://evil.example", "null", "http://test.evil.example"):
        answer = await call(
            server, route.method, path(route), *data, Cookie=cookie(token), Origin=origin
        )
        conforms(route, answer)
        assert (answer.status, answer.json["error"]) == (403, "Forbidden")


@over(route for route in ROUTES if "path" in route.models)
async def test_what_is_no_id_is_404(server: Served, route: Route) -> None:
    data = body(route)
    _, token = await admitted(server)
    for number in ("x", "-1", "0", "1.5", "%00", "%27", "%F0%9F%92%A9", str(2**63), "9" * 100):
        place = path(route, number)
        answer = await call(server, route.method, place, *data, token=token)
        conforms(route, answer)
        assert (answer.status, answer.json["error"]) == (404, "Not found")


@over(route for route in PLAIN if "query" in route.models)
async def test_an_unknown_parameter_is_400(server: Served, route: Route) -> None:
    _, token = await admitted(server)
    for query in ("surprise=1", "surprise=%00", "%ED%A0%80=1", "surprise=a%0d%0aX-Evil:1"):
        answer = await call(server, route.method, f"{path(route)}?{query}", token=token)
        conforms(route, answer)
        assert answer.status == 400
        assert "x-evil" not in answer.headers


@over(PLAIN)
async def test_a_good_request_is_answered_as_declared(server: Served, route: Route) -> None:
    user, token = await admitted(server)
    number = await made(server, route, user, token)
    data = body(route, userId=user)
    answer = await call(server, route.method, path(route, number), *data, token=token)
    assert answer.status < 400, answer.body
    conforms(route, answer)


async def made(server: Served, route: Route, user: str, token: str) -> object:
    """The id of a row for the route, made by the POST on the collection that it is in."""
    collection, slash, _ = route.path.partition("/{")
    for maker in ROUTES:
        if slash and (maker.method, maker.path) == ("POST", collection):
            data = sample(maker.models["body"], userId=user)
            answer = await call(server, "POST", collection, data, token=token)
            return answer.json["id"]
    return 1


@over(WITH_BODY)
async def test_a_body_of_very_many_fields_is_refused_in_a_few_words(
    server: Served, route: Route
) -> None:
    answer = await send(server, route, {format(number, "x"): 0 for number in range(90_000)})
    assert answer.status == 400
    assert answer.issues == [([], "too_many")]


@over(WITH_BODY)
async def test_many_faults_are_told_up_to_a_hundred(server: Served, route: Route) -> None:
    answer = await send(server, route, {format(number, "x"): 0 for number in range(1_000)})
    assert answer.status == 400
    assert len(answer.issues) == 100
    assert "more issues" in answer.json["detail"]


@over(WITH_BODY)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_compressed_body_is_refused_unread(
    server: Served, route: Route, coding: str
) -> None:
    answer = await send(server, route, *body(route), Content_Encoding=coding)
    assert answer.status == 415


@over(WITH_BODY)
async def test_who_hangs_up_in_the_middle_of_a_body_is_no_outage(
    server: Served, route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    _, token = await admitted(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"{route.method} {path(route)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"a":')
    await writer.drain()
    writer.transport.abort()
    await call(server, "GET", "/api/hello")
    await server.settled()
    assert "OSError" not in caplog.text
    assert "Connection lost" not in caplog.text
    del reader
