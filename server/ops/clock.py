"""How far Postgres' clock is ahead of this process': events carry times of the former."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from server.db.faults import LOST

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds after which it is measured anew: clocks drift, and a failover brings another one."""
AGAIN = 2.0
"""Seconds until the next try when the database was away."""
PATIENCE = 5.0
ROUNDS = 3
"""Of so many the shortest round trip counts."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class Clock:
    """`ahead`: seconds that Postgres' Unix time is ahead of `time.monotonic()` here.

    Postgres is taken to have answered half way through the round trip: wrong by half of it at
    most. Against the monotonic clock, so that a step of this machine's time does no harm.
    `None` until it is known; while the database is away it stays what it was.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.ahead: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            try:
                await self.measure()
            except LOST as error:
                log.info("the database's clock can't be read: %r", error)
                await asyncio.sleep(AGAIN)
            else:
                await asyncio.sleep(EVERY)

    async def measure(self) -> None:
        """Ask Postgres for its time.

        Raises:
            LOST: the database is away.
        """
        found: list[tuple[float, float]] = []
        async with asyncio.timeout(PATIENCE), self._pool.acquire() as connection:
            for _ in range(ROUNDS):
                begun = time.monotonic()
                there = await connection.fetchval(_NOW)
                trip = time.monotonic() - begun
                found.append((trip, there - begun - trip / 2))
        self.ahead = min(found)[1]
