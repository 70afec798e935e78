"""What the tests of the Python client do: publish numbers, take them, and play a balancer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.client import Event, Stream
from tests.clients.proxy import Proxy
from tests.served import Served
from tests.waiting import PATIENCE

HEARTBEAT = 0.2


async def take(stream: Stream, count: int) -> list[Event]:
    """The next events."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]


async def numbers(stream: Stream, count: int) -> list[int]:
    """The next numbers."""
    return [event.data["n"] for event in await take(stream, count)]


async def publish(server: Served, channel: str, *those: int) -> None:
    """Commit numbers, each in a transaction of its own."""
    for number in those:
        await server.publish(channel, {"n": number})


@asynccontextmanager
async def in_front(proxy: Proxy, *answers: bytes) -> AsyncIterator[list[str]]:
    """What a balancer says before it lets clients through to the server; their requests."""
    left, asked, behind = list(answers), list[str](), proxy.upstream

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(left.pop(0))
        if not left:
            proxy.upstream = behind
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy.upstream = listener.sockets[0].getsockname()[1]
    async with listener:
        yield asked


def stream_of(*blocks: str) -> bytes:
    """A whole answer, that begins at position 5 of its epoch."""
    body = "\n\n".join(["retry: 20\nid: 0000000a.5\nevent: ready\ndata: {}", *blocks, ""])
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode()


def frame(id_: str, number: int) -> str:
    """An event's block."""
    return (
        f'id: {id_}\ndata: {{"channel":"public.a","type":"t","key":null,'
        f'"at":"2026-11-22T16:04:05.123Z","message_id":"m","data":{{"n":{number}}}}}'
    )
