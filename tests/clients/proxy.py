"""A TCP proxy that fails on purpose: it cuts, stalls, delays and refuses, and notes what passes.

It changes no byte, but one number on request: `quick_retry` writes the reconnection time of a
stream as 20 ms, with zeros in front, so that nothing shifts.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Self

How = Literal["fin", "rst"]
"""An orderly end of the connection, or a reset that also drops what the peer has not read."""

_RETRY = re.compile(rb"(?<=retry: )[0-9]+(?=\n)")
_NO_LINGER = struct.pack("ii", 1, 0)


class Request(NamedTuple):
    """One request that passed."""

    method: str
    target: str
    last_event_id: str | None

    @property
    def is_stream(self) -> bool:
        """Whether it asks for an event stream."""
        return self.target.partition("?")[0] in {"/api/stream", "/api/notifications/stream"}


class Cut(NamedTuple):
    """End the connection right behind these bytes, or let nothing pass any more (`hold`).

    What a browser has not read yet when its connection breaks, it drops, an orderly end or not:
    to cut behind what it *has* read, hold, see in the page that it has, then cut.
    """

    marker: bytes
    how: How | Literal["hold"]


class Proxy:
    """Between clients and the server on a port of this machine."""

    def __init__(self, upstream: int, *, quick_retry: bool = True) -> None:
        self.upstream = upstream
        self.port = 0
        self.delay = 0.0
        self.connections = 0
        self.requests: list[Request] = []
        self.down = bytearray()
        self.cuts: deque[Cut] = deque()
        self._quick_retry = quick_retry
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> list[Request]:
        """The requests for event streams."""
        return [request for request in self.requests if request.is_stream]

    @property
    def carried(self) -> list[Request]:
        """The event streams that are open now, each on a connection of its own."""
        last = [link.request for link in self._links]
        return [each for each in last if each and each.is_stream]

    def cut(self, how: How) -> int:
        """Cut every connection now; how many there were."""
        links = list(self._links)
        for link in links:
            link.end(how)
            self._links[link].cancel()
        return len(links)

    def stall(self) -> None:
        """Take nothing from the server any more, as a reader that has stopped reading."""
        self._flowing.clear()

    def flow(self) -> None:
        """End a stall."""
        self._flowing.set()

    @contextlib.asynccontextmanager
    async def refusing(self, how: How = "rst") -> AsyncIterator[None]:
        """Cut every connection, and refuse new ones for the length of the block."""
        await self._close(how)
        yield
        await self._listen()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self, how: How = "rst") -> None:
        if self._listener is not None:
            self._listener.close()
        tasks = list(self._links.values())
        self.cut(how)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = Link(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await self._carry(link)
        except OSError:
            link.end("rst")
        except asyncio.CancelledError:
            pass  # cut: the link has ended
        finally:
            del self._links[link]

    async def _carry(self, link: Link) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        up = asyncio.create_task(self._up(link, back))
        try:
            how = await self._down(link, there)
            link.end(how)
        finally:
            back.transport.abort()
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    async def _up(self, link: Link, back: asyncio.StreamWriter) -> None:
        listened = b""
        while chunk := await link.reader.read(65536):
            listened = self._note(link, listened + chunk)
            back.write(chunk)
            await back.drain()
        back.transport.abort()  # a client that has ended wants no answer

    async def _down(self, link: Link, there: asyncio.StreamReader) -> How:
        while True:
            await self._flowing.wait()
            try:
                chunk = await there.read(65536)
            except ConnectionResetError:
                return "rst"
            if not chunk:
                return "fin"
            if self.delay:
                await asyncio.sleep(self.delay)
            if self._quick_retry:
                chunk = _RETRY.sub(lambda found: b"20".zfill(len(found[0])), chunk)
            chunk, cut = self._before_cut(link, chunk)
            self.down += chunk
            link.writer.write(chunk)
            if cut == "hold":
                await asyncio.Event().wait()  # until it is cut
            elif cut is not None:
                return cut
            await link.writer.drain()

    def _before_cut(self, link: Link, chunk: bytes) -> tuple[bytes, How | Literal["hold"] | None]:
        """The chunk up to where the next cut is due, if it is due in it."""
        if not self.cuts:
            return chunk, None
        marker, how = self.cuts[0]
        tail = link.tail[-(len(marker) - 1) :]
        at = (tail + chunk).find(marker)
        link.tail = (tail + chunk)[-128:]
        if at < 0:
            return chunk, None
        self.cuts.popleft()
        return chunk[: at + len(marker) - len(tail)], how

    def _note(self, link: Link, listened: bytes) -> bytes:
        """Note the requests that are whole; the rest waits for more."""
        while b"\r\n\r\n" in listened:
            head, _, rest = listened.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            length = int(fields.get("content-length", "0"))
            if len(rest) < length:
                break
            method, target, _ = first.split(" ", 2)
            link.request = Request(method, target, fields.get("last-event-id"))
            self.requests.append(link.request)
            listened = rest[length:]
        return listened


class Link:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.tail = b""
        self.request: Request | None = None
        """The last one."""

    def end(self, how: How) -> None:
        """End the connection to the client."""
        transport = self.writer.transport
        if how == "fin":
            transport.close()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and not transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
