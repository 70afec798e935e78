from __future__ import annotations

import asyncio
import time

import pytest

from server.auth import sessions
from server.db.pool import Database
from server.keys import POOL
from tests.served import Served, served
from tests.waiting import until


async def test_a_stream_too_many_is_told_in_a_way_that_browsers_bear(clean: Database) -> None:
    async with served(clean, max_streams=1) as server:
        first, _ = await server.live("public.a")
        second = await server.open("public.a")
        assert second.status == 200
        assert second.headers["content-type"].startswith("text/event-stream")
        bye = await second.block()
        assert (bye.event, bye.data) == ("bye", {"reason": "overload", "retry": bye.retry})
        assert bye.retry is not None
        assert bye.id is None
        assert await second.rest() == b""
        first.abort()
        await until(lambda: len(server.service.streams) == 0)
        await server.live("public.a")


async def test_streams_that_come_together_do_not_pass_the_limit(clean: Database) -> None:
    async with served(clean, max_streams=2) as server:
        await server.publish("public.a", 1)
        await server.settled()
        streams = await asyncio.gather(*(server.open("public.a", rewind=1) for _ in range(12)))
        names = [(await stream.block()).event for stream in streams]
        assert sorted(map(str, names)) == ["bye"] * 10 + ["ready"] * 2


async def test_no_limits_means_none(clean: Database) -> None:
    async with served(clean, max_streams=1, limits="off") as server:
        for _ in range(3):
            await server.live("public.a")


async def test_a_shutdown_says_bye_to_everybody_and_is_quick(clean: Database) -> None:
    async with served(clean) as server:
        streams = [(await server.live("public.a"))[0] for _ in range(5)]
        lagging = await server.open("public.a", buffer=4096)
        lagging.pause()
        await server.publish("public.a", *["x" * 100_000] * 20)
        await server.settled()
        poll = asyncio.create_task(
            server.raw(b"GET /api/events?channel=public.b&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        )
        await until(lambda: len(server.service.pubsub.subscribers) == 7)
        started = time.monotonic()
        await asyncio.gather(server.runner.cleanup(), *(_bye(stream) for stream in streams))
        assert time.monotonic() - started < 4
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)


async def _bye(stream: object) -> None:
    from tests.served import Stream

    assert isinstance(stream, Stream)
    bye = await stream.named("bye")
    assert bye.data["reason"] == "shutdown"
    assert await stream.rest() == b""


async def test_a_stream_ends_when_its_session_does(server: Served) -> None:
    pool = server.app[POOL]
    user = await pool.fetchval("INSERT INTO users (name, email) VALUES ('U', 'u@x') RETURNING id")
    token = await sessions.create(pool, user)
    await pool.execute("UPDATE sessions SET expires_at = now() + interval '1 second'")
    stream, _ = await server.live(f"user.{user}.x", headers={"Authorization": f"Bearer {token}"})
    started = time.monotonic()
    assert (await stream.named("bye")).data["reason"] == "expired"
    assert time.monotonic() - started < 5
    assert await stream.rest() == b""


async def test_a_client_that_has_gone_is_forgotten(server: Served) -> None:
    streams = [(await server.live("public.a"))[0] for _ in range(3)]
    streams[0].abort()
    await streams[1].close()
    await until(lambda: len(server.service.streams) == 1)
    assert len(server.service.pubsub.subscribers) == 1
    await server.publish("public.a", 1)
    assert (await streams[2].named(None)).data["data"] == 1


async def test_a_quiet_channel_moves_its_client_with_the_log(clean: Database) -> None:
    async with served(clean, heartbeat=0.2) as server:
        stream, start = await server.live("public.a")
        await server.publish("public.b", *range(10))
        await server.settled()
        epoch = start.partition(".")[0]
        while (block := await stream.block()).id != f"{epoch}.10":
            assert block.mark
        # It comes back with that, and is not told of a gap when all of it has been pruned.
        await server.service.log.retention.prune(10)
        again = await server.open("public.a", headers={"Last-Event-ID": f"{epoch}.10"})
        ready, mark = await again.blocks(2)
        assert (ready.id, mark.raw) == (f"{epoch}.10", f"id: {epoch}.10")


async def test_a_busy_channel_needs_no_heartbeat(clean: Database) -> None:
    async with served(clean, heartbeat=0.3) as server:
        stream, _ = await server.live("public.a")
        for number in range(10):
            await server.publish("public.a", number)
            block = await stream.block()
            assert block.data["data"] == number, block.raw


@pytest.mark.parametrize("count", [1, 2_000])
async def test_reconnects_are_spread_by_the_population(count: int) -> None:
    from server.stream import wire

    seen = {wire.spread(count) for _ in range(500)}
    assert min(seen) >= 1_000
    assert max(seen) < 2_000 + count * 1_000 // wire.RECONNECTS_PER_SECOND
