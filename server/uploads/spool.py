"""The spool: what comes in is first written to a file on the local disk, and hashed on the way."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from server.errors import StartError
from server.uploads.faults import FULL
from server.uploads.spoolfile import SpoolFile
from server.uploads.store import NoSpace, checked, is_key
from server.uploads.threads import Threads
from server.uploads.turns import Turns

DIRECTORY = "spool"
THREADS = 4


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
        # Of their own: while one waits for the disk, others can still be written to its cache.
        self._syncers = Threads("sync", 1)
        self.turns = Turns()

    @property
    def received(self) -> int:
        """Bytes that were written to it so far."""
        return self.turns.received

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

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()
        self._syncers.close()

    async def _begin(self, name: str, flags: int) -> SpoolFile:
        path = self.path(name)
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        opening = self._threads.start(_open, path, flags)
        try:
            descriptor, size = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(partial(_undo, path, created=bool(flags & os.O_CREAT)))
            raise
        return SpoolFile(
            self.turns, self._threads, self._syncers, path, descriptor=descriptor, size=size
        )

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


def _open(path: Path, flags: int) -> tuple[int, int]:
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace(str(error)) from error
        raise
    return descriptor, os.fstat(descriptor).st_size


def _undo(path: Path, opening: asyncio.Future[tuple[int, int]], *, created: bool) -> None:
    """Nobody waits for the file any more."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result()[0])
        if created:
            path.unlink(missing_ok=True)
