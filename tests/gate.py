"""A gate before Postgres: it can be shut, and it can keep notifications back, all of them or as a
pooler does."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from server.db.pool import Database

NOTIFICATION = b"A"
READY = b"Z"


class _Client:
    """A connection through the gate. `speaking`: a statement of it runs."""

    speaking = False


class Gate:
    """A Unix socket that passes on to Postgres, message by message."""

    def __init__(self, target: Path, directory: Path) -> None:
        self._target = target
        self._path = directory / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.deaf = False
        """Whether notifications are kept back."""
        self.pooling = False
        """Whether they pass only while the client has a server connection: in a statement."""
        self.connections = 0

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    async def shut(self) -> None:
        """Cut every connection and take no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection; new ones pass."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_unix_connection(str(self._target))
        self._writers |= {writer, up_writer}
        client = _Client()
        for coroutine in (
            self._bytes(reader, up_writer, client),
            self._messages(up_reader, writer, client),
        ):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _bytes(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: _Client
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                client.speaking = True
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)

    async def _messages(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: _Client
    ) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
                if head[:1] == READY:
                    client.speaking = False
                kept = self.deaf or (self.pooling and not client.speaking)
                if not (kept and head[:1] == NOTIFICATION):
                    writer.write(head + body)
                    await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@asynccontextmanager
async def gated(database: Database) -> AsyncIterator[tuple[Gate, Database]]:
    """An open gate before `database`, and the address behind which it stands."""
    url = urlsplit(database.url)
    target = Path(parse_qs(url.query)["host"][0]) / ".s.PGSQL.5432"
    directory = Path(tempfile.mkdtemp(prefix="gate-", dir="/tmp"))
    gate = Gate(target, directory)
    await gate.open()
    try:
        behind = url._replace(query=f"host={directory}&port=5432").geturl()
        yield gate, Database(behind, None, embedded=False)
    finally:
        await gate.shut()
        shutil.rmtree(directory)
