"""What nobody needs any more: files that have expired, and what a process left that was killed.

A file is in its store before its row is in Postgres, and leaves it after; so whatever goes wrong
in between leaves a file without a row, never a row without a file. Such orphans are found here,
and removed an hour after their last write: an upload may be under way. Every process looks, at
times of its own, and all that they do may be done twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.db.faults import LOST
from server.uploads.expiring import MOST, Expiry, delete, discard, locks_of
from server.uploads.store import NotStored, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from server.db.pool import Connection, Pool
    from server.uploads.spool import Spool
    from server.uploads.store import Store, Stored

EVERY = 600.0
"""Seconds between two looks at what has expired and at the spool, up to half as many more."""
WALK = 6 * 3600.0
"""Seconds between two looks at the whole store, which costs a request to S3 for 1,000 files."""
ABANDONED = 3600.0
"""Seconds without a write after which a file without a row is a dead process'."""
BATCH = 500
FEW = 100
"""Orphans that are removed however few files have a row: see `Cleaner.walk`."""

_KNOWN = "SELECT id, state FROM public.uploads WHERE id = ANY($1)"
_READY = """
    SELECT id FROM public.uploads
    WHERE state = 'ready' AND id > $1 AND ready_at < $2 ORDER BY id LIMIT $3"""
_NOW = "SELECT clock_timestamp()"

log = logging.getLogger(__name__)


@dataclass
class Cleaned:
    """What was found, and unless it was a dry run removed. `size`: bytes of those without a row."""

    expired: int = 0
    spooled: int = 0
    orphans: int = 0
    size: int = 0
    held: int = 0
    """Orphans that were left, as there were too many."""
    missing: list[str] = field(default_factory=list)
    """Files with a row that the store has not."""

    def __bool__(self) -> bool:
        return bool(self.expired or self.spooled or self.orphans or self.held or self.missing)


class Cleaner:
    """Looks for what is to be removed. `older_than`: seconds since the last write of an orphan;
    `dry_run`: only looks; `force`: removes orphans however many there are."""

    def __init__(
        self,
        pool: Pool | Connection,
        store: Store,
        spool: Spool,
        *,
        older_than: float = ABANDONED,
        dry_run: bool = False,
        force: bool = False,
    ) -> None:
        self._pool = pool
        self._store = store
        self._spool = spool
        self._older_than = older_than
        self._dry_run = dry_run
        self._force = force

    async def run(self) -> None:
        """Clean up, for ever."""
        loop = asyncio.get_running_loop()
        # Not at once: many processes may start together, and have other things to do then.
        walk = loop.time()
        while True:
            await asyncio.sleep(EVERY * random.uniform(1, 1.5))
            found = Cleaned()
            try:
                await self.expire(found)
                await self.sweep(found)
                if loop.time() >= walk:
                    await self.walk(found)
                    walk = loop.time() + WALK * random.uniform(1, 1.5)
            except LOST as error:
                log.warning("the cleanup of uploads waits for the database: %r", error)
            except StoreError as error:
                log.warning("the cleanup of uploads: %s", error)
            if found:
                log.info("uploads cleaned up: %s", found)

    async def look(self) -> Cleaned:
        """Everything at once, and which files are missing.

        Raises:
            StoreError: the store can't be looked at.
        """
        found = Cleaned()
        await self.expire(found)
        await self.sweep(found)
        await self.find_missing(found)
        return found

    async def expire(self, found: Cleaned) -> None:
        """Remove what has expired: rows first."""
        expiry = Expiry(self._pool, self._store, self._spool)
        found.expired += await (expiry.count() if self._dry_run else expiry.remove())

    async def sweep(self, found: Cleaned) -> None:
        """Remove from this machine's spool what no row allows to be there."""
        try:
            left = {file.name: file for file in await self._spool.leftovers(self._older_than)}
        except FileNotFoundError:
            return  # there has been no upload yet
        except OSError as error:
            log.warning("the cleanup of uploads can't read the spool: %s", error)
            return
        known = await self._states(left)
        for name, file in left.items():
            # One that is whole was stored: what is here was not removed in time.
            if known.get(name) != "receiving":
                found.spooled += 1
                found.size += file.size
                if not self._dry_run:
                    await discard(self._spool, name)
        if not self._dry_run:
            async with locks_of(self._spool) as locks:
                await locks.sweep()

    async def walk(self, found: Cleaned) -> set[str]:
        """Remove from the store what has no row; the files there that have one.

        Should most of a store's files be without a row, then more likely the database is another
        one (a fresh one, an old copy, another server's with the same bucket) than all of them
        orphans. They are left, and reported.

        Raises:
            StoreError: the store can't be looked at.
        """
        now: datetime = await self._pool.fetchval(_NOW)
        seen: set[str] = set()
        orphans: dict[str, int] = {}
        batch: list[Stored] = []
        owned = without = 0

        async def settle() -> None:
            nonlocal owned, without
            known = await self._states(stored.key for stored in batch)
            seen.update(known)
            owned += len(known)
            for stored in batch:
                if stored.key in known:
                    continue
                if (now - stored.modified).total_seconds() < self._older_than:
                    seen.add(stored.key)  # its row may come
                    continue
                without += 1
                if len(orphans) < MOST:
                    orphans[stored.key] = stored.size
            batch.clear()

        async for stored in self._store.keys():
            batch.append(stored)
            if len(batch) >= BATCH:
                await settle()
        await settle()
        if without > max(FEW, owned) and not self._force:
            found.held += without
            log.error(
                "%d files in the store of uploads have no row and %d have one: none is removed, as"
                " this may be another server's store or database",
                without,
                owned,
            )
            return seen
        await self._remove(orphans, found)
        return seen

    async def find_missing(self, found: Cleaned) -> None:
        """Walk, and find the rows whose file is not there. They are only reported: a store that is
        set wrong must not cost the rows as well.

        Raises:
            StoreError: the store can't be looked at.
        """
        now = await self._pool.fetchval(_NOW)
        seen = await self.walk(found)
        last = ""
        while rows := await self._pool.fetch(_READY, last, now, BATCH):
            last = rows[-1]["id"]
            for row in rows:
                if row["id"] not in seen and not await self._stored(row["id"]):
                    found.missing.append(row["id"])
        # Those that were deleted meanwhile are not missing.
        found.missing = sorted(await self._states(found.missing))

    async def _remove(self, orphans: dict[str, int], found: Cleaned) -> None:
        keys = list(orphans)
        for at in range(0, len(keys), BATCH):
            batch = keys[at : at + BATCH]
            # Again, at the last moment: a put that took very long may have got its row by now.
            known = await self._states(batch)
            for key in batch:
                if key not in known and (self._dry_run or await delete(self._store, key)):
                    found.orphans += 1
                    found.size += orphans[key]

    async def _states(self, ids: Iterable[str]) -> dict[str, str]:
        """The states of those that have a row."""
        wanted = list(ids)
        rows = []
        for at in range(0, len(wanted), BATCH):
            rows += await self._pool.fetch(_KNOWN, wanted[at : at + BATCH])
        return {row["id"]: row["state"] for row in rows}

    async def _stored(self, key: str) -> bool:
        try:
            async for _ in self._store.open(key, 0, 0):
                pass
        except NotStored:
            return False
        return True
