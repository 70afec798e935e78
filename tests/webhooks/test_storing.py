"""What the intake promises, on a real Postgres: once per id, in order, and all or a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from server.db.migrate import migrate
from server.db.pool import Database, connect
from server.errors import ApiError
from server.webhooks.intake.deliveries import Delivery, store
from server.webhooks.intake.intake import Intake
from tests.clean import clean, reused
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection, Pool

__all__ = ["clean", "reused"]

INSERT = """INSERT INTO public.webhook_deliveries (source, message_id, type, headers, body)
    VALUES ('s', $1, 't', '{}', 'other') RETURNING id"""


def delivery(name: str, body: bytes = b"{}", **fields: Any) -> Delivery:
    return Delivery("s", name, "t", None, None, "{}", body)._replace(**fields)


@pytest.fixture
async def pool(clean: Database) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(clean.url, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
async def other(clean: Database) -> AsyncIterator[Connection]:
    """Another process's connection."""
    connection = await connect(clean)
    yield connection
    await connection.close()


@asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[Intake]:
    intake = Intake(pool, lambda: None)
    task = asyncio.create_task(intake.run())
    yield intake
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def names(pool: Pool) -> list[str]:
    """The ids in the order of arrival."""
    rows = await pool.fetch("SELECT message_id FROM public.webhook_deliveries ORDER BY seq")
    return [row["message_id"] for row in rows]


async def blocked(pool: Pool) -> bool:
    """Whether a statement that stores waits for a transaction."""
    found: bool = await pool.fetchval(
        """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
             AND wait_event_type = 'Lock' AND query LIKE '%store_deliveries(%')"""
    )
    return found


async def test_the_order_of_arrival_is_kept_though_rows_are_inserted_by_id(pool: Pool) -> None:
    came = [f"m{number * 7919 % 100:02d}" for number in range(100)]
    results = await store(pool, [delivery(name) for name in came])
    assert await names(pool) == came
    ids = await pool.fetch("SELECT id FROM public.webhook_deliveries ORDER BY seq")
    assert [row["id"] for row in ids] == [result.id for result in results]


async def test_twice_in_a_batch_the_first_is_stored_and_the_second_has_its_id(pool: Pool) -> None:
    twice = [delivery("b", b"1"), delivery("a"), delivery("b", b"2"), delivery("b", source="z")]
    first, between, second, elsewhere = await store(pool, twice)
    assert (first.new, second) == (True, first._replace(new=False))
    assert elsewhere.new
    bodies = await pool.fetch("SELECT body FROM public.webhook_deliveries ORDER BY seq")
    assert [row["body"] for row in bodies] == [b"1", b"{}", b"{}"]
    again = await store(pool, twice)
    assert [one.id for one in again] == [first.id, between.id, first.id, elsewhere.id]
    assert not any(one.new for one in again)


@pytest.mark.parametrize("commits", [True, False])
async def test_one_in_another_open_transaction_is_waited_for(
    pool: Pool, other: Connection, commits: bool
) -> None:
    transaction = other.transaction()
    await transaction.start()
    theirs = await other.fetchval(INSERT, "b")
    storing = asyncio.create_task(store(pool, [delivery(name) for name in "abc"]))
    await until(lambda: blocked(pool))
    assert not storing.done()
    await (transaction.commit() if commits else transaction.rollback())
    results = await storing
    assert [result.new for result in results] == [True, not commits, True]
    assert (results[1].id == theirs) is commits
    assert sorted(await names(pool)) == ["a", "b", "c"]


async def test_a_repeat_does_not_wait_for_the_handler_of_the_first(
    pool: Pool, other: Connection
) -> None:
    [first] = await store(pool, [delivery("a")])
    async with other.transaction():
        await other.execute("UPDATE public.webhook_deliveries SET state = 'done'")
        async with asyncio.timeout(1):  # half of the lock_timeout
            again, new = await store(pool, [delivery("a"), delivery("b")])
    assert (again.id, again.new, new.new) == (first.id, False, True)


async def test_what_another_transaction_keeps_is_503_and_the_others_are_stored(
    pool: Pool, other: Connection
) -> None:
    change = "ALTER FUNCTION tailrace.store_deliveries SET lock_timeout = '{}'"
    await pool.execute(change.format("50ms"))
    try:
        async with running(pool) as intake, other.transaction():
            await other.execute(INSERT, "b")
            results = await asyncio.gather(
                *(intake.submit(delivery(name)) for name in "abc"), return_exceptions=True
            )
    finally:
        await pool.execute(change.format("2s"))
    assert isinstance(results[1], ApiError)
    assert (results[1].kind.status, results[1].headers) == (503, {"Retry-After": "1"})
    assert sorted(await names(pool)) == ["a", "b", "c"]


async def test_two_processes_with_the_same_ids_in_opposite_order_do_not_deadlock(
    pool: Pool,
) -> None:
    for number in range(10):
        some = [delivery(f"{number}-{index}") for index in range(50)]
        one, two = await asyncio.gather(store(pool, some), store(pool, some[::-1]))
        assert [item.id for item in one] == [item.id for item in reversed(two)]
        assert sum(item.new for item in one + two) == 50


@pytest.mark.parametrize("poison", [{"key": "\udc80"}, {"type": "\0"}, {"headers": "no JSON"}])
async def test_what_postgres_refuses_does_not_fail_the_others(
    pool: Pool, poison: dict[str, Any]
) -> None:
    items = [delivery("a"), delivery("b", **poison), delivery("c")]
    async with running(pool) as intake:
        results = await asyncio.gather(*map(intake.submit, items), return_exceptions=True)
    assert isinstance(results[1], ApiError)
    assert results[1].kind.status == 400
    assert await names(pool) == ["a", "c"]


async def test_a_full_disk_is_503_and_nothing_is_acknowledged(pool: Pool) -> None:
    await pool.execute(
        """CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
           CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON public.webhook_deliveries
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.full_disk()"""
    )  # it fails at the commit, when all rows have been told
    async with running(pool) as intake:
        try:
            results = await asyncio.gather(
                *(intake.submit(delivery(name)) for name in "ab"), return_exceptions=True
            )
        finally:
            await pool.execute("DROP FUNCTION public.full_disk CASCADE")
        assert [isinstance(it, ApiError) and it.kind.status for it in results] == [503, 503]
        assert not await names(pool)
        assert (await intake.submit(delivery("a"))).new


async def test_a_server_that_ends_answers_503_to_whoever_waits(
    pool: Pool, other: Connection
) -> None:
    async with other.transaction():
        await other.execute(INSERT, "a")
        async with running(pool) as intake:
            held = asyncio.create_task(intake.submit(delivery("a")))
            await until(lambda: blocked(pool))
            waiting = asyncio.create_task(intake.submit(delivery("b")))
            await asyncio.sleep(0)
    results = await asyncio.gather(held, waiting, return_exceptions=True)
    assert [isinstance(fault, ApiError) and fault.kind.status for fault in results] == [503, 503]
    assert await names(pool) == ["a"]


async def test_each_change_of_state_is_told_once_and_nothing_else(pool: Pool) -> None:
    await store(pool, [delivery(name) for name in ("b", "a", "b")])
    await pool.execute("UPDATE public.webhook_deliveries SET body = NULL, headers = '{}'")
    await pool.execute("UPDATE public.webhook_deliveries SET state = state")
    await store(pool, [delivery("a")])
    await pool.execute("UPDATE public.webhook_deliveries SET state = 'done', attempts = 1")
    await pool.execute("UPDATE public.webhook_deliveries SET state = 'pending'")
    await pool.execute("DELETE FROM public.webhook_deliveries")
    told = await pool.fetch("SELECT type, data FROM tailrace.outbox ORDER BY id")
    assert [row["type"] for row in told] == [
        f"webhook.{name}" for name in ("received", "done", "pending") for _ in range(2)
    ]
    assert '"message_id" : "b"' in told[0]["data"], "in the order of arrival"


async def test_migrations_keep_the_deliveries_and_what_tells_of_them(database: Database) -> None:
    connection = await connect(database)
    await connection.execute(INSERT, "kept")
    for _ in range(2):
        assert await migrate(database, force=True)
    await connection.execute("DELETE FROM tailrace.outbox")
    await connection.execute("UPDATE public.webhook_deliveries SET state = 'dead'")
    await connection.execute(INSERT, "new")
    told = await connection.fetch("SELECT type FROM tailrace.outbox ORDER BY id")
    assert [row["type"] for row in told] == ["webhook.dead", "webhook.received"]
    await connection.close()


async def test_a_database_of_version_4_gets_the_table(database: Database) -> None:
    connection = await connect(database)
    await connection.execute(
        """DROP TABLE public.webhook_deliveries CASCADE;
           DROP FUNCTION tailrace.tell_deliveries, tailrace.store_deliveries;
           DELETE FROM tailrace.schema_version WHERE version > 4;
           INSERT INTO tailrace.schema_version (version) VALUES (4) ON CONFLICT DO NOTHING"""
    )
    assert await connection.fetchval("SELECT to_regclass('public.webhook_deliveries_seq')") is None
    assert await migrate(database)
    await connection.execute(INSERT, "new")
    told = await connection.fetchval("SELECT type FROM tailrace.outbox")
    assert told == "webhook.received"
    await connection.close()
