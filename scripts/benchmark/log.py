"""The run's event log: filling it, and asking it what is true."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from scripts.benchmark.clients import Received, connect
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.world import Target, World

BATCH = 10_000
PUBLISH = """
    SELECT count(tailrace.publish($1, 'tick', jsonb_build_object(
      'seq', n, 'kind', 'price', 'symbol', 'ACME', 'bid', 101.25, 'ask', 101.27,
      'note', 'the quick brown fox jumps')))
    FROM generate_series(1, $2::int) n"""
POSITIONS = "SELECT pos FROM tailrace.event WHERE channel = $1 AND pos > $2 ORDER BY pos"


class Log:
    """A connection to the database; a context."""

    def __init__(self, world: World) -> None:
        self._url = world.postgres.url

    async def __aenter__(self) -> Log:
        self.connection = await asyncpg.connect(self._url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def head(self) -> tuple[str, int]:
        """The log's epoch and last position."""
        rows = await self.connection.fetch("SELECT epoch, pos FROM tailrace.head")
        return rows[0]["epoch"], rows[0]["pos"]

    async def publish(self, channel: str, events: int) -> None:
        """Publish as any application does, in transactions of ten thousand."""
        for done in range(0, events, BATCH):
            await self.connection.execute(PUBLISH, channel, min(BATCH, events - done))

    async def positions(self, channel: str, after: int) -> list[int]:
        """What a reader of the channel must get."""
        return [row["pos"] for row in await self.connection.fetch(POSITIONS, channel, after)]

    async def settled(self) -> int:
        """Wait until everything that was committed has a position; the last one.

        Raises:
            MeasureError: that takes a minute.
        """
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if not await self.connection.fetchval("SELECT EXISTS (SELECT FROM tailrace.outbox)"):
                return (await self.head())[1]
            await asyncio.sleep(0.05)
        raise MeasureError("the outbox is not stamped after two minutes")


async def reached(target: Target, channel: str, position: int) -> None:
    """Wait until a server has delivered everything up to a position.

    Raises:
        MeasureError: that takes two minutes.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        received = Received()
        stream = await connect(target.process.port, f"/api/stream?channel={channel}", received)
        stream.transport.abort()
        await stream.lost
        if int(received.last_id.partition(".")[2]) >= position:
            return
        await asyncio.sleep(0.05)
    raise MeasureError(f"the server has not reached {position} after two minutes")
