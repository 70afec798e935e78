"""One file that comes in: bounded, looked at and written while it comes, then kept as a whole.

Nothing of it is visible before its row is: the row is the last thing that is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from server.db.faults import LOST
from server.errors import FILE_TOO_LARGE, STORAGE, UNAVAILABLE, ApiError
from server.uploads import records
from server.uploads.checking import Looked, answered
from server.uploads.chunks import Chunk
from server.uploads.names import safe_name
from server.uploads.owners import Owner
from server.uploads.policies import Policy
from server.uploads.progress import Meter
from server.uploads.records import Found, New, Record
from server.uploads.sniff import Sniffer
from server.uploads.spoolfile import SpoolFile
from server.uploads.store import NoSpace, StoreError

if TYPE_CHECKING:
    from server.uploads.service import Uploads

log = logging.getLogger(__name__)


class Incoming:
    """A file that is received in one request; end it by `finish` or `discard`."""

    def __init__(
        self,
        uploads: Uploads,
        owner: Owner,
        policy: Policy,
        file: SpoolFile,
        sniffer: Sniffer,
        *,
        name: str | None,
        meter: Meter,
    ) -> None:
        self.id = file.path.name
        self._uploads = uploads
        self._owner = owner
        self._policy = policy
        self._file = file
        self._sniffer = sniffer
        self._name = name
        self._meter = meter

    async def write(self, chunk: Chunk) -> None:
        """Take the next bytes; waits while the disk is behind.

        Raises:
            ApiError: 400 for a wrong type, 413, 507 when the disk is full, 503 when it failed.
        """
        if self._file.size + len(chunk) > self._policy.max_bytes:
            raise too_large(self._policy)
        with answered():
            self._sniffer.feed(chunk)
        with stored():
            await self._file.write(chunk)
        self._meter.tell("receiving", self._file.size)

    async def finish(self) -> Record:
        """It is whole: check it, store it, and make it known.

        Raises:
            ApiError: as `write`, and 507 when the quota is used up.
        """
        self._meter.tell("checking", self._file.size)
        with stored():
            path = await self._file.finish()
        looked = await self._uploads.checker.look(path, self._sniffer)
        found = found_of(self._file, self._name, looked)
        new = New(
            self.id,
            self._owner,
            self._policy.name,
            self._policy.visibility,
            "ready",
            found,
            expires=seconds(self._policy),
        )
        with stored():
            await self._uploads.store.put(
                self.id, path, size=found.size, content_type=looked.type.name
            )
        # Shielded: cancelled in its commit, nobody would know whether there is a row.
        return await asyncio.shield(self._add(new))

    async def _add(self, new: New) -> Record:
        """Make a stored file known.

        Raises:
            ApiError: 507.
        """
        try:
            kept = await records.add(self._uploads.pool, new, self._uploads.quota)
        except LOST:
            # The row may be there. If it is not, the cleanup finds the file.
            raise
        except Exception:
            await self._uploads.forget(self.id)
            raise
        self._uploads.told()
        self._meter.tell("ready", kept.size)
        return kept

    async def discard(self) -> None:
        """It will not be: remove what there is of it."""
        await self._file.discard()
        self._meter.tell("failed", self._file.size)


@contextmanager
def stored() -> Iterator[None]:
    """What the disk or the store can't do within is answered, and logged.

    Raises:
        ApiError: 507 or 503.
    """
    try:
        yield
    except NoSpace as error:
        log.warning("no space for an upload: %s", error)
        raise ApiError(STORAGE, "the server has no room for it") from error
    except StoreError as error:
        log.warning("an upload failed: %s", error)
        later = {"Retry-After": "5"}
        raise ApiError(UNAVAILABLE, "the store did not take it", headers=later) from error


def too_large(policy: Policy) -> ApiError:
    """The 413 of a policy."""
    return ApiError(FILE_TOO_LARGE, f"a file of {policy.name} has at most {policy.max_bytes} bytes")


def found_of(file: SpoolFile, name: str | None, looked: Looked) -> Found:
    """What a finished file was found to be."""
    width, height = looked.size or (None, None)
    shown = safe_name(name, looked.type)
    return Found(shown, looked.type.name, file.size, file.sha256, width, height)


def seconds(policy: Policy) -> float | None:
    """How long a policy keeps its files; `None`: until they are deleted."""
    return policy.expires.total_seconds() if policy.expires is not None else None
