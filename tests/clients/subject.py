"""A server with its own Postgres behind the fault proxy, and one user's tabs that look at it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from playwright.async_api import BrowserContext, Page, expect

from tests.clients.proxy import Proxy
from tests.clients.tabs import Complaints
from tests.process import ServerProcess
from tests.waiting import until


class Subject:
    """The server, its database, and the tabs that look at it."""

    def __init__(self, directory: Path, proxy: Proxy) -> None:
        self.directory = directory
        self.proxy = proxy
        self.user = ""

    def start(self, ends: contextlib.ExitStack) -> None:
        """Start a process; a later one takes the port and the data of the first."""
        port = str(self.proxy.upstream)
        self.process = ends.enter_context(
            ServerProcess(
                self.directory, "--no-demo", "--port", port,
                TAILRACE_HEARTBEAT="0.5", TAILRACE_POOL_SIZE="2",
            )
        )  # fmt: skip
        self.proxy.upstream = urlsplit(self.process.url).port or 0

    async def sql(self, query: str, *values: object) -> list[asyncpg.Record]:
        """What any other client of the database would do, on a connection of its own."""
        url = (self.directory / "data" / "url").read_text().strip()
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def post(self, *titles: str) -> None:
        """Commit posts."""
        for title in titles:
            await self.sql(
                "INSERT INTO posts (author_id, title, content) VALUES ($1, $2, 'text')",
                self.user, title,
            )  # fmt: skip

    @contextlib.asynccontextmanager
    async def resumed(self, *, cut: bool = True) -> AsyncIterator[None]:
        """Each stream that is asked for within goes on behind what was committed before it, and in
        the end there is one of them. `cut`: the one of before has ended."""
        [before] = await self.sql(
            "SELECT split_part(tailrace.position(), '.', 1) AS epoch, max(pos) AS pos"
            " FROM tailrace.event WHERE channel = 'posts'"
        )
        asked = len(self.proxy.requests)
        yield
        again = [each for each in self.proxy.requests[asked:] if each.is_stream]
        assert again or not cut
        for request in again:
            epoch, _, pos = (request.last_event_id or "").partition(".")
            assert epoch == before["epoch"], request
            assert int(pos) >= before["pos"], request
        await until(lambda: len(self.proxy.carried) == 1)

    async def is_up(self) -> bool:
        """Whether the database answers."""
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            return bool(await self.sql("SELECT true"))
        return False

    @property
    def postmaster(self) -> int:
        """The process of its Postgres."""
        text = (self.directory / "data" / "pg" / "postmaster.pid").read_text()
        return int(text.splitlines()[0])


class Tabs:
    """The list of posts, the events of its channel, and a third one for what a test needs."""

    def __init__(self, context: BrowserContext, complaints: Complaints, *pages: Page) -> None:
        self.context = context
        self.complaints = complaints
        self.posts, self.events, self.third = pages

    async def show_posts(self, subject: Subject, tab: Page) -> None:
        """Wait until it shows what the database holds, in its order."""
        rows = await subject.sql("SELECT title FROM posts ORDER BY id DESC")
        shown = tab.get_by_role("list", name="Posts, newest first").locator("strong")
        await expect(shown).to_have_text([row["title"] for row in rows])

    async def show(self, subject: Subject) -> None:
        """Wait until the first two show what the database holds, in its order."""
        await self.show_posts(subject, self.posts)
        log = await subject.sql(
            "SELECT key FROM tailrace.event WHERE channel = 'posts' ORDER BY pos DESC"
        )
        keys = [row["key"] for row in log]
        await expect(self.events.locator("ol.rows .line .key")).to_have_text(keys)
        for tab in (self.posts, self.events):
            await expect(tab.locator("header .pill")).to_have_text("Live")
        await expect(self.events.locator("ol.rows > .gap")).to_have_count(0)

    async def go(self, path: str) -> None:
        """Another page in the third tab."""
        await self.third.evaluate("path => { location.hash = path; }", path)
