from __future__ import annotations

import pytest

from server.db.pool import Database
from tests.served import Served, served

OURS = "https://app.example.com"


async def preflight(
    server: Served, origin: str, method: str, headers: str
) -> tuple[int, dict[str, str]]:
    answer = await server.raw(
        f"OPTIONS /api/stream HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n"
        f"Access-Control-Request-Method: {method}\r\n"
        f"Access-Control-Request-Headers: {headers}\r\n\r\n".encode()
    )
    return answer.status, answer.headers


async def test_a_page_of_a_listed_origin_may_read_streams_with_credentials(
    clean: Database,
) -> None:
    async with served(clean, cors_origins=OURS) as server:
        stream = await server.open("public.a", headers={"Origin": OURS})
        assert stream.headers["access-control-allow-origin"] == OURS
        assert stream.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in stream.headers["vary"]
        assert (await stream.block()).event == "ready"


async def test_errors_can_be_read_across_origins_too(clean: Database) -> None:
    async with served(clean, cors_origins=OURS) as server:
        for path, status in (("/api/stream?channel=a..b", 400), ("/api/stream?channel=x", 401)):
            answer, _ = await server.get(path, Origin=OURS)
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == OURS


async def test_other_origins_get_no_permission(clean: Database) -> None:
    async with served(clean, cors_origins=OURS) as server:
        for origin in (
            "https://evil.example",
            f"{OURS}.evil.example",
            "null",
            "http://app.example.com",
        ):
            stream = await server.open("public.a", headers={"Origin": origin})
            assert "access-control-allow-origin" not in stream.headers
            assert "Origin" in stream.headers["vary"]
            status, headers = await preflight(server, origin, "GET", "last-event-id")
            assert status == 403
            assert "access-control-allow-origin" not in headers


async def test_a_preflight_allows_what_clients_send(clean: Database) -> None:
    async with served(clean, cors_origins=f"{OURS}, http://localhost:3000") as server:
        for origin in (OURS, "http://localhost:3000"):
            for method in ("GET", "POST"):
                status, headers = await preflight(
                    server, origin, method, "authorization,content-type,last-event-id"
                )
                assert status == 200
                assert headers["access-control-allow-origin"] == origin
                assert method in headers["access-control-allow-methods"]


async def test_without_a_list_nothing_is_opened(clean: Database) -> None:
    async with served(clean) as server:
        stream = await server.open("public.a", headers={"Origin": OURS})
        assert "access-control-allow-origin" not in stream.headers


async def test_pages_are_not_opened(clean: Database) -> None:
    async with served(clean, cors_origins=OURS) as server:
        answer = await server.raw(
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: {OURS}\r\n\r\n".encode()
        )
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["*", "app.example.com", "https://a/", "ftp://a", "https://"])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    from server.errors import StartError
    from server.settings import load

    with pytest.raises(StartError, match="is not an origin"):
        load(cors_origins=origin)
