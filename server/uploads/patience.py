"""How long a client is waited for: as long as it takes something, however slow it is.

That a socket takes more, the kernel tells only when a third of what it holds is gone, which may be
megabytes: a client of 50 KB/s would look like one that takes nothing. So what it has not
acknowledged yet is looked at.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def patience(transport: asyncio.Transport, deadline: float) -> AsyncIterator[None]:
    """Around a wait for a client that is written to; not around the writing of ever more.

    Raises:
        TimeoutError: the client took nothing for `deadline` seconds.
    """
    loop = asyncio.get_running_loop()
    left: int | None = None
    timer: asyncio.Handle

    def look() -> None:
        nonlocal left, timer
        now = _untaken(transport)
        if left is None or now < left:
            left = now
            timer = loop.call_later(deadline, look)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        # The first look only learns how much there is, once it is written.
        timer = loop.call_soon(look)
        try:
            yield
        finally:
            timer.cancel()


def _untaken(transport: asyncio.Transport) -> int:
    """Bytes that the client's machine has not acknowledged; of those in the kernel only where it
    tells (Linux)."""
    held = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket")
    try:
        found = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it tells nothing, or is closed
        return held
    return held + int(struct.unpack("i", found)[0])
