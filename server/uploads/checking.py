"""The look at a whole file, before anybody may have it: its type to the end, its dimensions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from server.errors import BAD_TYPE, FILE_TOO_LARGE, NO_FILE, ApiError, Kind
from server.uploads import images, policies
from server.uploads.images import Size
from server.uploads.policies import FileType, Policy
from server.uploads.refused import Reason, Refused
from server.uploads.sniff import Sniffer
from server.uploads.threads import Threads

AT_ONCE = 2
"""Files that are looked at together: an image may take 64 MB."""
READ = 256 * 1024

ANSWERS: dict[Reason, Kind] = {
    Reason.EMPTY: NO_FILE,
    Reason.TYPE: BAD_TYPE,
    Reason.DAMAGED: BAD_TYPE,
    Reason.DIMENSIONS: FILE_TOO_LARGE,
}


class Looked(NamedTuple):
    """What a file is; `size` in pixels, of an image."""

    type: FileType
    size: Size | None


class Checker:
    """Looks at files in threads of its own, a few at once."""

    def __init__(self) -> None:
        self._threads = Threads("check", AT_ONCE)

    async def look(self, path: Path, sniffer: Sniffer) -> Looked:
        """Finish what a sniffer began that was fed the whole file.

        Raises:
            ApiError: 400 or 413, as `ANSWERS` says.
        """
        with answered():
            return await asyncio.shield(self._threads.start(_look, path, sniffer))

    async def look_anew(self, path: Path, policy: Policy, declared: str | None) -> Looked:
        """The same for a file that came in pieces, from its first byte on.

        Raises:
            ApiError: as `look`.
        """
        with answered():
            return await asyncio.shield(self._threads.start(_read, path, policy, declared))

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()


@contextmanager
def answered() -> Iterator[None]:
    """What is refused within is answered.

    Raises:
        ApiError: as `ANSWERS` says.
    """
    try:
        yield
    except Refused as error:
        raise ApiError(ANSWERS[error.reason], str(error)) from error


def _look(path: Path, sniffer: Sniffer) -> Looked:
    found = sniffer.close()
    if found is None:
        with path.open("rb") as file:
            found = sniffer.settle(file)
    if found.kind is policies.Kind.IMAGE:
        return Looked(found, images.measure(path, found))
    return Looked(found, None)


def _read(path: Path, policy: Policy, declared: str | None) -> Looked:
    sniffer = Sniffer(policy, declared)
    with path.open("rb") as file:
        while (chunk := file.read(READ)) and not sniffer.decided:
            sniffer.feed(chunk)
    return _look(path, sniffer)
