"""Which processes of this database live: by advisory locks, which vanish with their holder.

A shared lock on the LISTEN connection costs no write, and no table tells of the dead. A process
takes it only once notifications have arrived on that connection: through a pooler it would stay
with a connection of somebody else.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.db.pool import Connection, Pool

log = logging.getLogger(__name__)

LOCK_CLASS = 1_952_540_016
"""The first key of these locks ("tail"); the second is the process."""
PATIENCE = 2.0
"""Seconds that the database has to tell who lives."""

_LOCK = "SELECT pg_try_advisory_lock_shared($1, $2)"
_LIVING = """
    SELECT DISTINCT objid FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = $1 AND objsubid = 2 AND granted
      AND mode = 'ShareLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    LIMIT 1000"""


class Living:
    """The living, and this `process` (8 hexadecimal digits) among them."""

    def __init__(self, process: str, pool: Pool) -> None:
        self.process = process
        self._pool = pool

    async def join(self, connection: Connection) -> bool:
        """Be among them for as long as this connection is open; whether that worked.

        Shared, so that it waits for nobody: two processes may even have drawn the same id.
        """
        taken: bool = await connection.fetchval(_LOCK, LOCK_CLASS, signed(self.process))
        if not taken:
            log.warning("somebody holds the lock that tells others that this process lives")
        return taken

    async def others(self) -> set[str]:
        """Every other process that listens.

        Raises:
            LOST: the database is away.
        """
        async with asyncio.timeout(PATIENCE):
            rows = await self._pool.fetch(_LIVING, LOCK_CLASS)
        return {f"{row['objid']:08x}" for row in rows} - {self.process}


def signed(process: str) -> int:
    """A process as an int4, as Postgres has no unsigned ones."""
    number = int(process, 16)
    return number - 2**32 if number >= 2**31 else number
