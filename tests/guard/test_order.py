"""The order that docs/http.md tells: each pair of neighbours by a request that both would stop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.db.pool import Database
from server.settings import Rate
from tests.served import Served, Stream, served

OURS = "https://app.example.com"
GOOD = {"name": "Ada", "email": "ada@example.com", "message": "Hello there, you."}


async def send(
    server: Served, method: str, path: str, body: object = None, **headers: str
) -> tuple[Stream, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(data)}"]
    given = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines += [f"{name}: {value}" for name, value in given.items()]
    answer = await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    text = await answer.rest()
    return answer, json.loads(text) if text else None


def lines_of(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines() if line.startswith("{")]


async def test_a_refusal_has_its_id_its_form_its_cors_headers_and_its_line(
    clean: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(clean, cors_origins=OURS, rate_forms=Rate(1, 60), access_log="on") as server:
        first, _ = await send(server, "POST", "/api/contact", GOOD, Origin=OURS)
        assert first.status == 200
        answer, body = await send(
            server, "POST", "/api/contact?secret=1", GOOD, Origin=OURS, X_Request_Id="mine"
        )
    assert answer.status == body["status"] == 429
    assert answer.headers["x-request-id"] == body["request_id"] == "mine"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.headers["ratelimit"].startswith('"forms";r=0;t=')
    assert int(answer.headers["retry-after"]) > 0
    assert body["resetAt"].endswith("Z")
    written = capsys.readouterr().err
    lines = lines_of(written)
    assert [(line["id"], line["path"], line["status"]) for line in lines][1:] == [
        ("mine", "/api/contact", 429)
    ]
    assert "secret" not in written


async def test_permission_comes_before_the_rate_and_the_rate_before_the_body(
    clean: Database,
) -> None:
    async with served(clean, rate_writes=Rate(1, 60), rate_forms=Rate(1, 60)) as server:
        _, token = await server.sign_in()
        bearer = {"Authorization": f"Bearer {token}"}
        for _ in range(3):  # refused, and not counted against anybody
            answer, _ = await send(server, "POST", "/api/posts", b"{")
            assert answer.status == 401
            assert "ratelimit" not in answer.headers
        answer, _ = await send(server, "POST", "/api/posts", b"{", **bearer)
        assert answer.status == 400
        answer, _ = await send(server, "POST", "/api/posts", b"{", **bearer)
        assert answer.status == 429
        answer, _ = await send(server, "POST", "/api/contact", b"{", Content_Type="text/plain")
        assert answer.status == 415
        answer, _ = await send(server, "POST", "/api/contact", b"{", Content_Type="text/plain")
        assert answer.status == 429


async def test_a_preflight_is_answered_before_anybody_is_asked(clean: Database) -> None:
    async with served(clean, cors_origins=OURS, rate_forms=Rate(1, 60)) as server:
        for _ in range(3):
            answer = await server.raw(
                b"OPTIONS /api/contact HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\n"
                b"Access-Control-Request-Method: POST\r\nAuthorization: Bearer nonsense\r\n\r\n"
            )
            assert answer.status in {200, 204}
            assert "ratelimit" not in answer.headers


async def test_the_media_type_comes_before_the_size_and_the_size_before_the_values(
    clean: Database,
) -> None:
    async with served(clean) as server:
        large = b"[" + b"1," * (600 * 1024) + b"1]"
        for media, body, status in (
            ("text/plain", large, 415), ("application/json", large, 413),
            ("application/json", b"[]", 400),
        ):  # fmt: skip
            answer, _ = await send(server, "POST", "/api/contact", body, Content_Type=media)
            assert answer.status == status


@pytest.mark.parametrize("path", ["/api/hello", "/api/nowhere", "/api/posts/x"])
async def test_a_line_has_no_control_characters_whatever_a_client_sends(
    clean: Database, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(clean, access_log="on") as server:
        await send(server, "GET", f"{path}?a=%0a", User_Agent='"\\\t')
        await send(server, "GET", f"{path}%0d%0a%22")
    written = capsys.readouterr().err
    assert written.isascii()
    assert [line["method"] for line in lines_of(written)] == ["GET", "GET"]
