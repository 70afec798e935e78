"""What the doors of uploads share, put together; and where an upload begins."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from server.errors import RATE, UNAVAILABLE, ApiError, StartError
from server.log.ephemeral import Ephemeral
from server.settings import Settings
from server.uploads import records
from server.uploads.checking import Checker, answered
from server.uploads.incoming import Incoming, stored
from server.uploads.names import MAX_NAME
from server.uploads.owners import Owner
from server.uploads.policies import Policy
from server.uploads.progress import Meter
from server.uploads.records import require_room
from server.uploads.sniff import Sniffer
from server.uploads.spool import Spool
from server.uploads.store import Store, StoreError

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)


class Uploads:
    """The uploads of one process. `told`: wakes the stamper, there is something in the outbox."""

    def __init__(
        self,
        pool: Pool,
        store: Store,
        settings: Settings,
        ephemeral: Ephemeral,
        told: Callable[[], None],
    ) -> None:
        self.pool = pool
        self.store = store
        self.spool = Spool(settings.data)
        self.checker = Checker()
        self.told = told
        self.quota = settings.upload_quota
        self.stall = settings.upload_stall
        self._at_once = settings.uploads_per_user if settings.limits == "on" else None
        self._ephemeral = ephemeral
        self._running: Counter[str] = Counter()
        self.ends: Counter[str] = Counter(ready=0, failed=0)
        """Uploads that are over, by how."""
        self._closed: str | None = None

    @property
    def running(self) -> int:
        """Requests that send something just now."""
        return self._running.total()

    async def check(self, *, needed: bool) -> None:
        """Prove that there is a place for files. `needed`: else they are refused without one.

        A server that nobody uploads to may well run where nothing can be written.

        Raises:
            StartError: there is none, and it is needed.
        """
        try:
            await self.spool.check()
            await self.store.check()
        except StartError as error:
            if needed:
                raise
            self._closed = str(error)
            log.warning("uploads are closed: %s", error)

    @asynccontextmanager
    async def slot(self, owner: Owner) -> AsyncIterator[None]:
        """One of the uploads that an owner may send at the same time.

        Raises:
            ApiError: 429, or 503 where there is no place for files.
        """
        if self._closed is not None:
            raise ApiError(UNAVAILABLE, "uploads are closed on this server")
        if self._at_once is not None and self._running[owner.label] >= self._at_once:
            detail = f"{self._at_once} uploads of yours are under way"
            raise ApiError(RATE, detail, headers={"Retry-After": "1"})
        self._running[owner.label] += 1
        try:
            yield
        finally:
            self._running[owner.label] -= 1
            if not self._running[owner.label]:
                del self._running[owner.label]

    async def require_room(self, owner: Owner, size: int) -> None:
        """Whether an owner has room for so many bytes: spares one who has not the sending.

        Whether a file fits is judged again when it is whole.

        Raises:
            ApiError: 507.
        """
        require_room(await records.used(self.pool, owner), size, self.quota)

    async def begin(
        self, owner: Owner, policy: Policy, name: str | None, declared: str | None, size: int | None
    ) -> Incoming:
        """Begin to receive a file. `size`: about how many bytes will come, if that is known.

        Raises:
            ApiError: 400 for a type that is not taken, 507.
        """
        with answered():
            sniffer = Sniffer(policy, declared)
        id_ = secrets.token_hex(16)
        with stored():
            file = await self.spool.create(id_)
        meter = self.meter(owner, id_, name or "", policy, size)
        meter.tell("receiving", 0)
        return Incoming(self, owner, policy, file, sniffer, name=name, meter=meter)

    def meter(self, owner: Owner, id_: str, name: str, policy: Policy, size: int | None) -> Meter:
        """What tells the owner's tabs how far an upload is."""
        shown = "".join(char for char in name[-MAX_NAME:] if char.isprintable())
        return Meter(
            self._ephemeral,
            owner,
            id_,
            name=shown,
            policy=policy.name,
            size=size,
            ends=self.ends,
        )

    async def forget(self, id_: str) -> None:
        """Take a file out of the store; one that can't be now is found by the cleanup."""
        try:
            await self.store.delete(id_)
        except StoreError as error:
            log.warning("upload %s is left in the store: %s", id_, error)

    async def close(self) -> None:
        """End the threads, and what is under way in the store."""
        await self.store.close()
        self.spool.close()
        self.checker.close()


UPLOADS = web.AppKey("uploads", Uploads)
