"""What the Python client raises: gaps that nobody takes, answers that repeating does not mend."""

from __future__ import annotations

import aiohttp
import pytest

from server.client import (
    ForbiddenError,
    Gap,
    GapError,
    ProblemError,
    UnauthorizedError,
    WireError,
    connect,
)
from tests.client.reading import frame, in_front, numbers, publish, stream_of, take
from tests.clients.proxy import Cut, Proxy
from tests.served import KEY, Served

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def pruned(server: Served, channel: str) -> tuple[str, str]:
    """Ten numbers, of which the first six are no more: an id before them, and the floor."""
    async with connect(server.url, channel) as stream:
        await publish(server, channel, *range(1, 11))
        position = stream.position
        floor = (await take(stream, 6))[-1].id
    assert position is not None
    assert floor is not None
    await server.service.log.retention.prune(int(floor.partition(".")[2]))
    server.service.pubsub.ring.clear()
    return position, floor


async def test_a_gap_is_raised_and_passed_by_going_on(server: Served, channel: str) -> None:
    after, floor = await pruned(server, channel)
    async with connect(server.url, channel, after=after) as stream:
        with pytest.raises(GapError) as raised:
            await take(stream, 1)
        assert raised.value.gap == Gap(after, floor, "pruned")
        # Stored now, it would be told of the gap again.
        assert stream.position == after
        assert await numbers(stream, 4) == [7, 8, 9, 10]


async def test_a_gap_is_told_before_what_follows_it(server: Served, channel: str) -> None:
    after, floor = await pruned(server, channel)
    told: list[object] = []

    async def refetch(gap: Gap) -> None:
        told.append(gap)

    async with connect(server.url, channel, after=after, on_gap=refetch) as stream:
        told += await numbers(stream, 4)
    assert told == [Gap(after, floor, "pruned"), 7, 8, 9, 10]


async def test_a_gap_that_was_not_dealt_with_is_told_again(server: Served, channel: str) -> None:
    after, _ = await pruned(server, channel)
    told: list[Gap] = []

    def refetch(gap: Gap) -> None:
        told.append(gap)
        if len(told) == 1:
            raise ConnectionError("the state can't be had")

    async with connect(server.url, channel, after=after, on_gap=refetch) as stream:
        with pytest.raises(ConnectionError):
            await take(stream, 1)
        assert stream.position == after
        assert await numbers(stream, 1) == [7]
    assert len(told) == 2


async def test_a_client_that_is_cut_before_its_gap_is_told_again(
    server: Served, proxy: Proxy, channel: str
) -> None:
    after, floor = await pruned(server, channel)
    proxy.cuts.append(Cut(b'"heartbeat":0.2}\n\n', "fin"))
    told: list[Gap] = []
    stream = connect(proxy.url, channel, after=after, on_gap=told.append, idle_timeout=10)
    async with stream:
        assert await numbers(stream, 1) == [7]
    assert told == [Gap(after, floor, "pruned")]
    assert len(proxy.streams) == 2


async def test_a_position_of_another_log_is_a_gap(server: Served, channel: str) -> None:
    async with connect(server.url, channel, after="00000000.7") as stream:
        with pytest.raises(GapError, match="epoch"):
            await take(stream, 1)


async def test_after_a_gap_the_position_may_go_back(server: Served, channel: str) -> None:
    await server.settled()
    epoch, head = server.service.pubsub.id
    told: list[Gap] = []
    ahead = f"{epoch}.{head + 1_000}"
    async with connect(server.url, channel, after=ahead, on_gap=told.append) as stream:
        await publish(server, channel, 1)
        assert await numbers(stream, 1) == [1]
    assert told == [Gap(ahead, f"{epoch}.{head}", "ahead")]


@pytest.mark.parametrize("after", [None, "nonsense"])
async def test_what_the_caller_must_change_is_raised_with_its_problem(
    server: Served, after: str | None
) -> None:
    name = "public.a" if after else "no channel"
    with pytest.raises(ProblemError) as raised:
        await connect(server.url, name, after=after).__aenter__()
    problem = raised.value
    assert (problem.status, problem.title) == (400, "Invalid input")
    assert problem.issues[0]["path"][0] == ("after" if after else "channel")
    assert problem.issues[0]["message"] in str(problem)
    assert problem.type == "urn:tailrace:error:invalid"
    assert problem.request_id


async def test_credentials_that_do_not_do_are_raised(server: Served, channel: str) -> None:
    user, session = await server.sign_in()

    async def stale() -> str:
        return "trk_stale"

    for token in (None, "trs_unknown", stale):
        with pytest.raises(UnauthorizedError) as raised:
            await connect(server.url, f"private.{channel}", token=token).__aenter__()
        assert raised.value.status == 401
    with pytest.raises(ForbiddenError) as refused:
        await connect(server.url, f"private.{channel}", token=session).__aenter__()
    assert refused.value.status == 403
    async with connect(server.url, f"user.{user}.orders", token=session) as stream:
        assert stream.position is not None


async def test_a_session_of_the_callers_stays_open(server: Served, channel: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession() as session:
        async with connect(server.url, f"private.{channel}", session=session, headers=headers):
            pass
        assert not session.closed


async def test_what_can_not_be_read_is_not_passed_over(proxy: Proxy) -> None:
    broken = stream_of(frame("0000000a.6", 6), "id: 0000000a.7\ndata: {", frame("0000000a.8", 8))
    async with in_front(proxy, broken), connect(proxy.url, "public.a") as stream:
        assert await numbers(stream, 1) == [6]
        with pytest.raises(WireError):
            await take(stream, 1)
        assert stream.position == "0000000a.6"
        with pytest.raises(GapError, match=r"after 0000000a\.6: epoch"):
            await take(stream, 1)
    assert proxy.streams[-1].last_event_id == "0000000a.6"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        stream_of().replace(b"data: {}", b"data: [1]"),
        stream_of().replace(b"event: ready\n", b"").replace(b"{}", b'{"channel":"public.a"}'),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {nonsense\n\n",
    ],
    ids=["html", "no object", "no event", "no JSON"],
)
async def test_an_answer_that_is_no_stream_is_raised(proxy: Proxy, answer: bytes) -> None:
    async with in_front(proxy, answer):
        with pytest.raises(WireError):
            await connect(proxy.url, "public.a").__aenter__()
