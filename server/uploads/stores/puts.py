"""Puts under way: each ends whole or is taken back, whatever becomes of the task that waits."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.uploads.threads import Threads

GRACE = 1.0
"""Seconds for which a cancelled put, and the end of the process, wait for the taking back."""

log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - asked for
    """Raised inside a put that nobody waits for any more, where it can still end cleanly."""


class Stop(threading.Event):
    """Asks a put, from the event loop, to end."""

    def look(self) -> None:
        """Raises `Stopped` once it is asked."""
        if self.is_set():
            raise Stopped


class Puts:
    """A thread can't be cancelled, and a request to S3 must not be: it would leave its parts.

    So a put always runs to an end of its own: it sees `Stop` between two blocks and clears up, or
    has just finished, and is deleted.
    """

    def __init__(self, threads: Threads, delete: Callable[[str], None]) -> None:
        self._threads = threads
        self._delete = delete
        self._under_way: dict[asyncio.Future[None], Stop] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self, key: str, threads: Threads, put: Callable[[Stop], None]) -> None:
        """Run `put` in one of `threads`; its errors are raised here."""
        stop = Stop()
        end = threads.start(put, stop)
        self._under_way[end] = stop
        end.add_done_callback(lambda _: self._under_way.pop(end))
        try:
            await asyncio.shield(end)
        except asyncio.CancelledError:
            stop.set()
            leaving = asyncio.create_task(self._take_back(key, end), name=f"take back {key}")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.wait({leaving}, timeout=GRACE)
            raise

    async def close(self) -> None:
        """Stop what is under way, and wait for it for a moment."""
        for stop in self._under_way.values():
            stop.set()
        if waited := {*self._under_way, *self._leaving}:
            await asyncio.wait(waited, timeout=GRACE)

    async def _take_back(self, key: str, end: asyncio.Future[None]) -> None:
        try:
            await end
        except Stopped:
            return
        except Exception as error:
            log.warning("a cancelled upload ended with: %s", error)
            return
        try:
            await self._threads.start(self._delete, key)
        except Exception as error:
            log.warning("a cancelled upload is still stored as %s: %s", key, error)
