"""A file's bytes on their way out: by sendfile from the local disk, in pieces from any other store.

The loops' own `sendfile` is no way: uvloop has none. So a thread calls it on the socket, which is
not blocking, and never waits for the client but only for the disk; whether the client has room
again, the event loop tells.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from aiohttp import web

from server.uploads.patience import patience
from server.uploads.store import NotStored, Store, StoreError
from server.uploads.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

THREADS = 4
SLICE = 4 * 1024 * 1024
"""Bytes after which a thread turns to another client, should this one take so many at once."""
PIECE = 64 * 1024
"""Bytes that are written at once, where the disk does not send by itself."""

log = logging.getLogger(__name__)


class Sender:
    """Sends files of one store. `deadline`: seconds that a client may take nothing."""

    def __init__(self, store: Store, deadline: float) -> None:
        self._store = store
        self._deadline = deadline
        self._threads = Threads("send", THREADS)

    async def prove(self, key: str) -> None:
        """Whether the file is there.

        Raises:
            NotStored: it is not.
            StoreError: that can't be told now.
        """
        async for _ in self._store.open(key, 0, 0):
            pass

    async def send(
        self, request: web.Request, response: web.StreamResponse, key: str, start: int, length: int
    ) -> None:
        """Send `response`, its body so many bytes of a file from `start` on, at least one.

        When the client goes away, or takes nothing for too long, or the store fails on the way,
        the connection is ended: less has come than was announced, so no client takes it for whole.

        Raises:
            NotStored: there is no such file; nothing was sent.
            StoreError: it can't be read; nothing was sent.
        """
        path = self._store.path(key)
        transport = request.transport
        plain = transport is not None and transport.get_extra_info("sslcontext") is None
        try:
            if path is not None and plain:
                await self._send_file(request, response, path, start, length)
            else:
                await self._send_pieces(request, response, key, start, length)
        except (ConnectionError, TimeoutError):
            _cut(request)
        except StoreError as error:
            if not response.prepared:
                raise
            log.warning("upload %s could not be sent to its end: %s", key, error)
            _cut(request)
        except Exception:
            # Whatever it is: the answer to it must not be taken for bytes of the file.
            if response.prepared:
                _cut(request)
            raise

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def _send_pieces(
        self, request: web.Request, response: web.StreamResponse, key: str, start: int, length: int
    ) -> None:
        pieces: AsyncGenerator[bytes] = self._store.open(key, start, length)  # type: ignore[assignment]
        async with aclosing(pieces):
            async for piece in pieces:
                transport = _transport(request)
                if not response.prepared:
                    await response.prepare(request)
                view = memoryview(piece)
                while view:
                    async with patience(transport, self._deadline):
                        await response.write(view[:PIECE])
                    view = view[PIECE:]
        await response.write_eof()

    async def _send_file(
        self,
        request: web.Request,
        response: web.StreamResponse,
        path: Path,
        start: int,
        length: int,
    ) -> None:
        file = await self._open(path)
        last: asyncio.Future[Any] | None = None
        socket = -1
        try:
            transport = _transport(request)
            # A descriptor of our own: the loop's may be closed, and its number another's, while a
            # thread is at it. Before anything is sent: there may be no more descriptors.
            socket = _duplicate(transport)
            await self._flush(request, response, transport)
            end = start + length
            while start < end:
                if transport.is_closing():
                    msg = "the client has gone"
                    raise ConnectionResetError(msg)
                last = self._threads.start(_send_some, socket, file, start, end - start)
                sent = await asyncio.shield(last)
                start += sent
                if not sent:
                    async with patience(transport, self._deadline):
                        await _writable(socket)
        finally:
            _close_behind(last, file, socket)
        await response.write_eof()

    async def _open(self, path: Path) -> int:
        opening = self._threads.start(_open, path)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _flush(
        self, request: web.Request, response: web.StreamResponse, transport: asyncio.Transport
    ) -> None:
        """Send the head, and wait until nothing of it is left to be sent behind our back."""
        low, high = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(0)
        try:
            writer = await response.prepare(request)
            async with patience(transport, self._deadline):
                await asyncio.sleep(0)
                if writer is not None:
                    await writer.drain()
        finally:
            transport.set_write_buffer_limits(high, low)


def _transport(request: web.Request) -> asyncio.Transport:
    if request.transport is None or request.transport.is_closing():
        msg = "the client has gone"
        raise ConnectionResetError(msg)
    return request.transport


def _duplicate(transport: asyncio.Transport) -> int:
    try:
        return os.dup(transport.get_extra_info("socket").fileno())
    except OSError as error:
        msg = f"cannot send an upload: {error}"
        raise StoreError(msg) from error


async def _writable(socket: int) -> None:
    """Wait until the client has taken some of it."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(socket)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _send_some(socket: int, file: int, start: int, length: int) -> int:
    """Send as much as the client has room for now; 0 when it has none."""
    sent = 0
    while sent < min(length, SLICE):
        try:
            count = os.sendfile(socket, file, start + sent, length - sent)
        except BlockingIOError:
            break
        except ConnectionError:
            raise
        except OSError as error:
            msg = f"cannot read an upload: {error}"
            raise StoreError(msg) from error
        if count == 0:
            msg = "an upload is shorter than it was"
            raise StoreError(msg)
        sent += count
    return sent


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotStored(path.name) from None
    except OSError as error:
        msg = f"cannot read an upload: {error}"
        raise StoreError(msg) from error


def _close_unwanted(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _close_behind(last: asyncio.Future[Any] | None, *descriptors: int) -> None:
    """Not under the hands of a thread: the numbers may be other files' by then."""

    def close(done: asyncio.Future[Any] | None = None) -> None:
        if done is not None and not done.cancelled():
            done.exception()  # asked for, or it is reported as an error that nobody saw
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    if last is None or last.done():
        close(last)
    else:
        last.add_done_callback(close)
