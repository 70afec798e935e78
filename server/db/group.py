"""Group commit: what arrives while one batch is being written goes into the next.

Concurrent requests then share a statement, a commit and a flush of the disk. A request that cannot
be written does not fail the others of its batch, nor make them wait: they are written singly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

import asyncpg
from asyncpg.exceptions._base import DataError as ArgumentError

from server.db.faults import LOST
from server.errors import INVALID, UNAVAILABLE, ApiError


class ContendedError(Exception):
    """Other transactions were in the way, time and again."""


# The second is asyncpg's own, for what it can't encode: an InterfaceError, as lost connections are.
REFUSED = (asyncpg.DataError, ArgumentError, asyncpg.ProgramLimitExceededError)
CONTENDED = (
    ContendedError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
)
LATER = {"Retry-After": "1"}

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    rows: int
    size: int
    done: asyncio.Future[R]


class GroupCommit(Generic[T, R]):
    """Writes items in batches, by `run`; a subclass says what a batch is and how it is written.

    `batch_rows`, `batch_bytes`: bounds of one batch. `max_bytes`: what may wait altogether.
    `full`, `contended`, `lost`: what a request is told when there is no room, when another
    transaction holds what it needs, when the database went away and its outcome is unknown.
    """

    batch_rows: ClassVar[int]
    batch_bytes: ClassVar[int]
    max_bytes: ClassVar[int]
    full: ClassVar[str]
    contended: ClassVar[str]
    lost: ClassVar[str]

    def __init__(self) -> None:
        self._waiting: list[_Waiting[T, R]] = []
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self.batches = 0

    async def write(self, items: Sequence[T]) -> Sequence[R]:
        """Commit all of `items` in one transaction; what becomes of each, in their order."""
        raise NotImplementedError

    def weigh(self, item: T) -> tuple[int, int]:
        """The rows that an item makes, and about how many bytes it takes."""
        raise NotImplementedError

    def committed(self) -> None:
        """A batch is in the database; its requests are answered next."""

    def room(self, size: int) -> bool:
        """Whether an item of so many bytes may wait now."""
        return self._waiting_bytes + size <= self.max_bytes

    async def submit(self, item: T) -> R:
        """Return when the item is committed.

        Raises:
            ApiError: 400 when Postgres refuses it; 503 when too much waits already, or the
                database is gone (the outcome is then unknown).
        """
        rows, size = self.weigh(item)
        if not self.room(size):
            raise ApiError(UNAVAILABLE, self.full, headers=LATER)
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, rows, size, done))
        self._waiting_bytes += size
        self._arrived.set()
        return await done

    async def run(self) -> None:
        """Write batches until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._commit(self._take())
        finally:
            # Whoever waits gets an answer, and nothing of it is written behind their backs.
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._fail(waiting, ApiError(UNAVAILABLE, headers=LATER))

    def _take(self) -> list[_Waiting[T, R]]:
        taken = rows = size = 0
        for waiting in self._waiting:
            rows += waiting.rows
            size += waiting.size
            if taken and (rows > self.batch_rows or size > self.batch_bytes):
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_bytes -= sum(waiting.size for waiting in batch)
        return batch

    async def _commit(self, batch: list[_Waiting[T, R]]) -> None:
        try:
            results = await self.write([waiting.item for waiting in batch])
        except (*REFUSED, *CONTENDED) as error:
            if len(batch) == 1:
                self._fail(batch, self._fault(error))
                return
            for number, single in enumerate(batch):
                try:
                    await self._commit([single])
                except BaseException:
                    # Nobody else has these: without an answer they would wait for ever.
                    self._fail(batch[number + 1 :], ApiError(UNAVAILABLE, headers=LATER))
                    raise
        except LOST as error:
            self._fail(batch, self._fault(error))
        except BaseException as error:
            self._fail(batch, self._fault(error))
            raise
        else:
            self.batches += 1
            self.committed()
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(result)

    def _fault(self, error: BaseException) -> BaseException:
        """What those are told whose batch failed by `error`."""
        if isinstance(error, REFUSED):
            return ApiError(INVALID, str(error))
        if isinstance(error, CONTENDED):
            return ApiError(UNAVAILABLE, self.contended, headers=LATER)
        if isinstance(error, (*LOST, asyncio.CancelledError)):
            # Or this server ends: a commit may have been on its way.
            fault = ApiError(UNAVAILABLE, self.lost, headers=LATER)
            fault.__cause__ = error
            return fault
        return error

    @staticmethod
    def _fail(batch: list[_Waiting[T, R]], error: BaseException) -> None:
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_exception(error)
