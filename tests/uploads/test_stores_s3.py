"""What is particular to the store in S3."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from server.errors import StartError
from server.uploads.policies import MIB
from server.uploads.store import Store, StoreError
from server.uploads.stores import open_store
from server.uploads.stores.s3 import PART
from tests.clients.proxy import Proxy
from tests.uploads.moto import Moto, address
from tests.uploads.stores import KEY, listed, put
from tests.waiting import until


@pytest.fixture
async def bucket(moto: Moto) -> AsyncIterator[Store]:
    """An empty store in S3."""
    store = open_store(address(moto.port, uuid.uuid4().hex), Path())
    yield store
    await store.close()


async def test_an_object_has_its_type_and_size(moto: Moto, tmp_path: Path) -> None:
    prefix = uuid.uuid4().hex
    store = open_store(address(moto.port, prefix), tmp_path)
    for size in (10, PART + 1):
        await put(store, tmp_path, bytes(size))
        head = moto.request("HEAD", f"/uploads/{prefix}/{KEY}")
        assert head.headers["Content-Type"] == "image/png"
        assert head.headers["Content-Length"] == str(size)
    assert store.path(KEY) is None
    await store.close()


class Pipe:
    """A source of 20 MiB that gives no more than it is told to: a put stands where we want it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "pipe"
        self.size = 20 * MIB
        os.mkfifo(self.path)

    async def give(self, size: int) -> None:
        await asyncio.to_thread(self._give, size)

    def _give(self, size: int) -> None:
        if not hasattr(self, "_file"):
            self._file = self.path.open("wb", buffering=0)
        for _ in range(size // MIB):
            self._file.write(bytes(MIB))

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Pipe:
    return Pipe(tmp_path)


async def test_a_put_that_is_cancelled_half_way_leaves_no_object_and_no_parts(
    moto: Moto, bucket: Store, pipe: Pipe
) -> None:
    task = asyncio.create_task(bucket.put(KEY, pipe.path, size=pipe.size, content_type="video/mp4"))
    await pipe.give(6 * MIB)
    await until(lambda: len(moto.parts()) == 1)
    task.cancel()
    await asyncio.sleep(0)
    pipe.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: moto.parts() == [])
    assert await listed(bucket) == {}


async def test_a_source_that_ends_too_early_leaves_no_object_and_no_parts(
    moto: Moto, bucket: Store, pipe: Pipe
) -> None:
    task = asyncio.create_task(bucket.put(KEY, pipe.path, size=pipe.size, content_type="video/mp4"))
    await pipe.give(6 * MIB)
    pipe.close()
    with pytest.raises(StoreError, match="another size"):
        await task
    assert moto.parts() == []
    assert await listed(bucket) == {}


async def test_a_server_that_goes_away_half_way_is_an_error_and_no_object(
    moto: Moto, pipe: Pipe
) -> None:
    async with Proxy(moto.port) as proxy:
        store = open_store(address(proxy.port, uuid.uuid4().hex), Path())
        task = asyncio.create_task(
            store.put(KEY, pipe.path, size=pipe.size, content_type="video/mp4")
        )
        await pipe.give(6 * MIB)
        await until(lambda: len(moto.parts()) == 1)
        async with proxy.refusing():
            with suppress(BrokenPipeError):
                await pipe.give(14 * MIB)
            with pytest.raises(StoreError):
                await task
        assert await listed(store) == {}
        pipe.close()
        await store.close()


async def test_a_bucket_that_is_not_there_stops_the_start(moto: Moto) -> None:
    store = open_store(address(moto.port, bucket="missing"), Path())
    with pytest.raises(StartError, match="NoSuchBucket"):
        await store.check()
    await store.close()


async def test_wrong_keys_stop_the_start_with_a_sentence_that_does_not_tell_them(
    moto: Moto,
) -> None:
    store = open_store(address(moto.port), Path())
    moto.guard("0")
    try:
        with pytest.raises(StartError, match="403") as caught:
            await store.check()
    finally:
        moto.guard("inf")
    assert "testing" not in str(caught.value)
    await store.close()


async def test_a_server_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    async with Proxy(0) as proxy, proxy.refusing():
        store = open_store(address(proxy.port), tmp_path)
        with pytest.raises(StartError, match="s3://uploads"):
            await store.check()
        await store.close()
