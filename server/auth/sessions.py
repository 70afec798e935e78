"""Sessions: a random token in a cookie or a bearer header, its SHA-256 in the table `sessions`."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

import asyncpg

from server.auth.principal import Principal

PREFIX = "trs_"
"""Of session tokens, as they share the Authorization header with keys and stream tokens."""
COOKIE = "tailrace.session_token"
SECURE_COOKIE = "__Secure-" + COOKIE
LIFETIME = timedelta(days=7)

_FIND = """
    SELECT s.expires_at, u.id, u.name, u.email, u.role
    FROM public.sessions s JOIN public.users u ON u.id = s.user_id
    WHERE s.token_hash = $1 AND s.expires_at > now()"""
_CREATE = """
    INSERT INTO public.sessions (user_id, token_hash, expires_at) VALUES ($1, $2, now() + $3)"""


def token_hash(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def create(
    connection: asyncpg.Pool[asyncpg.Record]
    | asyncpg.Connection[asyncpg.Record]
    | asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
    user_id: str,
) -> str:
    """Sign a user in; returns the token, which is not stored."""
    token = PREFIX + secrets.token_urlsafe(24)
    await connection.execute(_CREATE, user_id, token_hash(token), LIFETIME)
    return token


async def find(
    pool: asyncpg.Pool[asyncpg.Record], token: str, *, by_cookie: bool
) -> Principal | None:
    """Whose session `token` is, or `None` if it is nobody's any more."""
    if not token.startswith(PREFIX) or len(token) > 100:
        return None
    row = await pool.fetchrow(_FIND, token_hash(token))
    if row is None:
        return None
    return Principal(
        kind="user",
        user_id=row["id"],
        name=row["name"],
        email=row["email"],
        role=row["role"],
        expires=row["expires_at"].timestamp(),
        by_cookie=by_cookie,
    )
