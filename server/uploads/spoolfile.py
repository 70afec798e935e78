"""One file of the spool while it is written: collected in blocks, hashed, safe on the disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from server.uploads.chunks import Block, Chunk
from server.uploads.faults import translated
from server.uploads.store import StoreError
from server.uploads.threads import Line

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash
    from pathlib import Path

    from server.uploads.threads import Threads
    from server.uploads.turns import Turns

PIECE = 4096
"""Smaller pieces are put together: as objects of their own they would take more than they hold."""
READ = 1024 * 1024
SYNC = 64 * 1024 * 1024
"""Bytes after which what was written is brought to the disk while more comes: at the end the
client waits for that without a byte on the wire."""
AHEAD = 4
"""Blocks of one file that wait for the thread, which has the next when it has done one."""


class SpoolFile:
    """One upload that comes in. For one task at a time; end it by `finish`, `close` or `discard`.

    Blocks are hashed and written in a thread while the next one is received; a sender that is
    faster than the disk waits in `write`.
    """

    def __init__(
        self,
        turns: Turns,
        threads: Threads,
        syncers: Threads,
        path: Path,
        *,
        descriptor: int,
        size: int,
    ) -> None:
        self.path = path
        self.size = size
        """Bytes taken, those that are still in memory included."""
        self._turns = turns
        turns.begin()
        self._threads = threads
        self._line = Line(threads)
        self._descriptor = descriptor
        # The state of a hash can't be kept beyond its process. So a file that was left is hashed
        # from its start when it is finished: what is hashed is then also what the disk has.
        self._hash = None if size else hashlib.sha256()
        self._sha256: str | None = None
        self._parts: list[Chunk] = []
        self._small = bytearray()
        self._held = 0
        self._writing: deque[asyncio.Future[None]] = deque()
        self._syncers = syncers
        self._unsynced = 0
        self._syncing: asyncio.Future[None] | None = None
        self._sync_begun = self._sync_needless = False
        self._damaged = False
        self._failed: Exception | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def sha256(self) -> str:
        """The hash of the whole file in hexadecimal digits; known when it is finished."""
        if self._sha256 is None:
            msg = "the file is not finished"
            raise RuntimeError(msg)
        return self._sha256

    async def write(self, data: Chunk) -> None:
        """Take a piece, which is its own from now on; waits when the disk is behind. It may raise
        what an earlier piece met.

        Raises:
            NoSpace: the disk is full, or a quota reached. The file is to be discarded.
            StoreError: the disk failed in another way.
        """
        self.size += len(data)
        self._turns.received += len(data)
        self._held += len(data)
        if len(data) < PIECE:
            self._small += data
        else:
            self._gather()
            self._parts.append(data)
        if self._held >= self._turns.block:
            await self._send()

    async def flush(self) -> None:
        """Write what is held. It is in the file then, but not yet safe from a power failure.

        Raises:
            StoreError: as `write`.
        """
        if self._held:
            await self._send()
        await self._settle()

    async def finish(self) -> Path:
        """Write and hash everything, bring it safely to the disk, and close; the file's path.

        Raises:
            StoreError: as `write`; the file is still open then.
        """
        await self.flush()
        self._start(self._complete)
        await self._end_sync()
        await self._settle()
        await self.close()
        return self.path

    async def close(self) -> None:
        """Write what is held, if that is possible, and leave the file to be opened again: unless
        the disk has failed to keep it, for the kernel tells that to nobody who opens it later."""
        if self._ending is None:
            with suppress(StoreError):
                await self.flush()
        await self._end(remove=False)
        if self._damaged:
            await self._threads.start(self.path.unlink, missing_ok=True)

    async def discard(self) -> None:
        """Close and remove the file; also after an error, a cancellation, or `finish`."""
        self._drop()
        await self._end(remove=True)

    def _gather(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small.clear()

    def _drop(self) -> None:
        self._parts.clear()
        self._small.clear()
        self._held = 0

    async def _send(self) -> None:
        """Start writing what is held, once the disk has few blocks before it."""
        await self._settle(AHEAD - 1)
        self._gather()
        parts, size = self._parts, self._held
        self._parts, self._held = [], 0
        self._turns.goes(size)
        self._start(partial(self._write, parts)).add_done_callback(
            lambda _: self._turns.goes(-size)
        )
        self._unsynced += size
        if self._unsynced >= SYNC and (self._syncing is None or self._syncing.done()):
            # Without a descriptor to spare it is left to the end.
            with suppress(OSError):
                own = os.dup(self._descriptor)
                self._unsynced, self._sync_begun = 0, False
                self._syncing = self._syncers.start(self._sync, own)

    def _start(self, call: Callable[[], None]) -> asyncio.Future[None]:
        """Have a thread run it, behind what was started before."""
        future = self._line.start(self._try, call)
        self._writing.append(future)
        return future

    def _try(self, call: Callable[[], None]) -> None:
        """Unless one before has failed: nothing is written behind a hole."""
        if self._failed is None:
            try:
                with translated("write an upload"):
                    call()
            except Exception as error:
                self._failed = error

    async def _settle(self, few: int = 0) -> None:
        """Wait until only so `few` blocks are still to be written."""
        while len(self._writing) > few:
            # Shielded: a request that is cancelled must not take a block out of the file.
            await asyncio.shield(self._writing[0])
            self._writing.popleft()
        if self._failed is not None:
            raise self._failed

    async def _end(self, *, remove: bool) -> None:
        """Close behind the last write, also if the caller is cancelled meanwhile."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._close())
        await asyncio.shield(self._ending)
        if remove:
            await self._threads.start(self.path.unlink, missing_ok=True)

    async def _close(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing)
        await self._end_sync()
        os.close(self._descriptor)
        self._turns.end()

    def _write(self, parts: list[Chunk]) -> None:
        for part in parts:
            rest = memoryview(part)
            while rest:
                # In one call: after each the thread waits for the interpreter, which the loop has.
                done = os.write(self._descriptor, rest)
                if self._hash is not None:
                    self._hash.update(rest[:done])
                rest = rest[done:]
            if isinstance(part, Block):
                part.give_back()

    async def _end_sync(self) -> None:
        """Wait for the sync that is under way. One that others are before is not waited for: it
        does nothing any more."""
        self._sync_needless = True
        if self._syncing is not None and self._sync_begun:
            await asyncio.shield(self._syncing)

    def _sync(self, own: int) -> None:
        """`own`: a descriptor that is open for as long as this needs it."""
        try:
            self._sync_begun = True
            if not self._sync_needless:
                self._try(partial(self._bring, os.fdatasync, own))
        finally:
            os.close(own)

    def _bring(self, sync: Callable[[int], None], descriptor: int) -> None:
        """To the disk. The kernel tells a fault once, so that it has to be kept here."""
        try:
            sync(descriptor)
        except OSError:
            self._damaged = True
            raise

    def _complete(self) -> None:
        digest = self._hash or _hash(self._descriptor)
        self._bring(os.fsync, self._descriptor)
        self._sha256 = digest.hexdigest()


def _hash(descriptor: int) -> _Hash:
    digest = hashlib.sha256()
    buffer = bytearray(READ)
    at = 0
    while read := os.preadv(descriptor, [buffer], at):
        digest.update(memoryview(buffer)[:read])
        at += read
    return digest
