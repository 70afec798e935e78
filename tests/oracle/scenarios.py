"""A short scenario for each planted bug, in which it must show; without it all are lawful."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from tests.oracle.clients import Client
from tests.oracle.law import judge
from tests.oracle.model import Ask, History, Violation
from tests.oracle.servers import Server
from tests.oracle.witness import Witness
from tests.oracle.world import servers_on, witness_of
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection

SMALL = 10
LARGE = 4_000
"""Bytes of data; twenty such events do not fit into the ring."""
_PUBLISH = """
    SELECT tailrace.publish($1, 'note', to_jsonb(repeat('~', $2)), n::text)
    FROM generate_series(1, $3) n"""
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%wanted%'"""
_OLD_PARTITIONS = """
    SELECT inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = 'tailrace.event'::regclass
      AND split_part(inhrelid::regclass::text, '_', 3)::bigint - 1 <= $1"""


class Stage:
    """One server on a database, with a witness and a connection to write on."""

    def __init__(self, url: str, server: Server, witness: Witness, connection: Connection) -> None:
        self.url = url
        self.witness = witness
        self.connection = connection
        self._server = server
        self._histories: list[History] = []

    async def publish(self, channel: str, count: int, size: int = SMALL) -> None:
        """Publish in one transaction, and wait until the log has it."""
        await self.connection.execute(_PUBLISH, channel, size, count)
        await self.settled()

    async def settled(self) -> None:
        """Wait until the log stands still."""
        await until(self.witness.settled)

    @asynccontextmanager
    async def subscriber(self, channel: str, ask: Ask | None = None) -> AsyncIterator[Client]:
        """A client that is connected inside, and has reached the head at the end."""
        client = Client(channel, [channel], self.witness, random.Random(channel))
        client.ask = ask or Ask()
        self._histories.append(client.history)
        task = asyncio.create_task(client.run([self._server]))
        try:
            if ask is None:
                await until(lambda: client.last)
            yield client
            await self.settled()
            await until(lambda: client.position >= self.witness.head)
        finally:
            client.finish()
            await task

    async def verdict(self) -> list[Violation]:
        """What the law says to everything so far."""
        found = await self.witness.review()
        truth = self.witness.truth()
        for history in self._histories:
            found += judge(truth, history, arrived=False)
        return found


Scenario = Callable[[Stage], Awaitable[None]]


async def live(stage: Stage) -> None:
    """A client hears of one transaction after another."""
    async with stage.subscriber("public.live"):
        for _ in range(3):
            await stage.publish("public.live", 11)


async def overtaken_commit(stage: Stage) -> None:
    """A transaction that took its ids first commits last."""
    other = await asyncpg.connect(stage.url)
    async with stage.subscriber("public.late") as client:
        await other.execute("BEGIN")
        await other.execute(_PUBLISH, "public.late", SMALL, 1)
        await stage.publish("public.late", 1)
        await until(lambda: client.position >= stage.witness.head)
        await other.execute("COMMIT")
    await other.close()


async def come_back(stage: Stage) -> None:
    """A client misses some events and comes back: they are in the ring, or in the log."""
    async with stage.subscriber("public.back"):
        await stage.publish("public.back", 3)
    last = Ask(f"{stage.witness.epoch}.{stage.witness.head}")
    await stage.publish("public.back", 30, LARGE)
    async with stage.subscriber("public.back", last):
        pass


async def come_back_late(stage: Stage) -> None:
    """The events that a client missed were pruned before it comes back."""
    async with stage.subscriber("public.pruned"):
        await stage.publish("public.pruned", 3)
    last = Ask(f"{stage.witness.epoch}.{stage.witness.head}")
    await stage.publish("public.pruned", 30, LARGE)
    await stage.witness.prune(stage.witness.head - 5)
    async with stage.subscriber("public.pruned", last):
        pass


async def pruned_under_a_page(stage: Stage) -> None:
    """The log is pruned while a replay's page waits for the table: it finds less than there was."""
    await stage.publish("public.page", 500)
    head = stage.witness.head
    first = Ask(f"{stage.witness.epoch}.{head - 499}")
    locker = await asyncpg.connect(stage.url)
    await locker.execute("BEGIN")
    await locker.execute("LOCK TABLE tailrace.event IN ACCESS EXCLUSIVE MODE")
    async with stage.subscriber("public.page", first):
        await until(lambda: _page_waits(stage))
        # As retention does it: the floor first and alone, then the partitions below it.
        stage.witness.floors.add(head - 20)
        await stage.connection.execute("SELECT tailrace.prune($1)", head - 20)
        stage.witness.floor = head - 20
        for name in await locker.fetch(_OLD_PARTITIONS, head - 20):
            await locker.execute(f"DROP TABLE {name[0]}")
        await locker.execute("COMMIT")
    await locker.close()


async def _page_waits(stage: Stage) -> bool:
    return bool(await stage.connection.fetchval(_WAITING))


SCENARIOS: tuple[Scenario, ...] = (
    live,
    overtaken_commit,
    come_back,
    come_back_late,
    pruned_under_a_page,
)


@asynccontextmanager
async def stage_on(url: str, place: Path, bug: str | None) -> AsyncIterator[Stage]:
    """A stage whose server has the bug, or none."""
    async with servers_on(url, place, "p", bug) as servers, witness_of(url) as witness:
        connection = await asyncpg.connect(url)
        await witness.collect()
        yield Stage(url, servers[0], witness, connection)
        await connection.close()
