"""The spool: what comes in is first written to a file on the local disk, and hashed on the way."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from server.errors import StartError
from server.uploads.store import NoSpace, StoreError, checked, is_key
from server.uploads.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from hashlib import _Hash

DIRECTORY = "spool"
BLOCK = 1024 * 1024
"""Bytes that are written at once, when few uploads are under way."""
LEAST_BLOCK = 64 * 1024
BUDGET = 8 * 1024 * 1024
"""Bytes that all uploads together hold in memory: each has a block that fills and one that goes."""
PIECE = 4096
"""Smaller pieces are put together: as objects of their own they would take more than they hold."""
WRITE = 256 * 1024
"""Bytes of one system call. A whole block in one (writev) took ext4 three times the CPU; and after
each the thread waits for the interpreter, which the event loop has: 64 KiB took half as long again.
"""
RECEIVED = 256 * 1024
"""Bytes that come from a socket at once, at most."""
MOMENT = 0.02
"""Seconds in which what a sender has sent already is here."""
THREADS = 4
READ = 1024 * 1024
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Leftover(NamedTuple):
    """A file in the spool that nobody has written to for a while."""

    name: str
    size: int
    age: float


class Spool:
    """The directory `spool` of the data, on a local disk."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir.expanduser().absolute() / DIRECTORY
        self._threads = Threads("spool", THREADS)
        self._open = 0
        self._going = 0
        self._behind: deque[asyncio.Future[None]] = deque()

    async def check(self) -> None:
        """Make the directory and prove that it can be written to.

        Raises:
            StartError: it can't.
        """
        try:
            await self._threads.start(self._prove)
        except OSError as error:
            msg = (
                f"cannot write uploads to {self._directory} ({error.strerror}): set TAILRACE_DATA"
                " to a directory that this user may write to"
            )
            raise StartError(msg) from None

    async def create(self, name: str) -> SpoolFile:
        """A new, empty file; `name` is a key of 32 characters.

        Raises:
            FileExistsError: there is one.
            NoSpace: the disk is full.
        """
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        return await self._begin(name, flags)

    async def open(self, name: str) -> SpoolFile:
        """The file that an earlier request, or process, left; writing goes on at its end.

        Raises:
            FileNotFoundError: there is none.
        """
        return await self._begin(name, os.O_RDWR | os.O_APPEND)

    async def discard(self, name: str) -> None:
        """Remove a file that nobody writes to; one that is not there is no error."""
        await self._threads.start(self.path(name).unlink, missing_ok=True)

    async def leftovers(self, older_than: float) -> list[Leftover]:
        """The files without a write for so many seconds, the oldest first."""
        return await self._threads.start(self._left, older_than)

    def path(self, name: str) -> Path:
        """Where the file of this name is."""
        if "/" in checked(name):
            msg = f"the spool has no directories: {name!r}"
            raise ValueError(msg)
        return self._directory / name

    @property
    def block(self) -> int:
        """Bytes that a file collects before it writes: fewer when many share the budget."""
        return min(BLOCK, max(LEAST_BLOCK, BUDGET // (2 * max(1, self._open))))

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
                self._goes(0)  # it may have been this one's turn
                raise
        reckoned = RECEIVED
        self._goes(reckoned)

        def over() -> None:
            nonlocal reckoned
            self._goes(-reckoned)
            reckoned = 0

        moment = asyncio.get_running_loop().call_later(MOMENT, over)
        try:
            yield
        finally:
            moment.cancel()
            over()

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    def _goes(self, size: int) -> None:
        """So many more bytes are given to the threads, or fewer."""
        self._going += size
        while self._behind and self._going <= BUDGET // 2:
            waiting = self._behind.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def _begin(self, name: str, flags: int) -> SpoolFile:
        path = self.path(name)
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        opening = self._threads.start(_open, path, flags)
        try:
            descriptor, size = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        self._open += 1
        return SpoolFile(self, self._threads, path, descriptor, size)

    def _ended(self) -> None:
        self._open -= 1

    def _prove(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = self._directory / f".check-{os.getpid()}"
        try:
            probe.write_bytes(b"Tailrace\n")
        finally:
            probe.unlink(missing_ok=True)

    def _left(self, older_than: float) -> list[Leftover]:
        found = []
        now = time.time()
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if not is_key(entry.name):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    age = now - status.st_mtime
                    if age >= older_than:
                        found.append(Leftover(entry.name, status.st_size, age))
        return sorted(found, key=lambda leftover: -leftover.age)


class SpoolFile:
    """One upload that comes in. For one task at a time; end it by `finish`, `close` or `discard`.

    A block is hashed and written in a thread while the next one is received; a sender that is
    faster than the disk waits in `write`.
    """

    def __init__(
        self, spool: Spool, threads: Threads, path: Path, descriptor: int, size: int
    ) -> None:
        self.path = path
        self.size = size
        """Bytes taken, those that are still in memory included."""
        self._spool = spool
        self._threads = threads
        self._descriptor = descriptor
        # The state of a hash can't be kept beyond its process. So a file that was left is hashed
        # from its start when it is finished: what is hashed is then also what the disk has.
        self._hash = None if size else hashlib.sha256()
        self._sha256: str | None = None
        self._parts: list[bytes] = []
        self._small = bytearray()
        self._held = 0
        self._writing: asyncio.Future[None] | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def sha256(self) -> str:
        """The hash of the whole file in hexadecimal digits; known when it is finished."""
        if self._sha256 is None:
            msg = "the file is not finished"
            raise RuntimeError(msg)
        return self._sha256

    async def write(self, data: bytes) -> None:
        """Take a piece; waits when the disk is behind. It may raise what an earlier piece met.

        Raises:
            NoSpace: the disk is full, or a quota reached. The file is to be discarded.
            StoreError: the disk failed in another way.
        """
        self.size += len(data)
        self._held += len(data)
        if len(data) < PIECE:
            self._small += data
        else:
            self._gather()
            self._parts.append(data)
        if self._held >= self._spool.block:
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
        self._writing = self._threads.start(self._complete)
        await self._settle()
        await self.close()
        return self.path

    async def close(self) -> None:
        """Write what is held, if that is possible, and leave the file to be opened again."""
        if self._ending is None:
            with suppress(StoreError):
                await self.flush()
        await self._end(remove=False)

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
        """Start writing what is held, once the block before is written."""
        await self._settle()
        self._gather()
        parts, size = self._parts, self._held
        self._parts, self._held = [], 0
        self._writing = self._threads.start(self._write, parts)
        self._spool._goes(size)
        self._writing.add_done_callback(lambda _: self._spool._goes(-size))

    async def _settle(self) -> None:
        if self._writing is not None:
            # Shielded: a request that is cancelled must not take a block out of the file.
            await asyncio.shield(self._writing)

    async def _end(self, *, remove: bool) -> None:
        """Close behind the last write, also if the caller is cancelled meanwhile."""
        if self._ending is None:
            self._spool._ended()
            self._ending = asyncio.ensure_future(self._close())
        await asyncio.shield(self._ending)
        if remove:
            await self._threads.start(self.path.unlink, missing_ok=True)

    async def _close(self) -> None:
        if self._writing is not None:
            await asyncio.wait({self._writing})
            if not self._writing.cancelled():
                # Asked for, or it is reported as an error that nobody saw.
                self._writing.exception()
        os.close(self._descriptor)

    def _write(self, parts: list[bytes]) -> None:
        with _translated():
            for part in parts:
                rest = memoryview(part)
                while rest:
                    done = os.write(self._descriptor, rest[:WRITE])
                    if self._hash is not None:
                        self._hash.update(rest[:done])
                    rest = rest[done:]

    def _complete(self) -> None:
        with _translated():
            digest = self._hash or _hash(self._descriptor)
            os.fsync(self._descriptor)
        self._sha256 = digest.hexdigest()


def _open(path: Path, flags: int) -> tuple[int, int]:
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace(str(error)) from error
        raise
    return descriptor, os.fstat(descriptor).st_size


def _close_unwanted(opening: asyncio.Future[tuple[int, int]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result()[0])


def _hash(descriptor: int) -> _Hash:
    digest = hashlib.sha256()
    buffer = bytearray(READ)
    at = 0
    while read := os.preadv(descriptor, [buffer], at):
        digest.update(memoryview(buffer)[:read])
        at += read
    return digest


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = NoSpace if error.errno in FULL else StoreError
        msg = f"cannot write an upload: {error}"
        raise kind(msg) from error
