"""Whether what a stream was opened with still stands, asked of Postgres for many at a time.

A stream lives for hours; its session, key or role may end long before, by any process or by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from server.auth.principal import SCOPES, Principal

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]

# Only what has changed comes back, mostly nothing; of keys, which are few, all do.
_SESSIONS = """
    SELECT had.nth, u.role
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS had (id, role, nth)
      LEFT JOIN public.sessions s ON s.id = had.id AND s.expires_at > now()
      LEFT JOIN public.users u ON u.id = s.user_id
    WHERE u.role IS DISTINCT FROM had.role"""
_KEYS = """
    SELECT had.nth, k.id IS NOT NULL AS valid, k.channels, k.scopes
    FROM unnest($1::text[]) WITH ORDINALITY AS had (id, nth)
      LEFT JOIN public.api_keys k
        ON k.id = had.id AND (k.expires_at IS NULL OR k.expires_at > now())"""

Change = tuple[Principal, Principal | None]
"""Who held it, and what it allows by now: `None` is nothing any more."""


async def changed_sessions(pool: Pool, holders: Sequence[Principal]) -> list[Change]:
    """Of the holders of sessions, those whose session is over or who have another role by now."""
    ids, roles = [who.session_id for who in holders], [who.role for who in holders]
    rows = await pool.fetch(_SESSIONS, ids, roles)
    return [_other_role(holders[row["nth"] - 1], row["role"]) for row in rows]


def _other_role(had: Principal, role: str | None) -> Change:
    return had, None if role is None else replace(had, role=role)


async def changed_keys(pool: Pool, holders: Sequence[Principal]) -> list[Change]:
    """Of the holders of API keys, those whose key is gone or allows something else by now."""
    rows = await pool.fetch(_KEYS, [who.key_id for who in holders])
    changes = [_other_key(holders[row["nth"] - 1], row) for row in rows]
    return [(had, now) for had, now in changes if now != had]


def _other_key(had: Principal, row: asyncpg.Record) -> Change:
    if not row["valid"]:
        return had, None
    scopes = SCOPES & set(row["scopes"])
    return had, replace(had, patterns=tuple(row["channels"]), scopes=scopes)
