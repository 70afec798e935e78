"""What operators do with deliveries, as SQL: find, show, handle again, count.

The API and the command line both call these. A filter is one static condition for any combination:
planned anew with its values each time (`plan_cache_mode`), what is not asked for falls away.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import asyncpg

from server.openapi.fields import MAX_ID

if TYPE_CHECKING:
    from server.db.pool import Either

LOCK_SECONDS = 2
"""How long a worker that holds a delivery is waited for."""
MAX_COUNTED = 10_000
"""Deliveries of each kind that are counted in a summary."""
AGAIN: tuple[Literal["dead", "unmatched"], ...] = ("dead", "unmatched")
"""What is replayed where nothing else is said: what waits for an operator."""


class TooSlowError(Exception):
    """It was given up after its time."""


class HeldError(Exception):
    """A worker holds the delivery."""


class GoneError(Exception):
    """Its body is no longer kept: there is nothing to handle."""


class Filter(NamedTuple):
    """Which deliveries; `None` and `()`: whatever it is."""

    source: str | None = None
    type: str | None = None
    """A type, or a family as `payment.*`."""
    states: tuple[str, ...] = ()
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    """Part of the payload, in any case."""

    def arguments(self) -> tuple[Any, ...]:
        """The parameters of `_MATCH`, without the last two."""
        family = self.type is not None and self.type.endswith(".*")
        # One alone is told apart: only then has an index of it an order.
        alone = self.states[0] if len(self.states) == 1 else None
        return (
            self.source,
            None if family else self.type,
            self.type[:-1] if family and self.type else None,
            alone,
            list(self.states) if len(self.states) > 1 else None,
            self.key,
            self.since,
            self.until,
            None if self.text is None else patterns(self.text),
        )


class Replayed(NamedTuple):
    """What a replay did. `more`: there are others, beyond its limit or held by a worker."""

    replayed: int
    matched: int
    more: bool


_MATCH = """
      ($1::text IS NULL OR source = $1)
      AND ($2::text IS NULL OR type = $2) AND ($3::text IS NULL OR starts_with(type, $3))
      AND ($4::text IS NULL OR state = $4) AND ($5::text[] IS NULL OR state = ANY ($5))
      AND ($6::text IS NULL OR key = $6)
      AND ($7::timestamptz IS NULL OR received_at >= $7)
      AND ($8::timestamptz IS NULL OR received_at < $8)
      AND ($9::text[] IS NULL OR convert_from(body, 'UTF8') ILIKE ANY ($9))
      AND seq > $10 AND seq < $11"""
# What lies between two times has its place in the order of arrival, too: no list has to walk there
# from the newest one on. Beside each other they are only nearly in order, hence the hour.
_SPAN = """
    SELECT
      (SELECT seq FROM public.webhook_deliveries
        WHERE received_at < $1::timestamptz - interval '1 hour'
        ORDER BY received_at DESC LIMIT 1) AS low,
      (SELECT seq FROM public.webhook_deliveries
        WHERE received_at >= $2::timestamptz + interval '1 hour'
        ORDER BY received_at LIMIT 1) AS high"""
_COLUMNS = """id, seq::text, source, message_id, type, key, state, attempts, event_at, received_at,
      due_at, handled_at, octet_length(body) AS size"""
_BOUNDED = """
    SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
      set_config('plan_cache_mode', 'force_custom_plan', true)"""
# Who calls by `quiet` wakes the stamper itself, after the commit.
_QUIET = "SELECT set_config('tailrace.poke', 'off', true)"
_LIST = f"""
    SELECT (SELECT tailrace.position()) AS position, {_COLUMNS}, left(error, 1000) AS error
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT * FROM public.webhook_deliveries WHERE {_MATCH}
      ORDER BY seq DESC LIMIT $12
    ) AS page ON true ORDER BY page.seq DESC"""  # noqa: S608 - constants
_SHOW = f"""
    SELECT {_COLUMNS}, error, headers, body, history
    FROM public.webhook_deliveries WHERE id = $1"""  # noqa: S608 - constants
# One that is pending keeps its attempts: only what was given up begins anew.
_RETRY = f"""
    UPDATE public.webhook_deliveries SET state = 'pending', due_at = clock_timestamp(),
      attempts = CASE WHEN state = 'pending' THEN attempts ELSE 0 END,
      error = CASE WHEN state = 'pending' THEN error END, handled_at = NULL
    WHERE id = $1 AND body IS NOT NULL
    RETURNING {_COLUMNS}, left(error, 1000) AS error"""  # noqa: S608 - constants
# All are due at one moment, so that `seq` orders them. What changes between the look and the lock
# is looked at again.
_REPLAY = f"""
    WITH found AS MATERIALIZED (
      SELECT id, seq FROM public.webhook_deliveries
      WHERE body IS NOT NULL AND state <> 'pending' AND {_MATCH}
      ORDER BY webhook_deliveries.seq LIMIT $12 + 1
    ), taken AS MATERIALIZED (
      SELECT w.id FROM public.webhook_deliveries w
        JOIN (SELECT id FROM found ORDER BY seq LIMIT $12) f USING (id)
      WHERE NOT $13 AND w.body IS NOT NULL AND w.state <> 'pending'
      ORDER BY w.seq FOR UPDATE OF w SKIP LOCKED
    ), changed AS (
      UPDATE public.webhook_deliveries w SET state = 'pending', attempts = 0, error = NULL,
        handled_at = NULL, due_at = statement_timestamp()
      FROM taken WHERE w.id = taken.id RETURNING 1
    )
    SELECT (SELECT count(*) FROM found) AS matched, (SELECT count(*) FROM changed) AS replayed"""  # noqa: S608
# Every part is bounded, and read by an index: pending ones of each source, those due first; of
# `dead` and of `unmatched` the newest; what is settled among the newest of all. A source's oldest
# pending one is exact up to so many; beyond, it is the oldest of those that are due first.
_SUMMARY = """
    WITH RECURSIVE sources AS (
      (SELECT source FROM public.webhook_deliveries WHERE state = 'pending'
        ORDER BY source LIMIT 1)
      UNION ALL
      SELECT (SELECT d.source FROM public.webhook_deliveries d
        WHERE d.state = 'pending' AND d.source > s.source ORDER BY d.source LIMIT 1)
      FROM sources s WHERE s.source IS NOT NULL
    ), waiting AS (
      SELECT d.* FROM sources s CROSS JOIN LATERAL (
        SELECT source, state, received_at FROM public.webhook_deliveries w
        WHERE state = 'pending' AND w.source = s.source ORDER BY due_at, seq LIMIT $1) d
      UNION ALL
      (SELECT source, state, received_at FROM public.webhook_deliveries
        WHERE state = 'unmatched' ORDER BY seq DESC LIMIT $1)
      UNION ALL
      (SELECT source, state, received_at FROM public.webhook_deliveries
        WHERE state = 'dead' ORDER BY seq DESC LIMIT $1)
    ), newest AS (
      SELECT source, state, received_at FROM public.webhook_deliveries ORDER BY seq DESC LIMIT $1
    )
    SELECT source, state, count(*), min(received_at) AS oldest, clock_timestamp() AS now
    FROM waiting GROUP BY source, state
    UNION ALL
    SELECT source, state, count(*), min(received_at), clock_timestamp()
    FROM newest WHERE state IN ('done', 'unhandled') GROUP BY source, state
    UNION ALL
    SELECT NULL, NULL, count(*), min(received_at), clock_timestamp() FROM newest"""


def patterns(text: str) -> list[str]:
    """For ILIKE: all that JSON may spell a text as, in its own case and in either whole one.

    A letter outside of ASCII may stand there as `\\u00e4`, which no database compares without case;
    some write `\\/` for a slash.
    """
    found: dict[str, str] = {}
    for case in (text, text.lower(), text.upper()):
        for ascii_only in (False, True):
            escaped = json.dumps(case, ensure_ascii=ascii_only)[1:-1]
            for spelling in (case, escaped, escaped.replace("/", "\\/")):
                # One is enough of what ILIKE takes for the same anyway.
                found.setdefault(spelling.lower() if spelling.isascii() else spelling, spelling)
    return ["%" + re.sub(r"([\\%_])", r"\\\1", spelling) + "%" for spelling in found.values()]


async def find(
    connection: Either, wanted: Filter, *, after: int, limit: int, seconds: float
) -> list[asyncpg.Record]:
    """Deliveries with a `seq` below `after`, the newest first, for `shapes.cut`.

    Raises:
        TooSlowError: it took more than `seconds`.
    """
    async with _bounded(connection, seconds):
        low, high = await _span(connection, wanted)
        arguments = (*wanted.arguments(), low, min(high, after), limit)
        return await connection.fetch(_LIST, *arguments)


async def show(connection: Either, id_: str) -> asyncpg.Record | None:
    """One delivery, whole."""
    return await connection.fetchrow(_SHOW, id_)


async def retry(connection: Either, id_: str, *, quiet: bool = False) -> asyncpg.Record | None:
    """Have a delivery handled again, at once, whatever came of it; `None`: there is none.

    Raises:
        GoneError, HeldError: nothing was changed.
    """
    async with _bounded(connection, 2.0 * LOCK_SECONDS):
        if quiet:
            await connection.execute(_QUIET)
        row = await connection.fetchrow(_RETRY, id_)
        if row is None and await connection.fetchrow(_SHOW, id_) is not None:
            raise GoneError
        return row


async def replay(
    connection: Either,
    wanted: Filter,
    *,
    limit: int,
    dry_run: bool,
    seconds: float,
    quiet: bool = False,
) -> Replayed:
    """Have deliveries handled again, the oldest first; pending ones are left alone.

    Raises:
        TooSlowError: it took more than `seconds`; nothing was changed.
    """
    async with _bounded(connection, seconds):
        if quiet:
            await connection.execute(_QUIET)
        span = await _span(connection, wanted)
        row = await connection.fetchrow(_REPLAY, *wanted.arguments(), *span, limit, dry_run)
    if row is None:
        msg = "an aggregate without a row"
        raise RuntimeError(msg)
    matched = min(row["matched"], limit)
    done = matched if dry_run else row["replayed"]
    return Replayed(row["replayed"], matched, row["matched"] > limit or done < matched)


async def summary(connection: Either) -> list[asyncpg.Record]:
    """Counts by source and state, and last a row without either: how many were looked at."""
    return await connection.fetch(_SUMMARY, MAX_COUNTED)


async def _span(connection: Either, wanted: Filter) -> tuple[int, int]:
    """Two values of `seq`, between which is all that was received in the filter's time."""
    if wanted.since is None and wanted.until is None:
        return 0, MAX_ID
    row = await connection.fetchrow(_SPAN, wanted.since, wanted.until)
    low, high = (None, None) if row is None else row
    return low or 0, high or MAX_ID


@asynccontextmanager
async def _bounded(connection: Either, seconds: float) -> AsyncIterator[None]:
    """A transaction whose statements end in time."""
    times = [f"{round(value * 1000)}ms" for value in (seconds, LOCK_SECONDS)]
    try:
        async with connection.transaction():
            await connection.execute(_BOUNDED, *times)
            yield
    except asyncpg.QueryCanceledError:
        raise TooSlowError from None
    except asyncpg.LockNotAvailableError:
        raise HeldError from None
