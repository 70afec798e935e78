"""A small server of streams that is no part of Tailrace, and can be told to break the law."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Frames = list[bytes]
Plan = Callable[[int, Frames], Frames]
"""Given how many events there were before, and an event's frame: what a victim gets instead."""


class Peer:
    """Keeps every frame; sends them to whoever listens. Each third client is a victim of `plan`."""

    def __init__(
        self, plan: Plan | None, *, refuse: bool, bears: int, dies: bool, lingers: bool
    ) -> None:
        self.port = 0
        self.bears, self.dies, self.lingers = bears, dies, lingers
        self.over = asyncio.Event()
        self._plan = plan
        self._refuse = refuse
        self._log: list[tuple[int, str, bytes]] = []
        self._pos = 100
        self._known: set[str] = set()
        self._listeners: dict[asyncio.StreamWriter, tuple[str, bool]] = {}
        self._count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.startswith("GET"):
                    await self._stream(head, reader, writer)
                    break
                length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.bears -= 1
                if self.bears >= 0:
                    self._publish(body, writer)
                elif self.dies:
                    self.over.set()
                    break
                else:
                    writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        self._listeners.pop(writer, None)
        writer.close()

    async def _stream(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.lingers and "Last-Event-ID" not in head:
            # As a proxy does: the stream is over, the connection is not.
            block = b"retry: 50\nid: p.%d\nevent: ready\ndata: {}\n\n" % self._pos
            chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(block), block)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        if self._refuse:
            writer.write(b'retry: 20000\nevent: bye\ndata: {"reason":"overload","retry":20000}\n\n')
            return
        after = head.partition("Last-Event-ID: p.")[2].split("\r\n")[0]
        start = int(after) if after else self._pos
        writer.write(b'retry: 100\nid: p.%d\nevent: ready\ndata: {"stream":"s"}\n\n' % start)
        channel = head.partition("channel=")[2].split(" ")[0]
        writer.write(
            b"".join(frame for pos, name, frame in self._log if pos > start and name == channel)
        )
        self._listeners[writer] = channel, self._count % 3 == 0
        self._count += 1
        await reader.read()

    def _publish(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        events = body.get("events", [body])
        for event in events:
            if event.get("message_id") not in self._known:
                self._send(event)
            self._known.add(event.get("message_id"))
        answer = json.dumps({"ids": [event.get("message_id") for event in events]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    def _send(self, event: dict[str, Any]) -> None:
        self._pos += 1
        channel = event["channel"]
        frame = f"id: p.{self._pos}\ndata: {json.dumps(event)}\n\n".encode()
        before = len(self._log)
        self._log.append((self._pos, channel, frame))
        for writer, (wanted, victim) in list(self._listeners.items()):
            if wanted == channel:
                frames = self._plan(before, [frame]) if self._plan and victim else [frame]
                writer.write(b"".join(frames))

    def hang_up(self) -> None:
        for writer in list(self._listeners):
            writer.transport.abort()


@asynccontextmanager
async def peer(
    plan: Plan | None = None,
    *,
    refuse: bool = False,
    tls: ssl.SSLContext | None = None,
    bears: int = 10**9,
    dies: bool = False,
    lingers: bool = False,
) -> AsyncIterator[str]:
    """Its address, while it serves. `bears`: so many POSTs; then 503, or `dies` for good.

    `lingers`: each first stream ends, and its connection stays open.
    """
    served = Peer(plan, refuse=refuse, bears=bears, dies=dies, lingers=lingers)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"

    async def end() -> None:
        await served.over.wait()
        server.close()
        served.hang_up()

    async with server:
        ending = asyncio.create_task(end())
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ending.cancel()
        server.close()
