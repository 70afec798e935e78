from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from server.log import reader as module
from server.log.model import Event, EventId, GapReason
from server.log.reader import Reader
from tests.log.looking import publish, stamp
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql


class Sunk:
    """A sink that remembers."""

    bearable = 10_000

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.rebases: list[tuple[EventId, GapReason | None]] = []

    def publish(self, events: Sequence[Event]) -> None:
        self.positions += [event.pos for event in events]

    def rebase(self, epoch: str, pos: int, gap: GapReason | None) -> None:
        self.rebases.append((EventId(epoch, pos), gap))

    def announce(self, channel: str, body: str) -> None:
        raise NotImplementedError


@pytest.fixture
async def sunk() -> Sunk:
    return Sunk()


@pytest.fixture
async def reader(clean: Database, sunk: Sunk) -> AsyncIterator[Reader]:
    """A reader that runs from the head on."""
    pool = await asyncpg.create_pool(clean.url, min_size=1, max_size=2)
    reader = Reader(pool, sunk)
    await reader.start()
    task = asyncio.create_task(reader.run())
    yield reader
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.close()


def event(pos: int) -> Event:
    return Event(pos, "a", None, "{}")


async def test_it_begins_at_the_head_and_delivers_what_follows(
    sql: Sql, reader: Reader, sunk: Sunk
) -> None:
    assert sunk.rebases == [(EventId(reader.epoch, 0), None)]
    for number in range(100):
        await publish(sql, number)
    await stamp(sql)
    reader.wake(100)
    await until(lambda: reader.position == 100)
    assert sunk.positions == list(range(1, 101))


async def test_offered_events_are_taken_once_and_only_in_order(reader: Reader, sunk: Sunk) -> None:
    reader.offer(reader.epoch, [event(1), event(2)])
    reader.offer(reader.epoch, [event(1), event(2), event(3)])
    reader.offer(reader.epoch, [event(2), event(3)])
    reader.offer(reader.epoch, [])
    assert sunk.positions == [1, 2, 3]
    reader.offer(reader.epoch, [event(5)])  # a hole: it looks for itself
    reader.offer("f" * 8, [event(4)])
    assert sunk.positions == [1, 2, 3]


async def test_a_log_with_a_hole_is_never_delivered(sql: Sql, reader: Reader, sunk: Sunk) -> None:
    for number in range(5):
        await publish(sql, number)
    await stamp(sql)
    await sql.execute("DELETE FROM tailrace.event WHERE pos = 3")
    with pytest.raises(AssertionError, match="expected 3, read 4"):
        await reader._catch_up()
    assert sunk.positions == []


async def test_it_finds_what_nobody_told_it(
    sql: Sql, reader: Reader, sunk: Sunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    reader.wake()
    await publish(sql, 1)
    await stamp(sql)
    await until(lambda: sunk.positions == [1])


async def test_pruned_past_it_goes_on_at_the_floor_and_says_so(
    sql: Sql, reader: Reader, sunk: Sunk
) -> None:
    for number in range(10):
        await publish(sql, number)
    await stamp(sql)
    await sql.execute("SELECT tailrace.prune(6)")
    await sql.execute("DELETE FROM tailrace.event WHERE pos <= 6")
    reader.wake()
    await until(lambda: reader.position == 10)
    assert sunk.positions == [7, 8, 9, 10]
    assert sunk.rebases[1:] == [(EventId(reader.epoch, 6), "pruned")]


async def test_a_log_that_went_back_is_a_gap(sql: Sql, reader: Reader, sunk: Sunk) -> None:
    for number in range(5):
        await publish(sql, number)
    await stamp(sql)
    reader.wake()
    await until(lambda: reader.position == 5)
    await sql.execute("DELETE FROM tailrace.event WHERE pos > 3; UPDATE tailrace.head SET pos = 3")
    reader.wake()
    await until(lambda: len(sunk.rebases) == 2)
    assert sunk.rebases[1] == (EventId(reader.epoch, 3), "ahead")


async def test_large_events_are_read_in_small_pages(sql: Sql, reader: Reader, sunk: Sunk) -> None:
    for _ in range(50):
        await publish(sql, "x" * 500_000)
    await stamp(sql)
    while len(sunk.positions) < 50:
        before = reader.pages
        reader.wake()
        await until(lambda: reader.pages > before)  # noqa: B023
    assert sunk.positions == list(range(1, 51))
    assert reader.pages >= 3
