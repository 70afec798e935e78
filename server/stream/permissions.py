"""Ends open streams whose permission has ended, whoever took it away: a process, or psql.

What this process revokes itself ends at once (server/accounts/ending.py), and what ends by itself
is known from the start. For all the rest Postgres is asked every `PERIOD` seconds, about the
sessions and keys of the open streams alone: one query for a thousand of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from server.auth.principal import BOOTSTRAP, Principal
from server.auth.standing import Change, changed_keys, changed_sessions
from server.db.faults import LOST
from server.stream.channels import readable
from server.stream.streams import Stream, Streams

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between looks: a permission's end is to reach its streams within five."""
PATIENCE = 4.0
"""Seconds that a look may take."""
BLIND = 8.0
"""Seconds without a look after which nothing is known any more."""
BATCH = 1_000
"""Sessions or keys in one query."""
SLICE = 2_000
"""Streams that are gone through before the loop has a turn."""

Holders = dict[Principal, list[Stream]]
Changed = Callable[["Pool", Sequence[Principal]], Awaitable[list[Change]]]


class Permissions:
    """Looks after the streams of this process; `opened`: patterns that everybody may read."""

    def __init__(self, pool: Pool, streams: Streams, opened: tuple[str, ...]) -> None:
        self._pool = pool
        self._streams = streams
        self._opened = opened

    async def run(self) -> None:
        """Until cancelled.

        While the database is away nothing is delivered, and nothing ended. If events go out and
        only the accounts can't be asked about, their streams end after a while: who may read can
        then not be known.
        """
        looked, published = time.monotonic(), self._streams.pubsub.published
        while True:
            await asyncio.sleep(PERIOD)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.look()
                looked, published = time.monotonic(), self._streams.pubsub.published
            except LOST as error:
                log.info("permissions can't be looked at: %r", error)
                blind = time.monotonic() - looked > BLIND
                if blind and self._streams.pubsub.published != published:
                    await self.end_unknown()

    async def end_unknown(self) -> None:
        """End the streams that were opened with something that may have ended."""
        for count, stream in enumerate(self._streams):
            who = stream.principal
            if who.session_id is not None or (who.key_id is not None and who is not BOOTSTRAP):
                self._streams.end(stream, "overload")
            if count % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    async def look(self) -> None:
        """Look once at all open streams."""
        sessions: Holders = {}
        keys: Holders = {}
        for count, stream in enumerate(self._streams):
            if count % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            who = stream.principal
            if who.session_id is not None:
                sessions.setdefault(who, []).append(stream)
            elif who.key_id is not None and who is not BOOTSTRAP:
                keys.setdefault(who, []).append(stream)
        await self._compare(sessions, changed_sessions)
        await self._compare(keys, changed_keys)

    async def _compare(self, holders: Holders, changed: Changed) -> None:
        left = iter(holders)
        while batch := list(islice(left, BATCH)):
            for had, now in await changed(self._pool, batch):
                for count, stream in enumerate(holders[had]):
                    self._judge(stream, now)
                    if count % 100 == 99:
                        await asyncio.sleep(0)

    def _judge(self, stream: Stream, now: Principal | None) -> None:
        """End a stream unless its principal, as it is now, may still read all its channels."""
        if now is not None and readable(now, stream.subscriber.channels, self._opened):
            stream.principal = now
        else:
            # What has run out by itself is gone as well, and may be seen here first.
            expires = stream.principal.expires
            over = expires is not None and expires <= time.time()
            self._streams.end(stream, "expired" if over else "revoked")
