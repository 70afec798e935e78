"""The end of uploads whose time is over, and of what is left of others."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from server.errors import LOCKED, ApiError
from server.uploads.store import StoreError
from server.uploads.tus.locks import Locks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.db.pool import Connection, Pool
    from server.uploads.spool import Spool
    from server.uploads.store import Store

BATCH = 500
MOST = 10_000
"""Files that are looked for at once."""

_EXPIRED = "SELECT count(*) FROM public.uploads WHERE expires_at <= now()"
_WHOLE = """
    DELETE FROM public.uploads
    WHERE id IN (SELECT id FROM public.uploads WHERE expires_at <= now() AND state = 'ready'
      ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING id"""
_UNFINISHED = """
    SELECT id FROM public.uploads WHERE expires_at <= now() AND state = 'receiving'
    ORDER BY expires_at LIMIT $1"""
_GIVE_UP = """
    DELETE FROM public.uploads WHERE id = $1 AND expires_at <= now() AND state = 'receiving'
    RETURNING id"""

log = logging.getLogger(__name__)


class Expiry:
    """Removes what has expired: rows first, so that none shows a file that is not there."""

    def __init__(self, pool: Pool | Connection, store: Store, spool: Spool) -> None:
        self._pool = pool
        self._store = store
        self._spool = spool

    async def count(self) -> int:
        """How many there are."""
        return int(await self._pool.fetchval(_EXPIRED))

    async def remove(self) -> int:
        """Remove them; how many."""
        removed = 0
        while rows := await self._pool.fetch(_WHOLE, BATCH):
            removed += len(rows)
            for row in rows:
                await delete(self._store, row["id"])
        async with locks_of(self._spool) as locks:
            for row in await self._pool.fetch(_UNFINISHED, MOST):
                removed += await self._give_up(locks, row["id"])
        return removed

    async def _give_up(self, locks: Locks, id_: str) -> bool:
        """Remove an upload that is not whole, once its client has left. One that is just being
        checked or stored does not leave: it becomes whole, or is found by the next look."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(locks.take(id_))
            except ApiError as error:
                if error.kind is LOCKED:
                    return False
                # There is no spool here to lock it in; then nobody here writes to it.
            if await self._pool.fetchval(_GIVE_UP, id_) is None:
                return False
            await discard(self._spool, id_)
            # It may have been stored by a process that died before it could say so.
            await delete(self._store, id_)
            return True


@asynccontextmanager
async def locks_of(spool: Spool) -> AsyncIterator[Locks]:
    """The locks, taken as another process would: whoever writes to an upload is made to leave."""
    locks = Locks(spool)
    try:
        yield locks
    finally:
        locks.close()


async def delete(store: Store, key: str) -> bool:
    """Whether it worked; what is left is found by the next look."""
    try:
        await store.delete(key)
    except StoreError as error:
        log.warning("upload %s is left in the store: %s", key, error)
        return False
    return True


async def discard(spool: Spool, name: str) -> None:
    """Remove from the spool; what is left is found by the next look."""
    try:
        await spool.discard(name)
    except OSError as error:
        log.warning("upload %s is left in the spool: %s", name, error)
