"""Forms written by hand, and a server to send them to."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database
from server.keys import POOL, SETTINGS
from server.uploads.service import UPLOADS, Uploads
from tests.conftest import CLONE, database_url
from tests.served import BEARER, Served, Stream, served
from tests.uploads.making import PNG
from tests.waiting import until

BOUNDARY = "----WebKitFormBoundary0123456789abcdef"
OPEN = f"--{BOUNDARY}\r\n".encode()
CLOSE = f"--{BOUNDARY}--\r\n".encode()


def part(
    content: bytes,
    disposition: str = 'form-data; name="file"; filename="a.png"',
    kind: str | None = "image/png",
    *more: str,
) -> bytes:
    """One part, with the boundary before it."""
    lines = [f"Content-Disposition: {disposition}", *more]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return OPEN + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + CLOSE


BODY = form(part(PNG))
CHUNKED: dict[str, str | None] = {"Transfer-Encoding": "chunked", "Content-Length": None}


class Answer(NamedTuple):
    """What the server said; `error` and `detail` of a refusal."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def error(self) -> str:
        return str(self.body.get("error"))

    @property
    def detail(self) -> str:
        return str(self.body.get("detail", self.body.get("issues")))


class Door:
    """A server that takes uploads, and what it has of them."""

    def __init__(self, running: Served) -> None:
        self.running = running
        self.pool = running.app[POOL]
        self.uploads: Uploads = running.app[UPLOADS]
        self.data: Path = running.app[SETTINGS].data

    async def send(
        self,
        body: bytes,
        query: str = "",
        headers: Mapping[str, str | None] | None = None,
    ) -> Stream:
        """Send a request; `headers` replace the usual ones, `None` leaves one out."""
        return await self.running.raw(head(len(body), query, headers) + body)

    async def post(
        self,
        body: bytes,
        query: str = "",
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Send a request, and read its answer."""
        stream = await self.send(body, query, headers)
        found = await answer(stream)
        stream.abort()
        return found

    async def rows(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM uploads"))

    def files(self) -> list[Path]:
        """Every file of the spool and of the store."""
        places = [self.data / "spool", self.data / "uploads"]
        return [path for place in places for path in place.rglob("*") if path.is_file()]

    async def nothing(self) -> None:
        """Nothing was kept, and nothing is under way."""
        assert self.files() == []
        assert await self.rows() == 0
        assert not self.uploads._running

    async def left_alone(self) -> None:
        """As `nothing`, once the server has seen that its client is gone."""
        await until(lambda: not self.uploads._running)
        await self.nothing()

    async def forget(self) -> None:
        """Remove what was accepted."""
        for row in await self.pool.fetch("DELETE FROM uploads RETURNING id"):
            await self.uploads.store.delete(row["id"])


def head(
    length: int | None, query: str = "", headers: Mapping[str, str | None] | None = None
) -> bytes:
    """The head of a request."""
    given: dict[str, str | None] = {
        "Host": "test",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": None if length is None else str(length),
        **BEARER,
        **(headers or {}),
    }
    lines = [f"POST /api/upload{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def answer(stream: Stream) -> Answer:
    """The JSON of an answer whose head was read."""
    return Answer(stream.status, json.loads(await stream.rest()), stream.headers)


@asynccontextmanager
async def door(postgres: EmbeddedPostgres, **settings: Any) -> AsyncIterator[Door]:
    """A server on a database of its own, for the tests of a module."""
    name = f"test_uploads_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(CLONE.format(name))
        database = Database(database_url(postgres, name), None, embedded=True)
        assert urlsplit(database.url).path == f"/{name}"
        async with served(database, **settings) as running:
            yield Door(running)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
