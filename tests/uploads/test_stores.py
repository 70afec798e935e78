"""The contract of the stores, over both of them, and their addresses."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.errors import StartError
from server.uploads.policies import MIB
from server.uploads.store import CHUNK, NotStored, Store, StoreError
from server.uploads.stores import open_store
from server.uploads.stores.s3 import PART
from tests.uploads.moto import address
from tests.uploads.stores import KEY, listed, put, read, source

OTHER = "z" * 32


@pytest.fixture(params=["file", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of either kind."""
    url = None
    if request.param == "s3":
        url = address(request.getfixturevalue("moto").port, uuid.uuid4().hex)
    store = open_store(url, tmp_path)
    await store.check()
    yield store
    await store.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK, 20 * MIB + 1])
async def test_a_file_comes_back_as_it_was(store: Store, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    await put(store, tmp_path, content)
    assert await read(store, 0, size) == content
    assert await listed(store) == {KEY: size}


async def test_ranges_at_the_ends_are_exact(store: Store, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(CHUNK + 10)
    await put(store, tmp_path, content)
    for start, length in [(0, 1), (1, CHUNK), (CHUNK + 9, 1), (5, 0), (CHUNK - 1, 11)]:
        assert await read(store, start, length) == content[start : start + length]


async def test_a_large_file_comes_in_bounded_pieces(store: Store, tmp_path: Path) -> None:
    await put(store, tmp_path, bytes(8 * MIB))
    pieces = [len(piece) async for piece in store.open(KEY, 0, 8 * MIB)]
    assert max(pieces) < 8 * CHUNK


async def test_what_is_not_there_is_told_at_the_first_piece(store: Store) -> None:
    for length in (0, 1):
        with pytest.raises(NotStored):
            await read(store, 0, length)


async def test_a_range_beyond_the_end_is_an_error_and_no_short_answer(
    store: Store, tmp_path: Path
) -> None:
    await put(store, tmp_path, b"short")
    with pytest.raises(StoreError):
        await read(store, 0, 6)


@pytest.mark.parametrize("kind", ["file", "s3"])
async def test_a_store_below_another_is_not_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Its files have no rows in the outer one's database: the cleanup would remove them."""
    above = uuid.uuid4().hex
    urls = [f"file://{tmp_path}/{name}" for name in ("a", "a/eu", "a/eu/eu")]
    if kind == "s3":
        port = request.getfixturevalue("moto").port
        urls = [address(port, name) for name in (above, f"{above}/eu", f"{above}/eu/eu")]
    stores = [open_store(url, tmp_path) for url in urls]
    for number, store in enumerate(stores):
        await put(store, tmp_path, bytes(number + 1))
    assert [await listed(store) for store in stores] == [{KEY: 1}, {KEY: 2}, {KEY: 3}]
    for store in stores:
        await store.close()


async def test_a_deleted_file_is_gone_and_deleting_it_again_is_no_error(
    store: Store, tmp_path: Path
) -> None:
    await put(store, tmp_path, b"x")
    await store.delete(KEY)
    await store.delete(KEY)
    assert await listed(store) == {}
    with pytest.raises(NotStored):
        await read(store, 0, 1)


async def test_a_listing_tells_keys_with_size_and_time(store: Store, tmp_path: Path) -> None:
    await put(store, tmp_path, b"x")
    await put(store, tmp_path, b"yy", OTHER)
    found = {stored.key: stored async for stored in store.keys()}  # noqa: SIM118
    assert {key: stored.size for key, stored in found.items()} == {KEY: 1, OTHER: 2}
    assert abs(found[KEY].modified - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("key", ["", "../" + KEY, KEY + "\n", KEY.upper(), "ab/" + KEY, "/" + KEY])
async def test_a_key_that_we_did_not_make_is_a_programming_error(
    store: Store, tmp_path: Path, key: str
) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await put(store, tmp_path, b"x", key)
    with pytest.raises(ValueError, match="not a key"):
        await read(store, 0, 1, key)
    with pytest.raises(ValueError, match="not a key"):
        await store.delete(key)


@pytest.mark.parametrize("size", [3, PART + 3])
async def test_a_source_of_another_size_is_not_stored(
    store: Store, tmp_path: Path, size: int
) -> None:
    path = source(tmp_path, bytes(PART + 2))
    with pytest.raises(StoreError, match="another size"):
        await store.put(KEY, path, size=size, content_type="image/png")
    assert path.exists()
    assert await listed(store) == {}


async def test_fifty_files_at_once_are_all_stored(store: Store, tmp_path: Path) -> None:
    keys = {uuid.uuid4().hex: random.Random(n).randbytes(100_000 + n) for n in range(50)}
    await asyncio.gather(*(put(store, tmp_path, text, key) for key, text in keys.items()))
    assert await listed(store) == {key: len(text) for key, text in keys.items()}
    for key, text in keys.items():
        assert await read(store, 0, len(text), key) == text


async def test_a_put_that_is_cancelled_leaves_nothing(store: Store, tmp_path: Path) -> None:
    for _ in range(20):
        path = source(tmp_path, bytes(1000))
        task = asyncio.create_task(store.put(KEY, path, size=1000, content_type="image/png"))
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if not task.cancelled():
            await store.delete(KEY)
        assert await listed(store) == {}


@pytest.mark.parametrize(
    "url",
    [
        "uploads",
        "gs://bucket",
        "file://uploads",
        "file:///uploads?x=1",
        "s3://",
        "s3://a_b?size=1",
        "s3://id@bucket",
        "s3://bucket?path_style=yes",
        "s3://bucket?endpoint=localhost",
        "s3://[bucket",
    ],
)
def test_an_address_of_another_form_stops_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="STORAGE_URL"):
        open_store(url, tmp_path)
