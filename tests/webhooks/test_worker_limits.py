"""The worker where an operator's settings, the disk or the pool leave it little room."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.handling import worker as module
from server.webhooks.handling.worker import WORKER, Worker
from tests.served import served
from tests.waiting import until
from tests.webhooks.test_effects import DODO, Shop
from tests.webhooks.test_worker import TROUBLE, store, trouble

HOLD = "SELECT tailrace.lock_payment('dodo', 'pay_1')"
WAITING = "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
FULL = """
    CREATE FUNCTION public.crammed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER crammed BEFORE UPDATE ON webhook_deliveries FOR EACH ROW
      EXECUTE FUNCTION public.crammed()"""

FILL = """
    INSERT INTO webhook_deliveries (source, message_id, type, headers, state, key)
    SELECT 'dodo', '{state}' || n, 't', '{{}}', '{state}', {key} FROM generate_series(1, 20000) n"""
TAKE = """
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM tailrace.take_webhook('dodo', $1)"""


async def test_a_stricter_isolation_by_default_does_not_hide_a_refund_from_its_payment(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )
    async with served(database) as server:
        user, _ = await server.sign_in()
        shop = Shop(server, user)
        async with connection.transaction():
            await connection.execute(HOLD)
            both = asyncio.gather(
                shop.tell(DODO, "dispute.lost", minute=1), shop.tell(DODO, "payment.succeeded")
            )
            # Each has begun before the other's end.
            await until(lambda: connection.fetchval(WAITING))
        await both
        assert await shop.credits() == 0
    await connection.close()


async def test_a_backlog_is_not_looked_through_while_the_statistics_know_of_none(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("ALTER TABLE webhook_deliveries DISABLE TRIGGER ALL")
    await connection.execute(FILL.format(state="done", key="n"))
    await connection.execute("ANALYZE webhook_deliveries")
    await connection.execute(FILL.format(state="pending", key="'hot'"))
    # A first time for what is read of the catalogue.
    for following in (None, "hot", None, "hot"):
        async with connection.transaction():
            plan = json.loads(await connection.fetchval(TAKE, following))[0]["Plan"]
        assert plan["Actual Rows"] == 1
    for following in (None, "hot"):
        async with connection.transaction():
            plan = json.loads(await connection.fetchval(TAKE, following))[0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100
    await connection.close()


async def test_a_full_disk_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 3600.0)
    async with served(database, webhook_workers=0) as server:
        user, _ = await server.sign_in()
        await store(server, 1, user)
        await server.app[POOL].execute(FULL)
        task = asyncio.create_task(Worker(server.app[POOL], lambda: None, 1).run())
        await until(lambda: "webhooks wait for the database: DiskFullError" in caplog.text)
        task.cancel()
        assert caplog.text.count("attempt 1 failed") == 1


async def test_slow_handlers_leave_a_connection_to_those_who_deliver(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute(TROUBLE)
    async with served(database, pool_size=2, webhook_workers=2) as server:
        user, _ = await server.sign_in()
        other, _ = await server.sign_in()
        for number, name in enumerate((user, other)):
            await trouble(server, name, "slow")
            await store(server, number, name)
        slow = "SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        at_once = server.app[WORKER].number
        await until(lambda: connection.fetchval(slow, at_once))
        async with asyncio.timeout(module.PATIENCE / 2):
            await store(server, 3, user)
        assert await connection.fetchval(slow, at_once)
    await connection.close()
