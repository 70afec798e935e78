"""What is particular to the store on the disk."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.errors import StartError
from server.uploads.policies import MIB
from server.uploads.stores import open_store
from server.uploads.stores.disk import INCOMING, DiskStore
from tests.uploads.stores import KEY, listed, put, read, source
from tests.waiting import until


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


async def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    """Each sees what the others write to prove that they can."""
    stores = [open_store(None, tmp_path) for _ in range(8)]
    for _ in range(10):
        await asyncio.gather(*(store.check() for store in stores))
    for store in stores:
        await store.close()
