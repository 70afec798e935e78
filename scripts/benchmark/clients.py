"""SSE clients that keep what they got: every position in order, every gap, every `bye`."""

from __future__ import annotations

import asyncio
import re
import socket
from array import array
from collections.abc import Callable, Sequence
from typing import cast

EVENT = re.compile(rb"^id: [0-9a-f]{8}\.([0-9]+)\ndata: ", re.MULTILINE)
IDENTITY = re.compile(rb"^id: ([0-9a-f]{8}\.[0-9]+)$", re.MULTILINE)
RETRY = re.compile(rb'^event: bye\ndata: \{[^\n]*"retry":([0-9]+)', re.MULTILINE)


class Chunks:
    """Takes the framing of a chunked answer off (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`.

        Raises:
            ValueError: that is no chunk.
        """
        data, self._rest = self._rest + data, b""
        out: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                # What is left of a chunk includes its line end, which is no payload.
                piece = data[at : at + self._left]
                at += len(piece)
                payload = min(len(piece), max(0, self._left - 2))
                out.append(piece[:payload])
                self._left -= len(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                break
            size = int(data[at:end], 16)
            at, self._left = end + 2, size + 2
            self.ended = size == 0
        return b"".join(out)


class Received:
    """What one client has got over all its connections."""

    def __init__(self) -> None:
        self.positions: array[int] = array("Q")
        self.last_id = ""
        self.gaps = 0
        self.readies = 0
        self.retry = 0
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Take more of the stream; only whole blocks count."""
        data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = data
            return
        self._rest, data = data[end:], data[:end]
        self.positions.extend(map(int, EVENT.findall(data)))
        if ids := IDENTITY.findall(data):
            self.last_id = ids[-1].decode()
        if b"event: " in data:
            self.readies += data.count(b"\nevent: ready\n")
            self.gaps += len(re.findall(rb"^event: gap$", data, re.MULTILINE))
            if retries := RETRY.findall(data):
                self.retry = int(retries[-1])

    def cut(self) -> None:
        """The connection is gone: what is not a whole block never was."""
        self._rest = b""

    def wrong(self, expected: Sequence[int]) -> str | None:
        """What is not as it should be: every expected position once, in order, and no gap."""
        got = self.positions.tolist()
        if self.gaps:
            return f"{self.gaps} gaps"
        if got == list(expected):
            return None
        missing, extra = len(set(expected) - set(got)), len(set(got) - set(expected))
        twice = len(got) - len(set(got))
        order = "" if got == sorted(got) else ", out of order"
        return f"{missing} missing, {twice} twice, {extra} of nobody{order}"


class Stream(asyncio.Protocol):
    """One connection of a client."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, received: Received) -> None:
        self._request, self._received = request, received
        self._before = received.readies
        self._head: bytes | None = b""
        self._chunks = Chunks()
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        """Done when `ready` is there."""
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200") or b"chunked" not in head.lower():
                self._fail(ValueError(head[:100].decode(errors="replace")))
                return
            self._head = None
        try:
            self._received.take(self._chunks.feed(data))
        except ValueError as error:
            self._fail(error)
            return
        if self._received.readies > self._before and not self.begun.done():
            self.begun.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.begun.done():
            self.begun.set_exception(error)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._received.cut()
        if not self.begun.done():
            self.begun.set_exception(ConnectionError("the server closed a stream at its start"))
        if not self.lost.done():
            self.lost.set_result(None)


async def connect(
    port: int, path: str, received: Received, *, receive_buffer: int | None = None
) -> Stream:
    """Open a stream where `received` left off; returns when its `ready` is there.

    Raises:
        ValueError, OSError: there is no stream.
    """
    resume = f"Last-Event-ID: {received.last_id}\r\n" if received.last_id else ""
    headers = f"Host: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n{resume}"
    request = f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        make: Callable[[], Stream] = lambda: Stream(request, received)  # noqa: E731
        _, stream = await loop.create_connection(make, sock=sock)
    except BaseException:
        sock.close()
        raise
    await stream.begun
    return stream


async def first_failure(received: Sequence[Received], expected: Sequence[int]) -> str | None:
    """Which of the clients did not get exactly that, and what; the loop has turns meanwhile."""
    wrong = []
    for number, one in enumerate(received):
        if found := one.wrong(expected):
            wrong.append(f"client {number}: {found}")
        await asyncio.sleep(0)
    return f"{len(wrong)} of {len(received)} clients, {wrong[0]}" if wrong else None
