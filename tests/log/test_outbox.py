from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from server.errors import ApiError
from server.log import outbox as module
from server.log.outbox import Outbox, draft
from tests.gate import Gate, gated
from tests.log.looking import datas

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from server.db.pool import Pool


class Running:
    """An outbox behind a gate, and how often it said that it committed."""

    def __init__(self, pool: Pool, gate: Gate) -> None:
        self.outbox = Outbox(pool, self._committed)
        self.gate = gate
        self.commits = 0

    def _committed(self) -> None:
        self.commits += 1


@pytest.fixture
async def running(clean: Database) -> AsyncIterator[Running]:
    async with gated(clean) as (gate, behind):
        pool = await asyncpg.create_pool(behind.url, min_size=1, max_size=2)
        made = Running(pool, gate)
        task = asyncio.create_task(made.outbox.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pool.terminate()


async def test_what_arrives_together_is_one_transaction(running: Running, sql: Sql) -> None:
    await asyncio.gather(*(running.outbox.publish([draft("a", "t", n)]) for n in range(50)))
    assert running.outbox.batches == running.commits <= 2
    assert await datas(sql) == list(range(50))


async def test_one_that_postgres_refuses_does_not_fail_the_others(
    running: Running, sql: Sql
) -> None:
    bad = draft("a", "t", 1)._replace(data="{")
    results = await asyncio.gather(
        *(running.outbox.publish([item]) for item in
          (draft("a", "t", 0), bad, draft("a", "t", 2))), return_exceptions=True,
    )  # fmt: skip
    assert [isinstance(result, ApiError) for result in results] == [False, True, False]
    assert await datas(sql) == [0, 2]


async def test_one_that_is_too_deep_for_postgres_does_not_fail_the_others(
    running: Running, sql: Sql
) -> None:
    deep = draft("a", "t", 1)._replace(data="[" * 100_000 + "]" * 100_000)
    results = await asyncio.gather(
        *(running.outbox.publish([item]) for item in
          (draft("a", "t", 0), deep, draft("a", "t", 2))), return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [type(None), ApiError, type(None)]
    assert await datas(sql) == [0, 2]


async def test_a_lost_database_is_503_and_the_next_publish_works(
    running: Running, sql: Sql
) -> None:
    await running.gate.shut()
    with pytest.raises(ApiError) as caught:
        await running.outbox.publish([draft("a", "t", 1)])
    assert (caught.value.kind.status, caught.value.headers) == (503, {"Retry-After": "1"})
    await running.gate.open()
    await running.outbox.publish([draft("a", "t", 2)])
    assert await datas(sql) == [2]


async def test_a_publisher_who_hangs_up_takes_nothing_back(running: Running, sql: Sql) -> None:
    gone = asyncio.create_task(running.outbox.publish([draft("a", "t", 1)]))
    await asyncio.sleep(0)
    gone.cancel()
    await running.outbox.publish([draft("a", "t", 2)])
    assert await datas(sql) == [1, 2]


async def test_what_waits_is_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "max_bytes", 2 * (42 + module.DRAFT_BYTES))
    results = await asyncio.gather(
        *(running.outbox.publish([draft("a", "t", "x" * 40)]) for _ in range(5)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, ApiError)]
    assert {fault.kind.status for fault in refused} == {503}
    assert len(refused) == 3
    await running.outbox.publish([draft("a", "t", "x" * 40)])
