"""A request's body, taken from the socket piece by piece when there is room for them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.errors import INVALID, TIMEOUT, ApiError
from server.uploads.chunks import Chunk
from server.uploads.direct import Direct

if TYPE_CHECKING:
    from server.uploads.turns import Turns

SLOW = 60.0
"""Seconds after which a body must have come at `LEAST_RATE` on average."""
LEAST_RATE = 512
"""Bytes in a second: who sends a byte now and then holds up a slot for nothing."""


async def continue_later(_: web.Request) -> None:
    """For `Expect`: nothing is asked for before it is known whether it would be taken."""


async def go_on(request: web.Request) -> None:
    """Ask a client for the body, if it waits to be asked."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Or this would be counted as part of the answer.
        request.writer.output_size = 0


class Body:
    """What a request sends. `stall`: seconds without a byte after which it is given up; `turns`:
    when it may be read from."""

    def __init__(
        self,
        request: web.Request,
        *,
        stall: float,
        turns: Turns,
    ) -> None:
        self.came = 0
        """Bytes that were read."""
        self._request = request
        self._transport = request.transport
        self._direct: Direct | None = None
        self._stall = stall
        self._turns = turns
        self._began = time.monotonic()

    async def read(self) -> Chunk:
        """The next bytes, empty at the end. Nothing more is taken from the socket until the next
        call: what waits, waits in the kernel.

        Raises:
            ApiError: 400 for a body that ends too early, 408.
        """
        try:
            async with self._turns.turn(), asyncio.timeout(self._stall):
                chunk = await self._take()
        except TimeoutError:
            raise ApiError(TIMEOUT, f"nothing came for {self._stall:g} s") from None
        except (OSError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
            # The client has hung up, or what it sends is no HTTP any more.
            raise ApiError(INVALID, "the body ended before it was whole") from None
        self.came += len(chunk)
        took = time.monotonic() - self._began
        if chunk and took > SLOW and self.came < took * LEAST_RATE:
            raise ApiError(TIMEOUT, f"less than {LEAST_RATE} bytes a second came")
        return chunk

    def leave(self) -> None:
        """No more is read here, whatever the verdict is: the connection goes on to the next
        request, or lingers until it is read. One that was taken over and read has no next."""
        if self._direct is not None:
            self._direct.close()
            if self._direct.ended:
                return
        self._listen(True)

    async def _take(self) -> Chunk:
        if self._direct is None:
            self._direct = Direct.take_over(self._request, self.came)
        if self._direct is not None:
            return await self._direct.read(self._turns.blocks, self._turns.piece)
        self._listen(True)
        try:
            return await self._request.content.readany()
        finally:
            self._listen(False)

    def _listen(self, more: bool) -> None:
        """Whether more is to be taken from the socket."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.resume_reading if more else self._transport.pause_reading)()
