from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from server.db.pool import Database
from server.log.history import History
from tests.log.looking import publish, stamp
from tests.served import served
from tests.waiting import until

FORGED = "UPDATE tailrace.epoch_history SET fingerprint = 'another/database'"


async def test_the_same_database_keeps_its_epoch(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    first = await connection.fetchval("SELECT tailrace.epoch_check()")
    for _ in range(3):
        assert await connection.fetchval("SELECT tailrace.epoch_check()") == first
    await connection.close()


async def test_connections_that_find_another_database_agree_on_one_new_epoch(
    database: Database,
) -> None:
    connections = [await asyncpg.connect(database.url) for _ in range(6)]
    await connections[0].execute("SELECT tailrace.extend(100, 100)")
    await publish(connections[0], 1)
    await stamp(connections[0])
    old = await connections[0].fetchval("SELECT tailrace.epoch_check()")
    await connections[0].execute(FORGED)
    found = await asyncio.gather(
        *(connection.fetchval("SELECT tailrace.epoch_check()") for connection in connections)
    )
    assert len(set(found)) == 1
    assert found[0] != old
    rows = await connections[0].fetch(
        "SELECT epoch, fork FROM tailrace.epoch_history ORDER BY seq DESC LIMIT 2"
    )
    assert tuple(rows[0]) == (found[0], 1)
    for connection in connections:
        await connection.close()


async def test_a_new_epoch_waits_for_a_stamp_in_flight(database: Database) -> None:
    """The fork is the head found under its lock, not one that a stamp is about to move."""
    first, second = [await asyncpg.connect(database.url) for _ in range(2)]
    await first.execute("SELECT tailrace.extend(100, 100)")
    await publish(first, 1)
    transaction = first.transaction()
    await transaction.start()
    await stamp(first)
    new = asyncio.create_task(second.fetchval("SELECT tailrace.epoch_new()"))
    pid = second.get_server_pid()
    await until(
        lambda: first.fetchval("SELECT wait_event_type = 'Lock' FROM pg_stat_get_activity($1)", pid)
    )
    await transaction.commit()
    assert await first.fetchval(
        "SELECT fork = 1 FROM tailrace.epoch_history WHERE epoch = $1", await new
    )
    await first.close()
    await second.close()


async def test_a_live_server_goes_on_in_an_epoch_made_by_hand(database: Database) -> None:
    async with served(database) as server:
        stream, start = await server.live("public.a")
        await server.publish("public.a", 1)
        first = await stream.named(None)
        connection = await asyncpg.connect(database.url)
        new = await connection.fetchval("SELECT tailrace.epoch_new()")
        await connection.close()
        server.service.log.reader.wake()
        await until(lambda: server.service.pubsub.epoch == new)
        await server.publish("public.a", 2)
        assert (await stream.named(None)).data["data"] == 2
        again = await server.open("public.a", headers={"Last-Event-ID": str(first.id)})
        assert (await again.block()).id == f"{new}.1"
        assert (await again.named(None)).id == f"{new}.2"
        assert start.partition(".")[0] != new


async def test_an_id_is_never_judged_by_a_history_older_than_its_head(database: Database) -> None:
    """A fork between the two reads of a resume must not make an id of the old epoch pass."""
    connection = await asyncpg.connect(database.url)
    await connection.execute("SELECT tailrace.extend(100, 100)")
    for number in range(5):
        await publish(connection, number)
    await stamp(connection)
    old = await connection.fetchval("SELECT epoch FROM tailrace.head")

    class Awkward:
        """A connection between whose first two statements the log forks."""

        asked = 0

        async def _fork(self) -> None:
            self.asked += 1
            if self.asked == 2:
                await connection.execute("SELECT tailrace.epoch_new()")
                await publish(connection, "other")
                await stamp(connection)

        async def fetch(self, query: str) -> object:
            await self._fork()
            return await connection.fetch(query)

        async def fetchrow(self, query: str) -> object:
            await self._fork()
            return await connection.fetchrow(query)

    class Pool:
        @asynccontextmanager
        async def acquire(self) -> AsyncIterator[Awkward]:
            yield Awkward()

    resume, _ = await History(Pool()).resume(f"{old}.6")  # type: ignore[arg-type]
    assert resume.gap in ("epoch", "ahead")
    await connection.close()


async def test_an_epoch_begun_by_hand_labels_the_next_event_at_once(database: Database) -> None:
    """Nobody waits for the reader's next look, and no client is told of a gap."""
    connection = await asyncpg.connect(database.url)
    async with served(database) as server:
        stream, _ = await server.live("public.hello")
        new = await connection.fetchval("SELECT tailrace.epoch_new()")
        await publish(connection, 1, "public.hello")
        event = await stream.named(None)
        assert event.id is not None
        assert event.id.partition(".")[0] == new
    await connection.close()
