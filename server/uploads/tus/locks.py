"""Who may write to an upload: one request at a time, of all processes that share the spool.

The newest wins. A client whose connection broke comes back while the server still waits for bytes
on the old one: whoever wants the lock asks its holder to leave, and waits until it has. The lock
is a file beside the upload's own, locked with flock, so the kernel ends it with its process; it is
there only while somebody holds it. Being asked to leave is a byte in that file: a holder in this
process is told at once, one in another looks several times a second.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from server.errors import LOCKED, ApiError
from server.uploads.incoming import stored
from server.uploads.spool import FULL, Spool
from server.uploads.store import NoSpace, StoreError
from server.uploads.threads import Threads

PATIENCE = 5.0
"""Seconds that a holder has to leave; one that checks or stores a whole file does not hurry."""
POLL = 0.05
"""Seconds between two looks: of who waits, and of who holds."""
SUFFIX = ".lock"
_DIGITS = 20
"""Of the offset at the file's start; whatever is behind it asks the holder to leave."""


class Opened(NamedTuple):
    """A lock that was got. `size`: bytes of the upload's file; `None`: there is none."""

    descriptor: int
    size: int | None


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
        this lock ends, be it with its process."""
        await self._threads.start(os.pwrite, self._descriptor, f"{offset:0{_DIGITS}}".encode(), 0)

    async def trust(self) -> None:
        """They count."""
        await self._threads.start(os.pwrite, self._descriptor, bytes(_DIGITS), 0)

    def _look(self) -> None:
        # The state of an open file: no disk is waited for.
        if os.fstat(self._descriptor).st_size > _DIGITS:
            self.fence()
        else:
            self._timer = asyncio.get_running_loop().call_later(POLL, self._look)


class Locks:
    """The locks of one spool, as one process sees them."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._threads = Threads("locks", 2)
        self._held: dict[str, Hold] = {}

    @asynccontextmanager
    async def take(self, id_: str) -> AsyncIterator[Hold]:
        """Hold the lock of an upload; its holder is asked to leave, and awaited.

        Raises:
            ApiError: 423, after `PATIENCE`; 503 or 507 when the disk has no place for it.
        """
        opened = await self._wait(id_)
        hold = self._held[id_] = Hold(opened, self._threads)
        try:
            yield hold
        finally:
            hold.unwatch()
            del self._held[id_]
            ending = self._threads.start(
                _close, self._path(id_), self._spool.path(id_), opened.descriptor
            )
            ending.add_done_callback(lambda _: hold.ended.set())
            await asyncio.shield(ending)

    async def sweep(self) -> None:
        """Remove locks that dead processes left of uploads that are no more."""
        await self._threads.start(_sweep, self._spool.path("0" * 32).parent)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    async def _wait(self, id_: str) -> Opened:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (opened := await self._try(id_)) is None:
            if asyncio.get_running_loop().time() > deadline:
                detail = "another request is writing to this upload, and has not ended yet"
                raise ApiError(LOCKED, detail, headers={"Retry-After": "2"})
            held = self._held.get(id_)
            if held is not None:
                held.fence()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await (held.ended if held is not None else asyncio.Event()).wait()
        return opened

    async def _try(self, id_: str) -> Opened | None:
        trying = self._threads.start(_take, self._path(id_), self._spool.path(id_))
        try:
            with stored():
                return await asyncio.shield(trying)
        except asyncio.CancelledError:
            trying.add_done_callback(_close_unwanted)
            raise

    def _path(self, id_: str) -> Path:
        path = self._spool.path(id_)
        return path.with_name(path.name + SUFFIX)


def _take(path: Path, upload: Path) -> Opened | None:
    """Get the lock; `None`: another has it, and was asked to leave.

    Raises:
        StoreError: the disk is full, or failed.
    """
    try:
        return _try(path, upload)
    except OSError as error:
        kind = NoSpace if error.errno in FULL else StoreError
        msg = f"cannot lock an upload: {error}"
        raise kind(msg) from error


def _try(path: Path, upload: Path) -> Opened | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                opened = Opened(descriptor, _size(descriptor, upload))
                os.ftruncate(descriptor, 0)
                return opened
        except BlockingIOError:
            os.pwrite(descriptor, b"!", _DIGITS)
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it meanwhile


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether this open file is the one that others find at the path."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _size(descriptor: int, upload: Path) -> int | None:
    """The bytes of an upload that count; those that a dead process held in doubt are taken back."""
    try:
        size = upload.stat().st_size
    except FileNotFoundError:
        return None
    offset = os.pread(descriptor, _DIGITS, 0)
    if len(offset) == _DIGITS and offset.isdigit() and int(offset) < size:
        size = int(offset)
        os.truncate(upload, size)
    return size


def _close(path: Path, upload: Path, descriptor: int) -> None:
    try:
        _size(descriptor, upload)
        # Removed while it is held: whoever waits for it sees that, and makes a new one.
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _close_unwanted(trying: asyncio.Future[Opened | None]) -> None:
    if not trying.cancelled() and trying.exception() is None:
        opened = trying.result()
        if opened is not None:
            os.close(opened.descriptor)


def _sweep(directory: Path) -> None:
    for path in directory.glob(f"*{SUFFIX}"):
        upload = path.with_suffix("")
        if not upload.exists():
            opened = _take(path, upload)
            if opened is not None:
                _close(path, upload, opened.descriptor)
