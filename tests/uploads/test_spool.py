from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import resource
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from server.errors import StartError
from server.uploads import spoolfile
from server.uploads.chunks import Block, Blocks
from server.uploads.spool import Spool
from server.uploads.spoolfile import AHEAD, SpoolFile
from server.uploads.store import NoSpace, StoreError
from server.uploads.turns import BLOCK, BUDGET, LEAST_BLOCK
from tests.uploads.making import NAME
from tests.waiting import until

PIECE = 64 * 1024


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path)
    await spool.check()
    yield spool
    spool.close()


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "spool").iterdir())


def descriptors(path: Path) -> list[int]:
    """The open ones of this process on this file."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink() == path:
                found.append(int(link.name))
    return found


def fill_disk(file: SpoolFile) -> None:
    """Put the kernel's always-full device in the place of a file that is open."""
    (mine,) = descriptors(file.path)
    device = os.open("/dev/full", os.O_RDWR)
    os.dup2(device, mine)
    os.close(device)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """The kernel's limit on the size of a file, as quotas set it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("piece", [1, 1000, 4096, PIECE, 3 * BLOCK])
async def test_what_was_written_is_in_the_file_and_hashed(spool: Spool, piece: int) -> None:
    content = random.Random(piece).randbytes(min(piece * 5000, 4 * BLOCK + 17))
    file = await spool.create(NAME)
    for start in range(0, len(content), piece):
        await file.write(content[start : start + piece])
    path = await file.finish()
    assert path.read_bytes() == content
    assert file.size == len(content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert descriptors(path) == []


async def test_large_and_small_pieces_keep_their_order(spool: Spool) -> None:
    chance = random.Random(7)
    pieces = [chance.randbytes(chance.choice([1, 10, 5000, 70_000])) for _ in range(200)]
    file = await spool.create(NAME)
    for piece in pieces:
        await file.write(piece)
    assert (await file.finish()).read_bytes() == b"".join(pieces)


async def test_an_empty_file_is_one_too(spool: Spool) -> None:
    file = await spool.create(NAME)
    assert (await file.finish()).read_bytes() == b""
    assert file.sha256 == hashlib.sha256().hexdigest()


async def test_the_spool_is_private(spool: Spool, tmp_path: Path) -> None:
    file = await spool.create(NAME)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    await file.discard()


async def test_a_file_that_was_left_goes_on_at_its_end_and_is_hashed_whole(
    spool: Spool, tmp_path: Path
) -> None:
    content = random.Random(1).randbytes(3 * BLOCK)
    file = await spool.create(NAME)
    await file.write(content[:BLOCK])
    await file.write(content[BLOCK : BLOCK + 10])
    await file.close()
    later = Spool(tmp_path)
    file = await later.open(NAME)
    assert file.size == BLOCK + 10
    await file.write(content[BLOCK + 10 :])
    assert (await file.finish()).read_bytes() == content
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    later.close()


async def test_after_flush_everything_is_in_the_file(spool: Spool) -> None:
    file = await spool.create(NAME)
    await file.write(b"ab")
    await file.flush()
    assert file.path.read_bytes() == b"ab"
    await file.discard()


async def test_a_name_that_is_taken_or_missing_is_an_error(spool: Spool) -> None:
    with pytest.raises(FileNotFoundError):
        await spool.open(NAME)
    file = await spool.create(NAME)
    with pytest.raises(FileExistsError):
        await spool.create(NAME)
    await file.discard()


@pytest.mark.parametrize("name", ["../" + NAME, "ab/" + NAME, "", "a"])
async def test_a_name_that_we_did_not_make_is_a_programming_error(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match=r"not a key|no directories"):
        await spool.create(name)


async def test_a_link_in_the_place_of_a_file_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    spool.path(NAME).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        await spool.open(NAME)


async def test_a_discarded_file_is_gone_with_what_was_under_way(
    spool: Spool, tmp_path: Path
) -> None:
    file = await spool.create(NAME)
    await file.write(bytes(2 * BLOCK))
    await file.discard()
    await file.discard()
    assert files(tmp_path) == []
    assert descriptors(file.path) == []
    await spool.discard(NAME)


async def test_a_finished_file_can_be_discarded(spool: Spool, tmp_path: Path) -> None:
    file = await spool.create(NAME)
    await file.finish()
    await file.discard()
    assert files(tmp_path) == []


async def test_a_full_disk_is_told_and_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    file = await spool.create(NAME)
    await file.write(b"x" * PIECE)
    fill_disk(file)
    with pytest.raises(NoSpace):
        await file.flush()
    with pytest.raises(NoSpace):
        await file.finish()
    await file.discard()
    assert files(tmp_path) == []


async def test_a_limit_of_the_file_system_is_the_same(spool: Spool) -> None:
    file = await spool.create(NAME)
    with file_limit(BLOCK):
        await file.write(bytes(2 * BLOCK))
        with pytest.raises(NoSpace):
            await file.finish()
    await file.discard()


async def test_another_fault_of_the_disk_is_no_lack_of_space(spool: Spool) -> None:
    file = await spool.create(NAME)
    (mine,) = descriptors(file.path)
    readable = os.open(file.path, os.O_RDONLY)
    os.dup2(readable, mine)
    os.close(readable)
    await file.write(b"x")
    with pytest.raises(StoreError) as caught:
        await file.flush()
    assert not isinstance(caught.value, NoSpace)
    await file.discard()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that can't keep what was written; told once, when this is set."""
    told = threading.Event()

    def fdatasync(_: int) -> None:
        told.wait(10)
        raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(spoolfile, "SYNC", PIECE)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return told


async def written(spool: Spool, name: str) -> SpoolFile:
    """A file with as much in it as is brought to the disk while more comes."""
    file = await spool.create(name)
    await file.write(b"x" * PIECE)
    await file.flush()
    return file


async def test_a_disk_that_fails_behind_the_writes_is_told_at_the_next_one(
    spool: Spool, failing: threading.Event
) -> None:
    file = await written(spool, NAME)
    assert file._syncing is not None
    failing.set()
    await file._syncing
    with pytest.raises(StoreError, match="the disk failed"):
        await file.write(b"x" * BLOCK)
    await file.discard()


async def test_a_disk_that_fails_behind_the_writes_is_told_at_the_end(
    spool: Spool, failing: threading.Event
) -> None:
    file = await written(spool, NAME)
    await until(lambda: file._sync_begun)
    finishing = asyncio.ensure_future(file.finish())
    await until(lambda: file._sha256)
    failing.set()
    with pytest.raises(StoreError, match="the disk failed"):
        await finishing
    await file.discard()


async def test_what_a_disk_failed_to_keep_is_not_left_to_go_on_with(
    spool: Spool, tmp_path: Path, failing: threading.Event
) -> None:
    file = await written(spool, NAME)
    await until(lambda: file._sync_begun)
    closing = asyncio.ensure_future(file.close())
    await asyncio.sleep(0)
    failing.set()
    await closing
    assert files(tmp_path) == []


async def test_a_sync_that_has_not_begun_is_not_waited_for(
    spool: Spool, failing: threading.Event
) -> None:
    first, second = [await written(spool, name) for name in (NAME, f"{2:032}")]
    await until(lambda: first._sync_begun)
    assert (await second.finish()).read_bytes() == b"x" * PIECE
    failing.set()
    await first.discard()
    await until(lambda: descriptors(second.path) == [])


async def test_a_cancelled_request_takes_no_block_out_of_the_file(spool: Spool) -> None:
    content = random.Random(3).randbytes(64 * PIECE)
    file = await spool.create(NAME)
    taken = 0

    async def receive() -> None:
        nonlocal taken
        while taken < len(content):
            piece = content[taken : taken + PIECE]
            taken += len(piece)
            await file.write(piece)

    while taken < len(content):
        task = asyncio.create_task(receive())
        for _ in range(random.randrange(1, 6)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (await file.finish()).read_bytes() == content
    assert file.sha256 == hashlib.sha256(content).hexdigest()


async def test_a_block_is_filled_again_only_when_it_is_written(spool: Spool) -> None:
    file, blocks = await spool.create(NAME), Blocks(AHEAD * BLOCK)
    (mine,) = descriptors(file.path)
    slow, writing = os.pipe()
    os.dup2(writing, mine)
    os.close(writing)
    taken = list[Block]()
    for number in range(AHEAD):
        taken.append(blocks.take(BLOCK))
        taken[-1][:] = bytes([number]) * BLOCK
        await file.write(taken[-1])
    fresh = blocks.take(BLOCK)
    assert all(block is not fresh for block in taken)
    reading = asyncio.to_thread(_read, slow, AHEAD * BLOCK)
    _, content = await asyncio.gather(file.flush(), reading)
    assert content == b"".join(bytes([number]) * BLOCK for number in range(AHEAD))
    again = [blocks.take(BLOCK) for _ in taken]
    assert {id(block) for block in again} == {id(block) for block in taken}
    for block in [*again, fresh]:
        block.give_back()
    # No more is kept than was told.
    kept = [blocks.take(BLOCK) for _ in range(AHEAD + 1)]
    assert len({id(block) for block in kept} & {id(block) for block in [*again, fresh]}) == AHEAD
    os.close(slow)
    await file.discard()


def _read(descriptor: int, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += os.read(descriptor, size - len(content))
    return content


async def test_a_file_that_nobody_waits_for_any_more_is_not_left(
    spool: Spool, tmp_path: Path
) -> None:
    task = asyncio.create_task(spool.create(NAME))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def made_again() -> bool:
        try:
            await (await spool.create(NAME)).discard()
        except FileExistsError:  # a thread has just made it, and it is to go
            return False
        return True

    await until(made_again)
    await until(lambda: files(tmp_path) == [])


async def test_many_uploads_share_the_memory(spool: Spool) -> None:
    assert spool.turns.block == BLOCK
    opened = [await spool.create(f"{number:032}") for number in range(50)]
    assert LEAST_BLOCK <= spool.turns.block <= BUDGET // 100
    for file in opened:
        await file.discard()
    assert spool.turns.block == BLOCK


async def test_fifty_uploads_at_once_are_each_whole(spool: Spool) -> None:
    async def upload(number: int) -> None:
        content = random.Random(number).randbytes(5 * PIECE + number)
        file = await spool.create(f"{number:032}")
        for start in range(0, len(content), PIECE):
            await file.write(content[start : start + PIECE])
        assert (await file.finish()).read_bytes() == content
        assert file.sha256 == hashlib.sha256(content).hexdigest()

    await asyncio.gather(*(upload(number) for number in range(50)))


async def test_leftovers_are_told_by_their_last_write(spool: Spool, tmp_path: Path) -> None:
    for number, age in enumerate([0, 100, 5000]):
        file = await spool.create(f"{number:032}")
        await file.write(b"x" * number)
        await file.close()
        written = file.path.stat().st_mtime - age
        os.utime(file.path, (written, written))
    (tmp_path / "spool" / "README").write_text("not ours")
    found = await spool.leftovers(older_than=60)
    assert [(left.name, left.size) for left in found] == [(f"{2:032}", 2), (f"{1:032}", 1)]


async def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    spool = Spool(tmp_path / "file")
    with pytest.raises(StartError, match="TAILRACE_DATA"):
        await spool.check()
    spool.close()
