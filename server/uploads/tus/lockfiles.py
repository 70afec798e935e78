"""The files by which processes lock an upload. All of it blocks: call it in a thread."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from server.uploads.faults import translated

SUFFIX = ".lock"
DIGITS = 20
"""Of the offset at the file's start; whatever is behind it asks the holder to leave."""


class Opened(NamedTuple):
    """A lock that was got. `size`: bytes of the upload's file; `None`: there is none."""

    descriptor: int
    size: int | None


def take(path: Path, upload: Path) -> Opened | None:
    """Get the lock; `None`: another has it, and was asked to leave.

    Raises:
        StoreError: the disk is full, or failed.
    """
    with translated("lock an upload"):
        return _try(path, upload)


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
            os.pwrite(descriptor, b"!", DIGITS)
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it meanwhile


def mark(descriptor: int, text: bytes) -> None:
    """Write to a lock that is held.

    Raises:
        StoreError: the disk is full, or failed.
    """
    with translated("lock an upload"):
        os.pwrite(descriptor, text, 0)


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
    offset = os.pread(descriptor, DIGITS, 0)
    if len(offset) == DIGITS and offset.isdigit() and int(offset) < size:
        size = int(offset)
        os.truncate(upload, size)
    return size


def close(path: Path, upload: Path, descriptor: int) -> None:
    """Give a lock back."""
    try:
        _size(descriptor, upload)
        # Removed while it is held: whoever waits for it sees that, and makes a new one.
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Remove the locks of uploads that have no file, and that nobody holds.

    Raises:
        StoreError: as `take`.
    """
    for path in directory.glob(f"*{SUFFIX}"):
        upload = path.with_suffix("")
        if not upload.exists():
            opened = take(path, upload)
            if opened is not None:
                close(path, upload, opened.descriptor)
