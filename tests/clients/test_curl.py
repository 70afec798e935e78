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


async def test_curl_receives_what_psql_and_another_curl_publish(serve: Serve, curl: str) -> None:
    served = await serve()
    body = json.dumps({"channel": CHANNEL, "type": "number", "data": {"n": 21}})
    key = ("-H", f"Authorization: Bearer {API_KEY}", "-H", "Content-Type: application/json")
    async with Program(curl, "-sSN", f"{served.proxy.url}{STREAM}&limit=21") as listener:
        await listener.wait(lambda lines: "event: ready" in lines)
        await served.publish(20)
        async with Program(curl, "-sS", *key, "-d", body, f"{served.url}/api/events") as publisher:
            assert await publisher.ended() == 0
        assert await listener.ended() == 0
    assert numbers(listener.lines) == [*served.published, 21]
    (message_id,) = json.loads(publisher.lines[0])["ids"]
    last = [block for block in blocks(listener.lines) if "data" in block][-1]
    assert json.loads(last["data"])["message_id"] == message_id
