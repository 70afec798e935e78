"""The contract of the stores, over both of them; then what is particular to each."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.errors import StartError
from server.uploads.store import CHUNK, NotStored, Store, StoreError
from server.uploads.stores import open_store
from server.uploads.stores.disk import INCOMING, DiskStore
from server.uploads.stores.s3 import PART
from tests.clients.proxy import Proxy
from tests.uploads.moto import Moto
from tests.waiting import until

KEY = "0123456789abcdef" * 2
OTHER = "z" * 32
MIB = 1024 * 1024


def address(port: int, prefix: str = "", bucket: str = "uploads") -> str:
    endpoint = f"http://127.0.0.1:{port}"
    return f"s3://testing:testing@{bucket}/{prefix}?endpoint={endpoint}&region=us-east-1"


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


@pytest.fixture
async def bucket(moto: Moto) -> AsyncIterator[Store]:
    """An empty store in S3."""
    store = open_store(address(moto.port, uuid.uuid4().hex), Path())
    yield store
    await store.close()


def source(directory: Path, content: bytes) -> Path:
    path = directory / uuid.uuid4().hex
    path.write_bytes(content)
    return path


async def put(store: Store, directory: Path, content: bytes, key: str = KEY) -> None:
    path = source(directory, content)
    await store.put(key, path, size=len(content), content_type="image/png")
    assert not path.exists()


async def read(store: Store, start: int, length: int, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in store.open(key, start, length)])


async def listed(store: Store) -> dict[str, int]:
    return {found.key: found.size async for found in store.keys()}  # noqa: SIM118


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


async def test_a_store_on_the_disk_has_a_private_local_file(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "uploads")
    await put(store, tmp_path, b"x")
    path = store.path(KEY)
    assert path.read_bytes() == b"x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for directory in (path.parent, path.parent.parent, tmp_path / "uploads"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    await store.close()


async def test_a_file_on_the_same_disk_is_moved_not_copied(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "uploads")
    path = source(tmp_path, b"x")
    inode = path.stat().st_ino
    await store.put(KEY, path, size=1, content_type="image/png")
    assert store.path(KEY).stat().st_ino == inode
    await store.close()


async def test_a_file_from_another_disk_is_copied_whole(tmp_path: Path, elsewhere: Path) -> None:
    store = DiskStore(tmp_path / "uploads")
    content = random.Random(1).randbytes(3 * MIB + 1)
    await put(store, elsewhere, content)
    assert await read(store, 0, len(content)) == content
    assert stat.S_IMODE(store.path(KEY).stat().st_mode) == 0o600
    assert list((tmp_path / "uploads" / INCOMING).iterdir()) == []
    await store.close()


async def test_a_copy_that_is_cancelled_half_way_leaves_nothing(
    tmp_path: Path, elsewhere: Path
) -> None:
    store = DiskStore(tmp_path / "uploads")
    path = elsewhere / "large"
    with path.open("wb") as file:
        file.truncate(1024 * MIB)
    copies = tmp_path / "uploads" / INCOMING
    task = asyncio.create_task(store.put(KEY, path, size=1024 * MIB, content_type="video/mp4"))
    await until(lambda: copies.is_dir() and any(copy.stat().st_size for copy in copies.iterdir()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not list(copies.iterdir()))
    assert await listed(store) == {}
    assert path.exists()
    await store.close()


async def test_what_a_dead_process_was_copying_is_never_listed_and_cleared_at_a_start(
    tmp_path: Path,
) -> None:
    copies = tmp_path / INCOMING
    copies.mkdir()
    for name, age in (("a" * 32, 0), ("b" * 32, 7200)):
        (copies / name).write_bytes(b"half")
        written = datetime.now(UTC).timestamp() - age
        os.utime(copies / name, (written, written))
    store = DiskStore(tmp_path)
    assert await listed(store) == {}
    await store.check()
    assert [path.name for path in copies.iterdir()] == ["a" * 32]
    await store.close()


async def test_files_that_are_not_ours_are_not_listed(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    await put(store, tmp_path, b"x")
    (tmp_path / "README").write_text("x")
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / ("y" * 32)).write_text("x")
    assert await listed(store) == {KEY: 1}
    await store.close()


async def test_a_directory_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = open_store((tmp_path / "file" / "uploads").as_uri(), tmp_path)
    with pytest.raises(StartError, match="set STORAGE_URL to a directory"):
        await store.check()
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


async def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    """Each sees what the others write to prove that they can."""
    stores = [open_store(None, tmp_path) for _ in range(8)]
    for _ in range(10):
        await asyncio.gather(*(store.check() for store in stores))
    for store in stores:
        await store.close()
