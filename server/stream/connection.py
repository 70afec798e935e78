"""The connection of one stream: the response that carries it, and the loop that drives it.

The response is aiohttp-sse's with the handler parked in `drive`; frames are made elsewhere, whole.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse

from server.db.faults import LOST
from server.stream import wire
from server.stream.replay import Replay
from server.stream.stall import Stall
from server.stream.subscriber import Waiter

SEND_BUFFER = 64 * 1024
"""SO_SNDBUF: a stalled client would otherwise take megabytes of kernel memory."""
NEVER = 10.0**9
"""aiohttp-sse's own pings are off: the shared heartbeat moves the client's position as well."""


class Response(EventSourceResponse):
    """For aiohttp-sse a client that has gone before the headers is a failed assertion.

    It is asked twice: aiohttp itself prepares what a handler returns unprepared.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if not self.prepared and request.transport is None:
            msg = "the client has gone"
            raise ConnectionResetError(msg)
        return await super().prepare(request)


class Connection:
    """Writes a stream's bytes, with a deadline for readers that take nothing."""

    paused = False
    """Its writer waits by itself."""

    def __init__(self, request: web.Request, deadline: float) -> None:
        self._request = request
        self._deadline = deadline
        self._stall = Stall()
        # No `send_timeout`: TCP_USER_TIMEOUT also cuts a client that reads, if its window never
        # opens wide enough for a whole segment. `stalled` finds those that have vanished.
        self.response = Response(
            sep="\n", ping_interval=NEVER, send_timeout=None, allow_all_methods=True
        )
        self.response.headers.update(wire.HEADERS)
        self.written = 0

    async def open(self) -> None:
        """Send the headers.

        Raises:
            ConnectionResetError: the client has gone already.
        """
        transport = self._request.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._writer = await self.response.prepare(self._request)

    @property
    def closed(self) -> bool:
        """Whether the client has gone."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def write(self, data: bytes) -> None:
        """Send `data`; returns when the socket has room for more.

        Raises:
            ConnectionResetError: the client has gone, or took nothing for `deadline` seconds.
        """
        if self.closed or self._writer is None:
            msg = "the client has gone"
            raise ConnectionResetError(msg)
        await self._writer.write(data, drain=False)  # type: ignore[call-arg]
        self.written += len(data)
        if self._request.protocol.writing_paused:
            await self._drained(self._writer)

    async def _drained(self, writer: AbstractStreamWriter) -> None:
        """Wait for room. Not by a timeout around `drain`: that cancels a future of aiohttp's,
        on which every later wait of this connection would break."""
        room = asyncio.ensure_future(writer.drain())
        try:
            waiting = self.waiting()
            while not (await asyncio.wait((room,), timeout=self._deadline))[0]:
                before, waiting = waiting, self.waiting()
                if waiting >= before:
                    self.abort()
                    msg = f"the client took nothing for {self._deadline:g} s"
                    raise ConnectionResetError(msg)
            room.result()
        finally:
            room.cancel()

    def waiting(self) -> int:
        """Bytes that the client has not taken yet, of the transport and of the kernel: the
        transport alone moves only when a third of the kernel's buffer has become free."""
        transport = self._request.transport
        if transport is None:
            return 0
        waiting: int = transport.get_write_buffer_size()
        sock = transport.get_extra_info("socket")
        with suppress(OSError, ValueError):
            queue = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(queue, sys.byteorder)
        return waiting

    def stalled(self, now: float, deadline: float) -> bool:
        """Whether nothing of what waits was taken for `deadline` seconds; asked now and then."""
        return self._stall.lasts(self.written, self.waiting(), now, deadline)

    def abort(self) -> None:
        """Cut the connection without waiting for what is buffered."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """End the response."""
        self.response.stop_streaming()
        await self.response.wait()


async def drive(subscriber: Waiter, connection: Connection, replay: Replay) -> None:
    """Move bytes from the subscriber to its connection until the stream ends or the client goes."""
    while True:
        subscriber.wakeup.clear()
        data = subscriber.take()
        if not data and not subscriber.live and not subscriber.ended:
            try:
                data = await replay.feed(subscriber)
            except LOST:
                await asyncio.sleep(0.2)  # the database is away; the client waits with us
                continue
        if data:
            await connection.write(data)
        elif subscriber.ended and subscriber.idle:
            return
        elif subscriber.live and subscriber.idle:
            await subscriber.wakeup.wait()
