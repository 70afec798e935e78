"""Writers: everything that can become an event, with delays and rollbacks, each step on record.

A commit whose answer did not come is `maybe`: either all of it is in the log or nothing. What
failed before its commit was sent is rolled back for certain.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from server.db.faults import LOST
from tests.oracle.ledger import Item, Ledger, Transaction
from tests.oracle.world import World

if TYPE_CHECKING:
    from server.db.pool import Connection

CHANNELS = (*(f"public.o.{n}" for n in range(6)), "public.deep.x.y", "public.deep.z.y")
SLOW = 3.0
TEXTS = ("", "plain", "zwei\nZeilen", 'say "hé"', "\u2028 \U0001f30a", "data: x\r\n\r\nid: 1.1")
_PUBLISH = "SELECT tailrace.publish($1, $2, $3, $4, $5)::text"
_BATCH = """
    SELECT tailrace.publish(channel, 'batch', '{"of":"many"}', key)
    FROM unnest($1::text[], $2::text[]) AS t (channel, key)"""


class Writer:
    """One of many; `pace` is the longest pause between two of its transactions."""

    def __init__(
        self, name: str, world: World, ledger: Ledger, rng: random.Random, pace: float
    ) -> None:
        self.name = name
        self.over = False
        self.did: Counter[str] = Counter()
        self._world = world
        self._ledger = ledger
        self._rng = rng
        self._pace = pace
        self._connection: Connection | None = None
        self._count = 0
        self._given: list[str] = []
        self._next = ""

    async def run(self) -> None:
        """Write until `over`."""
        acts = (self.one, self.row, self.many, self.copy, self.batch)
        while not self.over:
            act = self._rng.choices(acts, (6, 4, 8, 1, 1))[0]
            await self.attempt(act)
            await asyncio.sleep(self._rng.uniform(0, self._pace))
        if self._connection is not None:
            self._connection.terminate()

    async def attempt(self, act: Callable[[Connection, Transaction], Awaitable[None]]) -> bool:
        """Do one thing; whether it is certainly committed."""
        transaction = self._ledger.begin(self.name, time.monotonic())
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._world.connect(f"oracle {self.name}")
            await act(self._connection, transaction)
        except LOST:
            if transaction.outcome == "open":
                transaction.outcome = "aborted"
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
        self.did[f"{act.__name__} {transaction.outcome}"] += 1
        return transaction.outcome == "committed"

    # --- one statement ----------------------------------------------------------------------

    async def one(self, connection: Connection, transaction: Transaction) -> None:
        """publish(); now and then a message id that was published before."""
        given = None
        if self._rng.random() < 0.3:
            again = self._given and self._rng.random() < 0.5
            given = self._rng.choice(self._given) if again else str(uuid.UUID(int=self._bits()))
            self._given = [*self._given[-8:], given]
        transaction.outcome = "maybe"
        await self._publish(connection, transaction, given)
        self._acked(transaction)

    async def row(self, connection: Connection, transaction: Transaction) -> None:
        """An INSERT into a watched table."""
        transaction.outcome = "maybe"
        await self._insert(connection, transaction)
        self._acked(transaction)

    async def copy(self, connection: Connection, transaction: Transaction) -> None:
        """COPY into a watched table."""
        keys = [self._key() for _ in range(self._rng.randint(3, 20))]
        self._note(transaction, *(f"insert:{key}" for key in keys))
        transaction.outcome = "maybe"
        records = [(key, self._text()) for key in keys]
        await connection.copy_records_to_table("copied", records=records)
        self._acked(transaction)

    async def batch(self, connection: Connection, transaction: Transaction) -> None:
        """Many events in one statement."""
        keys = [self._key() for _ in range(self._rng.randint(3, 60))]
        self._note(transaction, *(f"batch:{key}" for key in keys))
        transaction.outcome = "maybe"
        channels = [self._rng.choice(CHANNELS) for _ in keys]
        await connection.execute(_BATCH, channels, keys)
        self._acked(transaction)

    # --- many -------------------------------------------------------------------------------

    async def many(self, connection: Connection, transaction: Transaction) -> None:
        """A transaction of several statements with delays, and perhaps a rollback."""
        await connection.execute("BEGIN")
        for _ in range(self._rng.randint(1, 6)):
            await self._step(connection, transaction)
            await asyncio.sleep(self._rng.choice((0, 0, 0.001, 0.02)))
        await self._end(connection, transaction, "ROLLBACK" if self._chance(0.25) else "COMMIT")

    async def slow(self, connection: Connection, transaction: Transaction) -> None:
        """A transaction that takes three seconds; the log must not wait for it."""
        end = asyncio.get_running_loop().time() + SLOW
        await connection.execute("BEGIN")
        for left in (0.7, 0.3, 0.0):
            await self._publish(connection, transaction)
            await self._insert(connection, transaction)
            await asyncio.sleep(end - SLOW * left - asyncio.get_running_loop().time())
        await self._end(connection, transaction, "COMMIT")

    async def _step(self, connection: Connection, transaction: Transaction) -> None:
        kind = self._rng.choice(("publish", "publish", "row", "life", "savepoint"))
        if kind == "publish":
            await self._publish(connection, transaction)
        elif kind == "row":
            await self._insert(connection, transaction)
        elif kind == "life":
            await self._life(connection, transaction)
        else:
            undone = self._ledger.begin(self.name, time.monotonic())
            undone.outcome = "aborted"
            await connection.execute("SAVEPOINT here")
            await self._publish(connection, undone)
            await self._insert(connection, undone)
            await connection.execute("ROLLBACK TO here")

    async def _end(self, connection: Connection, transaction: Transaction, how: str) -> None:
        transaction.outcome = "maybe" if how == "COMMIT" else "aborted"
        status = await connection.execute(how)
        assert status == how, status
        if how == "COMMIT":
            self._acked(transaction)

    async def _publish(
        self, connection: Connection, transaction: Transaction, given: str | None = None
    ) -> None:
        key = self._key()
        name = self._note(transaction, f"note:{key}", given=given)
        data = json.dumps({"text": self._text(), "n": self._count})
        answer = await connection.fetchval(
            _PUBLISH, self._rng.choice(CHANNELS), "note", data, key, given
        )
        transaction.ids[name] = answer

    async def _insert(self, connection: Connection, transaction: Transaction) -> str:
        key = self._key()
        self._note(transaction, f"insert:{key}")
        await connection.execute(
            "INSERT INTO watched VALUES ($1, $2, $3)", key, self._rng.randrange(3), self._text()
        )
        return key

    async def _life(self, connection: Connection, transaction: Transaction) -> None:
        """A row's whole life."""
        key = await self._insert(connection, transaction)
        self._note(transaction, f"update:{key}")
        await connection.execute("UPDATE watched SET note = $2 WHERE id = $1", key, self._text())
        self._note(transaction, f"delete:{key}")
        await connection.execute("DELETE FROM watched WHERE id = $1", key)

    # --- the record -------------------------------------------------------------------------

    def _note(self, transaction: Transaction, *names: str, given: str | None = None) -> str:
        """Before the statement is sent."""
        now = time.monotonic()
        transaction.items += [Item(name, now, given) for name in names]
        return names[-1]

    @staticmethod
    def _acked(transaction: Transaction) -> None:
        transaction.outcome, transaction.acked = "committed", time.monotonic()

    def _key(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _text(self) -> str:
        """Mostly short; sometimes long, so that slow readers lag."""
        size = self._rng.choices((0, 800, 12_000), (70, 25, 5))[0]
        return self._rng.choice(TEXTS) + "~" * self._rng.randint(0, size)

    def _bits(self) -> int:
        return self._rng.getrandbits(128)

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share
