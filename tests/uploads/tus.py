"""A small tus client, which also sends what is wrong and leaves off in the middle."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from tests.uploads.making import encoded, picture
from tests.waiting import until

PNG = encoded(picture(size=(160, 120)), "PNG")
BYTES = "application/offset+octet-stream"
BASE = "/api/uploads/tus"
NOWHERE = f"{BASE}/{'0' * 32}"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def offset(self) -> int:
        assert self.status in {200, 201, 204}, self
        return int(self.headers["Upload-Offset"])

    @property
    def error(self) -> tuple[int, str]:
        """The status and the sentence of an error in our form."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.body["status"] == self.status
        return self.status, self.body["error"]


def metadata(**pairs: str) -> str:
    """The header `Upload-Metadata`."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items()
    )


def sha1(data: bytes) -> str:
    """The header `Upload-Checksum`."""
    return f"sha1 {base64.b64encode(hashlib.sha1(data).digest()).decode()}"


class Client:
    """`bearer`: of a user or an API key. Every answer must tell the version of tus."""

    def __init__(self, url: str, bearer: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {bearer}", "Tus-Resumable": "1.0.0"}

    async def send(self, method: str, path: str, data: Any = None, **headers: str | None) -> Answer:
        given: dict[str, str | None] = {**self.headers}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession(skip_auto_headers={"Content-Type"}) as session,
            session.request(
                method,
                self.url + path,
                data=data,
                headers={name: value for name, value in given.items() if value is not None},
            ) as answer,
        ):
            assert answer.headers["Tus-Resumable"] == "1.0.0"
            text = await answer.text()
            return Answer(answer.status, answer.headers.copy(), json.loads(text) if text else None)

    async def create(self, length: int, **pairs: str) -> str:
        """Begin an upload; its path."""
        given = {"Upload_Metadata": metadata(**pairs)} if pairs else {}
        answer = await self.send("POST", BASE, Upload_Length=str(length), **given)
        assert answer.status == 201, answer
        return answer.headers["Location"]

    async def patch(self, path: str, offset: int, data: Any, **headers: str | None) -> Answer:
        given = {"Content_Type": BYTES, "Upload_Offset": str(offset)} | headers
        return await self.send("PATCH", path, data, **given)

    async def head(self, path: str) -> Answer:
        return await self.send("HEAD", path)

    async def get(self, path: str) -> Any:
        """What the server tells of an upload, without disturbing it."""
        return await self.send("GET", path)

    @asynccontextmanager
    async def hanging(
        self, path: str, offset: int, data: bytes, *, length: int, **headers: str
    ) -> AsyncIterator[Hanging]:
        """A PATCH that announces `length` bytes and sends only `data`; all of it has arrived."""
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        given = self.headers | {
            "Host": where.netloc, "Content-Type": BYTES, "Content-Length": str(length),
            "Upload-Offset": str(offset),
        }  # fmt: skip
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        writer.write(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        try:
            yield Hanging(reader, writer)
        finally:
            writer.transport.abort()


class Hanging(NamedTuple):
    """A request that is not ended."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self) -> int:
        """That of the answer."""
        async with asyncio.timeout(20):
            return int((await self.reader.readline()).split()[1])


async def held(directory: Any, path: str) -> None:
    """Wait until a request holds the lock of an upload."""
    lock = directory / "spool" / f"{path.rpartition('/')[2]}.lock"
    await until(lock.exists)
