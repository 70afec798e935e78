from __future__ import annotations

import asyncio

import pytest

from server.db.pool import Database
from tests.served import Served, Stream, served
from tests.waiting import until

BIG = "x" * 4_000


async def stalled(server: Served) -> Stream:
    """A live stream whose client takes nothing more."""
    stream, _ = await server.live("public.a", buffer=4_096)
    stream.pause()
    return stream


@pytest.mark.parametrize("ring_bytes", [0, 100_000, 16 * 1024 * 1024])
async def test_a_slow_reader_loses_nothing_from_log_or_ring(
    clean: Database, ring_bytes: int
) -> None:
    async with served(clean, stream_buffer=8_192, ring_bytes=ring_bytes) as server:
        stream = await stalled(server)
        for start in range(0, 500, 25):
            await server.publish("public.a", *([n, BIG] for n in range(start, start + 25)))
        await server.settled()
        (subscriber,) = server.service.pubsub.subscribers
        assert subscriber.lagged
        assert not subscriber.live
        stream.resume()
        got = [block.data["data"][0] for block in await stream.messages(500)]
        assert got == list(range(500))
        await until(lambda: subscriber.live)
        await server.publish("public.a", "live")
        assert (await stream.named(None)).data["data"] == "live"


async def test_a_slow_reader_that_falls_below_the_floor_is_told(clean: Database) -> None:
    async with served(clean, stream_buffer=8_192, ring_bytes=0) as server:
        stream = await stalled(server)
        for start in range(0, 500, 50):
            await server.publish("public.a", *([n, BIG] for n in range(start, start + 50)))
        await server.settled()
        await server.service.log.retention.prune(450)
        stream.resume()
        expected = 0
        while (block := await stream.block()).event != "gap":
            if not block.mark:
                assert block.data["data"][0] == expected
                expected += 1
        assert expected < 450
        assert block.data["reason"] == "pruned"
        assert block.data["resumed"].endswith(".450")
        assert [b.data["data"][0] for b in await stream.messages(50)] == list(range(450, 500))


async def test_a_slow_reader_does_not_slow_the_others(clean: Database) -> None:
    async with served(clean, stream_buffer=8_192) as server:
        await stalled(server)
        quick, _ = await server.live("public.a")
        await server.publish("public.a", *([n, BIG] for n in range(200)))
        assert len(await quick.messages(200)) == 200


async def test_a_reader_that_takes_nothing_is_closed_after_the_deadline(clean: Database) -> None:
    async with served(clean, write_deadline=0.5) as server:
        stream = await stalled(server)
        await server.publish("public.a", *[BIG] * 300)
        await until(lambda: len(server.service.streams) == 0)
        assert not server.service.pubsub.subscribers
        stream.resume()
        await stream.gone()


async def test_a_reader_that_reads_slowly_is_not_closed(clean: Database) -> None:
    async with served(clean, write_deadline=1.5, stream_buffer=8_192) as server:
        stream, _ = await server.live("public.a", buffer=4_096)
        await server.publish("public.a", *([n, BIG] for n in range(400)))
        got = []
        for _ in range(25):
            got += [block.data["data"][0] for block in await stream.messages(3)]
            await asyncio.sleep(0.09)  # the reader's own pace: half as long again as the deadline
        got += [block.data["data"][0] for block in await stream.messages(325)]
        assert got == list(range(400))


async def test_the_largest_event_passes_the_smallest_buffer(clean: Database) -> None:
    async with served(clean, stream_buffer=1_024, ring_bytes=1_024) as server:
        stream, _ = await server.live("public.a")
        large = "y" * (1024 * 1024 - 2)
        await server.publish("public.a", large, 1)
        first, second = await stream.messages(2)
        assert (first.data["data"], second.data["data"]) == (large, 1)
