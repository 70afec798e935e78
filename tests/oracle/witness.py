"""The witness: keeps every row of the log before it is pruned, through a connection of its own.

It is also the only one who prunes (the servers' own retention has days to go), so it has seen
whatever is removed. At the end it reads all that is left once more: what a reader has passed must
not change, and nothing may appear behind it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.db.faults import LOST
from server.log.retention import Retention
from tests.oracle.model import Row, Truth, Violation

if TYPE_CHECKING:
    import asyncpg

    from server.db.pool import Pool

_READ = """
    SELECT pos, channel, type, key, at, message_id::text, data::text FROM tailrace.event
    WHERE pos > $1 ORDER BY pos"""


class Witness:
    """`head`: read up to here. `floor`: at least here. `floors`: every value it may ever have had.

    `seen` is the highest position that anybody has told of.
    """

    def __init__(self, pool: Pool, partition_size: int) -> None:
        self.rows: dict[int, Row] = {}
        self.head = 0
        self.floor = 0
        self.floors: set[int] = set()
        self.seen = 0
        self.epoch = ""
        self.texts: dict[int, str] = {}
        """Texts of events as clients first had them: so many clients need not keep as many."""
        self._pool = pool
        self._retention = Retention(pool, seconds=10**8, size=2**50, partition_size=partition_size)

    async def collect(self) -> int:
        """Read on; the head as far as it is read."""
        self.epoch = await self._pool.fetchval("SELECT epoch FROM tailrace.head")
        for record in await self._pool.fetch(_READ, self.head):
            row = _row(record)
            self.rows[row.pos] = row
            self.head = row.pos
        self.seen = max(self.seen, self.head)
        return self.head

    async def prune(self, upto: int) -> int:
        """Prune what has been read, at most up to `upto`; the floor."""
        upto = min(upto, await self.collect())
        self.floors.add(upto)
        await self._pool.fetchval("SELECT tailrace.prune($1)", upto)
        self.floor = max(self.floor, upto)
        await self._retention.remove()
        return self.floor

    async def settled(self) -> bool:
        """Whether everything that was committed has its position."""
        try:
            waiting = await self._pool.fetchval("SELECT count(*) FROM tailrace.outbox")
            before = self.head
            return await self.collect() == before and waiting == 0
        except LOST:
            return False

    async def review(self) -> list[Violation]:
        """Read what is left of the log again, and compare."""
        found = []
        for record in await self._pool.fetch(_READ, self.floor):
            row = _row(record)
            known = self.rows.get(row.pos)
            if known is None:
                found.append(Violation("behind", "log", f"{row.pos} appeared behind {self.head}"))
            elif known != row:
                found.append(Violation("changed", "log", f"{known} became {row}"))
            self.rows[row.pos] = row
        return found

    def truth(self) -> Truth:
        """What clients are held against."""
        return Truth(self.epoch, self.rows, self.floors)


def _row(record: asyncpg.Record) -> Row:
    at: datetime = record["at"]
    text = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pos, channel, type_, key, _, message_id, data = record
    return Row(pos, channel, type_, key, text, message_id, data)
