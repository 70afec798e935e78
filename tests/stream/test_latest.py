from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.db.pool import Database
from server.keys import POOL
from server.log.model import Event, EventId
from server.stream import replay, wire
from server.stream.latest import Newest, position, slot
from server.stream.names import Matcher
from server.stream.subscriber import Waiter
from tests.served import BEARER, Block, Served, Stream, served

BIG = "x" * 4_000

Draft = tuple[str, str | None, object]
"""Channel, key and data of an event."""


RING = 16 * 1024 * 1024


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is skipped must not depend on how quick this machine is."""
    monkeypatch.setattr(replay, "LONG", 1e9)


@pytest.fixture(params=[("on", 0), ("off", RING)], ids=["taken-log", "parked-ring"])
async def server(request: pytest.FixtureRequest, clean: Database) -> AsyncIterator[Served]:
    """Both carriers, and both places to catch up from."""
    takeover, ring_bytes = request.param
    async with served(clean, takeover=takeover, ring_bytes=ring_bytes) as running:
        yield running


async def publish(server: Served, *drafts: Draft, type_: str = "t") -> None:
    """Commit events, all in one transaction, and wait until this process has them."""
    async with server.app[POOL].acquire() as connection, connection.transaction():
        for channel, key, data in drafts:
            await connection.execute(
                "SELECT tailrace.publish($1, $2, $3::jsonb, $4)",
                channel, type_, json.dumps(data), key,
            )  # fmt: skip
    await server.settled()


async def upto_head(server: Served, stream: Stream) -> list[Block]:
    """What comes up to the newest event of the log."""
    blocks = [await stream.block()]
    while blocks[-1].id != str(server.service.pubsub.id) or blocks[-1].event == "ready":
        blocks.append(await stream.block())
    return blocks


async def past(server: Served, *channels: str, after: int = 0, mode: str = "latest") -> list[Block]:
    """What a stream that starts in the past is given, without its `ready`."""
    start = f"{server.service.pubsub.epoch}.{after}"
    stream = await server.open(*channels, after=start, mode=mode)
    ready, *blocks = await upto_head(server, stream)
    assert ready.event == "ready"
    return blocks


def events(blocks: list[Block]) -> list[Block]:
    return [block for block in blocks if block.event is None and not block.mark]


def skipped(blocks: list[Block]) -> int:
    assert all(block.id is None for block in blocks if block.event == "skipped")
    return sum(block.data["count"] for block in blocks if block.event == "skipped")


def state(blocks: list[Block]) -> dict[tuple[str, str | None], Any]:
    """What a client that applies them in this order holds in the end."""
    found = events(blocks)
    positions = [block.pos for block in found]
    assert positions == sorted(set(positions))
    return {(block.data["channel"], block.data["key"]): block.data["data"] for block in found}


@pytest.mark.parametrize("ring_bytes", [0, 300_000, RING])
async def test_a_slow_reader_gets_the_newest_of_each_key_and_a_count(
    clean: Database, takeover: str, ring_bytes: int
) -> None:
    options: dict[str, Any] = {"stream_buffer": 8_192, "ring_bytes": ring_bytes}
    async with served(clean, takeover=takeover, **options) as server:
        stream, _ = await server.live("public.a", buffer=4_096, mode="latest")
        stream.pause()
        for start in range(0, 500, 50):
            drafts = [("public.a", str(n % 7), [n, BIG]) for n in range(start, start + 50)]
            await publish(server, *drafts)
        stream.resume()
        blocks = await upto_head(server, stream)
    assert state(blocks) == {("public.a", str(n % 7)): [n, BIG] for n in range(493, 500)}
    assert len(events(blocks)) < 300
    assert len(events(blocks)) + skipped(blocks) == 500


async def test_who_keeps_up_gets_every_event(server: Served) -> None:
    stream, _ = await server.live("public.a", mode="latest")
    await publish(server, *(("public.a", "k", n) for n in range(10)))
    assert [block.data["data"] for block in await stream.blocks(10)] == list(range(10))


async def test_the_past_comes_compacted_in_order_of_position(server: Served) -> None:
    await publish(
        server,
        ("public.a", "1", "old"), ("public.a", None, "old"), ("public.b", "1", "stays"),
        ("public.a", "1", "newer"), ("public.c", "1", "of no interest"), ("public.a", "2", "stays"),
        ("public.a", "1", "newest"), ("public.a", None, "newest"),
    )  # fmt: skip
    blocks = await past(server, "public.a", "public.b")
    epoch = server.service.pubsub.epoch
    assert blocks[0].raw == f'event: skipped\ndata: {{"count":3,"after":"{epoch}.0"}}'
    assert [(b.pos, b.data["key"], b.data["data"]) for b in blocks[1:]] == [
        (3, "1", "stays"), (6, "2", "stays"), (7, "1", "newest"), (8, None, "newest"),
    ]  # fmt: skip


async def test_nothing_skipped_is_not_told(server: Served) -> None:
    await publish(server, ("public.a", "1", 1), ("public.a", "2", 2))
    assert [block.event for block in await past(server, "public.*")] == [None, None]


async def test_every_event_comes_in_the_usual_mode(server: Served) -> None:
    await publish(server, *(("public.a", "k", n) for n in range(100)))
    blocks = await past(server, "public.a", mode="all")
    assert [block.data["data"] for block in blocks] == list(range(100))


async def test_more_than_one_write_is_counted_exactly(server: Served) -> None:
    text = "y" * 20_000
    await publish(server, *(("public.a", str(n % 30), [n, text]) for n in range(90)))
    blocks = await past(server, "public.a")
    assert state(blocks) == {("public.a", str(n % 30)): [n, text] for n in range(60, 90)}
    assert len(events(blocks)) + skipped(blocks) == 90


async def test_the_limit_counts_what_is_handed_out(server: Served) -> None:
    await publish(server, *(("public.a", str(n % 4), n) for n in range(40)))
    stream = await server.open(
        "public.a", after=f"{server.service.pubsub.epoch}.0", mode="latest", limit=3
    )
    blocks = [await stream.block() for _ in range(5)]
    assert [block.data["data"] for block in events(blocks)] == [36, 37, 38]
    assert skipped(blocks) == 36
    with pytest.raises(EOFError):
        await stream.block()


async def test_a_client_cut_anywhere_comes_to_the_same(server: Served) -> None:
    await publish(server, *(("public.a", str(n * n % 11), n) for n in range(60)))
    whole = await past(server, "public.a")
    await publish(server, *(("public.a", str(n % 3), n) for n in range(60, 70)))
    full = state(await past(server, "public.a"))
    for count, last in enumerate(events(whole), 1):
        had, rest = events(whole)[:count], await past(server, "public.a", after=last.pos)
        assert state(had + rest) == full
        assert len(events(rest)) + skipped(rest) == 70 - last.pos


async def test_who_falls_below_the_floor_is_told(server: Served) -> None:
    await publish(server, *(("public.a", str(n % 5), n) for n in range(1, 101)))
    await server.service.log.retention.prune(60)
    server.service.pubsub.ring.clear()
    gap, *blocks = await past(server, "public.a", after=20)
    assert (gap.event, gap.data["reason"], gap.pos) == ("gap", "pruned", 60)
    assert state(blocks) == {("public.a", str(n % 5)): n for n in range(96, 101)}
    assert skipped(blocks) == 35


async def test_pruning_under_a_scan_is_told_after_what_was_found(server: Served) -> None:
    await publish(server, *(("public.a", str(n % 5), n) for n in range(1, 201)))
    server.service.pubsub.ring.clear()
    history = server.service.log.history
    page = history.page

    async def awkward(*args: object) -> object:
        history.page = page  # type: ignore[method-assign]
        found = await page(*args)  # type: ignore[arg-type]
        await server.service.log.retention.prune(150)
        await server.app[POOL].execute("DELETE FROM tailrace.event WHERE pos <= 150")
        return found

    history.page = awkward  # type: ignore[assignment]
    blocks = await past(server, "public.a")
    (at,) = [number for number, block in enumerate(blocks) if block.event == "gap"]
    before, gap, behind = blocks[:at], blocks[at], blocks[at + 1 :]
    epoch = server.service.pubsub.epoch
    assert gap.data == {"after": f"{epoch}.32", "resumed": f"{epoch}.150", "reason": "pruned"}
    assert [block.pos for block in events(before)] == [28, 29, 30, 31, 32]
    assert skipped(before) == 27
    assert [block.pos for block in events(behind)] == [196, 197, 198, 199, 200]
    assert skipped(behind) == 45


async def test_the_body_takes_it_too(clean: Database) -> None:
    async with served(clean) as server:
        await publish(server, ("public.a", "1", 1), ("public.a", "1", 2))
        body = {"channels": ["public.a"], "after": "earliest", "mode": "latest"}
        text = json.dumps(body).encode()
        stream = await server.raw(
            b"POST /api/stream HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
        )
        assert [(await stream.block()).event for _ in range(3)] == ["ready", "skipped", None]


@pytest.mark.parametrize(
    "path",
    ["/api/stream?channel=public.a&mode=newest", "/api/stream?channel=public.a&mode=",
     "/api/events?channel=public.a&mode=latest"],
)  # fmt: skip
async def test_another_mode_is_an_error(clean: Database, path: str) -> None:
    async with served(clean) as server:
        answer, problem = await server.get(path, **BEARER)
        assert (answer.status, problem["issues"][0]["path"]) == (400, ["mode"])


HOSTILE = ["", "null", ",", '"', "\\", '\\"', 'x","at":"', '","key":"1', ',"key":', "é\u2028😀",
           "{}", 'a,"type":"b', '\\u0022,"at":']  # fmt: skip


async def test_no_type_and_no_key_is_taken_for_another(clean: Database) -> None:
    async with served(clean) as server:
        keys = [*HOSTILE, None]
        for round_, kind in enumerate(["t", *HOSTILE[1:]]):
            drafts: list[Draft] = [("public.a", key, round_) for key in keys]
            await publish(server, *drafts, type_=kind)
        blocks = await past(server, "public.a")
        assert state(blocks) == {("public.a", key): len(HOSTILE) - 1 for key in keys}
        assert skipped(blocks) == (len(HOSTILE) - 1) * len(keys)


TEXT = st.text(st.sampled_from('",\\:keyat{}1 é') | st.characters(exclude_categories=["C"]))
SLOT = st.tuples(st.sampled_from(["a", "b.key", "at"]), TEXT | st.none())


def frame(pos: int, channel: str, key: str | None, kind: str = "t", data: object = 0) -> bytes:
    members = {"channel": channel, "type": kind, "key": key, "at": "2026", "data": data}
    body = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return wire.event("e" * 8, Event(pos, channel, key, body))


@given(SLOT, SLOT, TEXT, TEXT, TEXT)
def test_slots_are_the_same_for_the_same_channel_and_key(
    one: tuple[str, str | None], other: tuple[str, str | None], kind: str, again: str, data: str
) -> None:
    first, second = frame(7, *one, kind, data), frame(12, *one, again)
    assert slot(first) == slot(second)
    assert (slot(first) == slot(frame(1, *other))) == (one == other)
    assert (position(first), position(second)) == (7, 12)


def test_what_is_kept_is_measured_and_handed_out_by_size() -> None:
    newest = Newest()
    frames = [frame(n, "a", str(n % 4), data="x" * n) for n in range(1, 11)]
    newest.add(frames)
    last = frames[-4:]
    assert (len(newest), newest.size, newest.seen) == (4, sum(map(len, last)), 10)
    assert newest.first(10**6, None) == (last, 6)
    assert newest.first(10**6, 3) == (last[:3], 6)
    assert newest.first(len(last[0]) + len(last[1]), None) == (last[:2], 6)
    assert newest.first(1, None) == (last[:1], 6)
    newest.add([frame(11, "a", "9"), frame(12, "a", "9")])
    assert newest.first(10**6, None)[1] == 7


def test_a_new_epoch_is_told_to_who_may_have_skipped_what_it_lost() -> None:
    """Another process may have had the event that replaced it, and this one never."""
    for latest in (True, False):
        subscriber = Waiter(Matcher(["a"]), EventId("e" * 8, 5), capacity=100, latest=latest)
        subscriber.rebase("f" * 8, 9, None)
        assert (b'"after":"eeeeeeee.5","resumed":"ffffffff.5"' in subscriber.take()) == latest
        subscriber.rebase("f" * 8, 9, None)
        assert subscriber.idle


async def test_a_scan_that_finds_nothing_moves_the_client_on(
    clean: Database, takeover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.log.history.WINDOW", 20)
    async with served(clean, takeover=takeover, ring_bytes=0) as server:
        await publish(server, *(("public.b", None, n) for n in range(100)), ("public.a", None, 1))
        *marks, event = await past(server, "public.a.>", "public.a")
    assert [block.pos for block in marks if block.mark] == [20, 40, 60, 80, 100]
    assert (event.data["data"], event.pos) == (1, 101)


async def test_a_look_that_finds_nothing_is_a_turn_of_its_own(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for theirs, and an outage must not undo what was looked through."""
    monkeypatch.setattr("server.stream.pubsub.SCAN", 20)
    monkeypatch.setattr("server.log.history.WINDOW", 20)
    await publish(server, *(("public.b", None, n) for n in range(50)))
    start = EventId(server.service.pubsub.epoch, 0)
    waiter = Waiter(Matcher(["public.a.>"]), start, capacity=100, latest=True)
    reached = []
    while not waiter.live:
        await server.service.replay.feed(waiter)
        reached.append(waiter.cursor)
    server.service.pubsub.unregister(waiter)
    assert reached == [20, 40, 50, 50]


async def test_what_was_found_when_time_is_up_is_handed_out(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LONG", 0)
    monkeypatch.setattr("server.stream.pubsub.SCAN", 32)  # as the first page of the log
    await publish(server, *(("public.a", str(n % 5), n) for n in range(1, 101)))
    blocks = await past(server, "public.a")
    assert [block.pos for block in events(blocks)][:5] == [28, 29, 30, 31, 32]
    assert state(blocks) == {("public.a", str(n % 5)): n for n in range(96, 101)}
    assert len(events(blocks)) + skipped(blocks) == 100


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
async def test_nothing_is_fed_after_the_last_word(
    clean: Database, latest: bool, pruned: bool
) -> None:
    """It ends while its page is under way: the page may not follow its `bye`."""
    async with served(clean, ring_bytes=0) as server:
        await publish(server, *(("public.a", None, n) for n in range(10)))
        start = EventId(server.service.pubsub.epoch, 0)
        waiter = Waiter(Matcher(["public.a"]), start, capacity=100, latest=latest)
        history = server.service.log.history
        page = history.page

        async def ending(*arguments: object) -> object:
            if pruned:
                await server.service.log.retention.prune(5)
            found = await page(*arguments)  # type: ignore[arg-type]
            waiter.end(b"bye")
            waiter.hand_over()  # it leaves at once
            return found

        history.page = ending  # type: ignore[assignment]
        assert await server.service.replay.feed(waiter) == b""
        assert waiter.position == start
