from __future__ import annotations

import asyncio
import gc
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from server.db.pool import Database
from server.stream import takeover
from server.stream.carrier import Carrier
from server.stream.outbound import Line
from tests.served import Served, Stream, served
from tests.tls import certificate
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

        assert isinstance(found.connection, Carrier)
        monkeypatch.setattr(found.connection, "descriptor", None)  # comparing it raises
        for number in range(3):
            await server.publish("public.a", number)
        assert [block.data["data"] for block in await good.messages(3)] == [0, 1, 2]
        await bad.gone()
        await until(lambda: len(server.service.streams) == 1)


@pytest.mark.parametrize("takeover", ["on", "off"], ids=["taken", "parked"])
async def test_streams_pass_tls_and_end_with_bye(
    clean: Database, takeover: str, tmp_path: Path
) -> None:
    context, trusted = certificate(tmp_path)
    client = ssl.create_default_context(cafile=str(trusted))
    async with served(clean, takeover=takeover) as server:
        site = web.TCPSite(server.runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = server.runner.addresses[1][1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        writer.write(b"GET /api/stream?channel=public.a HTTP/1.1\r\nHost: x\r\n\r\n")
        stream = Stream(reader, writer)
        await stream.head()
        while not (await stream.block()).mark:
            pass
        for number in range(5):
            await server.publish("public.a", number)
            assert (await stream.named(None)).data["data"] == number
        await server.publish("public.a", "x" * 1_000_000)
        assert len((await stream.named(None)).data["data"]) == 1_000_000
        await server.service.streams.shut_down()
        assert (await stream.named("bye")).data["reason"] == "shutdown"
        assert await stream.rest() == b""
        stream.abort()
        await until(lambda: not server.service.streams)


async def test_an_unread_body_does_not_hide_that_a_client_goes(clean: Database) -> None:
    async with served(clean) as server:
        body = b"x" * 3_000_000
        head = (
            f"GET /api/stream?channel=public.a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        )
        stream = await server.raw(head.encode() + b"\r\n\r\n" + body)
        assert (await stream.block()).event == "ready"
        stream.abort()
        await until(lambda: not server.service.streams)


async def test_who_goes_while_catching_up_leaves_nothing_behind(clean: Database) -> None:
    async with served(clean, ring_bytes=1000) as server:
        await server.publish("public.a", *("x" * 10_000 for _ in range(300)))
        await server.settled()
        epoch = server.service.pubsub.epoch
        streams = [await server.open("public.a", after=f"{epoch}.0") for _ in range(30)]
        for stream in streams:
            stream.abort()
        await until(lambda: not server.service.streams)
        outbound = server.service.outbound
        assert outbound is not None
        await until(lambda: not outbound.catching)


async def test_nothing_is_sent_after_the_last_event(server: Served) -> None:
    stream, _ = await server.live("public.a", limit=1)
    await server.publish("public.a", 1)
    await server.settled()
    server.service.pubsub.announce("public.a", '{"n":2}')
    await stream.messages(1)
    assert await stream.rest() == b""


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


async def test_two_hundred_who_return_from_beyond_the_ring_share_their_reads(
    clean: Database,
) -> None:
    async with served(clean, ring_bytes=1000, pool_size=8) as server:
        await server.publish("public.a", *range(700))
        await server.settled()
        epoch = server.service.pubsub.epoch
        before = server.service.replay.pages
        streams = await asyncio.gather(
            *(server.open("public.a", after=f"{epoch}.{number % 50}") for number in range(200))
        )
        for number, stream in enumerate(streams):
            expected = list(range(number % 50, 700))
            found = [block.data["data"] for block in await stream.messages(len(expected))]
            assert found == expected
        reads = server.service.replay.pages - before + server.service.replay.shared_reads
        assert reads < 200, reads


def test_a_handed_over_response_is_prepared_only_for_a_client_that_is_there() -> None:
    response = takeover.Response(lambda *_: (asyncio.Protocol(), b""))
    assert isinstance(response, web.StreamResponse)
    assert response.headers["Content-Type"].startswith("text/event-stream")
