"""How long deliveries are kept: first their payloads go, their ids long after.

The id is what makes a delivery that comes again a repeat, so it outlives what an attacker, or a
law, would want of the payload. What is not done keeps its payload as long as its id: an operator
may still have it handled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from server.db.faults import LOST

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two looks; several processes do not get into each other's way."""
BATCH = 1000

_PAYLOADS = """
    UPDATE public.webhook_deliveries SET body = NULL, headers = '{}'
    WHERE id IN (SELECT id FROM public.webhook_deliveries
      WHERE received_at < now() - $1::float8 * interval '1 second'
        AND state IN ('done', 'unhandled') AND body IS NOT NULL
      ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)"""
_DELIVERIES = """
    DELETE FROM public.webhook_deliveries
    WHERE id IN (SELECT id FROM public.webhook_deliveries
      WHERE received_at < now() - $1::float8 * interval '1 second' AND state <> 'pending'
      ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)"""


class Retention:
    """`payloads`, `deliveries`: seconds."""

    def __init__(self, pool: Pool, *, payloads: float, deliveries: float) -> None:
        self._pool = pool
        self._rules = ((_DELIVERIES, deliveries), (_PAYLOADS, payloads))

    async def run(self) -> None:
        """Remove what is old, for ever."""
        while True:
            try:
                await self.look()
            except LOST as error:
                log.warning("the retention of webhooks waits for the database: %r", error)
            await asyncio.sleep(EVERY)

    async def look(self) -> int:
        """Remove what is old now, batch by batch; how many rows were touched."""
        touched = 0
        for statement, seconds in self._rules:
            while count := _count(await self._pool.execute(statement, seconds, BATCH)):
                touched += count
        return touched


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
