"""Reading the past: pages of the log for replays, and where a replay starts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from server.log.model import (
    Event,
    Fork,
    Head,
    Resume,
    Selection,
    parse_id,
    resume,
)

if TYPE_CHECKING:
    from server.db.pool import Pool

# One source for how an event is read: whoever reads rows gets them in the shape of `Event`.
COLUMNS = "pos, channel, key, tailrace.body(channel, type, key, at, message_id, data)"

_HEAD = "SELECT epoch, pos, floor FROM tailrace.head"
_FORKS = "SELECT epoch, fork FROM tailrace.epoch_history ORDER BY seq"
# In one snapshot: a fork between the two would let an id of the former epoch pass for this one's.
_HEAD_AND_FORKS = """
    SELECT head.epoch, head.pos, head.floor, history.epoch, history.fork
    FROM tailrace.head head, tailrace.epoch_history history ORDER BY history.seq"""

# Exact channels only: each channel's own index range, however sparse it is in the log.
_PAGE_EXACT = f"""
    SELECT {COLUMNS} FROM (
      SELECT e.* FROM unnest($1::text[]) AS wanted (name), LATERAL (
        SELECT * FROM tailrace.event
        WHERE channel = wanted.name AND pos > $2 AND pos <= $3
        ORDER BY pos LIMIT $4
      ) e ORDER BY e.pos LIMIT $4
    ) page ORDER BY pos"""  # noqa: S608

# With patterns: a window of positions, filtered. The window bounds what one statement costs.
_PAGE_WINDOW = f"""
    SELECT {COLUMNS} FROM tailrace.event
    WHERE pos > $2 AND pos <= $3 AND (channel = ANY ($1) OR channel ~ ANY ($4))
    ORDER BY pos LIMIT $5"""  # noqa: S608

_PAGE_ALL = f"""
    SELECT {COLUMNS} FROM tailrace.event WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3"""  # noqa: S608

_SIZE = """
    SELECT coalesce(sum(pg_column_size(data)), 0) FROM tailrace.event
    WHERE pos > $1 AND pos <= $2"""

_REWIND = """
    SELECT count(*), min(pos) FROM (
      SELECT pos FROM tailrace.event
      WHERE pos > $2 AND pos <= $3 AND (channel = ANY ($1) OR channel ~ ANY ($4))
      ORDER BY pos DESC LIMIT $5
    ) last"""

_REWIND_EXACT = """
    SELECT min(pos) FROM (
      SELECT e.pos FROM unnest($1::text[]) AS wanted (name), LATERAL (
        SELECT pos FROM tailrace.event
        WHERE channel = wanted.name AND pos > $2 AND pos <= $3
        ORDER BY pos DESC LIMIT $4
      ) e ORDER BY e.pos DESC LIMIT $4
    ) last"""

_AT = "SELECT at FROM tailrace.event WHERE pos >= $1 AND pos <= $2 ORDER BY pos LIMIT 1"
_FIRST_SINCE = """
    SELECT pos FROM tailrace.event
    WHERE pos > $1 AND pos <= $2 AND at >= $3 ORDER BY pos LIMIT 1"""

WINDOW = 20_000
REWIND_WINDOWS = 100
PAGE = 1_000
PAGE_BYTES = 4 * 1024 * 1024
# An event's time is that of its publishing, its position that of its commit: a transaction may
# take this many seconds between the two and `since` still finds it.
SINCE_SLACK = 60


class Page(NamedTuple):
    """Events after a cursor, the position up to which the log was looked through, the head then.

    `head` was read in a *later* statement than the events: when its floor is above the cursor,
    or its epoch another, rows may have been removed under the page, which must be thrown away.
    """

    events: list[Event]
    reached: int
    head: Head


class History:
    """Replays' view of the log."""

    def __init__(self, pool: Pool, concurrent: int = 1) -> None:
        self._pool = pool
        # Readers of the past must leave connections to those who write and sign in.
        self._turn = asyncio.Semaphore(concurrent)

    async def head(self) -> Head:
        """The log's state now, from the database."""
        return Head(*await self._pool.fetchrow(_HEAD))  # type: ignore[misc]

    async def resume(self, after: str) -> tuple[Resume, Head]:
        """Where a reader that gives the id `after` goes on (`earliest`: at the floor)."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_HEAD_AND_FORKS)
        head, forks = Head(*rows[0][:3]), [Fork(*row[3:]) for row in rows]
        if after == "earliest":
            return Resume(head.floor), head
        return resume(parse_id(after), head, forks), head

    async def page(self, selection: Selection, after: int, upto: int, limit: int = PAGE) -> Page:
        """At most `limit` events of the selection in (`after`, `upto`], in order of position."""
        async with self._turn, self._pool.acquire() as connection:
            if selection.patterns:
                upto = min(upto, after + WINDOW)
                rows = await connection.fetch(
                    _PAGE_WINDOW, selection.channels, after, upto, regexes(selection), limit
                )
            else:
                rows = await connection.fetch(_PAGE_EXACT, selection.channels, after, upto, limit)
            head = Head(*await connection.fetchrow(_HEAD))  # type: ignore[misc]
        events = [Event(*row) for row in rows]
        return Page(events, events[-1].pos if len(events) == limit else upto, head)

    async def stretch(self, after: int, upto: int) -> Page | None:
        """Everything in (`after`, `upto`], whatever its channel; `None` if that is too large."""
        async with self._turn, self._pool.acquire() as connection:
            if await connection.fetchval(_SIZE, after, upto) > PAGE_BYTES:
                return None
            rows = await connection.fetch(_PAGE_ALL, after, upto, upto - after)
            head = Head(*await connection.fetchrow(_HEAD))  # type: ignore[misc]
        return Page([Event(*row) for row in rows], upto, head)

    async def rewound(self, selection: Selection, count: int, head: Head) -> int:
        """The position after which the last `count` events of the selection follow."""
        if count <= 0:
            return head.pos
        if selection.patterns:
            return await self._rewound_by_windows(selection, count, head)
        async with self._turn:
            found = await self._pool.fetchval(
                _REWIND_EXACT, selection.channels, head.floor, head.pos, count
            )
        return head.pos if found is None else found - 1

    async def _rewound_by_windows(self, selection: Selection, count: int, head: Head) -> int:
        """Look back a window at a time, over at most `REWIND_WINDOWS`: one request for a pattern
        that matches nothing must not have the database read the whole log."""
        start = upto = head.pos
        for _ in range(REWIND_WINDOWS):
            low = max(head.floor, upto - WINDOW)
            async with self._turn:
                matched, first = await self._pool.fetchrow(  # type: ignore[misc]
                    _REWIND, selection.channels, low, upto, regexes(selection), count
                )
            if matched:
                start, count = first - 1, count - matched
            upto = low
            if count <= 0 or low <= head.floor:
                break
        return start

    async def since(self, moment: datetime, head: Head) -> int:
        """The position after which the first event published at or after `moment` follows.

        Positions follow commits, times follow publishing: near enough for a binary search to
        find the neighbourhood, from which it reads on until it finds the first.
        """
        low, high = head.floor, head.pos
        async with self._turn, self._pool.acquire() as connection:
            while high - low > 1:
                middle = (low + high) // 2
                at = await connection.fetchval(_AT, middle, head.pos)
                if at is None or (moment - at).total_seconds() < SINCE_SLACK:
                    high = middle
                else:
                    low = middle
            found = await connection.fetchval(_FIRST_SINCE, low, head.pos, moment)
        return head.pos if found is None else found - 1


def next_limit(events: Sequence[Event], limit: int, target: int = PAGE_BYTES) -> int:
    """How many events the next page may have, so that pages stay near `target` bytes.

    It grows from `FIRST_PAGE`: events of the largest size must not fill the memory at once.
    """
    if not events:
        return limit
    size = sum(len(event.body) for event in events) / len(events)
    return max(1, min(PAGE, int(target / size), limit * 8))


async def read_on(pool: Pool, after: int, limit: int) -> Page:
    """The whole log after a position, for the process's own reader."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_PAGE_ALL, after, 2**63 - 1, limit)
        head = Head(*await connection.fetchrow(_HEAD))  # type: ignore[misc]
    events = [Event(*row) for row in rows]
    return Page(events, events[-1].pos if events else after, head)


async def read_forks(pool: Pool) -> Sequence[Fork]:
    """The epoch history, oldest first."""
    return [Fork(*row) for row in await pool.fetch(_FORKS)]


def regexes(selection: Selection) -> list[str]:
    """The patterns as regular expressions of Postgres."""
    return [_regex(pattern) for pattern in selection.patterns]


def _regex(pattern: str) -> str:
    parts = []
    for segment in pattern.split("."):
        if segment == "*":
            parts.append("[^.]+")
        elif segment == ">":
            parts.append(".+")
        else:
            parts.append(re.escape(segment).replace("\\-", "-"))
    return "^" + "\\.".join(parts) + "$"
