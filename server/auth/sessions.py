"""Sessions: a token in a cookie or bearer header, its SHA-256 in the table `sessions`."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from server.auth.principal import Principal

if TYPE_CHECKING:
    import asyncpg

    Pool = asyncpg.Pool[asyncpg.Record]
    Source = (
        Pool | asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )

PREFIX = "trs_"
"""Of session tokens, as they share the Authorization header with keys and stream tokens."""
COOKIE = "tailrace.session_token"
SECURE_COOKIE = "__Secure-" + COOKIE
LIFETIME = timedelta(days=7)
SHORT_LIFETIME = timedelta(days=1)
"""Of a session that ends with the browser; it is over before it would be renewed."""
MAX_USER_AGENT = 300
MAX_PER_USER = 100
"""Sessions of one user; the oldest give way."""

_FIND = """
    SELECT s.id AS session_id, s.expires_at, s.updated_at < now() - interval '1 day' AS stale,
      u.id, u.name, u.email, u.role
    FROM public.sessions s JOIN public.users u ON u.id = s.user_id
    WHERE s.token_hash = $1 AND s.expires_at > now()"""
# The lock orders it with a change of the password, which ends sessions, and with the user's end:
# either they see this session, or this sees them.
_CREATE = """
    INSERT INTO public.sessions (user_id, token_hash, expires_at, ip_address, user_agent)
    SELECT id, $2, now() + $3, $4, $5 FROM public.users
    WHERE id = $1 AND ($6::text IS NULL OR password_hash = $6) FOR SHARE
    RETURNING id"""
# Of requests that come at once, the first renews: `updated_at` is looked at again under its lock.
_RENEW = """
    UPDATE public.sessions SET expires_at = now() + $2, updated_at = now()
    WHERE id = $1 AND updated_at < now() - interval '1 day' AND expires_at > now()
    RETURNING expires_at"""
_TRIM = """
    DELETE FROM public.sessions WHERE user_id = $1 AND id NOT IN (
      SELECT id FROM public.sessions WHERE user_id = $1 ORDER BY created_at DESC LIMIT $2)"""
_LIST = """
    SELECT id, user_id, expires_at, created_at, updated_at, ip_address, user_agent
    FROM public.sessions WHERE user_id = $1 AND expires_at > now()
    ORDER BY created_at DESC, id"""
_GET = """
    SELECT id, user_id, expires_at, created_at, updated_at, ip_address, user_agent
    FROM public.sessions WHERE id = $1"""
_REVOKE = """
    DELETE FROM public.sessions WHERE user_id = $1 AND (id = $2 OR token_hash = $3)
    RETURNING id"""
_REVOKE_ALL = """
    DELETE FROM public.sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id"""
# In steps, so that a long absence is not made up for in one transaction.
_DELETE_EXPIRED = """
    DELETE FROM public.sessions WHERE id IN (
      SELECT id FROM public.sessions WHERE expires_at <= now()
      LIMIT 1000 FOR UPDATE SKIP LOCKED)
    RETURNING id"""


class NoUserError(Exception):
    """The user is gone, or has another password by now."""


class Found(NamedTuple):
    """A session's user. `stale`: it is due to be renewed."""

    principal: Principal
    stale: bool


def token_hash(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def create(
    source: Source,
    user_id: str,
    *,
    ip: str | None = None,
    user_agent: str | None = None,
    lifetime: timedelta = LIFETIME,
    verified: str | None = None,
) -> str:
    """Sign a user in; returns the token, which is not stored.

    `verified`: the password's hash that was looked at, if one was; it must still be the user's.

    Raises:
        NoUserError: there is no such user any more.
    """
    token = PREFIX + secrets.token_urlsafe(24)
    agent = _storable(user_agent)
    made = await source.fetchval(_CREATE, user_id, token_hash(token), lifetime, ip, agent, verified)
    if made is None:
        raise NoUserError
    return token


async def find(pool: Pool, token: str, *, by_cookie: bool) -> Found | None:
    """Whose session `token` is, or `None` if it is nobody's any more."""
    if not token.startswith(PREFIX) or len(token) > 100:
        return None
    row = await pool.fetchrow(_FIND, token_hash(token))
    if row is None:
        return None
    principal = Principal(
        kind="user",
        user_id=row["id"],
        name=row["name"],
        email=row["email"],
        role=row["role"],
        expires=row["expires_at"].timestamp(),
        by_cookie=by_cookie,
        session_id=row["session_id"],
    )
    return Found(principal, row["stale"])


async def renew(pool: Pool, session_id: str) -> datetime | None:
    """Give a session its seven days anew: the new end, or `None` if it was not due."""
    end: datetime | None = await pool.fetchval(_RENEW, session_id, LIFETIME)
    return end


async def trim(source: Source, user_id: str) -> None:
    """Delete the oldest of a user's sessions beyond `MAX_PER_USER`."""
    await source.execute(_TRIM, user_id, MAX_PER_USER)


async def get(source: Source, session_id: str) -> asyncpg.Record | None:
    """A session, without its token's hash."""
    return await source.fetchrow(_GET, session_id)


async def listed(source: Source, user_id: str) -> list[asyncpg.Record]:
    """A user's sessions, the newest first: everything but their tokens' hashes."""
    return await source.fetch(_LIST, user_id)


async def revoke(source: Source, user_id: str, handle: str) -> list[str]:
    """End one of a user's sessions, by its id or token; the ids of those that were."""
    rows = await source.fetch(_REVOKE, user_id, handle, token_hash(handle))
    return [row["id"] for row in rows]


async def revoke_all(source: Source, user_id: str, *, keep: str | None = None) -> list[str]:
    """End a user's sessions, except the one with the id `keep`; the ids of those that were."""
    return [row["id"] for row in await source.fetch(_REVOKE_ALL, user_id, keep)]


async def delete_expired(pool: Pool) -> int:
    """Forget sessions that have ended by themselves; how many there were."""
    count = 0
    while rows := await pool.fetch(_DELETE_EXPIRED):
        count += len(rows)
    return count


def _storable(user_agent: str | None) -> str | None:
    """Of any header, what Postgres can store: no NUL, no bytes that are not UTF-8."""
    if user_agent is None:
        return None
    text = user_agent[:MAX_USER_AGENT].encode("utf-8", "replace").decode()
    return text.replace("\0", "")
