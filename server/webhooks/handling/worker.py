"""The worker: the stored deliveries themselves are the jobs.

A delivery is locked, its handler runs, and its new state is written, all in one transaction: what
the handler did and that it was done are committed together. A worker that dies releases the row,
and nothing of it has happened. Of the deliveries with one key only the oldest pending one is ever
taken, so their order is the order of arrival, whatever fails in between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
from aiohttp import web

from server.db.faults import LOST
from server.db.group import REFUSED
from server.webhooks.handling.effects import Applied
from server.webhooks.providers import PROVIDERS, Provider, read_source
from server.webhooks.providers.handlers import DONE, Event, Outcome, unhandled
from server.webhooks.signing.signatures import Signed

if TYPE_CHECKING:
    from server.db.pool import Either, Pool

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0
"""Seconds after which it looks for what is due although nobody told of it."""
TURN = 50
"""Deliveries of one source after which the others have theirs."""
PATIENCE = 20.0
"""Seconds that a handler has."""
MAX_ATTEMPTS = 16
"""After which a delivery is dead: some six hours."""
FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 3600.0
"""Seconds until the second attempt, and between the last ones; each is up to a quarter off."""
PAUSE = 0.5
"""Seconds without the database until it is tried again."""
MAX_ERROR = 1000
KEPT_ATTEMPTS = 20

_TAKE = """
    SELECT id, source, message_id, type, key, event_at, received_at, headers, body, attempts,
      history
    FROM tailrace.take_webhook($1, $2)"""
_CHANNEL = "SELECT channel FROM public.webhook_sources WHERE name = $1"
_WRITE = """
    UPDATE public.webhook_deliveries SET state = $2, error = $3, history = $4::json,
      attempts = attempts + 1, waits_for = $6,
      handled_at = CASE WHEN $2 <> 'pending' THEN clock_timestamp() END,
      due_at = CASE WHEN $2 = 'pending' THEN clock_timestamp() + $5::float8 * interval '1 second'
        ELSE due_at END
    WHERE id = $1"""
# Only as we saw it: a commit that was lost may have happened, and another worker may have it.
_FAILED = """
    SELECT attempts, history FROM public.webhook_deliveries
    WHERE id = $1 AND state = 'pending' AND attempts = $2 FOR UPDATE SKIP LOCKED"""
_SOURCES = "SELECT source, ready, wait FROM tailrace.webhooks_due()"


class Attempt(NamedTuple):
    """What became of one: the new state, why, and the seconds until the next if it is pending."""

    state: str
    reason: str | None
    delay: float = 0.0
    waits_for: str | None = None


class Worker:
    """Handles pending deliveries, `number` at once. `committed` is told of each that is done."""

    def __init__(
        self,
        pool: Pool,
        committed: Callable[[], None],
        number: int,
        providers: Iterable[Provider] = PROVIDERS,
    ) -> None:
        self._pool = pool
        self._committed = committed
        self._news = asyncio.Event()
        self._providers: dict[str, Provider] = {item.name: item for item in providers}
        self.number = number
        self.handled = 0
        self.counts = dict.fromkeys(("done", "unhandled", "unmatched", "failed", "dead"), 0)
        """Of attempts, by how they ended; after a failed one there is another."""

    def wake(self) -> None:
        """Something is pending."""
        self._news.set()

    async def run(self) -> None:
        """One of the `number` loops; for ever."""
        while True:
            self._news.clear()
            try:
                patience = await self._round()
            except LOST as error:
                log.warning("webhooks wait for the database: %r", error)
                await asyncio.sleep(PAUSE)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._news.wait()

    async def _round(self) -> float:
        """Handle some of each source that has something due; the seconds until more may be due."""
        sources = await self._pool.fetch(_SOURCES)
        ready = [row["source"] for row in sources if row["ready"]]
        # In another order each time: several loops are not to go after the same rows.
        random.shuffle(ready)
        handled = 0
        for source in ready:
            handled += await self._some(source)
        if handled:
            return 0.0
        waits: list[float] = [row["wait"] for row in sources if row["wait"] is not None]
        return max(0.01, min([LOOK_EVERY, *waits]))

    async def _some(self, source: str) -> int:
        """Handle up to `TURN` deliveries of a source, and how many there were."""
        handled = 0
        key: str | None = None
        while handled < TURN:
            row = await self._one(source, key)
            if row is None:
                break
            handled += 1
            # Those behind it are next: nobody has to look through them for what is not in order.
            key = row["key"]
        return handled

    async def _one(self, source: str, key: str | None) -> asyncpg.Record | None:
        """Handle the delivery that is next.

        Raises:
            LOST: the database went away, or is full; what was done is undone, or was committed.
        """
        async with self._pool.acquire() as connection:
            row, started = None, 0.0
            try:
                # What waits for a payment's lock has to see what came meanwhile, whatever an
                # operator has made the default.
                async with connection.transaction(isolation="read_committed"):
                    row = await connection.fetchrow(_TAKE, source, key)
                    if row is None:
                        return None
                    started = time.monotonic()
                    outcome = await self._handle(connection, row)
                    attempt = Attempt(outcome.state, outcome.reason, 0.0, outcome.waits_for)
                    await _write(connection, row["id"], row, attempt, time.monotonic() - started)
                failure = None
            except Exception as error:
                if row is None:
                    raise
                failure, lost = error, _gone(connection)
        if failure is not None:
            attempt = self._judge(row, failure, lost=lost)
            await self._failed(row, attempt, time.monotonic() - started)
            if lost:
                raise failure
        self.handled += 1
        self.counts["failed" if attempt.state == "pending" else attempt.state] += 1
        self._committed()
        return row

    def _judge(self, row: asyncpg.Record, error: Exception, *, lost: bool) -> Attempt:
        """What follows from a failure."""
        reason = readable(error)
        if isinstance(error, REFUSED):
            # What Postgres has no place for it will not take tomorrow.
            attempt = Attempt("dead", reason)
        else:
            attempt = failed(row["attempts"] + 1, f"interrupted: {reason}" if lost else reason)
        log.warning(
            "webhook %s (%s %s): attempt %s failed, now %s: %s",
            row["id"],
            row["source"],
            row["type"],
            row["attempts"] + 1,
            attempt.state,
            attempt.reason,
        )
        return attempt

    async def _handle(self, connection: Either, row: asyncpg.Record) -> Outcome:
        """Run its handler, in `PATIENCE` seconds."""
        if row["body"] is None:
            return unhandled("its payload is no longer kept")
        provider = self._providers.get(row["source"])
        read = provider.read if provider is not None else read_source
        data = read(row["body"], json.loads(row["headers"]), Signed(row["message_id"], None)).data
        event = Event(
            row["id"],
            row["source"],
            row["message_id"],
            row["type"],
            row["key"],
            row["event_at"] or row["received_at"],
            data,
        )
        applied = Applied(connection, event)
        async with asyncio.timeout(PATIENCE):
            if provider is None:
                channel = await connection.fetchval(_CHANNEL, row["source"])
                if channel is not None:
                    await applied.publish(channel, event.type, data, event.key)
                    return DONE
            elif (handler := provider.handler(row["type"])) is not None:
                return await handler(event, applied)
        return unhandled(f"nothing is done with {event.type} of {event.source}")

    async def _failed(self, row: asyncpg.Record, attempt: Attempt, seconds: float) -> None:
        """Write down an attempt that was undone: without that it would come back at once.

        Raises:
            LOST: the database is away, or has no place for it. Nothing is counted.
        """
        async with (
            asyncio.timeout(PATIENCE),
            self._pool.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            found = await connection.fetchrow(_FAILED, row["id"], row["attempts"])
            if found is not None:
                await _write(connection, row["id"], found, attempt, seconds)


def _gone(connection: Either) -> bool:
    """Whether it has ended, and not only what ran on it has failed."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # and the pool has taken it back
        return True


async def _write(
    connection: Either, id_: str, row: asyncpg.Record, attempt: Attempt, seconds: float
) -> None:
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "state": "failed" if attempt.state in ("pending", "dead") else attempt.state,
        "error": attempt.reason,
        "ms": round(seconds * 1000, 1),
    }
    history: list[Any] = [*json.loads(row["history"]), entry][-KEPT_ATTEMPTS:]
    await connection.execute(
        _WRITE,
        id_,
        attempt.state,
        attempt.reason,
        json.dumps(history),
        attempt.delay,
        attempt.waits_for,
    )


def failed(attempts: int, reason: str) -> Attempt:
    """A failure, the `attempts`-th: tried again after a pause that grows, in the end dead."""
    if attempts >= MAX_ATTEMPTS:
        return Attempt("dead", reason)
    delay = min(FIRST_BACKOFF * 2.0 ** (attempts - 1), LONGEST_BACKOFF)
    # Apart from each other, or those that failed together come again together.
    return Attempt("pending", reason, delay * random.uniform(0.75, 1.25))


def readable(error: BaseException) -> str:
    """An error as text that Postgres stores."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text.replace("\0", "").encode(errors="replace").decode()[:MAX_ERROR]


WORKER = web.AppKey("webhook_worker", Worker)
"""The worker of this process; with `TAILRACE_WEBHOOK_WORKERS=0` it runs nothing."""
