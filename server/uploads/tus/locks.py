"""Who may write to an upload: one request at a time, of all processes that share the spool.

The newest wins. A client whose connection broke comes back while the server still waits for bytes
on the old one: whoever wants the lock asks its holder to leave, and waits until it has. The lock
is a file beside the upload's own, locked with flock, so the kernel ends it with its process; it is
there only while somebody holds it. Being asked to leave is a byte in that file: a holder in this
process is told at once, one in another looks several times a second.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from server.errors import LOCKED, ApiError
from server.uploads.incoming import stored
from server.uploads.spool import Spool
from server.uploads.threads import Threads
from server.uploads.tus import lockfiles
from server.uploads.tus.lockfiles import DIGITS, SUFFIX, Opened

PATIENCE = 5.0
"""Seconds that a holder has to leave; one that checks or stores a whole file does not hurry."""
POLL = 0.05
"""Seconds between two looks: of who waits, and of who holds."""
MOST_WAITING = 10
"""Requests that wait for one lock in this process: each looks for it, in the threads of all."""


class Hold:
    """A lock that is held."""

    def __init__(self, opened: Opened, threads: Threads) -> None:
        self.size = opened.size
        """Bytes of the upload's file when the lock was got; `None`: there is no file."""
        self.fenced = False
        """Whether another request wants the lock."""
        self.ended = asyncio.Event()
        self._descriptor = opened.descriptor
        self._threads = threads
        self._leave: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, leave: Callable[[], None]) -> None:
        """Have `leave` called, once, when another request wants the lock."""
        self._leave = leave
        if self.fenced:
            leave()
        else:
            self._look()

    def unwatch(self) -> None:
        """End that."""
        self._leave = None
        if self._timer is not None:
            self._timer.cancel()

    def fence(self) -> None:
        """Another request wants the lock."""
        if not self.fenced:
            self.fenced = True
            if self._leave is not None:
                self._leave()

    async def doubt(self, offset: int) -> None:
        """Bytes from here on do not count yet: unless they are trusted, they are taken back when
        this lock ends, be it with its process.

        Raises:
            StoreError: the disk is full, or failed.
        """
        await self._threads.start(lockfiles.mark, self._descriptor, f"{offset:0{DIGITS}}".encode())

    async def trust(self) -> None:
        """They count.

        Raises:
            StoreError: as `doubt`.
        """
        await self._threads.start(lockfiles.mark, self._descriptor, bytes(DIGITS))

    def _look(self) -> None:
        # The state of an open file: no disk is waited for.
        if os.fstat(self._descriptor).st_size > DIGITS:
            self.fence()
        else:
            self._timer = asyncio.get_running_loop().call_later(POLL, self._look)


class Locks:
    """The locks of one spool, as one process sees them."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._threads = Threads("locks", 2)
        self._held: dict[str, Hold] = {}
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def take(self, id_: str) -> AsyncIterator[Hold]:
        """Hold the lock of an upload; its holder is asked to leave, and awaited.

        Raises:
            ApiError: 423, after `PATIENCE`, or when many wait already; 503 or 507 when the disk has
                no place for it.
        """
        with self._place(id_):
            opened = await self._wait(id_)
        hold = self._held[id_] = Hold(opened, self._threads)
        try:
            yield hold
        finally:
            hold.unwatch()
            del self._held[id_]
            ending = self._threads.start(
                lockfiles.close, self._path(id_), self._spool.path(id_), opened.descriptor
            )
            ending.add_done_callback(lambda _: hold.ended.set())
            await asyncio.shield(ending)

    async def sweep(self) -> None:
        """Remove locks that dead processes left of uploads that are no more."""
        await self._threads.start(lockfiles.sweep, self._spool.path("0" * 32).parent)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def _wait(self, id_: str) -> Opened:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (opened := await self._try(id_)) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise _locked("another request is writing to this upload, and has not ended yet")
            held = self._held.get(id_)
            if held is not None:
                held.fence()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await (held.ended if held is not None else asyncio.Event()).wait()
        return opened

    @contextmanager
    def _place(self, id_: str) -> Iterator[None]:
        if self._waiting[id_] >= MOST_WAITING:
            raise _locked("many requests wait to write to this upload")
        self._waiting[id_] += 1
        try:
            yield
        finally:
            self._waiting[id_] -= 1
            if not self._waiting[id_]:
                del self._waiting[id_]

    async def _try(self, id_: str) -> Opened | None:
        trying = self._threads.start(lockfiles.take, self._path(id_), self._spool.path(id_))
        try:
            with stored():
                return await asyncio.shield(trying)
        except asyncio.CancelledError:
            trying.add_done_callback(_close_unwanted)
            raise

    def _path(self, id_: str) -> Path:
        path = self._spool.path(id_)
        return path.with_name(path.name + SUFFIX)


def _locked(detail: str) -> ApiError:
    return ApiError(LOCKED, detail, headers={"Retry-After": "2"})


def _close_unwanted(trying: asyncio.Future[Opened | None]) -> None:
    if not trying.cancelled() and trying.exception() is None:
        opened = trying.result()
        if opened is not None:
            os.close(opened.descriptor)
