"""A client that comes back takes its upload over at once: in a process, between two, and after a
`kill -9`."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from server.db.pool import Database
from server.errors import ApiError
from server.keys import SETTINGS
from server.uploads.service import UPLOADS
from server.uploads.spool import Spool
from server.uploads.spoolfile import SpoolFile
from server.uploads.tus import locks
from server.uploads.tus.locks import Locks
from tests.clean import reused
from tests.process import ServerProcess
from tests.served import KEY, Served, served
from tests.uploads.making import MP4, NAME
from tests.uploads.tus import PNG, Client, held, sha1
from tests.uploads.tus_server import spooled
from tests.waiting import until

__all__ = ["reused"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

STALL = 60.0
"""Seconds: whoever waits for this to end has not taken anything over."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One server for all of them, with great patience for who stalls."""
    async with served(reused, upload_stall=STALL) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: Served) -> Client:
    """A new user's."""
    return Client(server.url, (await server.sign_in())[1])


async def test_head_ends_the_old_request_and_tells_what_it_wrote(
    server: Served, client: Client
) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:30_000], length=len(PNG)) as old:
        await arrived(server, path, 30_000)
        assert (await client.head(path)).offset == 30_000
        assert await old.status() == 400
        assert (await client.patch(path, 30_000, PNG[30_000:])).offset == len(PNG)
    assert (await client.get(path)).body["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_so_do_patch_and_delete(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:30_000], length=len(PNG)) as old:
        await arrived(server, path, 30_000)
        assert (await client.patch(path, 30_000, PNG[30_000:-1])).offset == len(PNG) - 1
        assert await old.status() == 400
    async with client.hanging(path, len(PNG) - 1, b"", length=1) as old:
        await held(server.app[SETTINGS].data, path)
        assert (await client.send("DELETE", path)).status == 204
        assert await old.status() == 400
    assert (await client.head(path)).status == 404


async def test_to_ask_how_far_it_is_disturbs_nobody(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:30_000], length=len(PNG)) as old:
        await arrived(server, path, 30_000)
        assert (await client.get(path)).status == 200
        old.writer.write(PNG[30_000:])
        assert await old.status() == 204
    assert (await client.head(path)).offset == len(PNG)


async def test_unverified_bytes_of_the_old_request_do_not_count(
    server: Served, client: Client
) -> None:
    path = await client.create(len(PNG))
    given = {"Upload_Checksum": sha1(PNG)}
    async with client.hanging(path, 0, PNG[:30_000], length=len(PNG), **given) as old:
        await arrived(server, path, 30_000)
        assert (await client.head(path)).offset == 0
        assert await old.status() == 400


async def test_many_that_come_at_once_leave_one_whole_file(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))

    async def push() -> None:
        while (answer := await client.head(path)).status == 423 or answer.offset < len(PNG):
            if answer.status == 200:
                await client.patch(path, answer.offset, PNG[answer.offset :][:20_000])

    await asyncio.gather(*(push() for _ in range(5)))
    assert (await client.get(path)).body["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert [name for name in spooled(server) if path.rpartition("/")[2] in name] == []


async def test_a_file_that_is_being_stored_is_not_taken_over(
    server: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    store, begun, go_on = server.app[UPLOADS].store, asyncio.Event(), asyncio.Event()
    put = store.put

    async def slow(key: str, source: Path, *, size: int, content_type: str) -> None:
        begun.set()
        await go_on.wait()
        await put(key, source, size=size, content_type=content_type)

    monkeypatch.setattr(store, "put", slow)
    path = await client.create(len(PNG))
    sending = asyncio.create_task(client.patch(path, 0, PNG))
    await begun.wait()
    answer = await client.head(path)
    assert (answer.status, answer.headers["Retry-After"]) == (423, "2")
    go_on.set()
    assert (await sending).offset == len(PNG)
    assert (await client.head(path)).offset == len(PNG)


async def arrived(server: Served, path: str, size: int) -> None:
    """Wait until a request is writing, and has so many bytes; they need not be on the disk yet."""
    file = server.app[UPLOADS].spool.path(path.rpartition("/")[2])

    def there() -> bool:
        return any(
            isinstance(found, SpoolFile) and found.path == file and found.size == size
            for found in gc.get_objects()
        )

    await until(there)


# --- the lock itself


@pytest_asyncio.fixture(loop_scope="module")
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """A spool with one upload of 100 bytes."""
    spool = Spool(tmp_path)
    await spool.check()
    spool.path(NAME).write_bytes(bytes(100))
    yield spool
    spool.close()


async def test_a_lock_is_held_by_one_and_leaves_nothing(spool: Spool) -> None:
    one, other = Locks(spool), Locks(spool)  # as in two processes: flock knows them apart
    order = []

    async def work(locks_: Locks, name: str) -> None:
        async with locks_.take(NAME) as hold:
            assert hold.size == 100
            order.append(f"{name} begins")
            left = asyncio.Event()
            hold.watch(left.set)
            if len(order) < 7:
                await left.wait()
            order.append(f"{name} ends")

    await asyncio.gather(*(work(one, "a") for _ in range(2)), *(work(other, "b") for _ in range(2)))
    assert len(order) == 8
    assert all(
        begun.split()[0] == ended.split()[0] and ended.endswith("ends")
        for begun, ended in zip(order[::2], order[1::2], strict=True)
    )
    assert [path.name for path in spool.path(NAME).parent.iterdir()] == [NAME]
    one.close()
    other.close()


async def test_not_many_wait_for_one_lock(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    mine, details = Locks(spool), []

    async def want() -> None:
        with pytest.raises(ApiError) as caught:
            async with mine.take(NAME):
                pass
        details.append(str(caught.value.detail))

    async with mine.take(NAME):
        await asyncio.gather(*(want() for _ in range(locks.MOST_WAITING + 5)))
    assert sum("many requests wait" in detail for detail in details) == 5
    async with mine.take(NAME) as hold:
        assert hold.size == 100
    mine.close()


async def test_what_a_dead_process_held_in_doubt_is_taken_back(spool: Spool) -> None:
    mine = Locks(spool)
    left = spool.path(NAME).with_name(f"{NAME}.lock")
    left.write_bytes(b"%020d!" % 60)
    async with mine.take(NAME) as hold:
        assert hold.size == 60
        assert not hold.fenced
    left.write_bytes(b"torn")
    async with mine.take(NAME) as hold:
        assert hold.size == 60
        await hold.doubt(10)
        await hold.trust()
    assert spool.path(NAME).stat().st_size == 60
    mine.close()


async def test_locks_of_nothing_are_swept(spool: Spool) -> None:
    mine = Locks(spool)
    here, nothing = (spool.path(name).with_name(f"{name}.lock") for name in (NAME, "f" * 32))
    here.touch()
    nothing.touch()
    await mine.sweep()
    assert (here.exists(), nothing.exists()) == (True, False)
    mine.close()


# --- processes


class Pair(NamedTuple):
    """Two servers on one database that share a data directory."""

    one: ServerProcess
    other: ServerProcess
    data: Path


@pytest.fixture(scope="module")
def pair(shelf: Path, reused: Database) -> Iterator[Pair]:
    directory = shelf / f"pair-{secrets.token_hex(4)}"
    settings = {
        "DATABASE_URL": reused.url, "TAILRACE_SECRET": "s" * 32, "TAILRACE_API_KEY": KEY,
        "TAILRACE_DATA": str(directory / "data"), "TAILRACE_UPLOAD_STALL": str(STALL),
        "TAILRACE_POOL_SIZE": "2",
    }  # fmt: skip
    with ExitStack() as stack:
        servers = []
        for name in ("one", "other"):
            (directory / name).mkdir(parents=True)
            started = ServerProcess(directory / name, "--no-demo", **settings)
            servers.append(stack.enter_context(started))
        yield Pair(servers[0], servers[1], directory / "data")


async def test_a_client_takes_over_from_another_process_and_goes_on_after_a_kill(
    pair: Pair,
) -> None:
    one = Client(await asyncio.to_thread(lambda: pair.one.url), KEY)
    other = Client(await asyncio.to_thread(lambda: pair.other.url), KEY)
    data = MP4 + os.urandom(3_000_000)
    path = await one.create(len(data), policy="media")
    spool = pair.data / "spool" / path.rpartition("/")[2]
    lock = Path(f"{spool}.lock")
    async with one.hanging(path, 0, data[:1_500_000], length=len(data)) as old:
        await until(lambda: spool.stat().st_size >= 1_000_000)
        began = time.monotonic()
        assert (await other.head(path)).offset == 1_500_000
        assert time.monotonic() - began < STALL / 2
        assert await old.status() == 400
    async with other.hanging(path, 1_500_000, data[1_500_000:-1], length=len(data) - 1_500_000):
        await until(lambda: spool.stat().st_size > 1_500_000)
        pair.other.process.kill()
        pair.other.process.wait()
    await until(lock.exists)  # nobody was there to remove it
    offset = (await one.head(path)).offset
    assert offset == spool.stat().st_size > 1_500_000
    assert (await one.patch(path, offset, data[offset:][:1_000_000])).status == 204
    rest = (await one.head(path)).offset
    assert (await one.patch(path, rest, data[rest:])).offset == len(data)
    assert (await one.get(path)).body["sha256"] == hashlib.sha256(data).hexdigest()
    assert sorted(found.name for found in spool.parent.iterdir()) == [".host"]
