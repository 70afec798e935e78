from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.faults import LOST
from server.db.pool import Database
from server.log import retention as module
from server.log.retention import Retention
from tests.log.looking import publish, stamp
from tests.served import served
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from server.db.pool import Pool

PARTITIONS = """SELECT relname FROM pg_class WHERE relnamespace = 'tailrace'::regnamespace
    AND relname ~ '^event_[0-9]+_[0-9]+$' AND relkind = 'r'
    ORDER BY split_part(relname, '_', 2)::int"""


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await asyncpg.create_pool(database.url, min_size=2, max_size=6)
    yield pool
    await pool.close()


@pytest.fixture
async def own(database: Database) -> AsyncIterator[Sql]:
    """A connection to a database of this test's own."""
    connection = await asyncpg.connect(database.url)
    yield connection
    await connection.close()


def make(pool: Pool, *, seconds: int = 3600, size: int = 10**12) -> Retention:
    return Retention(pool, seconds=seconds, size=size, partition_size=100)


async def fill(own: Sql, retention: Retention, count: int) -> None:
    """So many events, over partitions of 100."""
    for _ in range(0, count, 100):
        await retention.extend()
        await own.execute(
            "SELECT tailrace.publish('public.a', 't', to_jsonb(repeat('x', 500)))"
            " FROM generate_series(1, 100)"
        )
        await stamp(own)


async def names(own: Sql) -> list[str]:
    return [row[0] for row in await own.fetch(PARTITIONS)]


async def test_partitions_stand_ready_ahead_of_the_head_and_once(pool: Pool, own: Sql) -> None:
    retention = make(pool)
    made = await retention.extend()
    assert made >= 2
    assert await retention.extend() == 0
    assert await names(own) == [f"event_{n * 100 + 1}_{n * 100 + 101}" for n in range(made)]
    await fill(own, retention, 100)
    assert sum(await asyncio.gather(*(retention.extend() for _ in range(4)))) == 1
    assert len(await names(own)) == made + 1


async def test_pruning_raises_the_floor_then_drops_what_lies_below(pool: Pool, own: Sql) -> None:
    retention = make(pool)
    await fill(own, retention, 300)
    assert await retention.prune(150) == 150
    assert (await names(own))[0] == "event_101_201"
    assert await own.fetchval("SELECT min(pos) FROM tailrace.event") == 101
    assert await retention.prune(200) == 200
    assert (await names(own))[0] == "event_201_301"


async def test_the_floor_never_sinks_and_never_passes_the_head(pool: Pool, own: Sql) -> None:
    retention = make(pool)
    await fill(own, retention, 100)
    assert await retention.prune(50) == 50
    assert await retention.prune(10) == 50
    assert await retention.prune(10**9) == 100
    await fill(own, retention, 100)
    assert await own.fetchval("SELECT count(*) FROM tailrace.event WHERE pos > 100") == 100


async def test_a_crash_between_detach_and_drop_is_healed(pool: Pool, own: Sql) -> None:
    retention = make(pool)
    await fill(own, retention, 300)
    await own.execute("SELECT tailrace.prune(200)")
    await own.execute("ALTER TABLE tailrace.event DETACH PARTITION tailrace.event_1_101")
    assert await retention.remove() == 2
    assert (await names(own))[0] == "event_201_301"
    await retention.extend()


async def test_a_detach_that_was_cut_off_is_taken_up_again(
    pool: Pool, own: Sql, database: Database
) -> None:
    retention = make(pool)
    await fill(own, retention, 300)
    await own.execute("SELECT tailrace.prune(100)")
    reader = await asyncpg.connect(database.url)
    async with reader.transaction(isolation="repeatable_read"):
        await reader.fetchval("SELECT count(*) FROM tailrace.event")
        removal = asyncio.create_task(retention.remove())
        await until(lambda: own.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"))
        await own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%DETACH PART%' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(LOST):
            await removal
    await reader.close()
    assert await own.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 1
    await retention.extend()
    await fill(own, retention, 100)
    assert await retention.remove() == 1
    assert (await names(own))[0] == "event_101_201"


async def test_a_dump_holds_up_removal_but_neither_stamps_nor_partitions(
    pool: Pool, own: Sql, database: Database
) -> None:
    retention = make(pool)
    await fill(own, retention, 300)
    dump = await asyncpg.connect(database.url)
    async with dump.transaction(isolation="repeatable_read"):
        await dump.execute("LOCK TABLE tailrace.event IN ACCESS SHARE MODE")
        removal = asyncio.create_task(retention.prune(100))
        await until(lambda: own.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"))
        await own.execute("SET lock_timeout = '2s'")
        await fill(own, retention, 300)  # stamps and extends meanwhile
        late = await asyncpg.connect(database.url)
        assert await late.fetchval("SELECT count(*) FROM tailrace.event WHERE pos > 100") == 500
        await late.close()
        assert await make(pool).remove() == 0  # another process finds it being done
        assert not removal.done()
    await removal
    await dump.close()
    assert (await names(own))[0] == "event_101_201"


async def test_what_is_too_old_is_pruned(pool: Pool, own: Sql) -> None:
    retention = make(pool, seconds=60)
    await fill(own, retention, 300)
    await own.execute("UPDATE tailrace.event SET at = at - interval '1 hour' WHERE pos <= 130")
    await retention.enforce()
    assert await own.fetchval("SELECT floor FROM tailrace.head") == 130
    assert (await names(own))[0] == "event_101_201"
    await retention.enforce()
    assert await own.fetchval("SELECT floor FROM tailrace.head") == 130


async def test_everything_may_be_too_old(pool: Pool, own: Sql) -> None:
    retention = make(pool, seconds=60)
    await fill(own, retention, 300)
    await own.execute("UPDATE tailrace.event SET at = at - interval '1 hour'")
    await retention.enforce()
    assert await own.fetchval("SELECT floor = pos FROM tailrace.head")
    await fill(own, retention, 100)
    assert await own.fetchval("SELECT max(pos) FROM tailrace.event") == 400


async def test_what_is_too_much_is_pruned_oldest_partition_first(pool: Pool, own: Sql) -> None:
    retention = make(pool)
    await fill(own, retention, 500)
    size = await own.fetchval("SELECT pg_total_relation_size('tailrace.event_1_101')")
    await make(pool, size=size * 3 + size // 2).enforce()
    floor = await own.fetchval("SELECT floor FROM tailrace.head")
    assert floor in (200, 300)
    assert (await names(own))[0] == f"event_{floor + 1}_{floor + 101}"
    await make(pool, size=1).enforce()  # the partition being written stays
    assert await own.fetchval("SELECT floor FROM tailrace.head") == 400


async def test_an_empty_log_is_left_alone(pool: Pool, own: Sql) -> None:
    retention = make(pool, seconds=60, size=1)
    await retention.extend()
    await retention.enforce()
    assert await own.fetchval("SELECT floor FROM tailrace.head") == 0
    await publish(own, 1)
    assert len(await stamp(own)) == 1


async def test_a_server_crosses_partitions_and_forgets_old_message_ids_and_reports(
    database: Database, own: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.05)
    async with served(database, partition_size=100) as server:
        stream, _ = await server.live("public.a")
        await own.execute("INSERT INTO tailrace.message VALUES (gen_random_uuid(), '2000-01-01')")
        await own.execute("""INSERT INTO tailrace.report VALUES
            (gen_random_uuid(), 'old', '{}', now() - interval '2 minutes'),
            (gen_random_uuid(), 'new', '{}', now())""")
        for start in range(0, 1_000, 50):
            await server.publish("public.a", *range(start, start + 50))
        got = [block.data["data"] for block in await stream.messages(1_000)]
        assert got == list(range(1_000))
        await until(lambda: own.fetchval("SELECT count(*) = 0 FROM tailrace.message"))
        await until(lambda: own.fetchval("SELECT count(*) = 1 FROM tailrace.report"))
        assert await own.fetchval("SELECT process FROM tailrace.report") == "new"
