from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from server.db.pool import Database
from server.stream.service import SERVICE
from tests.log.looking import publish
from tests.served import Served, served
from tests.waiting import until

WRITERS = 12
# A disk whose flush takes its time is what makes transactions overlap; the tests' takes none.
OVERLAPPING = "SELECT tailrace.publish('public.a', 't', '1'), pg_sleep(0.005)"


@asynccontextmanager
async def crowd(database: Database) -> AsyncIterator[None]:
    """Foreign writers who publish all the time, several at once."""

    async def write() -> None:
        sql = await asyncpg.connect(database.url)
        try:
            while True:
                await sql.execute(OVERLAPPING)
        finally:
            sql.terminate()

    tasks = [asyncio.create_task(write()) for _ in range(WRITERS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def busy(server: Served, more_than: int) -> int:
    """How often the stamper has become busy, once it is more than that."""
    stamper = server.app[SERVICE].log.stamper
    await until(lambda: stamper.busy_spells > more_than)
    return stamper.busy_spells


async def test_a_crowd_stops_notifying_and_an_open_transaction_keeps_nobody_waiting(
    database: Database,
) -> None:
    """The stamper polls on for as long as a writer may have relied on it: it stays ready, becomes
    busy again with the next crowd, and finds what is committed at last."""
    late = await asyncpg.connect(database.url)
    async with served(database) as server:
        async with crowd(database):
            spells = await busy(server, 0)
            transaction = late.transaction()
            await transaction.start()
            await publish(late, "late", "public.late")
        stamper = server.app[SERVICE].log.stamper
        await until(lambda: not stamper.promising)
        for _ in range(3):
            assert (await server.get("/readyz"))[0].status == 200
        async with crowd(database):
            await busy(server, spells)
        stream, _ = await server.live("public.late")
        await transaction.commit()
        assert (await stream.named(None)).data["data"] == "late"
    await late.close()
