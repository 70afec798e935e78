"""The application on a real socket, and a client of streams that sees every byte."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from server import app as composition
from server.auth import sessions
from server.db.pool import Database
from server.keys import POOL
from server.settings import load
from server.stream.service import SERVICE, Service
from tests.waiting import until

KEY = "k" * 32
BEARER = {"Authorization": f"Bearer {KEY}"}
PATIENCE = 15.0


class Block(NamedTuple):
    """One block of a stream: its text as sent, and the fields in it."""

    raw: str
    id: str | None
    event: str | None
    data: Any
    retry: int | None

    @property
    def mark(self) -> bool:
        """Whether this is an id-only block."""
        return self.raw == f"id: {self.id}"

    @property
    def pos(self) -> int:
        return int((self.id or "").partition(".")[2])


def parse(raw: str) -> Block:
    """A block, strictly: only the four fields, each once, each as `name: value`."""
    fields: dict[str, str] = {}
    for line in raw.split("\n"):
        name, colon, value = line.partition(": ")
        assert colon, f"a line that is no field: {line!r} in {raw!r}"
        assert name in {"id", "event", "data", "retry"}, line
        assert name not in fields, raw
        fields[name] = value
    data = json.loads(fields["data"]) if "data" in fields else None
    retry = int(fields["retry"]) if "retry" in fields else None
    return Block(raw, fields.get("id"), fields.get("event"), data, retry)


class Stream:
    """A raw HTTP connection whose answer is being read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = b""
        self._left: int | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False

    async def head(self) -> None:
        """Read the status line and the headers."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split(" ")[1])
        for line in lines:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        if "content-length" in self.headers:
            self._left = int(self.headers["content-length"])

    async def more(self) -> bool:
        """Read some of the body; False at its end."""
        if self.ended:
            return False
        if self.headers.get("transfer-encoding") == "chunked":
            size = int(await self._reader.readline(), 16)
            self._body += (await self._reader.readexactly(size + 2))[:-2]
            self.ended = size == 0
        elif self._left is not None:
            self._body += await self._reader.readexactly(self._left)
            self.ended = True
        else:
            data = await self._reader.read(65536)
            self._body += data
            self.ended = not data
        return not self.ended

    async def block(self) -> Block:
        """The next block.

        Raises:
            EOFError: the answer has ended, at the end of a block.
        """
        async with asyncio.timeout(PATIENCE):
            while b"\n\n" not in self._body:
                if not await self.more():
                    assert not self._body, f"a partial frame: {self._body!r}"
                    raise EOFError
        raw, _, self._body = self._body.partition(b"\n\n")
        return parse(raw.decode())

    async def blocks(self, count: int) -> list[Block]:
        return [await self.block() for _ in range(count)]

    async def named(self, name: str | None) -> Block:
        """The next block of this event type (`None`: an application's); others are skipped."""
        while True:
            block = await self.block()
            if block.event == name and not block.mark:
                return block

    async def messages(self, count: int) -> list[Block]:
        return [await self.named(None) for _ in range(count)]

    async def rest(self) -> bytes:
        """The body to its end."""
        async with asyncio.timeout(PATIENCE):
            while await self.more():
                pass
        return self._body

    async def gone(self) -> None:
        """Wait until the server has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                while await self._reader.read(65536):
                    pass

    def pause(self) -> None:
        """Take nothing from the socket any more."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """One more request on this connection."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        self._body, self.ended, self._left, self.headers = b"", False, None, {}
        await self.head()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Served:
    """An application that runs, and the streams opened on it."""

    def __init__(self, app: web.Application, runner: web.AppRunner) -> None:
        self.app = app
        self.runner = runner
        self.streams: list[Stream] = []

    @property
    def port(self) -> int:
        return int(self.runner.addresses[0][1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def service(self) -> Service:
        return self.app[SERVICE]

    async def raw(self, request: bytes, *, buffer: int | None = None) -> Stream:
        """Send these bytes and read the head of the answer. `buffer`: the client's SO_RCVBUF."""
        loop = asyncio.get_running_loop()
        sock = _socket(buffer)
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=buffer or 2**16)
        stream = Stream(reader, writer)
        self.streams.append(stream)
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            await stream.head()
        return stream

    async def open(
        self,
        *channels: str,
        path: str = "/api/stream",
        method: str = "GET",
        version: str = "1.1",
        headers: Mapping[str, str] | None = None,
        buffer: int | None = None,
        **query: object,
    ) -> Stream:
        """Ask for a stream."""
        text = urlencode([*(("channel", name) for name in channels), *query.items()])
        lines = [f"{method} {path}?{text} HTTP/{version}", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return await self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", buffer=buffer)

    async def live(self, *channels: str, **options: Any) -> tuple[Stream, str]:
        """A stream that has reached the present, and the id at which it did."""
        stream = await self.open(*channels, **options)
        assert stream.status == 200, stream.headers
        ready = await stream.block()
        assert ready.event == "ready"
        while not (block := await stream.block()).mark:
            pass
        return stream, str(block.id)

    async def publish(self, channel: str, *datas: object, type: str = "t") -> None:  # noqa: A002
        """Commit events as any SQL client does, all in one transaction."""
        await self.app[POOL].execute(
            "SELECT tailrace.publish($1, $2, data::jsonb) FROM unnest($3::text[]) AS data",
            channel,
            type,
            [json.dumps(data) for data in datas],
        )

    async def sign_in(self, role: str = "user") -> tuple[str, str]:
        """A new user's id and session token."""
        pool = self.app[POOL]
        user = await pool.fetchval(
            "INSERT INTO users (name, email, role) VALUES ('U', gen_random_uuid() || '@x', $1)"
            " RETURNING id",
            role,
        )
        return user, await sessions.create(pool, user)

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[Stream, Any]:
        """An answer and its JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        answer = await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n")
        body = await answer.rest() if method != "HEAD" else b""
        return answer, json.loads(body) if body else None

    async def settled(self) -> None:
        """Return when everything committed so far has been published in this process."""
        pool = self.app[POOL]

        async def done() -> bool:
            left = await pool.fetchval("SELECT EXISTS (SELECT FROM tailrace.outbox)")
            head = await pool.fetchval("SELECT pos FROM tailrace.head")
            return not left and self.service.pubsub.position == head

        await until(done)


def _socket(buffer: int | None) -> socket.socket:
    sock = socket.socket()
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def served(
    database: Database, *, demo: bool = False, **settings: Any
) -> AsyncIterator[Served]:
    """Run the application on `database`; `settings` are fields of `Settings`."""
    directory = Path(tempfile.mkdtemp(prefix="tailrace-served-"))
    given = {
        "api_key": KEY, "pool_size": 4, "partition_size": 100_000,
        "secret": "s" * 32, "access_log": "off", "data": directory,
    } | settings  # fmt: skip
    app = composition.build(load(**given), database, demo=demo)
    # As server/run.py does.
    runner = web.AppRunner(
        app,
        handler_cancellation=False,
        access_log=None,
        shutdown_timeout=1.0,
        max_line_size=32 * 1024,
        auto_decompress=False,
    )
    await runner.setup()
    running = Served(app, runner)
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield running
    finally:
        for stream in running.streams:
            stream.abort()
        await runner.cleanup()
        shutil.rmtree(directory)
