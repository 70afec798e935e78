from __future__ import annotations

import asyncpg

from server.keys import POOL
from tests.served import Block, Served
from tests.waiting import until


async def resumed(server: Served, last: str) -> tuple[Block, Block]:
    """The first two blocks for a client that comes back with this Last-Event-ID."""
    stream = await server.open("public.a", headers={"Last-Event-ID": last})
    assert stream.status == 200
    ready, gap = await stream.blocks(2)
    assert ready.event == "ready"
    return ready, gap


async def fill(server: Served, count: int = 10) -> str:
    await server.publish("public.a", *range(1, count + 1))
    await server.settled()
    return server.service.pubsub.epoch


MALFORMED = ["x", "3f2a9c1e", "3f2a9c1e.", "3f2a9c1e.-1", "3f2a9c1e.01", "3F2A9C1E.1", "1.1",
             "3f2a9c1e.99999999999999999999", "ä", "\xff\xfe", "a" * 5_000,
             "\u00a0", '"']  # fmt: skip


async def test_a_malformed_id_is_a_gap_that_resumes_at_the_head(server: Served) -> None:
    epoch = await fill(server)
    for last in MALFORMED:
        ready, gap = await resumed(server, last)
        assert ready.id is None  # cut here, the client must come back with the id it had
        assert gap.event == "gap"
        assert gap.id == gap.data["resumed"] == f"{epoch}.10"
        assert gap.data["reason"] == "malformed"


async def test_the_gap_repeats_what_the_client_gave(server: Served) -> None:
    epoch = await fill(server)
    _, gap = await resumed(server, "nonsense")
    assert gap.raw == (
        f"id: {epoch}.10\nevent: gap\n"
        f'data: {{"after":"nonsense","resumed":"{epoch}.10","reason":"malformed"}}'
    )


async def test_an_id_of_a_foreign_log_is_a_gap(server: Served) -> None:
    epoch = await fill(server)
    foreign = "00000000" if epoch != "00000000" else "00000001"
    _, gap = await resumed(server, f"{foreign}.3")
    assert (gap.data["reason"], gap.id) == ("epoch", f"{epoch}.10")


async def test_an_id_beyond_the_head_is_a_gap(server: Served) -> None:
    epoch = await fill(server)
    ready, gap = await resumed(server, f"{epoch}.11")
    assert ready.id is None
    assert (gap.data["reason"], gap.id) == ("ahead", f"{epoch}.10")


async def test_the_head_itself_is_no_gap(server: Served) -> None:
    epoch = await fill(server)
    ready, mark = await resumed(server, f"{epoch}.10")
    assert ready.id == mark.id == f"{epoch}.10"
    assert mark.mark


async def test_a_pruned_id_resumes_at_the_floor_and_loses_nothing_after_it(
    server: Served,
) -> None:
    epoch = await fill(server)
    await server.service.log.retention.prune(6)
    server.service.pubsub.ring.clear()
    for last in (f"{epoch}.0", f"{epoch}.5"):
        stream = await server.open("public.a", headers={"Last-Event-ID": last})
        ready, gap = await stream.blocks(2)
        assert ready.id is None
        assert gap.data == {"after": last, "resumed": f"{epoch}.6", "reason": "pruned"}
        assert [block.data["data"] for block in await stream.messages(4)] == [7, 8, 9, 10]
    ready, first = await resumed(server, f"{epoch}.6")
    assert (ready.id, first.data["data"]) == (f"{epoch}.6", 7)


async def test_after_earliest_starts_at_the_floor_without_a_gap(server: Served) -> None:
    epoch = await fill(server)
    await server.service.log.retention.prune(6)
    server.service.pubsub.ring.clear()
    stream = await server.open("public.a", after="earliest")
    ready, first = await stream.blocks(2)
    assert (ready.id, first.id) == (f"{epoch}.6", f"{epoch}.7")


async def test_after_in_the_query_gaps_as_last_event_id_does(server: Served) -> None:
    epoch = await fill(server)
    stream = await server.open("public.a", after=f"{epoch}.11")
    _, gap = await stream.blocks(2)
    assert (gap.event, gap.data["reason"]) == ("gap", "ahead")


async def test_an_id_that_this_process_has_not_delivered_yet_is_not_ahead(server: Served) -> None:
    epoch = await fill(server)
    # Another process stamps and its client comes here before the notification.
    server.service.log.reader.wake = lambda upto=None: None  # type: ignore[method-assign]
    server.service.log.reader.offer = lambda epoch, events: None  # type: ignore[method-assign]
    server.service.log.listener._on_stamped = lambda hi: None
    await server.publish("public.a", 11)
    pool = server.app[POOL]
    await until(lambda: _at(pool, 11))
    stream = await server.open("public.a", headers={"Last-Event-ID": f"{epoch}.11"})
    assert (await stream.block()).id == f"{epoch}.11"
    assert (await stream.block()).mark
    del server.service.log.reader.wake
    server.service.log.reader.wake()
    await server.publish("public.a", 12)
    server.service.log.reader.wake()
    assert [(await stream.named(None)).data["data"]] == [12]


async def _at(pool: asyncpg.Pool[asyncpg.Record], pos: int) -> bool:
    return bool(await pool.fetchval("SELECT pos = $1 FROM tailrace.head", pos))


async def test_a_reader_that_prune_overtakes_is_told(server: Served) -> None:
    epoch = await fill(server, 200)
    pubsub = server.service.pubsub
    pubsub.ring.clear()
    history = server.service.log.history
    page = history.page

    async def awkward(*args: object) -> object:
        history.page = page  # type: ignore[method-assign]
        found = await page(*args)  # type: ignore[arg-type]
        # Between a replay's pages: the next one finds nothing below 150.
        await server.service.log.retention.prune(150)
        await server.app[POOL].execute("DELETE FROM tailrace.event WHERE pos <= 150")
        return found

    history.page = awkward  # type: ignore[assignment]
    stream = await server.open("public.a", after=f"{epoch}.0")
    assert (await stream.block()).id == f"{epoch}.0"
    first = await stream.messages(32)
    assert [block.data["data"] for block in first] == list(range(1, 33))
    gap = await stream.block()
    assert gap.data == {"after": f"{epoch}.32", "resumed": f"{epoch}.150", "reason": "pruned"}
    assert [block.data["data"] for block in await stream.messages(50)] == list(range(151, 201))
