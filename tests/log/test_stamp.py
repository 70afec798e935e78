from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from tests.log.looking import datas, listening, publish, stamp
from tests.log.test_publish import batch

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from tests.log.conftest import Connect


async def test_positions_begin_at_one_and_have_no_holes(sql: Sql) -> None:
    for number in range(5):
        await publish(sql, number)
    await sql.execute("BEGIN; SELECT tailrace.publish('a', 't', '1'); ROLLBACK")
    await publish(sql, 5)
    assert [event.pos for event in await stamp(sql)] == [1, 2, 3, 4, 5, 6]
    assert await sql.fetchval("SELECT pos FROM tailrace.head") == 6


async def test_a_stamp_takes_no_more_than_it_is_asked_to(sql: Sql) -> None:
    for number in range(5):
        await publish(sql, number)
    assert [event.data for event in await stamp(sql, 2)] == [0, 1]
    assert [event.data for event in await stamp(sql, 2)] == [2, 3]
    assert [event.pos for event in await stamp(sql, 2)] == [5]


async def test_concurrent_stampers_give_dense_positions_in_order(
    sql: Sql, connect: Connect
) -> None:
    stampers = [await connect() for _ in range(6)]
    writers = [await connect() for _ in range(4)]
    writing = True
    taken: list[list[int]] = []

    async def write(writer: Sql, name: int) -> None:
        for number in range(50):
            async with writer.transaction():
                await publish(writer, [name, number])
                await publish(writer, [name, number, "b"])

    async def work(stamper: Sql) -> None:
        while writing or await stamper.fetchval("SELECT EXISTS (SELECT FROM tailrace.outbox)"):
            if rows := await stamper.fetch("SELECT pos FROM tailrace.stamp(7)"):
                taken.append([row["pos"] for row in rows])

    async def write_all() -> None:
        nonlocal writing
        await asyncio.gather(*(write(writer, name) for name, writer in enumerate(writers)))
        writing = False

    await asyncio.gather(write_all(), *(work(stamper) for stamper in stampers))
    assert sorted(pos for batch in taken for pos in batch) == list(range(1, 401))
    assert all(batch == list(range(batch[0], batch[-1] + 1)) for batch in taken)
    rows = await sql.fetch("SELECT pos, data FROM tailrace.event ORDER BY pos")
    assert [row["pos"] for row in rows] == list(range(1, 401))
    assert await sql.fetchval("SELECT pos FROM tailrace.head") == 400


async def test_a_stamp_is_one_notification_of_its_range(sql: Sql, connect: Connect) -> None:
    for number in range(5):
        await publish(sql, number)
    async with listening(await connect()) as heard:
        await stamp(sql, 3)
        assert await heard.drain() == ["1-3"]
        await stamp(sql)
        assert await heard.drain() == ["4-5"]


async def test_a_stamp_with_nothing_to_do_writes_no_wal_and_is_silent(
    sql: Sql, connect: Connect
) -> None:
    await publish(sql, 1)
    await stamp(sql)
    async with listening(await connect()) as heard:
        async with sql.transaction():
            assert await stamp(sql) == []
            assert await sql.fetchval("SELECT pg_current_xact_id_if_assigned()") is None
        assert await heard.drain() == []


async def test_a_stamp_rolled_back_gives_its_positions_again(sql: Sql) -> None:
    await publish(sql, 1)
    transaction = sql.transaction()
    await transaction.start()
    assert [event.pos for event in await stamp(sql)] == [1]
    await transaction.rollback()
    assert [event.pos for event in await stamp(sql)] == [1]


async def test_a_missing_partition_stops_the_stamp_and_loses_nothing(sql: Sql) -> None:
    await sql.execute("UPDATE tailrace.head SET pos = 100000000")
    await publish(sql, 1)
    try:
        await stamp(sql)
    except asyncpg.CheckViolationError:
        await sql.execute("UPDATE tailrace.head SET pos = 0")
    assert [event.pos for event in await stamp(sql)] == [1]


# Poking.


async def test_a_sleeping_stamper_is_woken_once_per_transaction(sql: Sql, connect: Connect) -> None:
    async with listening(await connect()) as heard:
        async with sql.transaction():
            for number in range(5):
                await publish(sql, number)
        assert await heard.drain() == [""]
        await publish(sql, 5)
        assert await heard.drain() == [""]


async def test_nobody_is_woken_while_a_lease_is_held(sql: Sql, connect: Connect) -> None:
    await publish(sql, 1)
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY); SELECT tailrace.watch('t')")
    async with listening(await connect()) as heard:
        await sql.execute("SELECT FROM tailrace.stamp(10, 4500)")
        assert await heard.drain() == ["1-1"]
        await publish(sql, 2)
        await sql.execute("INSERT INTO t VALUES (1)")
        await sql.execute("TRUNCATE t")
        assert await heard.drain() == []
        # A session keeps a promise that it has read; real ones are only ever extended.
        await sql.execute("UPDATE tailrace.lease SET awake_until = '-infinity'")
        sql = await connect()
        for statement in ("INSERT INTO t VALUES (1)", "UPDATE t SET id = 2", "TRUNCATE t"):
            await sql.execute(statement)
            assert await heard.drain() == [""], statement


async def test_a_promise_far_ahead_of_the_clock_is_none(sql: Sql, connect: Connect) -> None:
    """After the clock was set back, an old lease must not silence writers for hours."""
    async with listening(await connect()) as heard:
        for promise in ("infinity", "now() + interval '1 hour'"):
            value = promise if "(" in promise else f"'{promise}'"
            await sql.execute(f"UPDATE tailrace.lease SET awake_until = {value}")
            await publish(sql, 1)
            assert await heard.drain() == [""]
    await sql.execute("SELECT FROM tailrace.stamp(10, 400)")
    assert await sql.fetchval(
        "SELECT awake_until < clock_timestamp() + interval '1 s' FROM tailrace.lease"
    )


async def test_a_rolled_back_savepoint_does_not_swallow_the_poke(
    sql: Sql, connect: Connect
) -> None:
    async with listening(await connect()) as heard:
        await sql.execute("""BEGIN; SAVEPOINT s; SELECT tailrace.publish('public.a', 't', '1');
            ROLLBACK TO s; SELECT tailrace.publish('public.a', 't', '2'); COMMIT""")
        assert await heard.drain() == [""]


async def test_with_poke_off_nothing_notifies_and_two_phases_commit(
    sql: Sql, connect: Connect
) -> None:
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY); SELECT tailrace.watch('t')")
    async with listening(await connect()) as heard:
        await sql.execute("SET tailrace.poke = off")
        await sql.execute("BEGIN")
        await publish(sql, 1)
        await sql.execute("INSERT INTO t VALUES (1); TRUNCATE t; PREPARE TRANSACTION 'contract'")
        assert await datas(sql) == []
        assert not await sql.fetchval("SELECT tailrace.may_sleep()")
        await sql.execute("COMMIT PREPARED 'contract'")
        assert await heard.drain() == []
        assert len(await stamp(sql)) == 3


async def test_a_stamper_may_not_sleep_while_an_insert_is_open(sql: Sql, connect: Connect) -> None:
    other = await connect()
    assert await sql.fetchval("SELECT tailrace.may_sleep()")
    async with other.transaction():
        await publish(other, 1)
        assert not await sql.fetchval("SELECT tailrace.may_sleep()")
        async with sql.transaction():
            await publish(sql, 2)
            assert await other.fetchval("SELECT NOT tailrace.may_sleep()")
    assert await sql.fetchval("SELECT tailrace.may_sleep()")


async def test_a_stamper_may_not_sleep_before_its_promise_runs_out(sql: Sql) -> None:
    await publish(sql, 1)
    await sql.execute("SELECT FROM tailrace.stamp(10, 4500)")
    assert not await sql.fetchval("SELECT tailrace.may_sleep()")


async def test_the_lease_is_not_written_anew_within_a_tenth_of_a_second(sql: Sql) -> None:
    await publish(sql, 1)
    await sql.execute("SELECT FROM tailrace.stamp(10, 4500)")
    before = await sql.fetchval("SELECT xmin FROM tailrace.lease")
    await publish(sql, 2)
    await sql.execute("SELECT FROM tailrace.stamp(10, 4500)")
    assert await sql.fetchval("SELECT xmin FROM tailrace.lease") == before


# Positions of snapshots.


async def test_a_position_and_its_snapshot_miss_nothing_together(
    sql: Sql, connect: Connect
) -> None:
    other = await connect()
    await sql.execute("CREATE TABLE t (id int PRIMARY KEY); SELECT tailrace.watch('t')")
    await sql.execute("INSERT INTO t VALUES (1)")
    await stamp(sql)
    await sql.execute("INSERT INTO t VALUES (2)")  # committed, not stamped
    async with other.transaction(isolation="repeatable_read"):
        shown = {row[0] for row in await other.fetch("SELECT id FROM t")}
        await sql.execute("INSERT INTO t VALUES (3)")
        await stamp(sql)
        at = await other.fetchval("SELECT tailrace.position()")
    epoch = await sql.fetchval("SELECT epoch FROM tailrace.head")
    assert at == f"{epoch}.1"
    rows = await sql.fetch("SELECT data -> 'new' ->> 'id' FROM tailrace.event WHERE pos > 1")
    assert shown | {int(row[0]) for row in rows} == {1, 2, 3}


async def test_publishing_in_any_isolation_is_seen(sql: Sql) -> None:
    for level in ("read_committed", "repeatable_read", "serializable"):
        async with sql.transaction(isolation=level):
            await publish(sql, level)
    assert await datas(sql) == ["read_committed", "repeatable_read", "serializable"]


async def test_a_large_batch_is_moved_in_parts(sql: Sql) -> None:
    import uuid

    await batch(sql, *((uuid.uuid4(), False, number) for number in range(2_500)))
    seen = [event.data for _ in range(3) for event in await stamp(sql, 1_000)]
    assert seen == list(range(2_500))


async def test_a_stamp_tells_the_epoch_that_its_events_belong_to(sql: Sql) -> None:
    for _ in range(2):
        await publish(sql, 1)
        new = await sql.fetchval("SELECT tailrace.epoch_new()")
        (row,) = await sql.fetch("SELECT * FROM tailrace.stamp(10)")
        assert row["epoch"] == new


async def test_a_promise_is_kept_without_a_stamp(sql: Sql, connect: Connect) -> None:
    """A stamper's own notification waits for the crowd's; its word to the crowd must not."""
    async with listening(await connect()) as heard:
        await sql.execute("SELECT tailrace.promise(4500)")
        assert not await sql.fetchval("SELECT tailrace.may_sleep()")
        await publish(sql, 1)
        assert await heard.drain() == []


async def test_a_stamp_returns_its_events_or_how_far_it_came(sql: Sql) -> None:
    await publish(sql, "small")
    (row,) = await sql.fetch("SELECT * FROM tailrace.stamp(10)")
    assert (row["pos"], row["channel"]) == (1, "public.a")
    assert '"small"' in row["body"]
    for _ in range(3):
        await publish(sql, "x" * 1_000_000)
    epoch = await sql.fetchval("SELECT epoch FROM tailrace.head")
    assert row["epoch"] == epoch
    rows = await sql.fetch("SELECT * FROM tailrace.stamp(10)")
    assert [tuple(row) for row in rows] == [(epoch, pos, None, None, None) for pos in (2, 3, 4)]
