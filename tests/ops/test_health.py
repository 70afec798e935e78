from __future__ import annotations

import asyncio

from server.db.pool import Database
from tests.gate import gated
from tests.served import Served, served
from tests.waiting import until


async def test_healthz_answers_without_the_database(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database) as server:
        await gate.shut()
        answer, body = await server.get("/healthz")
        assert (answer.status, body) == (200, {"status": "ok"})
        await gate.open()


async def test_readyz_tells_the_mode_and_the_position(server: Served) -> None:
    await server.publish("public.a", 1)
    await server.settled()
    await until(lambda: server.service.log.listener.mode == "notify")
    answer, body = await server.get("/readyz")
    assert answer.status == 200
    assert body == {"status": "ready", "mode": "notify", "position": str(server.service.pubsub.id)}
    assert answer.headers["cache-control"] == "no-store"


async def test_readyz_is_503_while_the_database_is_gone_and_then_200(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database) as server:
        await until(lambda: ready(server, 200))
        await gate.shut()
        await until(lambda: ready(server, 503))
        await gate.open()
        await until(lambda: ready(server, 200))


async def ready(server: Served, status: int) -> bool:
    answer, body = await server.get("/readyz")
    assert answer.status == 200 or body["error"] == "Service unavailable"
    return answer.status == status


async def test_readyz_says_polling_where_notifications_do_not_arrive(clean: Database) -> None:
    async with gated(clean) as (gate, database):
        gate.deaf = True
        async with served(database) as server:
            await until(lambda: ready(server, 200))
            assert (await server.get("/readyz"))[1]["mode"] == "polling"


async def test_readyz_is_503_during_a_shutdown(server: Served) -> None:
    server.service.streams.closing = True
    assert (await server.get("/readyz"))[0].status == 503


async def test_proofs_at_the_same_time_do_not_disturb_each_other(server: Served) -> None:
    listener = server.service.log.listener
    await until(lambda: listener.mode == "notify")
    assert await asyncio.gather(*(listener.prove() for _ in range(5))) == ["notify"] * 5
    assert listener.reconnects == 0
