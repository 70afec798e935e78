"""The bytes of one request: bounded, looked at and written as they come, and kept if it is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from server.errors import INVALID, TOO_LARGE, ApiError
from server.uploads.checking import answered
from server.uploads.chunks import Chunk
from server.uploads.incoming import stored
from server.uploads.refused import Refused

if TYPE_CHECKING:
    from server.uploads.body import Body
    from server.uploads.progress import Meter
    from server.uploads.sniff import Sniffer
    from server.uploads.spoolfile import SpoolFile
    from server.uploads.tus.locks import Hold
    from server.uploads.tus.protocol import Checksum


class Piece:
    """What one request adds to an upload's file.

    `length`: bytes of the whole. `sniffer`: of a file that begins with this request.
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
    ) -> None:
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

    async def receive(self, body: Body) -> None:
        """Take a body to its end.

        Raises:
            ApiError: 400 for a type that is not taken, an end that came too early or another
                request that took over, 408, 413, 460, 503 or 507. What came is kept, unless it is
                too much, or has a checksum that is not, or can't be, right.
        """
        if self._checksum is not None:
            await self._doubt()
        try:
            await self._copy(body)
        finally:
            body.leave()
        with stored():
            await self._file.flush()
        if self._checksum is not None:
            self._checksum.verify()
            with stored():
                await self._hold.trust()
        if self._refused is not None:
            self._reject(self._refused)

    async def _copy(self, body: Body) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:

                def leave() -> None:
                    if not patience.expired():
                        patience.reschedule(loop.time())

                self._hold.watch(leave)
                try:
                    while chunk := await body.read():
                        await self._take(chunk)
                        if self._hold.fenced:
                            raise taken_over()
                        # Or it is in memory until the next one has come, of each sender.
                        del chunk
                finally:
                    self._hold.unwatch()
        except TimeoutError:
            raise taken_over() from None

    async def _doubt(self) -> None:
        with stored():
            await self._hold.doubt(self._start)

    async def _take(self, chunk: Chunk) -> None:
        if self._file.size + len(chunk) > self._length:
            await self._doubt()
            raise too_much(self._length - self._start)
        if self._checksum is not None:
            self._checksum.feed(chunk)
        self._look(chunk)
        with stored():
            await self._file.write(chunk)
        self._meter.tell("receiving", self._file.size)

    def _look(self, chunk: Chunk) -> None:
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


def taken_over() -> ApiError:
    """For a writer that has to leave. Not a status that clients repeat on: two that believe the
    upload to be theirs would take it from each other for ever."""
    return ApiError(INVALID, "another request has taken this upload over")


def too_much(left: int) -> ApiError:
    """The 413 of a body that goes beyond the upload's end."""
    return ApiError(TOO_LARGE, f"only {left} bytes are missing; nothing of this body was kept")
