from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.log.outbox import MAX_DATA_BYTES
from tests.log.looking import datas, listening, publish, rolled_back, stamp
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from tests.log.conftest import Connect


async def test_a_commit_emits_and_a_rollback_does_not(sql: Sql) -> None:
    async with sql.transaction():
        await publish(sql, "kept")
    async with rolled_back(sql):
        await publish(sql, "lost")
    assert await datas(sql) == ["kept"]


async def test_rolling_back_to_a_savepoint_takes_its_events_only(sql: Sql) -> None:
    async with sql.transaction():
        await publish(sql, 1)
        async with rolled_back(sql):
            await publish(sql, 2)
        async with sql.transaction():
            await publish(sql, 3)
    assert await datas(sql) == [1, 3]


async def test_what_is_not_committed_cannot_be_stamped(sql: Sql, connect: Connect) -> None:
    other = await connect()
    async with other.transaction():
        await publish(other, 1)
        await publish(sql, 2)
        assert await datas(sql) == [2]
    assert await datas(sql) == [1]


async def test_events_of_a_transaction_keep_their_order(sql: Sql, connect: Connect) -> None:
    other = await connect()
    async with sql.transaction(), other.transaction():
        for number in range(20):
            await publish(sql, ["a", number])
            await publish(other, ["b", number])
    seen = await datas(sql)
    for name in "ab":
        assert [n for who, n in seen if who == name] == list(range(20))


async def test_the_event_is_what_was_published(sql: Sql) -> None:
    given = {"text": 'ä"\\\n\u2028🙂', "n": 1.5, "nothing": None, "list": [[], {}]}
    message = await publish(sql, given, key="k ä")
    row = (await sql.fetch("SELECT body FROM tailrace.stamp(10)"))[0]
    body = json.loads(row["body"])
    assert list(body) == ["channel", "type", "key", "at", "message_id", "data"]
    assert (body["key"], body["data"], body["message_id"]) == ("k ä", given, str(message))
    assert "\n" not in row["body"]


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "\x01", "a\tb", "\x7f"])
async def test_control_characters_are_refused(sql: Sql, bad: str) -> None:
    for arguments in (("public.a", bad, None), ("public.a", "t", bad), (bad, "t", None)):
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"tailrace\.publish: "):
            await sql.execute("SELECT tailrace.publish($1, $2, '1', $3)", *arguments)


async def test_a_nul_cannot_even_be_said(sql: Sql) -> None:
    for arguments in (("t\0", "1"), ("t", '"\\u0000"')):
        with pytest.raises((asyncpg.CharacterNotInRepertoireError, asyncpg.DataError)):
            await sql.execute(
                "SELECT tailrace.publish('public.a', $1, $2::text::jsonb)", *arguments
            )


BAD_CHANNELS = ["", ".", "a.", ".a", "a..b", "a b", "ä", "*", "a.>", "a\n", "a" * 201, "ops",
                "ops.x", "{a}"]  # fmt: skip


async def test_a_bad_channel_is_refused(sql: Sql) -> None:
    for channel in BAD_CHANNELS:
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await publish(sql, 1, channel)
    for channel in ("a", "A-_9.b", "a" * 200, "opsx", "x.ops", "Ops.x"):
        await publish(sql, 1, channel)


async def test_null_and_too_long_fields_are_refused(sql: Sql) -> None:
    for call in (
        "NULL, 't', '1'", "'a', NULL, '1'", "'a', 't', NULL", "'a', '', '1'",
        "'a', repeat('x', 101), '1'", "'a', 't', '1', repeat('x', 513)",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await sql.execute(f"SELECT tailrace.publish({call})")
    await sql.execute("SELECT tailrace.publish('a', repeat('x', 100), 'null', repeat('x', 512))")


async def test_the_size_limit_is_54000_at_the_byte_and_the_same_in_python(sql: Sql) -> None:
    assert await sql.fetchval("SELECT tailrace.max_data_bytes()") == MAX_DATA_BYTES
    call = "SELECT tailrace.publish('a', 't', to_jsonb(repeat('ä', $1::int)))"
    await sql.execute(call, MAX_DATA_BYTES // 2 - 1)
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="has 1048578 bytes") as caught:
        await sql.execute(call, MAX_DATA_BYTES // 2)
    assert caught.value.sqlstate == "54000"


async def test_a_repeated_message_id_emits_once_and_returns_the_id(sql: Sql) -> None:
    message = uuid.uuid4()
    for number in range(3):
        assert await publish(sql, number, message_id=message) == message
    assert await datas(sql) == [0]
    await publish(sql, 9, message_id=message)
    assert await datas(sql) == []


async def test_a_rolled_back_message_id_may_be_used_again(sql: Sql) -> None:
    message = uuid.uuid4()
    async with rolled_back(sql):
        await publish(sql, 1, message_id=message)
    await publish(sql, 2, message_id=message)
    assert await datas(sql) == [2]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_message_id_in_flight_is_waited_for(
    sql: Sql, connect: Connect, commits: bool
) -> None:
    other, message = await connect(), uuid.uuid4()
    transaction = other.transaction()
    await transaction.start()
    await publish(other, "first", message_id=message)
    pid = sql.get_server_pid()
    second = asyncio.create_task(publish(sql, "second", message_id=message))
    watcher = await connect()

    async def waits() -> bool:
        return bool(
            await watcher.fetchval(
                "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", pid
            )
        )

    await until(waits)
    await (transaction.commit() if commits else transaction.rollback())
    assert await second == message
    assert await datas(sql) == (["first"] if commits else ["second"])


async def batch(sql: Sql, *items: tuple[uuid.UUID, bool, object]) -> None:
    """What the server's own outbox calls."""
    count = len(items)
    await sql.execute(
        "SELECT tailrace.publish_batch($1, $2, $3, $4, $5, $6)",
        ["public.a"] * count, ["t"] * count, [None] * count,
        [item[0] for item in items], [item[1] for item in items],
        [json.dumps(item[2]) for item in items],
    )  # fmt: skip


async def test_a_batch_keeps_its_order_and_drops_repeats(sql: Sql) -> None:
    given, known = uuid.uuid4(), uuid.uuid4()
    await publish(sql, "known", message_id=known)
    await batch(
        sql, (uuid.uuid4(), False, 1), (given, True, 2), (known, True, 3), (uuid.uuid4(), False, 4),
        (given, True, 5), (uuid.uuid4(), False, 6),
    )  # fmt: skip
    assert await datas(sql) == ["known", 1, 2, 4, 6]
    await batch(sql, (given, True, 7))
    assert await datas(sql) == []


async def test_batches_with_the_same_ids_in_opposite_orders_do_not_deadlock(
    sql: Sql, connect: Connect
) -> None:
    other = await connect()
    for _ in range(20):
        ids = [uuid.uuid4() for _ in range(50)]
        await asyncio.gather(
            batch(sql, *((message, True, 1) for message in ids)),
            batch(other, *((message, True, 1) for message in reversed(ids))),
        )
        assert len(await stamp(sql)) == 50


async def test_a_batch_never_notifies(sql: Sql, connect: Connect) -> None:
    async with listening(await connect()) as heard:
        await batch(sql, (uuid.uuid4(), False, 1), (uuid.uuid4(), True, 2))
        assert await heard.drain() == []
        await publish(sql, 3)  # and it leaves the session as it was
        assert await heard.drain() == [""]
