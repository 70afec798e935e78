"""docs/publishing.md, done as it says: its SQL, its programs, its curl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from server.client import Event, Stream, connect
from server.db.pool import Database
from tests.conftest import absent
from tests.docs.blocks import BASE, blocks, statements
from tests.served import KEY, Served
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    import asyncpg

    Sql = asyncpg.Connection[asyncpg.Record]

PAGE = "publishing.md"
CHANNEL = "public.orders"
ROLE = "shop"
LANGUAGES = ("python", "js", "go", "php")
IN_TRANSACTION = "In your transaction"

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package", scope="module")
async def shop(reused: Database, server: Served, sql: Sql) -> AsyncIterator[str]:
    """The page's table and role; the address at which the role finds the database."""
    (table,) = blocks(PAGE, "sql")[:1]
    (grants,) = blocks(PAGE, "sql", "A role for the application")
    await sql.execute(table)
    await sql.execute(grants)
    parts = urlsplit(reused.url)
    yield parts._replace(netloc=f"{ROLE}@{parts.netloc.rpartition('@')[2]}").geturl()
    await sql.execute(f"DROP TABLE orders; DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@pytest_asyncio.fixture(loop_scope="package")
async def stream(server: Served, shop: str) -> AsyncIterator[Stream]:
    async with connect(server.url, CHANNEL) as stream:
        yield stream


async def take(stream: Stream, count: int) -> list[Event]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]


def told(event: Event) -> tuple[str, str | None, Any]:
    return event.type, event.key, event.data


def programs() -> list[Any]:
    return [
        pytest.param(code, id=language)
        for language in LANGUAGES
        for code in blocks(PAGE, language, IN_TRANSACTION)
    ]


async def test_the_asyncpg_program_publishes_as_the_role(
    shop: str, stream: Stream, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", shop)
    program = compile(blocks(PAGE, "python")[0], PAGE, "exec")
    # It runs a loop of its own.
    await asyncio.to_thread(exec, program, {"__name__": "__main__"})
    (event,) = await take(stream, 1)
    order = await sql.fetchrow("SELECT id, item FROM orders")
    assert order is not None
    assert told(event) == ("order.created", str(order["id"]), {"item": order["item"]})
    assert order["item"] == "tea"


async def test_the_statement_alone_publishes_too(stream: Stream, sql: Sql) -> None:
    (statement,) = blocks(PAGE, "sql", IN_TRANSACTION)
    await sql.execute(f"SET ROLE {ROLE}")
    await sql.execute(statement)
    await sql.execute("RESET ROLE")
    (event,) = await take(stream, 1)
    assert told(event) == ("order.created", "17", {"item": "tea"})


@pytest.mark.parametrize("code", programs())
async def test_each_language_executes_the_same_statements(
    code: str, stream: Stream, sql: Sql
) -> None:
    insert, publish = statements(code)
    assert [insert, publish] == statements(blocks(PAGE, "python")[0])
    arguments = [CHANNEL, "order.created", json.dumps({"item": "tea"})]
    assert all(text in code for text in arguments[:2])
    async with sql.transaction():
        await sql.execute(f"SET LOCAL ROLE {ROLE}")
        number = await sql.fetchval(insert, "tea")
        await sql.execute(publish, *arguments, str(number))
    (event,) = await take(stream, 1)
    assert told(event) == ("order.created", str(number), {"item": "tea"})


async def test_a_message_id_publishes_once(stream: Stream, sql: Sql) -> None:
    (twice,) = blocks(PAGE, "sql", "Once and no more")
    await sql.execute(twice)
    await sql.execute(twice)
    await sql.execute(blocks(PAGE, "sql", IN_TRANSACTION)[0])
    once, marker = await take(stream, 2)
    assert (once.type, marker.type) == ("order.paid", "order.created")
    assert f"'{once.message_id}'" in twice


async def test_a_watched_table_tells_every_change(stream: Stream, sql: Sql) -> None:
    watch, change = blocks(PAGE, "sql", "Without code: watch a table")
    await sql.execute(watch)
    await sql.execute(change)
    insert, update = await take(stream, 2)
    assert (insert.type, insert.data["new"]["item"], insert.data["new"]["paid"]) == (
        "insert",
        "coffee",
        False,
    )
    assert (update.type, update.key) == ("update", insert.key)
    assert [update.data[side]["paid"] for side in ("old", "new")] == [False, True]
    await sql.execute("SELECT tailrace.unwatch('orders')")


async def test_curl_publishes_and_may_repeat(server: Served, stream: Stream) -> None:
    if shutil.which("curl") is None:
        absent("curl")
    one, many = (code.replace(BASE, server.url) for code in blocks(PAGE, "sh", "Over HTTP"))
    answers = [json.loads(await shell(code)) for code in (one, many, many)]
    first, paid, sent = await take(stream, 3)
    assert told(first) == ("order.created", "17", {"item": "tea"})
    assert [paid.type, sent.type] == ["order.paid", "order.sent"]
    ids = [paid.message_id, sent.message_id]
    assert [answer["ids"] for answer in answers] == [[first.message_id], ids, ids]
    await server.publish(CHANNEL, "the next")
    assert (await take(stream, 1))[0].data == "the next"


async def shell(code: str) -> str:
    """What a command says."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", code,
        env={"PATH": os.environ["PATH"], "TAILRACE_API_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()
