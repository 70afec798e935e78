"""Chromium's own EventSource against the real server: what it stores, resends and dispatches."""

from __future__ import annotations

import asyncio
import re
import signal

import aiohttp
import pytest
from playwright.async_api import Page

from tests.clients.conftest import Serve
from tests.clients.proxy import Cut
from tests.clients.served import API_KEY, CHANNEL, STREAM
from tests.clients.source import Source
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NO_RING = {"TAILRACE_RING_BYTES": "0"}
"""What is missed is read from the log, never from the process' memory."""


async def test_onmessage_sees_exactly_the_applications_events_in_order(
    serve: Serve, page: Page
) -> None:
    served = await serve()
    source = await Source.open(page, served.proxy.url, STREAM)
    text = 'é 漢字 \U0001f600 "quoted" \\ \n\r\t \u2028\u2029 data: id: 9\n\nevent: bye'
    await served.publish_on(CHANNEL, {"text": text})
    await until(lambda: len(re.findall(rb"id: \S+\n\n", served.proxy.down)) >= 3)  # heartbeats
    await served.publish(20)
    async with aiohttp.ClientSession(served.url) as client:
        events = [{"channel": CHANNEL, "type": "number", "data": {"n": n}} for n in range(21, 31)]
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with client.post("/api/events", json={"events": events}, headers=headers) as answer:
            assert answer.status == 200
    assert await source.numbers(30) == list(range(1, 31))
    (ready,), (heard, number, *rest) = await source.seen("ready"), await source.seen("message")
    assert (ready[1]["channels"], ready[1]["heartbeat"]) == ([CHANNEL], 0.2)
    assert heard[1]["data"] == {"text": text}
    assert (number[1]["channel"], number[1]["type"], number[1]["key"]) == (CHANNEL, "number", None)
    ids = [int(last.split(".")[1]) for last, _ in (ready, heard, number, *rest)]
    assert ids == list(range(32))
    assert [*await source.seen("gap"), *await source.seen("bye"), *await source.errors()] == []


async def test_a_storm_of_cuts_and_refusals_loses_nothing(serve: Serve, page: Page) -> None:
    served = await serve(**NO_RING)
    source = await Source.open(page, served.proxy.url, STREAM)
    await served.storm()
    assert await source.numbers(served.published[-1]) == served.published
    assert len(served.proxy.streams) > 6
    assert Source.CLOSED not in await source.errors()


async def test_a_client_cut_before_its_first_event_goes_on_from_ready(
    serve: Serve, page: Page
) -> None:
    served = await serve(**NO_RING, TAILRACE_HEARTBEAT="30")
    await served.publish_on(CHANNEL, {"n": "before"})
    head = await served.head()
    served.proxy.cuts.append(Cut(b'"heartbeat":30.0}\n\n', "hold"))  # ready, and nothing more
    source = await Source.open(page, served.proxy.url, STREAM)
    async with served.proxy.refusing("fin"):
        await served.publish(5)
        await served.head()
    assert await source.numbers(5) == served.published
    first, second, *_ = served.proxy.streams
    assert first.last_event_id is None
    assert (second.last_event_id or "").endswith(f".{head}")


async def test_the_position_of_a_quiet_channel_moves_with_the_log(serve: Serve, page: Page) -> None:
    served = await serve(**NO_RING, demo=True)
    source = await Source.open(page, served.proxy.url, f"{STREAM}&channel=ops.metrics")
    for number in range(40):
        await served.publish_on("public.others", number)
    moved = await served.head()
    # Metrics have no id: with them the browser tells which one it has stored.
    await source.wait(f"seen.message.some(([id]) => id.split('.')[1] >= {moved})")
    async with served.proxy.refusing("fin"):
        for number in range(3):
            await served.publish_on("public.others", number)
        await served.publish(2)
        # Whoever still stood at `ready` would have been pruned.
        assert await served.sql.fetchval("SELECT tailrace.prune($1)", moved) == moved
    assert await source.numbers(2) == served.published
    assert await source.seen("gap") == []


async def test_a_gap_is_told_once_when_events_are_really_gone(serve: Serve, page: Page) -> None:
    served = await serve(**NO_RING)
    source = await Source.open(page, served.proxy.url, STREAM)
    await served.publish(3)
    await source.numbers(3)
    async with served.proxy.refusing("fin"):
        await served.publish(4)
        floor = await served.head() - 2
        await served.sql.execute("SELECT tailrace.prune($1)", floor)
    await served.publish(1)
    assert await source.numbers(8) == [1, 2, 3, 6, 7, 8]
    ((last_id, gap),) = await source.seen("gap")
    assert gap["reason"] == "pruned"
    assert gap["resumed"] == last_id
    assert (gap["after"].split(".")[1], last_id.split(".")[1]) == ("3", str(floor))


async def test_a_killed_server_that_comes_back_on_its_port_goes_on(
    serve: Serve, page: Page
) -> None:
    served = await serve()
    source = await Source.open(page, served.url, STREAM)
    await served.publish(5)
    await source.numbers(5)
    await served.end(signal.SIGKILL)
    await served.publish(5)
    await served.start()
    await served.publish(5)
    assert await source.numbers(15) == served.published
    assert await source.seen("gap") == []


async def test_a_planned_end_says_bye_after_everything_that_was_committed(
    serve: Serve, page: Page
) -> None:
    served = await serve()
    source = await Source.open(page, served.proxy.url, STREAM)
    await served.publish(5)
    await source.numbers(5)
    assert await served.end(signal.SIGTERM) == 0
    await source.wait("seen.bye.length > 0")
    ((last_id, bye),) = await source.seen("bye")
    assert bye["reason"] == "shutdown"
    assert last_id.endswith(".5")
    await served.publish(5)
    await served.start()
    assert await source.numbers(10) == served.published
    assert Source.CLOSED not in await source.errors()


async def test_a_full_server_is_tried_again_and_never_given_up(serve: Serve, page: Page) -> None:
    served = await serve(TAILRACE_MAX_STREAMS="1")
    source = await Source.open(page, served.proxy.url, STREAM)
    await served.publish(3)
    await source.numbers(3)
    async with aiohttp.ClientSession(served.url) as client:
        async with served.proxy.refusing():
            occupant = await take_the_place(client)
            await served.publish(3)
        await source.wait("seen.bye.length > 2")
        occupant.close()
    assert await source.numbers(6) == served.published
    assert {bye["reason"] for _, bye in await source.seen("bye")} == {"overload"}
    assert Source.CLOSED not in await source.errors()


async def take_the_place(client: aiohttp.ClientSession) -> aiohttp.ClientResponse:
    """Open a stream as soon as the one that was cut has left its place."""
    while True:
        answer = await client.get(STREAM)
        if b"event: ready" in await answer.content.readuntil(b"\n\n"):
            return answer
        answer.close()


async def test_a_reader_that_stops_for_a_while_lags_and_loses_nothing(
    serve: Serve, page: Page
) -> None:
    served = await serve(**NO_RING, TAILRACE_STREAM_BUFFER="1024")
    source = await Source.open(page, served.proxy.url, STREAM)
    served.proxy.stall()
    await served.publish(100, filling="x" * 20_000)
    await served.head()
    served.proxy.flow()
    assert await source.numbers(100) == served.published
    assert len(served.proxy.streams) == 1


async def test_the_browser_waits_as_long_as_the_server_asks(serve: Serve, page: Page) -> None:
    served = await serve(quick_retry=False)
    source = await Source.open(page, served.proxy.url, STREAM)
    found = re.search(rb"retry: ([0-9]+)\n", served.proxy.down)
    assert found is not None
    loop = asyncio.get_running_loop()
    start = loop.time()
    served.proxy.cut("fin")
    await source.wait("seen.ready.length > 1")
    assert loop.time() - start >= int(found[1]) / 1000
