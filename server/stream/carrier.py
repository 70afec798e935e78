"""The carrier of a stream that was taken over: a transport, and the bytes that it has not taken.

Writes are made at once. What the kernel does not take stays with the transport, which then says
`pause_writing` on the spot (its high-water mark is 0): from there on the stream is lagging, and
holds nothing but its position. A large frame is handed over in slices by reference, so that a
thousand stalled clients share the one copy of it.

Small writes go past the transport, to the descriptor: that saves a sixth of a delivery. It is safe
because a transport that has not paused us holds nothing that would have to go first, and because
both asyncio's and uvloop's transports close their descriptor right after `connection_lost` and
never before, so that no other connection can have its number while we still use it.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

from server.stream import wire
from server.stream.stall import Stall

if TYPE_CHECKING:
    from server.stream.outbound import Line

SLICE = 64 * 1024
"""Bytes given to a transport at once: what asyncio may copy of a frame for a stalled client."""
LAST_CHUNK = b"0\r\n\r\n"


class Carrier(asyncio.Protocol):
    """The protocol of one taken connection.

    `paused`: it takes nothing now. `written`: bytes given to it so far. `descriptor`: the
    socket's, or -1 when only the transport may write (TLS).
    """

    __slots__ = (
        "_rest",
        "_stall",
        "chunked",
        "descriptor",
        "line",
        "paused",
        "transport",
        "written",
    )

    def __init__(self, line: Line, transport: asyncio.Transport, *, chunked: bool) -> None:
        self.line = line
        self.transport = transport
        self.chunked = chunked
        self.paused = False
        self.written = 0
        self._rest: memoryview | None = None
        self._stall = Stall()
        self.descriptor = _descriptor(transport)
        # TLS transports pause at the mark, plain ones above it.
        transport.set_write_buffer_limits(high=0 if self.descriptor >= 0 else 1, low=0)

    @property
    def closed(self) -> bool:
        """Whether the client has gone."""
        return self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes, framed here; only when not `paused`. Large ones go by reference."""
        self.written += len(data)
        if len(data) <= SLICE:
            self.transport.write(wire.chunk(data) if self.chunked else data)
            return
        if self.chunked:
            self.transport.write(b"%x\r\n" % len(data))
        self._rest = memoryview(data)
        self._push()

    def _push(self) -> None:
        rest = self._rest
        while rest and not self.paused:
            self.transport.write(rest[:SLICE])
            rest = rest[SLICE:]
        self._rest = rest if rest else None
        if self._rest is None and self.chunked:
            self.transport.write(b"\r\n")

    def finish(self) -> None:
        """End the answer and the connection, after what the client has still to take."""
        if self.closed:
            return  # twice is once too often for asyncio's TLS
        self.descriptor = -1
        if self.chunked:
            self.transport.write(LAST_CHUNK)
        self.transport.close()

    def abort(self) -> None:
        """Cut the connection without waiting for what is buffered."""
        self.descriptor = -1
        self.transport.abort()

    def stalled(self, now: float, deadline: float) -> bool:
        """Whether nothing of what waits was taken for `deadline` seconds; asked now and then."""
        return self._stall.lasts(self.written, self.waiting(), now, deadline)

    def waiting(self) -> int:
        """Bytes that the client has not taken yet: of the transport and of the kernel."""
        waiting = self.transport.get_write_buffer_size()
        if self._rest is not None:
            waiting += len(self._rest)
        sock = self.transport.get_extra_info("socket")
        with suppress(OSError, ValueError):
            queue = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(queue, sys.byteorder)
        return waiting

    # asyncio.Protocol

    def pause_writing(self) -> None:
        self.paused = True
        self.line.outbound.paused(self.line)

    def resume_writing(self) -> None:
        self.paused = False
        if self._rest is not None:
            self._push()
        if not self.paused:
            self.line.touch()

    def eof_received(self) -> None:
        """The client has closed, or half closed: the transport closes now."""
        self.descriptor = -1

    def data_received(self, data: bytes) -> None:
        """A second request on this connection: the answer said that it closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.descriptor = -1  # it is closed next, and may be another connection's then
        self._rest = None
        line = getattr(self, "line", None)
        if line is None:
            return
        del self.line  # or the two would keep each other until a collection
        line.outbound.lost(line)


def _descriptor(transport: asyncio.Transport) -> int:
    """The socket that a transport writes to as it is; -1 if there is none, or TLS between."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None:
        return -1
    descriptor: int = sock.fileno()
    return descriptor
