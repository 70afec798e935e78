"""Large bodies, of which most is taken past aiohttp: whole, cut, stalled, refused, taken over."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from server.db.pool import Database
from server.keys import POOL, SETTINGS
from server.uploads.direct import LEAST
from server.uploads.policies import MIB
from server.uploads.service import UPLOADS
from tests.clean import reused
from tests.served import Served, Stream, served
from tests.uploads.forms import BOUNDARY, CHUNKED, OPEN, answer, form, head, part
from tests.uploads.making import MP4
from tests.uploads.tus import Client
from tests.waiting import until

__all__ = ["reused"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

# What nearly is the boundary stands everywhere, also across the pieces that come.
NEARLY = f"\r\n--{BOUNDARY[:-1]}\r\n--".encode()
CONTENT = MP4 + b"".join(
    random.Random(7).randbytes(size) + NEARLY for size in (9, 300_000, 3 * MIB, 5 * MIB, 77_777)
)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FORM = form(part(CONTENT, kind="video/mp4"))
QUERY = "?policy=media"
BEGUN = len(FORM) - LEAST - 100
"""Bytes after which as much is missing as is needed."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One server for all of them."""
    async with served(reused, upload_stall=60.0, limits="off") as running:
        yield running
    assert not running.app[UPLOADS]._running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: Served) -> Client:
    """A new user's, of tus."""
    return Client(server.url, (await server.sign_in())[1])


def received(server: Served) -> int:
    return server.app[UPLOADS].spool.received


async def begun(
    server: Served, body: bytes, **headers: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the half of a form was sent, once the server has it."""
    before = received(server)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(len(FORM), QUERY, headers) + body)
    await until(lambda: received(server) >= before + len(body) - 1000)
    return reader, writer


async def answered(server: Served, reader: Any, writer: Any) -> Stream:
    stream = Stream(reader, writer)
    server.streams.append(stream)
    async with asyncio.timeout(20):
        await stream.head()
    return stream


async def nothing(server: Served) -> None:
    """Nothing of it is left."""
    await until(lambda: not server.app[UPLOADS]._running)
    data = server.app[SETTINGS].data
    assert [path for path in (data / "spool").iterdir() if path.name != ".host"] == []
    assert not await server.app[POOL].fetchval(
        "SELECT count(*) FROM uploads WHERE state <> 'ready'"
    )


@pytest.mark.parametrize("step", [len(FORM), 1_000_003, 65_536])
async def test_it_is_whole_and_its_answer_the_connections_last(server: Served, step: int) -> None:
    reader, writer = await begun(server, FORM[:2000])
    for start in range(2000, len(FORM), step):
        writer.write(FORM[start : start + step])
        await writer.drain()
        await asyncio.sleep(0)
    stream = await answered(server, reader, writer)
    assert stream.headers["connection"] == "close"
    found = await answer(stream)
    assert (found.status, found.body["sha256"]) == (200, SHA256)
    assert found.body["size"] == len(CONTENT)
    await stream.gone()
    stored = server.app[SETTINGS].data / "uploads"
    [path] = [path for path in stored.rglob("*") if path.name == found.body["id"]]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["small", "chunked"])
async def test_others_keep_their_connection(server: Served, kind: str) -> None:
    if kind == "small":
        body = form(part(MP4 + bytes(LEAST - 10_000), kind="video/mp4"))
        request = head(len(body), QUERY) + body
    else:
        request = head(None, QUERY, CHUNKED)
        for start in range(0, len(FORM), MIB):
            piece = FORM[start : start + MIB]
            request += b"%x\r\n%b\r\n" % (len(piece), piece)
        request += b"0\r\n\r\n"
    stream = await server.raw(request)
    assert "connection" not in stream.headers
    assert (await answer(stream)).status == 200
    await stream.send("GET", "/healthz", {}, b"")
    assert stream.status == 200


@pytest.mark.parametrize("rude", [True, False])
async def test_who_goes_leaves_nothing(server: Served, rude: bool) -> None:
    _, writer = await begun(server, FORM[:BEGUN])
    writer.transport.abort() if rude else writer.write_eof()
    await nothing(server)
    writer.transport.abort()


async def test_who_stalls_is_given_up(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.app[UPLOADS], "stall", 0.2)
    reader, writer = await begun(server, FORM[:BEGUN])
    assert (await answered(server, reader, writer)).status == 408
    await nothing(server)


async def test_what_is_refused_half_way_is_answered_while_more_comes(server: Served) -> None:
    # A second file, behind 2 MiB, when most of what was announced is still to come.
    body = part(MP4 + bytes(2 * MIB), kind="video/mp4") + part(b"x") + OPEN
    reader, writer = await begun(server, body)
    writer.write(bytes(len(FORM) - len(body)))
    stream = await answered(server, reader, writer)
    assert stream.headers["connection"] == "close"
    found = await answer(stream)
    assert (found.status, "more than one file" in found.detail) == (400, True)
    writer.transport.abort()
    await nothing(server)


async def test_what_follows_the_end_is_no_request(server: Served) -> None:
    reader, writer = await begun(server, FORM[:BEGUN])
    writer.write(FORM[BEGUN:] + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
    stream = await answered(server, reader, writer)
    assert (await answer(stream)).status == 200
    await stream.gone()


async def test_a_resumed_upload_takes_over_from_its_own_half(
    server: Served, client: Client
) -> None:
    path = await client.create(len(CONTENT), filename="a.mp4", policy="media")
    before = received(server)
    half = len(CONTENT) - LEAST - MIB
    async with client.hanging(path, 0, CONTENT[:half], length=len(CONTENT)) as old:
        await until(lambda: received(server) == before + half)
        assert (await client.head(path)).offset == half
        assert await old.status() == 400
    rest = await client.patch(path, half, io.BytesIO(CONTENT[half:]))
    assert (rest.offset, rest.headers.get("Connection")) == (len(CONTENT), "close")
    assert (await client.get(path)).body["sha256"] == SHA256
