"""The real server process on a database of its own, behind the fault proxy; a foreign writer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg

from server.db.pool import Database
from tests.clients.proxy import Cut, Proxy
from tests.process import ServerProcess
from tests.waiting import until

SECRET = "a secret for tests, 32 characters or more"
API_KEY = "an api key for tests, 32 characters or more"
CHANNEL = "public.numbers"
STREAM = f"/api/stream?channel={CHANNEL}"


class Served:
    """`published` are the numbers committed on `CHANNEL`, in the order of their commits."""

    def __init__(
        self, directory: Path, database: Database, *, demo: bool, quick_retry: bool, **settings: str
    ) -> None:
        self._directory = directory
        self._demo = "--demo" if demo else "--no-demo"
        self._settings = {
            "DATABASE_URL": database.url,
            "TAILRACE_SECRET": SECRET,
            "TAILRACE_API_KEY": API_KEY,
            "TAILRACE_HEARTBEAT": "0.2",
            "TAILRACE_POOL_SIZE": "2",
        } | settings
        self._database = database
        self._processes: list[ServerProcess] = []
        self.port = 0
        self.proxy = Proxy(0, quick_retry=quick_retry)
        self.published: list[int] = []

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            # Entered first: whatever else fails, no process stays behind.
            self._ends = stack.enter_context(contextlib.ExitStack())
            self.sql = await asyncpg.connect(self._database.url)
            stack.push_async_callback(self.sql.close)
            await stack.enter_async_context(self.proxy)
            await self.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def process(self) -> ServerProcess:
        return self._processes[-1]

    @property
    def url(self) -> str:
        """The server's own address; `proxy.url` leads through the proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What every one of the processes has said."""
        return "".join(process.output for process in self._processes)

    async def start(self) -> None:
        """Start a process; the second takes the port of the first."""
        directory = self._directory / f"process{len(self._processes)}"
        directory.mkdir()
        process = ServerProcess(directory, self._demo, "--port", str(self.port), **self._settings)
        self._processes.append(self._ends.enter_context(process))
        url = await asyncio.to_thread(lambda: self.process.url)
        self.port = self.proxy.upstream = urlsplit(url).port or 0

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the process a signal and wait for its end; the exit code."""
        self.process.signal(number)
        return await asyncio.to_thread(self.process.ended)

    async def publish(self, count: int = 1, **more: Any) -> None:
        """Commit the next numbers, each in a transaction of its own, as any SQL client would."""
        for _ in range(count):
            number = len(self.published) + 1
            await self.publish_on(CHANNEL, {"n": number} | more)
            self.published.append(number)

    async def publish_on(self, channel: str, data: Any) -> None:
        """Commit one event on a channel."""
        await self.sql.execute(
            "SELECT tailrace.publish($1, 'number', $2::jsonb)", channel, json.dumps(data)
        )

    async def head(self) -> int:
        """The log's last position, once all that is committed has one."""
        await until(self._stamped)
        return int(await self.sql.fetchval("SELECT pos FROM tailrace.head"))

    async def _stamped(self) -> bool:
        return not await self.sql.fetchval("SELECT count(*) FROM tailrace.outbox")

    async def storm(self, count: int = 150) -> None:
        """Publish while connections are cut inside of frames and refused; every cut takes place.

        Each cut is due behind a number inside its event's frame, so a client that has it all
        has lived through all of them.
        """
        first = len(self.published) + 1
        for step, number in enumerate(range(first + 10, first + count - 10, count // 6)):
            self.proxy.cuts.append(Cut(b'"n": %d}' % number, "rst" if step % 2 else "fin"))
        await self.publish(count // 2)
        async with self.proxy.refusing():
            await self.publish(count // 6)
        await self.publish(count - count // 2 - count // 6)
