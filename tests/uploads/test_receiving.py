"""What holds while bytes come in, by whichever door: memory, the connection, a database away."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from server.db.pool import Database
from server.keys import POOL, SETTINGS
from server.uploads.policies import MIB
from server.uploads.service import UPLOADS
from tests.clean import reused
from tests.served import Served, served
from tests.uploads.forms import head, part
from tests.uploads.making import MP4
from tests.uploads.tus import BASE, BYTES, PNG, Client
from tests.waiting import until

__all__ = ["reused"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One server for all of them."""
    async with served(reused, upload_stall=60.0, limits="off") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: Served) -> Client:
    """A new user's."""
    return Client(server.url, (await server.sign_in())[1])


def named() -> Iterator[bytes]:
    """Large pieces that a suspended request of uploads has a name for."""
    for found in gc.get_objects():
        frame = getattr(found, "cr_frame", None) if inspect.iscoroutine(found) else None
        if inspect.isasyncgen(found):
            frame = found.ag_frame
        if frame is not None and "/server/uploads/" in frame.f_code.co_filename:
            for value in frame.f_locals.values():
                pieces = value if isinstance(value, list) else [value]
                yield from (each for each in pieces if isinstance(each, bytes) and len(each) > 1000)


@pytest.mark.parametrize("door", ["form", "tus"])
async def test_who_waits_for_more_keeps_nothing_of_what_came(
    server: Served, client: Client, door: str
) -> None:
    """Fifty senders would have 256 KiB each in memory, beside what is written."""
    uploads, content = server.app[UPLOADS], MP4 + bytes(MIB)
    before = uploads.spool.received
    if door == "tus":
        path = await client.create(2 * MIB, policy="media")
        async with client.hanging(path, 0, content, length=2 * MIB):
            await until(lambda: uploads.spool.received == before + len(content))
            await until(lambda: not list(named()))
        return
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    file = part(content, 'form-data; name="file"; filename="a.mp4"', "video/mp4")[:-2]
    writer.write(head(2 * MIB, "?policy=media") + file)
    await until(lambda: uploads.spool.received == before + len(content))
    await until(lambda: not list(named()))
    writer.transport.abort()
    await until(lambda: not uploads.running)


async def test_one_connection_carries_an_upload_from_its_begin_to_its_end(
    server: Served, client: Client
) -> None:
    path = await client.create(len(PNG))
    half = len(PNG) // 2
    sent = client.headers | {"Content-Type": BYTES}
    stream = await server.raw(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
    await stream.rest()
    for start, piece, status in (
        (0, PNG[:half], 204),
        (0, PNG[:half], 409),
        (half, PNG, 413),
        (half, PNG[half:], 204),
    ):
        given = {"Upload-Offset": str(start), "Content-Length": str(len(piece))}
        await stream.send("PATCH", path, sent | given, piece)
        assert stream.status == status
        if status != 204:
            await stream.rest()
    assert (await client.get(path)).body["state"] == "ready"


WAITING = """
    SELECT DISTINCT pid FROM pg_locks
    WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"""


@pytest.mark.parametrize("committed", [False, True])
async def test_a_database_that_is_lost_at_the_last_moment_does_not_cost_the_upload(
    server: Served, client: Client, *, committed: bool
) -> None:
    """`committed`: it was done, and only the answer was lost."""
    pool, path = server.app[POOL], await client.create(len(PNG))
    id_ = path.rpartition("/")[2]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM uploads WHERE id = $1 FOR UPDATE", id_)
        sending = asyncio.ensure_future(client.patch(path, 0, PNG))
        await until(lambda: connection.fetchval(WAITING))
        if committed:
            await connection.execute(
                "UPDATE uploads SET state = 'ready', sha256 = encode(sha256($2), 'hex'),"
                " ready_at = now() WHERE id = $1", id_, PNG,
            )  # fmt: skip
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS found")
    assert (await sending).offset == len(PNG)
    assert (await client.get(path)).body["state"] == "ready"
    [file] = list((server.app[SETTINGS].data / "uploads").rglob(id_))
    assert file.read_bytes() == PNG


async def test_a_creation_whose_bytes_meet_a_fault_of_ours_leaves_nothing(
    server: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    count = "SELECT count(*) FROM uploads"
    before = await server.app[POOL].fetchval(count)
    with monkeypatch.context() as patch:
        patch.setattr(server.app[UPLOADS].store, "put", broken)
        answer = await client.send(
            "POST", BASE, PNG, Upload_Length=str(len(PNG)), Content_Type=BYTES
        )
    assert answer.status == 500
    assert await server.app[POOL].fetchval(count) == before
