"""`POST /api/upload`: what is refused, with its documented answer and nothing left behind."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.errors import StartError
from server.uploads import body
from server.uploads.policies import MIB
from tests.uploads import making
from tests.uploads.forms import BOUNDARY, CLOSE, OPEN, Door, answer, door, form, head, part
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = making.encoded(making.picture(), "PNG")
JPEG = making.encoded(making.picture(), "JPEG")
GIF = b"GIF89a/*\0\0\0\0*/=1;alert(1)//" + bytes(40)
BODY = form(part(PNG))
CHUNKED: dict[str, str | None] = {"Transfer-Encoding": "chunked", "Content-Length": None}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(postgres: EmbeddedPostgres) -> AsyncIterator[Door]:
    async with door(postgres, upload_stall=10.0) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def uploads(shared: Door, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    """The server. At the end it has kept nothing, still works, and has complained of nothing."""
    yield shared
    await shared.left_alone()
    assert (await shared.post(BODY)).status == 200
    await shared.forget()
    complaints = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert complaints == []


@pytest.fixture
def impatient(shared: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stalls is given up soon."""
    monkeypatch.setattr(shared.uploads, "stall", 0.1)


NO_FILE, BAD_TYPE = (400, "No file provided"), (400, "Invalid file type")
INVALID, TOO_LARGE = (400, "Invalid input"), (413, "File too large")
MEDIA_TYPE = (415, "Unsupported media type")

FORMS = {
    "zero bytes": (form(part(b"")), NO_FILE),
    "an empty file input": (
        form(part(b"", 'form-data; name="file"; filename=""', "application/octet-stream")),
        NO_FILE,
    ),
    "no file": (form(part(b"x", 'form-data; name="a"', None)), NO_FILE),
    "no part": (CLOSE, NO_FILE),
    "a text in the field": (form(part(PNG, 'form-data; name="file"')), NO_FILE),
    "another field": (form(part(PNG, 'form-data; name="image"; filename="a.png"')), NO_FILE),
    "a part without a name": (form(part(PNG, "form-data")), NO_FILE),
    "no body": (b"", INVALID),
    "no form": (PNG, INVALID),
    "no closing boundary": (BODY[: -len(CLOSE)], INVALID),
    "cut in the closing boundary": (BODY[:-6], INVALID),
    "another boundary": (BODY.replace(BOUNDARY.encode(), b"other"), INVALID),
    "a boundary that goes on": (BODY.replace(OPEN, OPEN[:-2] + b"x\r\n"), INVALID),
    "thousands of fields": (
        form(*[part(b"", f'form-data; name="{n}"', None) for n in range(3000)]),
        INVALID,
    ),
    "a large field": (form(part(b"x" * 70_000, "form-data; name=a"), part(PNG)), INVALID),
    "an endless preamble": (b"x" * 100_000 + BODY, INVALID),
    "an endless header": (OPEN + b"X: " + b"y" * 100_000, INVALID),
    "endless header lines": (OPEN + b"X: y\r\n" * 20_000, INVALID),
    "an endless epilogue": (BODY + b"x" * 100_000, INVALID),
    "two names": (form(part(PNG, "form-data; name=file; name=a; filename=a.png")), INVALID),
    "two files": (form(part(PNG), part(PNG)), INVALID),
    "a form in a form": (
        form(part(form(part(PNG)), kind="multipart/mixed; boundary=x")), BAD_TYPE,
    ),
    "base64": (
        form(part(base64.b64encode(PNG), "form-data; name=file; filename=a.png", "image/png",
                  "Content-Transfer-Encoding: base64")),
        MEDIA_TYPE,
    ),
    "a part in gzip": (
        form(part(gzip.compress(PNG), "form-data; name=file; filename=a.png", "image/png",
                  "Content-Encoding: gzip")),
        MEDIA_TYPE,
    ),
    "a gif with a script": (form(part(GIF, kind="image/gif")), BAD_TYPE),
    "a gif with a script as png": (form(part(GIF)), BAD_TYPE),
    "an svg as png": (form(part(making.SVG)), BAD_TYPE),
    "an svg": (form(part(making.SVG, kind="image/svg+xml")), BAD_TYPE),
    "html as png": (form(part(making.HTML)), BAD_TYPE),
    "jpeg as png": (form(part(JPEG)), BAD_TYPE),
    "a zip behind a png": (form(part(PNG + making.archive("a"))), BAD_TYPE),
    "a truncated jpeg": (form(part(JPEG[: len(JPEG) // 2], kind="image/jpeg")), BAD_TYPE),
    "20,000 x 20,000 pixels": (form(part(making.png((20_000, 20_000, 8, 2, 0, 0, 0)))), TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
async def test_a_bad_form_has_its_answer(uploads: Door, name: str) -> None:
    body, expected = FORMS[name]
    for headers in ({}, CHUNKED):
        sent = body if not headers else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if headers and not body:
            sent = b"0\r\n\r\n"
        stream = await uploads.running.raw(head(len(body), headers=headers) + sent)
        found = await answer(stream)
        assert (found.status, found.error) == expected, found
        assert uploads.files() == []  # before the answer is told, not some time later
        await stream.send("GET", "/healthz", {}, b"")
        assert stream.status == 200
        stream.abort()
    await uploads.nothing()


@pytest.mark.parametrize(
    ("name", "policy"),
    [("a zip as docx", "documents"), ("text with a NUL", "documents"), ("a docx", "media")],
)
async def test_a_polyglot_has_its_answer(uploads: Door, name: str, policy: str) -> None:
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    content, kind = {
        "a zip as docx": (making.archive("a.txt"), docx),
        "text with a NUL": (b"a,b\n\0", "text/csv"),
        "a docx": (making.DOCX, docx),
    }[name]
    found = await uploads.post(form(part(content, kind=kind)), f"?policy={policy}")
    assert (found.status, found.error) == BAD_TYPE


REQUESTS: dict[str, tuple[str, dict[str, str | None], int]] = {
    "no credentials": ("", {"Authorization": None}, 401),
    "a wrong key": ("", {"Authorization": "Bearer " + "x" * 40}, 401),
    "an unknown policy": ("?policy=none", {}, 400),
    "two policies": ("?policy=images&policy=media", {}, 400),
    "no boundary": ("", {"Content-Type": "multipart/form-data"}, 400),
    "an empty boundary": ("", {"Content-Type": "multipart/form-data; boundary="}, 400),
    "a long boundary": ("", {"Content-Type": f"multipart/form-data; boundary={'b' * 71}"}, 400),
    "another boundary": ("", {"Content-Type": "multipart/form-data; boundary=b"}, 400),
    "multipart/mixed": ("", {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"}, 415),
    "urlencoded": ("", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "no type": ("", {"Content-Type": None}, 415),
    "gzip": ("", {"Content-Encoding": "gzip"}, 415),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_bad_request_has_its_answer(uploads: Door, name: str) -> None:
    query, headers, status = REQUESTS[name]
    assert (await uploads.post(BODY, query, headers)).status == status
    await uploads.nothing()


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
