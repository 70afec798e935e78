"""API keys: what servers call with. The table `api_keys` has their SHA-256, and shows them never.

When one was last used is written by a task, at most once a minute: no request waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from aiohttp import web

from server.auth.principal import SCOPES, Principal
from server.auth.sessions import token_hash

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]

PREFIX = "trk_"
START = 10
"""Characters of a key that are kept to tell it from others."""
EVERY = 60.0
"""Seconds between two writes of a key's last use."""

_FIND = """
    SELECT id, name, scopes, channels, rate_count, rate_seconds, expires_at
    FROM public.api_keys
    WHERE key_hash = $1 AND (expires_at IS NULL OR expires_at > now())"""
_USED = """
    UPDATE public.api_keys SET last_used_at = now()
    WHERE id = ANY ($1) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"""


def new() -> str:
    """A new key: 32 random characters after the prefix."""
    return PREFIX + secrets.token_urlsafe(24)


async def find(pool: Pool, token: str) -> Principal | None:
    """Who holds this key, or `None` if nobody does any more."""
    if not token.startswith(PREFIX) or len(token) > 100:
        return None
    row = await pool.fetchrow(_FIND, token_hash(token))
    if row is None:
        return None
    return Principal(
        kind="key",
        key_id=row["id"],
        name=row["name"],
        patterns=tuple(row["channels"]),
        # A scope that this version does not know allows nothing.
        scopes=SCOPES & set(row["scopes"]),
        rate=(row["rate_count"], row["rate_seconds"]),
        expires=row["expires_at"].timestamp() if row["expires_at"] is not None else None,
    )


class Uses:
    """Which keys were used lately, written in batches by `run`. Bounded by the number of keys."""

    def __init__(self) -> None:
        self._written: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._some = asyncio.Event()

    def note(self, key_id: str) -> None:
        """A request came with this key."""
        now = time.monotonic()
        written = self._written.get(key_id)
        if written is None or now - written >= EVERY:
            self._written[key_id] = now
            self._waiting.add(key_id)
            self._some.set()

    async def run(self, pool: Pool) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            ids, self._waiting = list(self._waiting), set()
            await pool.execute(_USED, ids)


USES = web.AppKey("key_uses", Uses)
