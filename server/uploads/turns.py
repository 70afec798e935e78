"""The memory of uploads under way: how much each collects, and who may be read from."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from server.uploads.chunks import Blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK = 1024 * 1024
"""Bytes that are written at once, when few uploads are under way."""
LEAST_BLOCK = 32 * 1024
BUDGET = 8 * 1024 * 1024
"""Bytes that all uploads together hold in memory: half of it fills, half of it goes to the disk."""
RECEIVED = 256 * 1024
"""Bytes that come from a socket at once, at most."""
MOMENT = 0.02
"""Seconds in which what a sender has sent already is here."""


class Turns:
    """What the files of one spool share."""

    def __init__(self) -> None:
        self.open = 0
        """Files that are being written."""
        self.received = 0
        """Bytes that were taken so far."""
        self.blocks = Blocks(BUDGET // 2)
        """The memory that goes round between the sockets and the disk."""
        self._going = 0
        self._behind: deque[asyncio.Future[None]] = deque()

    def begin(self) -> None:
        """One more file is being written."""
        self.open += 1

    def end(self) -> None:
        """One less."""
        self.open -= 1
        if not self.open:
            self.blocks.clear()

    @property
    def block(self) -> int:
        """Bytes that a file collects before it writes: fewer when many share the budget."""
        return min(BLOCK, max(LEAST_BLOCK, BUDGET // (2 * max(1, self.open))))

    @property
    def piece(self) -> int:
        """Bytes to ask a socket for: a whole block, when few uploads are under way."""
        return max(RECEIVED, self.block)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Within it a sender may be read from; those who wait for it go on in order.

        Waits while the disk is behind with all uploads together: what their senders have for them
        is better kept by the kernel, and by the senders. Until something has come, a piece is
        reckoned with: or many would read at once, before anything of it is seen here. Who has
        nothing to send takes nobody's turn for longer than a moment.
        """
        while self._going > BUDGET // 2:
            waiting = asyncio.get_running_loop().create_future()
            self._behind.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                self.goes(0)  # it may have been this one's turn
                raise
        reckoned = RECEIVED
        self.goes(reckoned)

        def over() -> None:
            nonlocal reckoned
            self.goes(-reckoned)
            reckoned = 0

        moment = asyncio.get_running_loop().call_later(MOMENT, over)
        try:
            yield
        finally:
            moment.cancel()
            over()

    def goes(self, size: int) -> None:
        """So many more bytes are given to the threads, or fewer."""
        self._going += size
        while self._behind and self._going <= BUDGET // 2:
            waiting = self._behind.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
