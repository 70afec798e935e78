"""The store on a local disk: `<root>/ab/cd/<key>`, each file there whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from server.errors import StartError
from server.uploads.faults import translated
from server.uploads.store import CHUNK, NotStored, Stored, StoreError, checked, is_key
from server.uploads.stores.puts import Puts, Stop
from server.uploads.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from urllib.parse import SplitResult

THREADS = 4
BLOCK = 1024 * 1024
# Below the root, where no key can lead.
INCOMING = ".incoming"
ABANDONED = 3600.0
"""Seconds without a write after which a copy is a dead process'."""


def from_url(parts: SplitResult) -> DiskStore:
    """`file:///directory`.

    Raises:
        StartError: it has more to it than an absolute path.
    """
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.is_absolute():
        msg = "STORAGE_URL must be file:///directory, with three slashes and nothing behind it"
        raise StartError(msg)
    return DiskStore(path)


class DiskStore:
    """Files of mode 0600 in directories of mode 0700, fanned out twice by two characters."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / INCOMING
        self._threads = Threads("disk", THREADS)
        self._puts = Puts(self._threads, self._delete)

    async def put(self, key: str, source: Path, *, size: int, content_type: str) -> None:
        put = partial(self._put, self.path(key), source, size)
        await self._puts.run(key, self._threads, put)

    async def open(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        opening = self._threads.start(_open, self.path(key))
        reading: asyncio.Future[bytes] | None = None
        try:
            # Shielded, so that these end when the thread does.
            file = await asyncio.shield(opening)
            while length > 0:
                reading = self._threads.start(_read, file, min(CHUNK, length), start)
                chunk = await asyncio.shield(reading)
                start += len(chunk)
                length -= len(chunk)
                yield chunk
        finally:
            _close_behind(opening, reading)

    async def delete(self, key: str) -> None:
        await self._threads.start(self._delete, checked(key))

    async def keys(self) -> AsyncIterator[Stored]:
        waiting = [self._root]
        while waiting:
            found, below = await self._threads.start(self._scan, waiting.pop())
            waiting += below
            for stored in found:
                yield stored

    def path(self, key: str) -> Path:
        checked(key)
        return self._root.joinpath(key[:2], key[2:4], key)

    async def check(self) -> None:
        try:
            await self._threads.start(self._prove)
        except (OSError, StoreError) as error:
            msg = (
                f"cannot keep uploads in {self._root} ({error}): set STORAGE_URL to a directory"
                " that this user may write to"
            )
            raise StartError(msg) from None

    async def close(self) -> None:
        await self._puts.close()
        self._threads.close()

    def _put(self, target: Path, source: Path, size: int, stop: Stop) -> None:
        with translated("store an upload"):
            if source.stat().st_size != size:
                msg = f"an upload of {size} bytes has another size on the disk"
                raise StoreError(msg)
            self._make(target.parent)
            stop.look()
            if not _move(source, target):
                self._copy(source, target, stop)
                source.unlink()
            try:
                _sync(target.parent)
            except OSError:
                target.unlink(missing_ok=True)
                raise

    def _copy(self, source: Path, target: Path, stop: Stop) -> None:
        """From another file system: under a name that is nowhere seen, until it is whole."""
        copy = self._incoming / secrets.token_hex(16)
        self._make(self._incoming)
        try:
            with source.open("rb", buffering=0) as old, _create(copy) as new:
                while block := old.read(BLOCK):
                    stop.look()
                    _write(new, block)
                os.fsync(new.fileno())
            copy.rename(target)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise

    def _make(self, directory: Path) -> None:
        """Make a directory and those above it, so that they are there after a power failure."""
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for made in reversed(missing):
            # Another put may have made it meanwhile.
            made.mkdir(mode=0o700, exist_ok=True)
            _sync(made.parent)

    def _delete(self, key: str) -> None:
        with translated("delete an upload"):
            self.path(key).unlink(missing_ok=True)

    def _scan(self, directory: Path) -> tuple[list[Stored], list[Path]]:
        """The files of one directory that have their place there, and the directories below."""
        found, below = [], []
        with translated("list uploads"), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below += [Path(entry.path)] if len(entry.name) == 2 else []
                elif stored := self._stored(Path(entry.path)):
                    found.append(stored)
        return found, below

    def _stored(self, path: Path) -> Stored | None:
        if not is_key(path.name) or self.path(path.name) != path:
            return None
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        return Stored(path.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _prove(self) -> None:
        self._make(self._incoming)
        for left in self._incoming.iterdir():
            with suppress(FileNotFoundError):  # another process', whole or removed by now
                if left.lstat().st_mtime < time.time() - ABANDONED:
                    left.unlink()
        probe = self._incoming / secrets.token_hex(16)
        try:
            with _create(probe) as file:
                file.write(b"Tailrace\n")
                os.fsync(file.fileno())
            _sync(self._incoming)
            probe.read_bytes()
            list(self._root.iterdir())
        finally:
            probe.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> bool:
    """Rename into place what is safe on the disk; false if that is another file system."""
    if source.stat().st_dev != target.parent.stat().st_dev:
        return False
    _sync(source)
    source.chmod(0o600)
    try:
        source.rename(target)
    except OSError as error:
        # One file system under two mounts looks like one.
        if error.errno == errno.EXDEV:
            return False
        raise
    return True


def _create(path: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o600), "wb")


def _write(file: FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _sync(path: Path) -> None:
    """Bring a file, or the names in a directory, safely to the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotStored(path.name) from None
    except OSError as error:
        msg = f"cannot read an upload: {error}"
        raise StoreError(msg) from error


def _close_behind(opening: asyncio.Future[int], reading: asyncio.Future[bytes] | None) -> None:
    """Not under the hands of a thread: the number may be another file's by then."""

    def close(last: asyncio.Future[Any]) -> None:
        # Asked for, or it is reported as an error that nobody saw.
        last.exception()
        if opening.exception() is None:
            os.close(opening.result())

    last = reading or opening
    if last.done():
        close(last)
    else:
        last.add_done_callback(close)


def _read(file: int, length: int, start: int) -> bytes:
    with translated("read an upload"):
        chunk = os.pread(file, length, start)
    if not chunk:
        msg = "an upload is shorter than it was"
        raise StoreError(msg)
    return chunk
