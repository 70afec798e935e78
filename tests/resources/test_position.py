"""State and stream meet without a hole: the snapshot, and every change after its position."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from server.db.pool import Database
from server.keys import POOL
from tests.resources.calls import call
from tests.served import Served, Stream

WRITERS, CLIENTS, SECONDS = 6, 8, 1.5
State = dict[str, tuple[Any, ...]]


async def position(server: Served) -> str:
    return str(await server.app[POOL].fetchval("SELECT tailrace.position()"))


@pytest.mark.parametrize(
    "path",
    ["/api/posts", "/api/posts?author=nobody", "/api/notifications",
     "/api/notifications?unread=true", "/api/notifications/unread-count"],
)  # fmt: skip
async def test_there_is_a_position_where_there_are_no_rows(server: Served, path: str) -> None:
    _, token = await server.sign_in()
    await server.publish("public.x", 1, 2)
    await server.settled()
    answer = await call(server, "GET", path, token=token)
    assert answer.status == 200
    assert answer.headers["stream-position"] == await position(server)


async def test_an_item_has_its_position(server: Served) -> None:
    user, _ = await server.sign_in()
    await server.app[POOL].execute(
        "INSERT INTO posts (author_id, title, content) VALUES ($1, 't', 'c')", user
    )
    await server.settled()
    answer = await call(server, "GET", "/api/posts/1")
    assert answer.headers["stream-position"] == await position(server)
    stream = await server.open("posts", after=answer.headers["stream-position"])
    assert (await stream.block()).event == "ready"
    await server.app[POOL].execute("UPDATE posts SET title = 'later'")
    assert (await stream.named(None)).data["data"]["new"]["title"] == "later"


class Table:
    """A resource as a client keeps it: pages of the list, then the events by key."""

    def __init__(self, server: Served, kind: str, user: str, token: str) -> None:
        self.server = server
        self.kind = kind
        self.token = token
        self.posts = kind == "posts"
        self.channel = "posts" if self.posts else f"user.{user}.notifications"

    def shown(self, item: dict[str, Any]) -> tuple[Any, ...]:
        return (item["title"], item["content"] if self.posts else item["read"])

    def told(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["title"], row["content"] if self.posts else row["read_at"] is not None)

    async def snapshot(self) -> tuple[State, str]:
        """Every page; the stream starts where the first one was read."""
        state: State = {}
        start, path = "", f"/api/{self.kind}?limit=7"
        while path:
            page = await call(self.server, "GET", path, token=self.token)
            assert page.status == 200, page.body
            state |= {item["id"]: self.shown(item) for item in page.json[self.kind]}
            start = start or page.headers["stream-position"]
            path = page.headers.get("link", "").removeprefix("<").removesuffix('>; rel="next"')
        return state, start

    def apply(self, state: State, event: dict[str, Any]) -> None:
        if event["type"] == "delete":
            state.pop(event["key"], None)
        else:
            state[event["key"]] = self.told(event["data"]["new"])

    async def client(self, delay: float) -> tuple[State, Stream]:
        await asyncio.sleep(delay)  # at different moments of the writing
        state, start = await self.snapshot()
        headers = {"Authorization": f"Bearer {self.token}"}
        stream = await self.server.open(self.channel, after=start, headers=headers)
        assert (await stream.block()).event == "ready"
        return state, stream

    async def finish(self, state: State, stream: Stream) -> State:
        """Apply everything up to the row that is written last."""
        while True:
            block = await stream.block()
            assert block.event != "gap"
            if block.mark:
                continue
            self.apply(state, block.data)
            if (block.data["data"]["new"] or {}).get("title") == "last":
                return state


async def write(client: asyncpg.Connection[Any], user: str, seed: int, end: float) -> None:
    """Change both tables in transactions of every length, until `end`."""
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    while loop.time() < end:
        async with client.transaction():
            for _ in range(dice.randint(1, 4)):
                await one_change(client, user, dice)
            await asyncio.sleep(dice.choice((0, 0, 0.001, 0.02)))


async def one_change(client: asyncpg.Connection[Any], user: str, dice: random.Random) -> None:
    title, kind = str(dice.random()), dice.random()
    # Locks are taken without waiting: two writers with several rows each would deadlock.
    for table, insert, update in (
        ("posts", "content", "content = title || $1"),
        ("notifications", "body", "read_at = CASE WHEN read_at IS NULL THEN now() END"),
    ):
        owner = "author_id" if table == "posts" else "user_id"
        row = f"(SELECT id FROM {table} ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)"
        if kind < 0.5:
            text = f"INSERT INTO {table} ({owner}, title, {insert}) VALUES ($1, $2, $2)"
            await client.execute(text, user, title)
        elif kind < 0.8:
            text = f"UPDATE {table} SET title = $1, {update} WHERE id = {row}"
            await client.execute(text, title)
        else:
            await client.execute(f"DELETE FROM {table} WHERE id = {row}")


async def test_snapshot_then_stream_is_the_table_with_writers_running(
    server: Served, clean: Database
) -> None:
    user, token = await server.sign_in()
    tables = [Table(server, kind, user, token) for kind in ("posts", "notifications")]
    seed = random.randrange(2**32)
    print("seed", seed)
    writers = [await asyncpg.connect(clean.url) for _ in range(WRITERS)]
    end = asyncio.get_running_loop().time() + SECONDS
    writing = asyncio.gather(
        *(write(client, user, seed + number, end) for number, client in enumerate(writers))
    )
    delays = [SECONDS * number / CLIENTS for number in range(CLIENTS)]
    clients = [(table, *await it) for table, it in await started(tables, delays)]
    await writing
    for name, owner, rest in (
        ("posts", "author_id", "content"),
        ("notifications", "user_id", "body"),
    ):
        text = f"INSERT INTO {name} ({owner}, title, {rest}) VALUES ($1, 'last', '-')"
        await writers[0].execute(text, user)
    finals = {table.kind: await final(server, table) for table in tables}
    assert len(finals["posts"]) > 20, "the writers wrote too little to prove anything"
    for table, state, stream in clients:
        assert await table.finish(state, stream) == finals[table.kind]
    await asyncio.gather(*(client.close() for client in writers))


async def started(
    tables: list[Table], delays: list[float]
) -> list[tuple[Table, asyncio.Task[tuple[State, Stream]]]]:
    """Every client, each opened at its own moment."""
    tasks = [
        (table, asyncio.create_task(table.client(delay))) for table in tables for delay in delays
    ]
    await asyncio.gather(*(task for _, task in tasks))
    return tasks


async def final(server: Served, table: Table) -> State:
    """The table as it stands at the end, read past the server."""
    await server.settled()
    columns = "title, content" if table.posts else "title, read_at IS NOT NULL"
    rows = await server.app[POOL].fetch(f"SELECT id::text, {columns} FROM {table.kind}")
    return {row[0]: tuple(row)[1:] for row in rows}
