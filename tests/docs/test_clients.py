"""docs/clients.md, done as it says: the Python client and curl."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from server.client import Gap, connect
from tests.clients.program import Program
from tests.conftest import absent
from tests.docs.blocks import BASE, blocks
from tests.served import KEY, Served
from tests.waiting import until

PAGE = "clients.md"
CHANNEL = "public.orders"

pytestmark = pytest.mark.asyncio(loop_scope="package")


def function(name: str) -> Any:
    """A function of the page."""
    found: dict[str, Any] = {}
    for code in blocks(PAGE, "python", "Python"):
        exec(code, found)
    return found[name]


@contextlib.asynccontextmanager
async def running(program: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run it for the length of the block; it has no end of its own."""
    task = asyncio.create_task(program)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def position(server: Served) -> str:
    """The present."""
    async with connect(server.url, CHANNEL) as stream:
        assert stream.position is not None
        return stream.position


async def test_following_acts_then_stores_and_goes_on_from_there(server: Served) -> None:
    stored, done = [await position(server)], list[Any]()

    async def load() -> str:
        return stored[-1]

    async def act_on(*what: object) -> None:
        done.append(what)

    async def store(position: str) -> None:
        stored.append(position)

    for round_ in (1, 2):
        await server.publish(CHANNEL, round_, type="number")
        async with running(function("follow")(server.url, load, act_on, store)):
            await until(lambda: len(stored) == 1 + round_)  # noqa: B023
    assert done == [(CHANNEL, "number", None, 1), (CHANNEL, "number", None, 2)]


async def test_a_gap_is_dealt_with_before_what_follows_it(server: Served) -> None:
    done: list[Any] = []

    async def fetch_all() -> None:
        done.append("all")

    async def apply(event: Any) -> None:
        done.append(event.data)

    async with running(function("keep")(server.url, fetch_all, apply, "00000000.7")):
        await until(lambda: done)
        await server.publish(CHANNEL, "next")
        await until(lambda: len(done) == 2)
    assert done == ["all", "next"]


async def test_tokens_are_made_by_a_key(server: Served) -> None:
    done: list[Any] = []

    async def act_on(event: Any) -> None:
        done.append(event.data)

    async with running(function("with_tokens")(server.url, KEY, act_on)):
        await until(lambda: server.service.pubsub.subscribers)
        await server.publish("team.news", "hello")
        await until(lambda: done)
    assert done == ["hello"]


async def test_the_fields_told_of_are_those_that_are_there() -> None:
    page = "".join(blocks(PAGE, "python"))
    (fields,) = re.findall(r"# Gap\((.*)\)", page)
    assert tuple(fields.split(", ")) == Gap._fields


def commands(server: Served) -> list[str]:
    """Each command of the page that runs curl."""
    if shutil.which("curl") is None:
        absent("curl")
    text = "".join(blocks(PAGE, "sh", "curl")).replace(BASE, server.url)
    return [f"exec {line}" for line in text.splitlines()]


async def test_curl_reads_streams_and_history(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILRACE_API_KEY", KEY)
    live, resumed, rewound, keyed, page, poll = commands(server)
    before = await position(server)
    await server.publish(CHANNEL, {"n": "curl"})
    await server.settled()
    resumed = resumed.replace("3f2a9c1e.1042", before)
    async with contextlib.AsyncExitStack() as stack:
        programs = [
            await stack.enter_async_context(Program("sh", "-c", command))
            for command in (resumed, rewound, live, keyed)
        ]
        for program in programs:
            await program.wait(lambda lines: "event: ready" in lines)
        for program in programs[:2]:
            await program.wait(lambda lines: any('"n": "curl"' in line for line in lines))
        await server.publish("public.prices.tea", {"n": "price"})
        await server.publish("table.public.x", {"n": "row"})
        for program, told in zip(programs[2:], ("price", "row"), strict=True):
            await program.wait(lambda lines: any(f'"n": "{told}"' in line for line in lines))  # noqa: B023
    async with Program("sh", "-c", page) as history, Program("sh", "-c", poll) as later:
        assert (await history.ended(), await later.ended()) == (0, 0)
    found = json.loads(history.lines[0])
    assert {"n": "curl"} in [event["data"] for event in found["events"]]
    assert json.loads(later.lines[0])["events"] == []
