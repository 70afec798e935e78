"""Tabs of a browser in which the browser client runs; what it tells is kept in the page."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, CDPSession, Error, Page

from server.auth import sessions
from server.db.pool import Database
from tests.clean import reused
from tests.clients.served import Served
from tests.waiting import until

__all__ = ["channel", "context", "elsewhere", "reused", "server", "tab"]

_CONNECT = """async (options) => {
  const { connect } = await import(options.module ?? "/client.js");
  const seen = (window.seen = { events: [], status: [], gaps: [], frames: [] });
  const { module, token, refetch, ...plain } = options;
  if (token) plain.token = eval(token);
  if (refetch) plain.refetch = eval(refetch);
  window.stream = connect({
    ...plain,
    onEvent: (event) => seen.events.push(event),
    onStatus: (status) => seen.status.push(status),
    onGap: (gap) => seen.gaps.push(gap),
    onFrame: (frame) => seen.frames.push(frame),
  });
}"""
PATIENT = {"least": 10_000}
"""Silence that a busy machine may keep without being taken for dead."""
NUMBERS = "seen.events.map(({ data }) => data.n)"
NO_WORKERS = "delete window.SharedWorker"

_names = (f"public.test{number}" for number in itertools.count())


class Tab:
    """One tab; JavaScript in it sees `stream` and `seen`."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def open(cls, context: BrowserContext, base: str) -> Self:
        """A new tab of the server's origin."""
        page = await context.new_page()
        await page.goto(f"{base}/healthz")
        return cls(page)

    async def connect(self, *channels: str, live: bool = True, **options: Any) -> None:
        """Call `connect()`; `token` and `refetch` are JavaScript. Waits until it is live."""
        await self.page.evaluate(_CONNECT, {"channels": channels} | options)
        if live:
            await self.wait("stream.status.state === 'live'")

    async def wait(self, condition: str) -> None:
        """Wait until a condition holds in the page; a failure shows what it has seen."""
        try:
            await self.page.wait_for_function(condition, polling=10, timeout=20_000)
        except Exception as error:
            seen = await self.page.evaluate("[stream.status, seen.status, seen.frames.slice(-9)]")
            msg = f"never true: {condition}; {seen}"
            raise AssertionError(msg) from error

    async def run(self, script: str) -> Any:
        """What a script gives."""
        return await self.page.evaluate(script)

    async def numbers(self, last: int) -> list[int]:
        """All numbers that came, once the last one has come."""
        await self.wait(f"{NUMBERS}.includes({last})")
        return list(await self.run(NUMBERS))

    async def crash(self) -> None:
        """Let its process die."""
        with contextlib.suppress(Error):
            await self.page.goto("chrome://crash")

    async def freeze(self) -> None:
        """Stop its main thread, whatever comes."""
        self._frozen = await frozen(self.page)

    async def thaw(self) -> None:
        """Let it go on."""
        await self._frozen.detach()


async def frozen(page: Page) -> CDPSession:
    """Stop a page's main thread before its next statement, until the session is detached.
    (Chromium's own freezing spares pages that a debugger looks at.)"""
    session = await page.context.new_cdp_session(page)
    await session.send("Debugger.enable")
    await session.send("Debugger.pause")
    return session


async def drawn(session: CDPSession) -> str:
    """A page as it stands, asked for without a script: a frozen one would not run it."""
    root = (await session.send("DOM.getDocument"))["root"]
    wanted = {"nodeId": root["nodeId"], "selector": "#app"}
    node = await session.send("DOM.querySelector", wanted)
    return str((await session.send("DOM.getOuterHTML", node))["outerHTML"])


@contextlib.asynccontextmanager
async def profile(browser: Browser, script: str = "") -> AsyncIterator[BrowserContext]:
    """A profile of its own, whose pages begin with a script; no page may have thrown."""
    context = await browser.new_context()
    thrown: list[str] = []
    context.on("weberror", lambda fault: thrown.append(str(fault.error)))
    if script:
        await context.add_init_script(script)
    try:
        yield context
    finally:
        await context.close()
    assert not thrown, thrown


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def elsewhere() -> AsyncIterator[str]:
    """Another origin, of empty pages, that the server allows."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(reused: Database, shelf: Path, elsewhere: str) -> AsyncIterator[Served]:
    """One for all tests of a module; at the end it must not have complained."""
    directory = Path(tempfile.mkdtemp(dir=shelf))
    settings = {
        "TAILRACE_RING_BYTES": "0",
        "TAILRACE_HEARTBEAT": "0.2",
        "CORS_ORIGINS": elsewhere,
    }
    async with Served(directory, reused, demo=False, quick_retry=True, **settings) as running:
        yield running
    assert "Traceback" not in running.output, running.output


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with profile(browser) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def tab(context: BrowserContext, server: Served) -> Tab:
    return await Tab.open(context, server.proxy.url)


class Channel:
    """A channel of one test, with the numbers that were published on it."""

    def __init__(self, server: Served) -> None:
        self.name = next(_names)
        self.numbers: list[int] = []
        self._server = server

    async def publish(self, count: int = 1, **more: Any) -> None:
        for _ in range(count):
            self.numbers.append(len(self.numbers) + 1)
            await self._server.publish_on(self.name, {"n": self.numbers[-1]} | more)

    async def read_by(self, *tabs: Tab) -> None:
        """Each tab has all of them, in their order, none twice."""
        for tab in tabs:
            assert await tab.numbers(self.numbers[-1]) == self.numbers


@pytest.fixture
def channel(server: Served) -> Channel:
    return Channel(server)


async def open_streams(server: Served) -> list[list[str]]:
    """The channels of each stream that the server has open."""
    user = await server.sql.fetchval(
        "INSERT INTO users (name, email, role) VALUES ('A', gen_random_uuid() || '@x', 'admin')"
        " RETURNING id"
    )
    headers = {"Authorization": f"Bearer {await sessions.create(server.sql, user)}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as client,
        client.get("/api/streams") as answer,
    ):
        return [stream["channels"] for stream in (await answer.json())["streams"]]


async def only_stream(server: Served, *channels: str) -> None:
    """Wait until the server has one stream open, with these channels."""

    async def settled() -> bool:
        return list(map(sorted, await open_streams(server))) == [sorted(channels)]

    await until(settled)


async def no_stream(server: Served) -> None:
    """Wait until the server has none open."""

    async def settled() -> bool:
        return not await open_streams(server)

    await until(settled)
