"""The bytes of one request: bounded, looked at and written as they come, and kept if it is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.errors import INVALID, TIMEOUT, TOO_LARGE, ApiError
from server.uploads.checking import answered
from server.uploads.incoming import stored
from server.uploads.multipart import LEAST_RATE, SLOW
from server.uploads.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import StreamReader

    from server.uploads.progress import Meter
    from server.uploads.sniff import Sniffer
    from server.uploads.spool import SpoolFile
    from server.uploads.tus.locks import Hold
    from server.uploads.tus.protocol import Checksum


class Piece:
    """What one request adds to an upload's file.

    `length`: bytes of the whole. `sniffer`: of a file that begins with this request. `turn`: when a
    sender may be read from.
    """

    def __init__(
        self,
        file: SpoolFile,
        hold: Hold,
        meter: Meter,
        *,
        length: int,
        checksum: Checksum | None,
        sniffer: Sniffer | None,
        turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._turn = turn
        self._file = file
        self._hold = hold
        self._meter = meter
        self._length = length
        self._checksum = checksum
        self._sniffer = sniffer
        self._refused: Refused | None = None
        self.rejected = False
        """Whether the file is of a type that is not taken."""
        self._start = file.size

    async def receive(self, content: StreamReader, stall: float) -> None:
        """Take a body to its end.

        Raises:
            ApiError: 400 for a type that is not taken, an end that came too early or another
                request that took over, 408, 413, 460, 503 or 507. What came is kept, unless it is
                too much, or has a checksum that is not, or can't be, right.
        """
        if self._checksum is not None:
            await self._hold.doubt(self._start)
        await self._copy(content, stall)
        with stored():
            await self._file.flush()
        if self._checksum is not None:
            self._checksum.verify()
            await self._hold.trust()
        if self._refused is not None:
            self._reject(self._refused)

    async def _copy(self, content: StreamReader, stall: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(stall) as patience:

                def leave() -> None:
                    if not patience.expired():
                        patience.reschedule(loop.time())

                self._hold.watch(leave)
                try:
                    while chunk := await self._next(content):
                        await self._take(chunk)
                        if self._hold.fenced:
                            raise taken_over()
                        patience.reschedule(loop.time() + stall)
                        self._judge(loop.time() - began)
                finally:
                    self._hold.unwatch()
        except TimeoutError:
            if self._hold.fenced:
                raise taken_over() from None
            raise ApiError(TIMEOUT, f"nothing came for {stall:g} s") from None

    async def _next(self, content: StreamReader) -> bytes:
        try:
            async with self._turn():
                return await content.readany()
        except (OSError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
            # The client has hung up, or what it sends is no HTTP any more.
            raise ApiError(INVALID, "the body ended before it was whole") from None

    async def _take(self, chunk: bytes) -> None:
        if self._file.size + len(chunk) > self._length:
            await self._hold.doubt(self._start)
            raise too_much(self._length - self._start)
        if self._checksum is not None:
            self._checksum.feed(chunk)
        self._look(chunk)
        with stored():
            await self._file.write(chunk)
        self._meter.tell("receiving", self._file.size)

    def _look(self, chunk: bytes) -> None:
        if self._sniffer is None or self._refused is not None:
            return
        try:
            self._sniffer.feed(chunk)
        except Refused as error:
            # A checksum may yet show that these are not the bytes of the file.
            self._refused = error
            if self._checksum is None:
                self._reject(error)

    def _reject(self, error: Refused) -> NoReturn:
        self.rejected = True
        with answered():
            raise error

    def _judge(self, took: float) -> None:
        if took > SLOW and self._file.size - self._start < took * LEAST_RATE:
            raise ApiError(TIMEOUT, f"less than {LEAST_RATE} bytes a second came")


def taken_over() -> ApiError:
    """For a writer that has to leave. Not a status that clients repeat on: two that believe the
    upload to be theirs would take it from each other for ever."""
    return ApiError(INVALID, "another request has taken this upload over")


def too_much(left: int) -> ApiError:
    """The 413 of a body that goes beyond the upload's end."""
    return ApiError(TOO_LARGE, f"only {left} bytes are missing; nothing of this body was kept")
