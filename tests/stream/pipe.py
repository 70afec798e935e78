"""A client's end of a connection, that takes bytes when a test says so."""

from __future__ import annotations

import asyncio


class Pipe(asyncio.Transport):
    """Tells its protocol to pause and to go on as asyncio's transports do.

    `room`: bytes that the socket still takes; `None`: all. `taken`: bytes that the client has.
    """

    def __init__(self, room: int | None) -> None:
        super().__init__()
        self.room = room
        self.taken = bytearray()
        self.lost = False
        self._protocol: asyncio.Protocol | None = None
        self._waiting = bytearray()
        self._high = self._low = 0
        self._paused = self._closing = False

    def begin(self, protocol: asyncio.Protocol, first: bytes) -> None:
        """Give it to its protocol, `first` being written already (see takeover.py)."""
        self.write(first)
        self._protocol = protocol
        if self._waiting:
            self._paused = True
            protocol.pause_writing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self._waiting += data
        self._take()
        if len(self._waiting) > self._high and not self._paused and self._protocol is not None:
            self._paused = True
            self._protocol.pause_writing()

    def give(self, room: int | None) -> None:
        """Take so many bytes more, or from now on all."""
        self.room = None if room is None or self.room is None else self.room + room
        self._take()
        if self._paused and len(self._waiting) <= self._low and self._protocol is not None:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing and not self._waiting:
            self.abort()

    def stall(self) -> None:
        """Take nothing more for now."""
        self.room = 0

    def _take(self) -> None:
        count = len(self._waiting) if self.room is None else min(self.room, len(self._waiting))
        self.taken += self._waiting[:count]
        del self._waiting[:count]
        if self.room is not None:
            self.room -= count

    def abort(self) -> None:
        self._closing = True
        self._waiting.clear()
        if not self.lost and self._protocol is not None:
            self.lost = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        self._closing = True
        if not self._waiting:
            self.abort()

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0
