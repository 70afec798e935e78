from __future__ import annotations

import asyncio
import gc

import pytest
from aiohttp import web

from server.db.pool import Database
from server.stream import takeover
from server.stream.carrier import Carrier
from server.stream.outbound import Line
from tests.served import Served, served
from tests.waiting import until


async def test_the_installed_aiohttp_bears_a_take_over() -> None:
    assert await takeover.works()


async def test_an_aiohttp_that_does_not_is_found_out_and_handlers_are_parked(
    clean: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What would change in another aiohttp: its protocol does not let go."""
    monkeypatch.setattr("aiohttp.web_protocol.RequestHandler.connection_lost", lambda *_: None)
    monkeypatch.setattr(takeover, "PROOF_SECONDS", 0.5)
    assert not await takeover.works()
    monkeypatch.undo()
    assert "can't be taken over" in caplog.text
    async with served(clean, takeover="off") as server:
        assert server.service.outbound is None
        stream, _ = await server.live("public.a")
        await server.publish("public.a", 1)
        assert (await stream.named(None)).data["data"] == 1


async def test_nothing_is_left_of_a_client_that_goes(clean: Database) -> None:
    async with served(clean) as server:
        stream, _ = await server.live("public.a", "public.>")
        assert server.runner.server is not None
        assert not server.runner.server.connections  # aiohttp has forgotten it
        stream.abort()
        await until(lambda: not server.service.streams)
        assert not server.service.pubsub.subscribers
        gc.collect()
        ours = [
            item
            for item in gc.get_objects()
            if isinstance(item, Line) and item.outbound is server.service.outbound
        ]
        assert not ours


async def test_one_stream_that_fails_does_not_stop_the_others(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(clean) as server:
        bad, _ = await server.live("public.a")
        (found,) = server.service.streams
        good, _ = await server.live("public.a")

        def fail(data: bytes) -> None:
            raise RuntimeError(data)

        assert isinstance(found.connection, Carrier)
        monkeypatch.setattr(found.connection, "send", fail)
        for number in range(3):
            await server.publish("public.a", number)
        assert [block.data["data"] for block in await good.messages(3)] == [0, 1, 2]
        await bad.gone()
        await until(lambda: len(server.service.streams) == 1)


async def test_bytes_that_a_client_sends_on_are_ignored(clean: Database) -> None:
    async with served(clean) as server:
        stream, _ = await server.live("public.a")
        stream._writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        await server.publish("public.a", 1)
        assert (await stream.named(None)).data["data"] == 1


async def test_a_frame_of_any_size_passes_a_slow_client_whole(server: Served) -> None:
    stream, _ = await server.live("public.a", buffer=4096)
    sizes = [10, 70_000, 300_000, 20, 1_000_000, 5]
    await server.publish("public.a", *("x" * size for size in sizes))
    assert [len(block.data["data"]) for block in await stream.messages(len(sizes))] == sizes


async def test_a_thousand_who_return_from_beyond_the_ring_share_their_reads(
    clean: Database,
) -> None:
    async with served(clean, ring_bytes=1000, pool_size=8) as server:
        await server.publish("public.a", *range(2_000))
        await server.settled()
        epoch = server.service.pubsub.epoch
        before = server.service.replay.pages
        streams = await asyncio.gather(
            *(server.open("public.a", after=f"{epoch}.{number % 50}") for number in range(200))
        )
        for number, stream in enumerate(streams):
            expected = list(range(number % 50, 2_000))
            found = [block.data["data"] for block in await stream.messages(len(expected))]
            assert found == expected
        reads = server.service.replay.pages - before + server.service.replay.shared_reads
        assert reads < 200, reads


def test_a_handed_over_response_is_prepared_only_for_a_client_that_is_there() -> None:
    response = takeover.Response(lambda *_: (asyncio.Protocol(), b""))
    assert isinstance(response, web.StreamResponse)
    assert response.headers["Content-Type"].startswith("text/event-stream")
