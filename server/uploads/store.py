"""Where finished uploads are kept: the contract of the stores, small so that they are easy to add.

A store holds whole files under keys that we made. What they are, whose, and whether they may be
seen stands in Postgres; a key that is not there is an orphan.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

CHUNK = 256 * 1024
"""Bytes of one piece of a file that is read; some pieces are a little larger, the last smaller."""

_KEY = re.compile(r"[a-z0-9]{32}", re.ASCII)


class StoreError(Exception):
    """The store, or the disk of the spool, did not do it; the message is for the log."""


class NotStored(StoreError):  # noqa: N818 - an answer, not a fault
    """There is nothing under this key."""


class NoSpace(StoreError):  # noqa: N818 - as HTTP's 507 says it
    """The disk is full, or a quota or limit of the file system is reached."""


class Stored(NamedTuple):
    """One file of a store."""

    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """What uploads ask of a store. All errors but those named are `StoreError`s."""

    async def put(self, key: str, source: Path, *, size: int, content_type: str) -> None:
        """Keep the file `source` of `size` bytes, whole or not at all, and take it over.

        After success `source` is gone. After an error it is where it was, and the caller's to
        discard. A put that is cancelled leaves nothing in the store; what becomes of `source` is
        then open. Taking back what was under way is waited for a moment, and goes on behind it.

        Raises:
            NoSpace: there is no room for it.
        """

    def open(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        """Read `length` bytes from `start` on, in pieces of about `CHUNK`, both within the file.

        Raises:
            NotStored: at the first piece.
        """

    async def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""

    def keys(self) -> AsyncIterator[Stored]:
        """Every file, in no order. What comes or goes meanwhile may be among them or not."""

    def path(self, key: str) -> Path | None:
        """The local file for sendfile, in stores that have one; it may not be there."""

    async def check(self) -> None:
        """Prove that files can be written, read, listed and removed.

        Raises:
            StartError: they can't; the sentence says why, without credentials.
        """

    async def close(self) -> None:
        """Take back what is under way, for a moment at most, and end the threads."""


def checked(key: str) -> str:
    """The key, if it has the form that we make: no part of it may come from a client.

    Raises:
        ValueError: a programming error.
    """
    if not is_key(key):
        msg = f"not a key of a store: {key!r}"
        raise ValueError(msg)
    return key


def is_key(text: str) -> bool:
    """Whether it has the form `[a-z0-9]{32}`. Nothing below a directory has: that is another store,
    and its files are not ours to clean up."""
    return _KEY.fullmatch(text) is not None
