"""Keeping the log within its bounds: partitions ahead of the head, the floor, what lies below it.

The floor is committed first and alone; only then are partitions removed. A replay that reads the
floor after its page therefore always learns what it may have missed. Removal is DETACH
CONCURRENTLY and then DROP: anything that takes ACCESS EXCLUSIVE on the parent would queue behind
a pg_dump, and every stamp behind that.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from server.db.faults import LOST
from server.log.history import History
from server.log.stamper import BATCH

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

AHEAD = 2
"""Partitions that stand ready beyond the head."""
PERIOD = 30.0
PATIENCE = 3600.0
"""Seconds for a step that has to wait for the transactions of others."""
MESSAGE_IDS = timedelta(hours=24)
REPORTS = timedelta(minutes=1)
"""Answers that came too late for whoever had asked are kept for so long."""

_NAME = re.compile(r"event_([0-9]+)_([0-9]+)")

_PARTITIONS = """
    SELECT c.relname, pg_total_relation_size(c.oid) AS size, i.inhrelid IS NOT NULL AS attached,
           coalesce(i.inhdetachpending, false) AS pending
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relnamespace = 'tailrace'::regnamespace AND c.relkind = 'r'
      AND c.relname ~ '^event_[0-9]+_[0-9]+$'"""


class Partition(NamedTuple):
    """Positions `lo` to `hi - 1`, and the bytes they take with their indexes."""

    lo: int
    hi: int
    size: int
    attached: bool
    pending: bool

    @property
    def name(self) -> str:
        return f"tailrace.event_{self.lo}_{self.hi}"


class Retention:
    """Prunes by age (`seconds`) and by size (`size` in bytes)."""

    def __init__(self, pool: Pool, *, seconds: int, size: int, partition_size: int) -> None:
        self._pool = pool
        self._history = History(pool)
        self._seconds = seconds
        self._bytes = size
        self._partition_size = partition_size

    async def extend(self) -> int:
        """Make partitions up to `AHEAD` of the head; returns how many were made."""
        head = await self._history.head()
        # At least a whole stamp, or one that does not fit would fail for ever.
        upto = head.pos + max(AHEAD * self._partition_size, BATCH)
        return int(
            await self._pool.fetchval("SELECT tailrace.extend($1, $2)", upto, self._partition_size)
        )

    async def prune(self, upto: int) -> int:
        """Raise the floor to `upto`, then remove the partitions below it; returns the floor."""
        floor = int(await self._pool.fetchval("SELECT tailrace.prune($1)", upto))
        await self.remove()
        return floor

    async def remove(self) -> int:
        """Remove partitions that lie below the floor entirely; returns how many."""
        removed = 0
        head = await self._history.head()
        async with self._pool.acquire() as connection:
            if not await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtext('tailrace.remove'))"
            ):
                return 0  # another process is at it
            try:
                for part in await self._partitions():
                    if part.hi - 1 <= head.floor and part.hi - 1 < head.pos:
                        await self._drop(connection, part)
                        removed += 1
            finally:
                if not connection.is_closed():
                    await connection.execute("SELECT pg_advisory_unlock_all()")
        return removed

    async def run(self) -> None:
        """Keep the bounds until cancelled."""
        while True:
            try:
                await self.extend()
                await self.enforce()
                await self._pool.execute(
                    "DELETE FROM tailrace.message WHERE at < now() - $1::interval", MESSAGE_IDS
                )
                # Without a row to delete, neither of these writes anything.
                await self._pool.execute(
                    "DELETE FROM tailrace.report WHERE at < clock_timestamp() - $1::interval",
                    REPORTS,
                )
            except LOST as error:
                log.warning("retention has to wait: %r", error)
            await asyncio.sleep(PERIOD)

    async def enforce(self) -> None:
        """Prune what is too old or too much, oldest first."""
        head = await self._history.head()
        moment = datetime.now(UTC) - timedelta(seconds=self._seconds)
        upto = await self._history.since(moment, head)
        parts = sorted(part for part in await self._partitions() if part.lo <= head.pos)
        total = sum(part.size for part in parts)
        for part in parts[:-1]:  # the newest is being written
            if total <= self._bytes:
                break
            total -= part.size
            upto = max(upto, part.hi - 1)
        if upto > head.floor:
            log.info("pruning the log up to %d", upto)
            await self.prune(upto)
        else:
            await self.remove()

    async def _partitions(self) -> list[Partition]:
        found = []
        for name, size, attached, pending in await self._pool.fetch(_PARTITIONS):
            if match := _NAME.fullmatch(name):
                found.append(Partition(int(match[1]), int(match[2]), size, attached, pending))
        return sorted(found)

    @staticmethod
    async def _drop(
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], part: Partition
    ) -> None:
        """Detach and drop; each step can be taken up again after a crash between them."""
        if part.attached:
            how = "FINALIZE" if part.pending else "CONCURRENTLY"
            await connection.execute(
                f"ALTER TABLE tailrace.event DETACH PARTITION {part.name} {how}",
                timeout=PATIENCE,
            )
        await connection.execute(f"DROP TABLE {part.name}", timeout=PATIENCE)
