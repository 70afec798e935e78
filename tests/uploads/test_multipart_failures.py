"""`POST /api/upload`: senders that stall, go or never end; a server that can't keep the file."""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from server.db.embedded import EmbeddedPostgres
from server.errors import StartError
from server.uploads import body
from server.uploads.policies import MIB
from tests.uploads.forms import BODY, CHUNKED, CLOSE, OPEN, Door, answer, door, head, part
from tests.uploads.making import PNG
from tests.uploads.refusing import shared, uploads
from tests.waiting import until

__all__ = ["shared", "uploads"]
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def impatient(shared: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stalls is given up soon."""
    monkeypatch.setattr(shared.uploads, "stall", 0.1)


async def begun(uploads: Door, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which this was sent, once the server writes a file of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", uploads.running.port)
    writer.write(sent)
    await until(uploads.files)
    return reader, writer


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def read(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(15):
        return await reader.readuntil(b"\r\n\r\n")


STALLS = {
    "behind the head": b"",
    "in the preamble": b"x",
    "in a header": OPEN + b"Content-Disposition: form-",
    "in the file": BODY[: len(BODY) // 2],
    "before the end": BODY[: -len(CLOSE)],
    "at a length that is too long": BODY,
}


@pytest.mark.parametrize("place", STALLS)
@pytest.mark.usefixtures("impatient")
async def test_a_body_that_stalls_is_given_up(uploads: Door, place: str) -> None:
    stream = await uploads.running.raw(head(len(BODY) + 10) + STALLS[place])
    assert (await answer(stream))[:1] == (408,)
    stream.abort()


@pytest.mark.usefixtures("impatient")
async def test_chunks_without_an_end_are_given_up(uploads: Door) -> None:
    stream = await uploads.running.raw(head(None, headers=CHUNKED) + b"5\r\n--abc\r\n5\r\n")
    assert (await answer(stream)).status == 408
    stream.abort()


async def test_a_length_that_is_too_short_ends_the_body(uploads: Door) -> None:
    stream = await uploads.running.raw(head(len(BODY) - 10) + BODY[:-10])
    found = await answer(stream)
    assert (found.status, "last boundary" in found.detail) == (400, True)
    stream._writer.write(BODY[-10:])
    await stream.gone()  # what follows is no request


async def test_a_byte_now_and_then_is_given_up(
    uploads: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SLOW", 0.05)
    monkeypatch.setattr(body, "LEAST_RATE", 10**9)
    reader, writer = await begun(uploads, head(len(BODY)) + BODY[:300])
    reading = asyncio.ensure_future(read(reader))

    def one_more() -> bool:
        writer.write(b"x")
        return reading.done()

    await until(one_more)
    assert b" 408 " in reading.result()
    await gone(writer)


@pytest.mark.parametrize("sent", [BODY[:300], BODY[:-4], BODY])
async def test_a_client_that_hangs_up_leaves_nothing(uploads: Door, sent: bytes) -> None:
    for end in ("abort", "close", "write_eof"):
        _, writer = await begun(uploads, head(len(BODY) + 5) + sent)
        getattr(writer.transport, end)()
        await uploads.left_alone()
        await gone(writer)


@pytest.mark.usefixtures("impatient")
async def test_a_chunk_that_is_none_leaves_nothing(uploads: Door) -> None:
    chunk = b"%x\r\n%b\r\n" % (400, BODY[:400])
    reader, writer = await begun(uploads, head(None, headers=CHUNKED) + chunk)
    writer.write(b"zz\r\n")
    # aiohttp's parser gives up and tells nobody, until the one before it is answered.
    assert b" 408 " in await read(reader)
    await gone(writer)


def deaf(port: int, request: bytes, count: int) -> bytes:
    """A client that reads only when it has sent everything."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(request)
        piece = bytes(MIB)
        for _ in range(count):
            client.sendall(piece)
        return client.recv(65536)


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked", "Content-Length": None}])
async def test_who_still_sends_100_mb_gets_the_413(
    uploads: Door, headers: dict[str, str | None]
) -> None:
    count, begin = 100, part(PNG)[:-2]
    length = len(begin) + count * MIB
    request = head(length, headers=headers) + (b"%x\r\n" % length if headers else b"") + begin
    found = await asyncio.to_thread(deaf, uploads.running.port, request, count)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b"File too large" in found


async def test_who_never_ends_is_cut_off(uploads: Door) -> None:
    server = uploads.running.runner.server
    assert server is not None
    before = server._kwargs.get("lingering_time")
    server._kwargs["lingering_time"] = 0.1
    begin = head(None, headers=CHUNKED) + b"ffffffff\r\n" + part(PNG)[:-2]
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(deaf, uploads.running.port, begin, 100_000)
    if before is None:
        del server._kwargs["lingering_time"]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """The kernel's limit on the size of a file, as quotas set it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_told(uploads: Door) -> None:
    with file_limit(100):
        found = await uploads.post(BODY)
    assert (found.status, found.error) == (507, "Insufficient storage")
    await uploads.nothing()


async def test_a_store_that_is_away_is_told(uploads: Door) -> None:
    root = uploads.data / "uploads"
    shutil.rmtree(root)
    root.write_text("a file where the store was")
    found = await uploads.post(BODY)
    root.unlink()
    root.mkdir()
    assert (found.status, found.headers["retry-after"]) == (503, "5")


async def test_a_spool_that_is_away_is_told(uploads: Door) -> None:
    spool = uploads.data / "spool"
    shutil.rmtree(spool)
    found = await uploads.post(BODY)
    spool.mkdir()
    assert (found.status, found.error) == (503, "Service unavailable")


LOCK = "SELECT pg_advisory_lock(hashtextextended('key:bootstrap', 7245722306))"
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_a_row_that_may_be_there_keeps_its_file(uploads: Door) -> None:
    """When the connection is lost in a commit, only the database knows whether there is a row."""
    async with uploads.pool.acquire() as connection:
        await connection.execute(LOCK)
        posting = asyncio.ensure_future(uploads.post(BODY))
        await until(lambda: connection.fetchval(WAITING))
        [stored] = uploads.files()
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS found")
        assert (await posting).status == 503
        assert uploads.files() == [stored]  # for the cleanup to judge
        await connection.execute("SELECT pg_advisory_unlock_all()")
    stored.unlink()


async def test_without_a_place_uploads_are_closed_and_the_rest_works(
    postgres: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    async with door(postgres, data=tmp_path / "file") as opened:
        assert "uploads are closed" in caplog.text
        assert (await opened.post(BODY)).status == 503
        answered, _ = await opened.running.get("/healthz")
        assert answered.status == 200


@pytest.mark.parametrize("url", ["file:///dev/null/x", "ftp://x", "file:relative"])
async def test_a_store_that_was_asked_for_stops_the_start(
    postgres: EmbeddedPostgres, url: str
) -> None:
    with pytest.raises(StartError, match="STORAGE_URL"):
        async with door(postgres, storage_url=url):
            pass


async def test_a_shutdown_in_the_middle_leaves_nothing(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with door(postgres, data=tmp_path) as opened:
        _, writer = await begun(opened, head(len(BODY)) + BODY[:-10])
    assert opened.files() == []
    await gone(writer)
