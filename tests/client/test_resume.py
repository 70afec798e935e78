"""The Python client comes back where it was, whatever its connection meets."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from server import client
from server.auth import tokens
from server.client import Status, connect
from server.db.pool import Database
from tests.client.reading import (
    HEARTBEAT,
    frame,
    in_front,
    numbers,
    publish,
    stream_of,
    take,
)
from tests.clients.proxy import Cut, Proxy
from tests.served import KEY, Served, served
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_an_event_has_its_fields_typed(server: Served, channel: str) -> None:
    async with connect(server.url, channel) as stream:
        start = stream.position
        await server.publish(channel, {"n": [1, None, "ä"]}, type="greeting")
        (event,) = await take(stream, 1)
    assert event[1:4] == (channel, "greeting", None)
    assert event.data == {"n": [1, None, "ä"]}
    assert abs(datetime.now(UTC) - event.at) < timedelta(minutes=5)
    assert event.id == stream.position != start
    assert event.message_id is not None
    assert event.raw.startswith(f'{{"channel":"{channel}"')


async def test_nothing_is_lost_or_doubled_over_cuts_and_refusals(
    server: Served, proxy: Proxy, channel: str
) -> None:
    for number in range(10, 90, 10):
        proxy.cuts.append(Cut(b'"n": %d}' % number, "rst" if number % 20 else "fin"))
    states: list[Status] = []
    async with connect(proxy.url, [channel], on_status=states.append) as stream:
        await publish(server, channel, *range(50))
        reading = asyncio.create_task(numbers(stream, 120))
        await until(lambda: len(proxy.cuts) < 5)
        async with proxy.refusing():
            await publish(server, channel, *range(50, 70))
            await until(lambda: any(state.attempt for state in states))
        await publish(server, channel, *range(70, 120))
        assert await reading == list(range(120))
    assert not proxy.cuts
    counted = [now.attempt for before, now in pairwise(states) if before.state == "open"]
    assert counted == [0] * len(counted)
    assert [request.last_event_id for request in proxy.streams].count(None) == 1
    assert states[-1] == Status("closed")


async def test_a_connection_that_is_silent_is_given_up(
    server: Served, proxy: Proxy, channel: str
) -> None:
    proxy.cuts.append(Cut(b'"n": 2}', "hold"))
    states: list[Status] = []
    async with connect(proxy.url, channel, on_status=states.append) as stream:
        await publish(server, channel, *range(5))
        assert await numbers(stream, 5) == list(range(5))
    assert "nothing came" in states[1].reason


async def test_a_restart_is_survived(
    server: Served, proxy: Proxy, reused: Database, channel: str
) -> None:
    states: list[Status] = []
    async with AsyncExitStack() as stack:
        async with served(reused, heartbeat=HEARTBEAT) as one:
            proxy.upstream = one.port
            stream = connect(proxy.url, channel, on_status=states.append, idle_timeout=10)
            await stack.enter_async_context(stream)
            await publish(server, channel, 0, 1)
            assert await numbers(stream, 1) == [0]
        await publish(server, channel, 2, 3)
        reading = asyncio.create_task(numbers(stream, 4))
        await until(lambda: any(state.attempt for state in states))
        async with served(reused, heartbeat=HEARTBEAT) as other:
            proxy.upstream = other.port
            await publish(server, channel, 4)
            assert await reading == [1, 2, 3, 4]
    assert states[1][:2] == ("waiting", "shutdown")


async def test_a_stored_position_goes_on_where_it_was(server: Served, channel: str) -> None:
    async with connect(server.url, channel) as stream:
        await publish(server, channel, 1, 2, 3)
        assert await numbers(stream, 2) == [1, 2]
        position = stream.position
    async with connect(server.url, channel, after=position) as stream:
        assert stream.position == position
        assert await numbers(stream, 1) == [3]
    async with connect(server.url, channel, rewind=2) as stream:
        assert await numbers(stream, 2) == [2, 3]
    async with connect(server.url, channel, since=datetime.now(UTC) - timedelta(hours=1)) as stream:
        assert await numbers(stream, 3) == [1, 2, 3]
    async with connect(server.url, channel, after="earliest") as stream:
        assert await numbers(stream, 3) == [1, 2, 3]


async def test_the_position_of_a_quiet_channel_moves_with_the_log(
    server: Served, channel: str
) -> None:
    async with connect(server.url, channel) as stream:
        waiting = asyncio.create_task(take(stream, 1))
        await publish(server, "public.elsewhere", 1, 2, 3)
        await server.settled()
        await until(lambda: stream.position == str(server.service.pubsub.id))
        await publish(server, channel, 4)
        assert [event.data["n"] for event in await waiting] == [4]


async def test_the_position_never_runs_ahead_of_what_was_taken(
    server: Served, channel: str
) -> None:
    async with connect(server.url, channel) as stream:
        await server.publish(channel, *({"n": n} for n in range(20)))
        for event in await take(stream, 10):
            assert event.id is not None
        assert stream.position == event.id


async def test_an_ephemeral_event_does_not_move_the_position(server: Served, channel: str) -> None:
    async with connect(server.url, channel) as stream:
        before = stream.position
        server.service.log.ephemeral.send(channel, "typing", {"who": "ada"})
        (event,) = await take(stream, 1)
    assert (event.id, event.message_id, event.data) == (None, None, {"who": "ada"})
    assert stream.position == before


async def test_what_was_left_out_is_counted(server: Served, channel: str) -> None:
    async with connect(server.url, channel) as stream:
        start = stream.position
    await server.publish(channel, *({"n": n} for n in range(10)))
    await server.settled()
    async with connect(server.url, channel, after=start, mode="latest") as stream:
        assert await numbers(stream, 1) == [9]
        assert stream.skipped == 9


async def test_long_lists_are_posted_over_every_connection(
    server: Served, proxy: Proxy, channel: str
) -> None:
    names = [f"{channel}.{'x' * 100}{number}" for number in range(100)]
    proxy.cuts.append(Cut(b'"n": 1}', "rst"))
    async with connect(proxy.url, names, rewind=0) as stream:
        await publish(server, names[99], 1, 2)
        assert await numbers(stream, 2) == [1, 2]
    assert [request.method for request in proxy.streams] == ["POST", "POST"]


async def test_what_is_not_ahead_of_the_position_is_dropped(proxy: Proxy) -> None:
    repeats = stream_of(
        *(frame(f"0000000a.{pos}", pos) for pos in (4, 5, 6, 6, 3, 7)), frame("0000000b.2", 8)
    )
    async with in_front(proxy, repeats), connect(proxy.url, "public.a") as stream:
        assert await numbers(stream, 3) == [6, 7, 8]
        assert stream.position == "0000000b.2"


async def test_busy_servers_are_asked_again_when_they_say(proxy: Proxy) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    rate = b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    bye = stream_of().replace(b"ready\ndata: {}", b'bye\ndata: {"reason":"overload"}')
    states: list[Status] = []
    async with (
        in_front(proxy, stream_of(), bye, busy, rate) as asked,
        connect(proxy.url, "public.a", on_status=states.append) as stream,
    ):
        reading = asyncio.create_task(take(stream, 1))
        await until(lambda: states[-1].state == "open" and len(asked) == 4)
        reading.cancel()
    assert [(state.state, state.reason, state.attempt) for state in states[:6]] == [
        ("open", "", 0),
        ("waiting", "the connection ended", 0),
        ("waiting", "overload", 1),
        ("waiting", "503 Busy", 2),
        ("waiting", "429 Slow", 3),
        ("open", "", 0),
    ]
    assert states[4].delay >= 1
    assert ["Last-Event-ID: 0000000a.5" in request for request in asked] == [False, *[True] * 3]


async def test_a_token_that_runs_out_is_replaced_without_a_hole(
    server: Served, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "BRIEF", 0.0)
    key, states = server.app[tokens.TOKEN_KEY], list[Status]()
    lives = iter([1.1, 600])

    async def token() -> str:
        return tokens.sign([channel], math.ceil(time.time() + next(lives)), "key:1", key)

    async with connect(server.url, channel, token=token, on_status=states.append) as stream:
        reading = asyncio.create_task(numbers(stream, 40))
        for number in range(40):
            await publish(server, channel, number)
            if number == 10:
                await until(lambda: len(states) >= 3)
        assert await reading == list(range(40))
    assert states[1] == Status("waiting", "expired")


async def test_a_token_is_asked_for_once_more_after_a_401(server: Served, channel: str) -> None:
    given = iter(["trk_stale", KEY])

    async def token() -> str:
        return next(given)

    async with connect(server.url, f"private.{channel}", token=token) as stream:
        assert stream.position is not None


async def test_closing_ends_the_iteration_wherever_it_is(proxy: Proxy, channel: str) -> None:
    async def collect() -> str:
        assert [event async for event in stream] == []
        return "over"

    states: list[Status] = []
    for refused in (False, True):
        stream = connect(proxy.url, channel, on_status=states.append)
        await stream.__aenter__()
        reading = asyncio.create_task(collect())
        if refused:
            async with proxy.refusing():
                await until(lambda: states[-1].attempt > 2)
                await stream.close()
        else:
            await stream.close()
        async with asyncio.timeout(10):
            assert await reading == "over"
