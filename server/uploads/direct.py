"""The rest of a large body, taken from its socket without aiohttp between.

aiohttp's transport, parser and reader hand each byte on by a copy and by ten calls, which took
as much of the CPU as the hash and the disk (docs/benchmarks.md has the figures).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Self

from aiohttp import web

from server.keys import LAST
from server.uploads.chunks import Block, Blocks, Chunk

LEAST = 4 * 1024 * 1024
"""Bytes that must still be missing. aiohttp's parser goes on waiting for what it did not see, so
the connection is closed behind the answer: for less, a new one would cost more than is gained."""


class Direct:
    """What is left of a request's body; to be closed."""

    def __init__(self, request: web.Request, own: socket.socket, left: int) -> None:
        self._content = request.content
        self._socket = own
        self._left = left

    @classmethod
    def take_over(cls, request: web.Request, came: int) -> Self | None:
        """Take the body over behind the `came` bytes that were read, and have the answer say that
        it is the connection's last (RFC 9112, section 9.6).

        `None`: it is small, of unknown length, encrypted, or some of it is with aiohttp. Nothing is
        changed then, but that the transport may be paused.
        """
        transport = request.transport
        left = (request.content_length or 0) - came
        # Before the first byte it can't be told whether aiohttp's parser has some.
        if left < LEAST or came == 0 or transport is None or transport.is_closing():
            return None
        if transport.get_extra_info("sslcontext") is not None:
            return None
        transport.pause_reading()
        if request.content.total_bytes != came:
            return None
        try:
            own = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:
            return None
        own.setblocking(False)
        request[LAST] = True
        return cls(request, own, left)

    async def read(self, blocks: Blocks, most: int) -> Chunk:
        """The next bytes, `most` at most, empty at the end. One turn of the loop for each piece, at
        least.

        Who is as fast as to fill a block gets that; of others the bytes are copied from it.

        Raises:
            OSError: the connection has ended before the body.
        """
        if self._left == 0:
            return b""
        await asyncio.sleep(0)
        while (chunk := self._receive(blocks.take(most))) is None:
            await self._readable()
        if not chunk:
            msg = "the connection has ended"
            raise ConnectionResetError(msg)
        self._left -= len(chunk)
        if self._left == 0:
            # Or aiohttp would wait for it when the answer is sent.
            self._content.feed_eof()
        return chunk

    @property
    def ended(self) -> bool:
        """Whether all of it has come."""
        return self._left == 0

    def close(self) -> None:
        """Nothing more is taken here."""
        self._socket.close()

    def _receive(self, block: Block) -> Chunk | None:
        """What is there; `None`: nothing yet."""
        try:
            came = self._socket.recv_into(block, min(self._left, len(block)))
        except BlockingIOError:
            block.give_back()
            return None
        if came == len(block):
            return block
        chunk = bytes(memoryview(block)[:came])
        block.give_back()
        return chunk

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._socket)
