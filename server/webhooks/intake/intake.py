"""The intake: concurrent deliveries are committed together, and answered after that.

The queue is bounded. What does not fit is refused before its body is read, so that a flood costs
its senders a repeat and us nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from server.db.group import LATER, GroupCommit
from server.errors import UNAVAILABLE, ApiError
from server.webhooks.intake.deliveries import Delivery, Stored, store

if TYPE_CHECKING:
    from server.db.pool import Pool

ROW_BYTES = 1_000
"""What a delivery takes in memory beside its body and headers."""
SMALL = 16 * 1024
"""Bytes of a body that is read in any case, as nearly all are."""
READING = 64 * 1024 * 1024
"""Bytes of larger bodies that may be on their way at once: whoever sends them may be anybody."""


class Intake(GroupCommit[Delivery, Stored]):
    """Stores deliveries; `on_commit` is told of each batch that is in the database."""

    batch_rows = 500
    batch_bytes = 8 * 1024 * 1024
    max_bytes = 32 * 1024 * 1024
    full = "too many deliveries wait to be stored"
    contended = "another transaction holds the same delivery"
    lost = "the database is not reachable; send the delivery again"

    def __init__(self, pool: Pool, on_commit: Callable[[], None]) -> None:
        super().__init__()
        self._pool = pool
        self._on_commit = on_commit
        self.stored = 0
        self.repeated = 0
        self.refused = 0
        self._reading = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Deliveries: new ones, those that had come before, and unsigned or unreadable ones."""
        return {"accepted": self.stored, "repeated": self.repeated, "refused": self.refused}

    @contextmanager
    def reading(self, size: int) -> Iterator[None]:
        """While a body of `size` bytes, at most, is read.

        Raises:
            ApiError: 503 when it would be too many bytes.
        """
        counted = size if size > SMALL else 0
        if not self.room(size) or self._reading + counted > READING:
            raise ApiError(UNAVAILABLE, self.full, headers=LATER)
        self._reading += counted
        try:
            yield
        finally:
            self._reading -= counted

    def weigh(self, item: Delivery) -> tuple[int, int]:
        """One row."""
        return 1, len(item.body) + len(item.headers) + ROW_BYTES

    async def write(self, items: Sequence[Delivery]) -> Sequence[Stored]:
        """Store them in one transaction."""
        results = await store(self._pool, items)
        fresh = sum(result.new for result in results)
        self.stored += fresh
        self.repeated += len(results) - fresh
        return results

    def committed(self) -> None:
        """Let the event log and the workers know."""
        self._on_commit()


INTAKE = web.AppKey("webhook_intake", Intake)
