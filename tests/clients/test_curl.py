"""`curl -N`: the stream as plain text, and resuming by hand."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.clients.conftest import Serve
from tests.clients.program import Program
from tests.clients.proxy import Cut
from tests.clients.served import API_KEY, CHANNEL, STREAM
from tests.conftest import absent

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def curl() -> str:
    """The path of curl."""
    return shutil.which("curl") or absent("curl")


def blocks(lines: list[str]) -> list[dict[str, str]]:
    """The whole blocks of a stream; what no empty line has ended is none."""
    found: list[dict[str, str]] = [{}]
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            assert name not in found[-1], "a field twice in one block"
            found[-1][name] = value
        else:
            found.append({})
    return found[:-1]


def numbers(lines: list[str]) -> list[int]:
    """The numbers of the application's events."""
    events = [block for block in blocks(lines) if "data" in block and "event" not in block]
    return [json.loads(block["data"])["data"]["n"] for block in events]


async def test_curl_receives_and_ends_after_its_limit(serve: Serve, curl: str) -> None:
    served = await serve()
    async with Program(curl, "-sSN", f"{served.proxy.url}{STREAM}&limit=20") as program:
        await program.wait(lambda lines: "event: ready" in lines)
        await served.publish(25)
        assert await program.ended() == 0
    assert numbers(program.lines) == served.published[:20]


async def test_the_headers_keep_caches_and_proxies_out(serve: Serve, curl: str) -> None:
    served = await serve()
    async with Program(curl, "-sSI", f"{served.url}{STREAM}") as program:
        assert await program.ended() == 0
    status, *fields = [line.strip() for line in program.lines if line.strip()]
    assert status == "HTTP/1.1 200 OK"
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"


async def test_curl_resumes_by_last_event_id(serve: Serve, curl: str) -> None:
    served = await serve(TAILRACE_RING_BYTES="0")
    url = f"{served.proxy.url}{STREAM}"
    served.proxy.cuts += [Cut(b'"n": 10}', "fin"), Cut(b'"n": 20}', "fin")]
    lines: list[str] = []
    position: tuple[str, ...] = ()
    for _ in range(3):
        async with Program(curl, "-sN", *position, url) as program:
            await program.wait(lambda seen: "event: ready" in seen)
            await served.publish(10)
            if served.proxy.cuts or len(served.published) == 20:
                assert await program.ended() == 18  # "partial file": it was cut
            else:
                await program.wait(lambda seen: 30 in numbers(seen))
        whole = blocks(program.lines)
        position = ("-H", f"Last-Event-ID: {whole[-1]['id']}")
        lines += [line for block in whole for line in (*map(": ".join, block.items()), "")]
    assert numbers(lines) == served.published
    assert [request.last_event_id is None for request in served.proxy.streams] == [
        True,
        False,
        False,
    ]


async def test_curl_publishes_what_another_curl_receives(serve: Serve, curl: str) -> None:
    served = await serve()
    body = json.dumps({"channel": CHANNEL, "type": "number", "data": {"n": 1}})
    key = ("-H", f"Authorization: Bearer {API_KEY}", "-H", "Content-Type: application/json")
    async with Program(curl, "-sSN", f"{served.url}{STREAM}&limit=1") as listener:
        await listener.wait(lambda lines: "event: ready" in lines)
        async with Program(curl, "-sS", *key, "-d", body, f"{served.url}/api/events") as publisher:
            assert await publisher.ended() == 0
        assert await listener.ended() == 0
    (message_id,) = json.loads(publisher.lines[0])["ids"]
    (event,) = (block for block in blocks(listener.lines) if '"n"' in block.get("data", ""))
    assert json.loads(event["data"])["message_id"] == message_id


async def test_a_stranger_is_told_what_is_wrong(serve: Serve, curl: str) -> None:
    served = await serve()
    wrong = {"channel=public.a..b": 400, "channel=public.a&after=1": 400, "channel=ops.x": 401}
    for query, status in wrong.items():
        url = f"{served.url}/api/stream?{query}"
        async with Program(curl, "-sS", "-w", "\n%{http_code}\n", url) as program:
            assert await program.ended() == 0
        assert int(program.lines[-1]) == status
        assert json.loads(program.lines[0])["status"] == status
