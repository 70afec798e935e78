"""The worker: each delivery's effect once, in order per key, whatever fails in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from server.db.pool import Database
from server.keys import POOL, SETTINGS
from server.webhooks.handling import worker as module
from server.webhooks.handling.retention import Retention
from server.webhooks.handling.worker import WORKER, Attempt, Worker, failed
from server.webhooks.intake.deliveries import Delivery
from server.webhooks.intake.intake import INTAKE
from tests.clean import clean, reused
from tests.gate import gated
from tests.served import Served, served
from tests.waiting import until

__all__ = ["clean", "reused"]

# A handler's statement fails for the users that are marked so, and takes its time for others.
TROUBLE = """
    CREATE TABLE trouble (user_id text, sort text);
    CREATE FUNCTION public.troubled() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      found text := (SELECT sort FROM public.trouble t WHERE t.user_id = NEW.id);
    BEGIN
      IF found = 'fail' THEN RAISE EXCEPTION 'the account is frozen';
      ELSIF found = 'die' THEN PERFORM pg_terminate_backend(pg_backend_pid());
      ELSIF found = 'slow' THEN PERFORM pg_sleep(60);
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER troubled BEFORE UPDATE ON users FOR EACH ROW
      EXECUTE FUNCTION public.troubled()"""
UNTROUBLE = "DROP TRIGGER troubled ON users; DROP FUNCTION public.troubled; DROP TABLE trouble"
# Every change to another state, in the order of the commits that made them: one at a time.
TRAIL = """
    CREATE TABLE trail (n serial, seq bigint, key text, backend int DEFAULT pg_backend_pid());
    CREATE FUNCTION public.trailed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO public.trail (seq, key) VALUES (NEW.seq, NEW.key);
      RETURN NEW;
    END $$;
    CREATE TRIGGER trailed BEFORE UPDATE ON webhook_deliveries FOR EACH ROW
      WHEN (NEW.state <> 'pending') EXECUTE FUNCTION public.trailed()"""
UNTRAIL = "DROP TRIGGER trailed ON webhook_deliveries; DROP FUNCTION public.trailed"


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    async with served(clean) as running:
        yield running


async def store(server: Served, number: int, user: str, *, key: str | None = None) -> str:
    """A payment of 10 credits, as the door stores it."""
    body = {"type": "payment.succeeded", "data": {"customerId": user, "credits": 10}, "n": number}
    stored = await server.app[INTAKE].submit(
        Delivery(
            "dodo", f"m{number}", "payment.succeeded", key, None, "{}", json.dumps(body).encode()
        )
    )
    return stored.id


async def row(server: Served, delivery: str) -> Any:
    return await server.app[POOL].fetchrow(
        "SELECT * FROM webhook_deliveries WHERE id = $1", delivery
    )


async def state(server: Served, delivery: str) -> str:
    return str((await row(server, delivery))["state"])


async def credits_of(server: Served, user: str) -> int:
    query = "SELECT credits_total FROM users WHERE id = $1"
    return int(await server.app[POOL].fetchval(query, user))


async def trouble(server: Served, user: str, sort: str) -> None:
    await server.app[POOL].execute("INSERT INTO trouble VALUES ($1, $2)", user, sort)


@pytest.fixture
async def troubled(server: Served, clean: Database) -> AsyncIterator[Served]:
    await server.app[POOL].execute(TROUBLE)
    yield server
    connection = await asyncpg.connect(clean.url)
    await connection.execute(UNTROUBLE)
    await connection.close()


async def all_handled(server: Served) -> None:
    query = "SELECT NOT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')"
    await until(lambda: server.app[POOL].fetchval(query))


async def test_every_state_is_told_on_ops_webhooks(server: Served) -> None:
    _, token = await server.sign_in("admin")
    user, _ = await server.sign_in()
    bearer = {"Authorization": f"Bearer {token}"}
    stream, _ = await server.live("ops.webhooks", headers=bearer)
    delivery = await store(server, 1, user)
    told = [block.data for block in await stream.messages(2)]
    assert [(it["type"], it["key"], it["data"]["state"]) for it in told] == [
        ("webhook.received", delivery, "pending"),
        ("webhook.done", delivery, "done"),
    ]
    [attempt] = json.loads((await row(server, delivery))["history"])
    assert (attempt["state"], attempt["error"]) == ("done", None)


async def test_a_failure_undoes_everything_and_is_tried_again(
    troubled: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.05)
    user, _ = await troubled.sign_in()
    await trouble(troubled, user, "fail")
    delivery = await store(troubled, 1, user)
    await until(lambda: _attempts(troubled, delivery, 3))
    found = await row(troubled, delivery)
    assert (found["state"], found["error"]) == (
        "pending",
        "RaiseError: the account is frozen",
    )
    assert found["due_at"] > found["received_at"]
    pool = troubled.app[POOL]
    assert await pool.fetchval("SELECT count(*) FROM payments") == 0
    await pool.execute("DELETE FROM trouble")
    await all_handled(troubled)
    assert await credits_of(troubled, user) == 10
    history = [it["state"] for it in json.loads((await row(troubled, delivery))["history"])]
    assert history[:3] == ["failed"] * 3
    assert history[-1] == "done"


async def _attempts(server: Served, delivery: str, number: int) -> bool:
    return bool((await row(server, delivery))["attempts"] >= number)


async def test_what_fails_too_often_is_dead_and_frees_those_behind_it(
    troubled: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.02)
    monkeypatch.setattr(module, "LONGEST_BACKOFF", 0.02)
    bad, _ = await troubled.sign_in()
    good, _ = await troubled.sign_in()
    await trouble(troubled, bad, "fail")
    first = await store(troubled, 1, bad, key="one")
    second = await store(troubled, 2, good, key="one")
    await store(troubled, 3, good, key="other")
    await until(lambda: _credited(troubled, good, 10))
    assert (await state(troubled, first), await state(troubled, second)) == ("pending", "pending")
    await all_handled(troubled)
    assert await state(troubled, first) == "dead"
    assert (await row(troubled, first))["attempts"] == module.MAX_ATTEMPTS
    assert await credits_of(troubled, good) == 20


async def _credited(server: Served, user: str, number: int) -> bool:
    return await credits_of(server, user) == number


def test_the_pauses_grow_to_an_hour_and_are_never_alike() -> None:
    for number in range(1, module.MAX_ATTEMPTS):
        expected = min(module.FIRST_BACKOFF * 2 ** (number - 1), module.LONGEST_BACKOFF)
        delays = {failed(number, "").delay for _ in range(50)}
        assert len(delays) > 1
        assert all(0.75 * expected <= delay <= 1.25 * expected for delay in delays)
    assert failed(module.MAX_ATTEMPTS, "why") == Attempt("dead", "why")


async def test_a_delivery_that_kills_its_backend_does_not_come_back_at_once(
    troubled: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    user, _ = await troubled.sign_in()
    await trouble(troubled, user, "die")
    delivery = await store(troubled, 1, user)
    await until(lambda: _attempts(troubled, delivery, 1))
    found = await row(troubled, delivery)
    assert found["state"] == "pending"
    assert found["error"].startswith("interrupted: ")
    assert found["due_at"] > found["received_at"]


async def test_a_handler_that_hangs_is_stopped(
    troubled: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    user, _ = await troubled.sign_in()
    other, _ = await troubled.sign_in()
    await trouble(troubled, user, "slow")
    delivery = await store(troubled, 1, user)
    await store(troubled, 2, other)
    await until(lambda: _attempts(troubled, delivery, 1))
    assert (await row(troubled, delivery))["error"] == "TimeoutError"
    await until(lambda: _credited(troubled, other, 10))


async def test_many_workers_in_two_processes_keep_the_order_of_each_key(clean: Database) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(served(clean)) for _ in range(2)]
        pool = servers[0].app[POOL]
        await pool.execute(TRAIL)
        try:
            users = [(await servers[0].sign_in())[0] for _ in range(4)]
            await asyncio.gather(
                *(
                    store(servers[n % 2], n, users[n % 3], key=f"key{n % 5}" if n % 7 else None)
                    for n in range(300)
                )
            )
            await all_handled(servers[0])
            trail = await pool.fetch(
                "SELECT t.seq, t.key, t.backend, substr(d.message_id, 2)::int AS number"
                " FROM trail t JOIN webhook_deliveries d USING (seq) ORDER BY t.n"
            )
        finally:
            await pool.execute(UNTRAIL)
        arrived: dict[Any, list[int]] = {}
        for item in trail:
            if item["key"] is not None:
                arrived.setdefault((item["key"], item["number"] % 2), []).append(item["number"])
        assert len(arrived) == 10
        # Each process has stored its own in their order; between the two there is none.
        assert all(numbers == sorted(numbers) for numbers in arrived.values())
        assert len(trail) == len({item["seq"] for item in trail}) == 300
        assert len({item["backend"] for item in trail}) > 1
        assert sum(server.app[WORKER].handled for server in servers) == 300
        assert [await credits_of(servers[0], user) for user in users] == [1000, 1000, 1000, 0]


async def test_a_backlog_of_one_key_is_handled_in_its_order(
    clean: Database, server: Served
) -> None:
    pool = server.app[POOL]
    user, _ = await server.sign_in()
    await pool.execute("INSERT INTO webhook_sources (name, paused_at) VALUES ('dodo', now())")
    for number in range(0, 120, 40):
        await asyncio.gather(*(store(server, number + n, user, key="one") for n in range(40)))
    await store(server, 999, user)
    await pool.execute(TRAIL)
    try:
        async with served(clean, webhook_workers=4) as other:
            assert await credits_of(server, user) == 0
            await pool.execute("UPDATE webhook_sources SET paused_at = NULL")
            other.app[WORKER].wake()
            server.app[WORKER].wake()
            await all_handled(server)
        seqs = [
            row["seq"]
            for row in await pool.fetch("SELECT seq FROM trail WHERE key = 'one' ORDER BY n")
        ]
    finally:
        await pool.execute(UNTRAIL)
    assert seqs == sorted(seqs)
    assert await credits_of(server, user) == 1210


async def test_a_paused_source_does_not_hold_up_the_others(server: Served) -> None:
    pool = server.app[POOL]
    user, _ = await server.sign_in()
    await pool.execute("INSERT INTO webhook_sources (name, paused_at) VALUES ('stripe', now())")
    paused = await server.app[INTAKE].submit(
        Delivery("stripe", "m", "customer.created", None, None, "{}", b"{}")
    )
    await store(server, 1, user)
    await until(lambda: _credited(server, user, 10))
    assert await state(server, paused.id) == "pending"


async def test_a_process_without_workers_only_stores_and_another_is_woken_by_the_log(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody looks by himself: what is handled was told by the event.
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    async with served(clean, webhook_workers=0) as web, served(clean) as other:
        user, _ = await web.sign_in()
        for number in range(3):
            await store(web, number, user)
            await until(lambda number=number: _credited(web, user, 10 * (number + 1)))  # type: ignore[misc]
        assert (web.app[WORKER].handled, other.app[WORKER].handled) == (0, 3)


async def test_the_database_goes_away_and_comes_back(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    async with gated(clean) as (gate, behind), served(behind) as server:
        user, _ = await server.sign_in()
        pool = await asyncpg.create_pool(clean.url, min_size=1, max_size=2)
        await pool.execute(
            "INSERT INTO webhook_deliveries (source, message_id, type, headers, body)"
            """ SELECT 'dodo', n::text, 'payment.succeeded', '{}', convert_to(format("""
            """ '{"data": {"customerId": "%s", "credits": 10}}', $1::text), 'UTF8')"""
            " FROM generate_series(1, 200) n",
            user,
        )
        server.app[WORKER].wake()
        pending = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'"

        async def fewer(than: int) -> bool:
            return bool(await pool.fetchval(pending) < than)

        for than in (190, 150, 100):
            await until(lambda than=than: fewer(than))  # type: ignore[misc]
            gate.cut()
        await until(lambda: fewer(1))
        query = "SELECT credits_total FROM users WHERE id = $1"
        assert await pool.fetchval(query, user) == 2000
        await pool.close()


async def test_payloads_go_first_ids_long_after_and_what_waits_stays(clean: Database) -> None:
    async with served(clean, webhook_workers=0) as server:
        pool = server.app[POOL]
        await pool.execute(
            "INSERT INTO webhook_deliveries"
            " (source, message_id, type, headers, body, state, received_at)"
            """ SELECT 'dodo', state || age, 't', '{"a":"b"}', '{}', state,"""
            " now() - age * interval '1 day' FROM unnest($1::text[]) AS state,"
            " unnest(ARRAY[1, 31, 181]) AS age",
            ["pending", "done", "unhandled", "unmatched", "dead"],
        )
        settings = server.app[SETTINGS]
        retention = Retention(
            pool, payloads=settings.webhook_retain_payloads, deliveries=settings.webhook_retain
        )
        assert await retention.look() == 4 + 2
        assert await retention.look() == 0
        left = await pool.fetch("SELECT message_id, body, headers FROM webhook_deliveries")
        assert {item["message_id"] for item in left if item["body"] is None} == {
            "done31",
            "unhandled31",
        }
        assert {item["headers"] for item in left if item["body"] is None} == {"{}"}
        names = {item["message_id"] for item in left}
        assert "pending181" in names
        assert not {"done181", "unhandled181", "unmatched181", "dead181"} & names


async def test_a_server_that_ends_leaves_what_it_had_in_hand_as_it_was(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    connection = await asyncpg.connect(clean.url)
    await connection.execute(TROUBLE)
    holding = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    try:
        async with asyncio.timeout(20), served(clean) as server:
            user, _ = await server.sign_in()
            await trouble(server, user, "slow")
            await store(server, 1, user)
            await until(lambda: connection.fetchval(holding))
        await until(lambda: _none(connection, holding))
        free = "SELECT state, attempts FROM webhook_deliveries FOR UPDATE SKIP LOCKED"
        found = await connection.fetchrow(free)
        assert found is not None
        assert tuple(found) == ("pending", 0)
    finally:
        await connection.execute(UNTROUBLE)
        await connection.close()


async def _none(pool: Any, query: str) -> bool:
    return not await pool.fetchval(query)


async def test_it_looks_by_itself_for_what_nobody_told_of(
    clean: Database, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    user, _ = await server.sign_in()
    alone = Worker(server.app[POOL], lambda: None, 1)
    task = asyncio.create_task(alone.run())
    await server.app[POOL].execute(
        "ALTER TABLE webhook_deliveries DISABLE TRIGGER ALL;"
        "INSERT INTO webhook_deliveries (source, message_id, type, headers, body)"
        f""" VALUES ('dodo', 'm', 'payment.succeeded', '{{}}',"""
        f""" '{{"data": {{"customerId": "{user}", "credits": 10}}}}');"""
        "ALTER TABLE webhook_deliveries ENABLE TRIGGER ALL"
    )
    await until(lambda: _credited(server, user, 10))
    task.cancel()
