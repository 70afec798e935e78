from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from server.log.ephemeral import PAYLOAD_BYTES, WAITING, Ephemeral, body_of, messages
from tests.log.looking import listening
from tests.served import BEARER, served
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql


@pytest.fixture
async def ephemeral(clean: Database) -> AsyncIterator[Ephemeral]:
    """One whose task does not run yet."""
    pool = await asyncpg.create_pool(clean.url, min_size=1, max_size=1)
    yield Ephemeral(pool)
    await pool.close()


async def test_many_messages_are_few_notifications_and_none_is_in_the_log(
    sql: Sql, ephemeral: Ephemeral
) -> None:
    for number in range(50):
        ephemeral.send("upload.1", "progress", number, "k")
    async with listening(sql) as heard:
        task = asyncio.create_task(ephemeral.run())
        await until(lambda: heard)
        task.cancel()
        (payload,) = await heard.drain()
    found = [json.loads(body) for _, body in messages(payload[1:])]
    assert [item["data"] for item in found] == list(range(50))
    assert set(found[0]) == {"channel", "type", "key", "at", "data"}
    assert not await sql.fetchval("SELECT EXISTS (SELECT FROM tailrace.outbox)")


async def test_a_payload_is_never_too_large_and_the_oldest_are_dropped(
    ephemeral: Ephemeral,
) -> None:
    for number in range(WAITING + 10):
        ephemeral.send("a", "t", ["ä" * 1_000, number])
    assert ephemeral.dropped == 10
    seen = []
    while ephemeral._waiting:
        payload = ephemeral._take()
        assert len(payload.encode()) <= PAYLOAD_BYTES
        seen += [json.loads(body)["data"][1] for _, body in messages(payload[1:])]
    assert seen == list(range(10, WAITING + 10))


async def test_what_alone_is_too_large_is_refused(ephemeral: Ephemeral) -> None:
    with pytest.raises(ValueError, match="7000 bytes"):
        ephemeral.send("a", "t", "x" * PAYLOAD_BYTES)


async def test_control_goes_first_and_does_not_mix_with_events(ephemeral: Ephemeral) -> None:
    ephemeral.send("a", "t", 1)
    ephemeral.control({"do": "end"})
    ephemeral.send("a", "t", 2)
    ephemeral.control({"do": "more"})
    assert ephemeral._take() == 'c[{"do":"end"},{"do":"more"}]'
    assert [json.loads(body)["data"] for _, body in messages(ephemeral._take()[1:])] == [1, 2]


async def test_no_number_of_events_takes_a_control_messages_place(ephemeral: Ephemeral) -> None:
    ephemeral.control({"do": "end"})
    for number in range(WAITING + 1):
        ephemeral.send("a", "t", number)
    assert ephemeral.dropped == 1
    assert ephemeral._take() == 'c[{"do":"end"}]'


async def test_control_messages_are_bounded_too(ephemeral: Ephemeral) -> None:
    for number in range(WAITING + 3):
        ephemeral.control({"n": number})
    assert ephemeral.dropped == 3
    assert json.loads(ephemeral._take()[1:])[0] == {"n": 3}


async def test_what_waits_after_an_error_is_sent(sql: Sql, ephemeral: Ephemeral) -> None:
    ephemeral._urgent.append("\0")  # what Postgres refuses
    ephemeral.send("a", "t", 1)
    with pytest.raises(asyncpg.PostgresError):
        await ephemeral.run()
    async with listening(sql) as heard:
        task = asyncio.create_task(ephemeral.run())
        await until(lambda: heard)
        task.cancel()
        assert [channel for channel, _ in messages((await heard.drain())[0][1:])] == ["a"]


async def test_an_ephemeral_event_reaches_the_clients_of_every_process(clean: Database) -> None:
    async with served(clean) as one, served(clean) as other:
        streams = [(await s.live("ops.x", headers=BEARER))[0] for s in (one, other)]
        for server in (one, other):
            await until(lambda: server.service.log.listener.mode == "notify")  # noqa: B023
        one.service.log.ephemeral.send("ops.x", "seen", {"text": "a\r\nb"})
        for stream in streams:
            block = await stream.block()
            assert (block.id, block.data["data"]) == (None, {"text": "a\r\nb"})


def test_a_body_is_one_line() -> None:
    assert "\n" not in body_of("a", "t", "x\ny\r")


async def test_what_others_are_told_is_the_newest_and_skipped_where_it_comes_from(
    ephemeral: Ephemeral,
) -> None:
    for number in range(WAITING + 1):
        ephemeral.elsewhere("0a0a0a0a", "ops.x", body_of("ops.x", "t", number))
    ephemeral.send("a", "t", 0)
    payload = ephemeral._take()[1:]
    assert ephemeral.dropped == 0
    found = [(channel, json.loads(body)) for channel, body in messages(payload, "0b0b0b0b")]
    assert [(channel, body["data"]) for channel, body in found] == [("a", 0), ("ops.x", WAITING)]
    assert all("from" not in body for _, body in found)
    assert [channel for channel, _ in messages(payload, "0a0a0a0a")] == ["a"]
    with pytest.raises(ValueError, match="7000 bytes"):
        ephemeral.elsewhere("0a0a0a0a", "a", body_of("a", "t", "x" * PAYLOAD_BYTES))
