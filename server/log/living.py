"""Which processes of this database live: by advisory locks, which vanish with their connection.

A shared lock on the LISTEN connection costs no write, and no table tells of the dead. A process
takes it only once notifications have arrived on that connection: through a pooler it would stay
with a connection of somebody else.

A process may live and have lost that connection: it counts as living for a while after it was
seen, unless it has said that it leaves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from server.db.faults import LOST

if TYPE_CHECKING:
    from server.db.pool import Connection, Pool

log = logging.getLogger(__name__)

LOCK_CLASS = 1_952_540_016
"""The first key of these locks ("tail"); the second is the process."""
PATIENCE = 2.0
"""Seconds that the database has to tell who lives."""
LOOK_EVERY = 5.0
REMEMBERED = 15.0
"""Seconds that a process has to connect anew, before it is taken for ended."""
MOST = 1_000
"""Processes that are looked for: any role can take such locks, as many as it likes."""

_LOCK = "SELECT pg_try_advisory_lock_shared($1, $2)"
# Whoever holds such a lock, or waits for one, in whatever mode: nobody can hide a process.
_LIVING = """
    SELECT DISTINCT objid FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = $1 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    LIMIT $2"""


class Living:
    """The living, and this `process` (8 hexadecimal digits) among them."""

    def __init__(self, process: str, pool: Pool) -> None:
        self.process = process
        self._pool = pool
        self._seen: dict[str, float] = {}
        self._left: dict[str, float] = {}
        self._lost = False
        self._found_again = float("-inf")
        self._too_many = False

    @property
    def known(self) -> bool:
        """Whether `others` can be believed to leave nobody out.

        Not while our own listening connection is lost, and not until the others, who may have lost
        theirs with it, had time to be back; nor with more than `MOST` locks.
        """
        settled = time.monotonic() - self._found_again >= REMEMBERED
        return settled and not self._lost and not self._too_many

    @property
    def alone(self) -> bool:
        """Whether nobody else was there at the last look, which is `LOOK_EVERY` old at most."""
        return not self._seen.keys() - self._left.keys() - {self.process}

    async def join(self, connection: Connection) -> bool:
        """Be among them for as long as this connection is open; whether that worked.

        Shared, so that it waits for nobody: two processes may even have drawn the same id.
        """
        taken: bool = await connection.fetchval(_LOCK, LOCK_CLASS, signed(self.process))
        if not taken:
            log.warning("somebody holds the lock that tells others that this process lives")
        return taken

    def lost(self) -> None:
        """The listening connection is gone: perhaps the database was, and all have lost theirs."""
        self._lost = True

    def leave(self, process: str) -> None:
        """`process` has said that it ends; its lock will be gone in a moment."""
        self._left[process] = time.monotonic()

    async def run(self) -> None:
        """Look who is there until cancelled, so that one who vanishes is missed."""
        while True:
            try:
                await self.others()
            except LOST as error:
                log.info("who else lives can't be seen: %r", error)
            await asyncio.sleep(LOOK_EVERY)

    async def others(self) -> set[str]:
        """Every other process that listens, or did so until a moment ago.

        Raises:
            LOST: the database is away.
        """
        async with asyncio.timeout(PATIENCE):
            rows = await self._pool.fetch(_LIVING, LOCK_CLASS, MOST + 1)
        now = time.monotonic()
        if self._lost:
            self._lost, self._found_again = False, now
        self._too_many = len(rows) > MOST
        self._seen = _fresh(self._seen, now) | {f"{row['objid']:08x}": now for row in rows}
        self._left = _fresh(self._left, now)
        return self._seen.keys() - self._left.keys() - {self.process}


def _fresh(times: dict[str, float], now: float) -> dict[str, float]:
    return {process: at for process, at in times.items() if now - at <= REMEMBERED}


def signed(process: str) -> int:
    """A process as an int4, as Postgres has no unsigned ones."""
    number = int(process, 16)
    return number - 2**32 if number >= 2**31 else number
