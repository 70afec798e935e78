"""The source text's stream, as its own client reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from server.db.pool import Database
from server.keys import POOL
from server.stream.subscriber import Waiter
from tests.served import Block, Served, Stream, served

PATH = "/api/notifications/stream"


async def notify(server: Served, user: str, title: str) -> None:
    await server.app[POOL].execute(
        "INSERT INTO notifications (user_id, title) VALUES ($1, $2)", user, title
    )


async def opened(server: Served, token: str) -> Stream:
    stream = await server.open(path=PATH, headers={"Authorization": f"Bearer {token}"})
    assert stream.status == 200
    assert (await stream.block()).data == {"type": "connected"}
    return stream


def titles(block: Block) -> list[Any]:
    assert block.data["type"] == "notifications"
    return [row["title"] for row in block.data["data"]]


async def test_first_connected_then_the_unread_ones_at_once(server: Served) -> None:
    user, token = await server.sign_in()
    await notify(server, user, "one")
    await notify(server, user, "two")
    stream = await opened(server, token)
    block = await stream.block()
    assert titles(block) == ["two", "one"]
    row = block.data["data"][0]
    assert (row["userId"], row["read"], row["body"]) == (user, False, "")
    assert block.event is None  # onmessage sees it


async def test_a_cookie_signs_in_as_a_browser_does(server: Served) -> None:
    _, token = await server.sign_in()
    headers = {"Cookie": f"other=1; tailrace.session_token={token}"}
    stream = await server.open(path=PATH, headers=headers)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [block.data["type"] for block in await stream.blocks(2)] == [
        "connected",
        "notifications",
    ]


async def test_any_sql_clients_change_is_pushed(server: Served, clean: Database) -> None:
    user, token = await server.sign_in()
    stream = await opened(server, token)
    assert titles(await stream.block()) == []
    client = await asyncpg.connect(clean.url)
    await client.execute("INSERT INTO notifications (user_id, title) VALUES ($1, 'new')", user)
    assert titles(await stream.named(None)) == ["new"]
    await client.execute("UPDATE notifications SET title = 'changed'")
    assert titles(await stream.named(None)) == ["changed"]
    await client.execute("UPDATE notifications SET read_at = now()")
    assert titles(await stream.named(None)) == []
    await client.execute("UPDATE notifications SET read_at = NULL")
    assert titles(await stream.named(None)) == ["changed"]
    await client.execute("DELETE FROM notifications")
    assert titles(await stream.named(None)) == []
    await client.close()


async def test_another_users_change_is_not_pushed(server: Served) -> None:
    _, token = await server.sign_in()
    other, _ = await server.sign_in()
    stream = await opened(server, token)
    await stream.block()
    pubsub = server.service.pubsub
    (watcher,) = pubsub.subscribers
    assert isinstance(watcher, Waiter)
    await notify(server, other, "secret")
    await server.settled()
    assert not watcher.wakeup.is_set()


async def test_many_changes_end_in_the_last_state(server: Served) -> None:
    user, token = await server.sign_in()
    stream = await opened(server, token)
    await asyncio.gather(*(notify(server, user, str(number)) for number in range(150)))
    while len(found := titles(await stream.named(None))) < 100:
        pass
    await server.app[POOL].execute("DELETE FROM notifications WHERE title <> '7'")
    while found != ["7"]:
        found = titles(await stream.named(None))


async def test_it_is_401_without_a_session(server: Served) -> None:
    for headers in (
        {}, {"Cookie": "tailrace.session_token=trs_x"}, {"Authorization": "Bearer trs_x"},
        {"Authorization": f"Bearer {'k' * 32}"},
    ):  # fmt: skip
        stream = await server.open(path=PATH, headers=headers)
        assert stream.status == 401
        assert stream.headers["content-type"].startswith("application/problem+json")


async def test_an_expired_session_is_401(server: Served) -> None:
    _, token = await server.sign_in()
    await server.app[POOL].execute("UPDATE sessions SET expires_at = now()")
    stream = await server.open(path=PATH, headers={"Authorization": f"Bearer {token}"})
    assert stream.status == 401


async def test_it_ends_with_bye_at_the_limit_and_at_a_shutdown(clean: Database) -> None:
    async with served(clean, max_streams=1) as server:
        _, token = await server.sign_in()
        stream = await opened(server, token)
        second = await server.open(path=PATH, headers={"Authorization": f"Bearer {token}"})
        assert (await second.block()).data["reason"] == "overload"
        await server.service.streams.shut_down()
        assert (await stream.named("bye")).data["reason"] == "shutdown"
