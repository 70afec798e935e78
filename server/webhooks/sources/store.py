"""Changes of sources in Postgres: each in one transaction, in which a trigger announces it.

Whoever changes a source holds its row, so that of two changes at once the second sees the first.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg

from server.errors import CONFLICT, NOT_FOUND, ApiError
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks
from server.webhooks.sources.cache import Secret, Source, stored_scheme
from server.webhooks.sources.sealing import Sealer

if TYPE_CHECKING:
    from server.db.pool import Either, Pool

MAX_SOURCES = 200
MAX_SECRETS = 10
"""Secrets of one source that are good at the same time."""
CHANGED = "somebody else has just changed this source: look at it again"
LOCK = 7_245_722_305
"""An advisory lock: the sources are counted, and none is made meanwhile."""

_POKE_OFF = "SELECT set_config('tailrace.poke', 'off', true)"
_LOCK_ALL = "SELECT pg_advisory_xact_lock($1)"
_COUNT = "SELECT count(*) FROM public.webhook_sources WHERE scheme IS NOT NULL"
_CREATE = "INSERT INTO public.webhook_sources (name, scheme, channel) VALUES ($1, $2, $3)"
_ADD = """
    INSERT INTO public.webhook_secrets (id, source, sealed, created_at)
    VALUES ($1, $2, $3, clock_timestamp()) RETURNING id, created_at, expires_at"""
_TOUCH = "UPDATE public.webhook_sources SET updated_at = clock_timestamp() WHERE name = $1"
_CHANGE = """
    UPDATE public.webhook_sources SET updated_at = clock_timestamp(),
      scheme = coalesce($2::json, scheme), channel = CASE WHEN $3 THEN $4 ELSE channel END,
      paused_at = CASE $5::boolean WHEN true THEN coalesce(paused_at, clock_timestamp())
        WHEN false THEN NULL ELSE paused_at END
    WHERE name = $1"""
_PAUSE_BUILT_IN = """
    INSERT INTO public.webhook_sources AS s (name, paused_at)
    VALUES ($1, CASE WHEN $2 THEN clock_timestamp() END)
    ON CONFLICT (name) DO UPDATE SET updated_at = clock_timestamp(),
      paused_at = CASE WHEN $2 THEN coalesce(s.paused_at, clock_timestamp()) END"""
_DELETE = "DELETE FROM public.webhook_sources WHERE name = $1 AND scheme IS NOT NULL RETURNING name"
_HOLD = """
    SELECT scheme, updated_at FROM public.webhook_sources
    WHERE name = $1 AND scheme IS NOT NULL FOR UPDATE"""
# What is over is of no more use to anybody: with it the table would grow by each rotation.
_FORGET = """
    DELETE FROM public.webhook_secrets WHERE source = $1 AND expires_at <= clock_timestamp()"""
_EXPIRE = """
    UPDATE public.webhook_secrets SET expires_at = clock_timestamp() + $2::interval
    WHERE source = $1 AND coalesce(expires_at, 'infinity') > clock_timestamp() + $2::interval"""
_LIVE = """
    SELECT id, expires_at IS NULL AS lasts FROM public.webhook_secrets
    WHERE source = $1 AND coalesce(expires_at, 'infinity') > clock_timestamp()"""
_REMOVE = "DELETE FROM public.webhook_secrets WHERE source = $1 AND id = $2 RETURNING id"


async def create(
    pool: Pool,
    sealer: Sealer,
    name: str,
    scheme: StandardWebhooks | HmacHeader,
    secret: str,
    *,
    channel: str | None,
) -> None:
    """A new source with its first secret.

    Raises:
        ApiError: 409 when the name is taken, or there are too many.
    """
    async with _transaction(pool) as connection:
        await connection.execute(_LOCK_ALL, LOCK)
        if await connection.fetchval(_COUNT) >= MAX_SOURCES:
            raise ApiError(CONFLICT, f"there are {MAX_SOURCES} sources: delete one")
        try:
            await connection.execute(_CREATE, name, scheme.model_dump_json(), channel)
        except asyncpg.UniqueViolationError:
            raise ApiError(CONFLICT, f"there is a source {name} already") from None
        await _add(connection, sealer, name, secret)


async def change(
    pool: Pool,
    source: Source,
    *,
    scheme: StandardWebhooks | HmacHeader | None,
    channel: tuple[str | None] | None,
    paused: bool | None,
) -> None:
    """Change an own source; `None`: leave it.

    Raises:
        ApiError: 404 when it is gone, 409 when its secrets are no longer those that a new `scheme`
            was checked with.
    """
    text = None if scheme is None else scheme.model_dump_json()
    to = None if channel is None else channel[0]
    async with _transaction(pool) as connection:
        found = await _hold(connection, source.name)
        if scheme is not None and found["updated_at"] != source.updated_at:
            raise ApiError(CONFLICT, CHANGED)
        await connection.execute(_CHANGE, source.name, text, channel is not None, to, paused)


async def pause_built_in(pool: Pool, name: str, *, paused: bool) -> None:
    """Pause a built-in source, or let it go on."""
    async with _transaction(pool) as connection:
        await connection.execute(_PAUSE_BUILT_IN, name, paused)


async def delete(pool: Pool, name: str) -> None:
    """Delete an own source and its secrets; its deliveries stay.

    Raises:
        ApiError: 404 when it is gone.
    """
    async with _transaction(pool) as connection:
        if await connection.fetchval(_DELETE, name) is None:
            raise ApiError(NOT_FOUND)


async def add_secret(
    pool: Pool, sealer: Sealer, source: Source, secret: str, *, overlap: int
) -> asyncpg.Record:
    """A further secret; the others expire in `overlap` seconds, if they don't before that.

    Raises:
        ApiError: 404 when the source is gone, 409 when too many are good, or when its scheme is no
            longer the one that the secret was checked with.
    """
    name = source.name
    async with _transaction(pool) as connection:
        found = await _hold(connection, name)
        if stored_scheme(found["scheme"]) != source.scheme:
            raise ApiError(CONFLICT, CHANGED)
        await connection.execute(_EXPIRE, name, timedelta(seconds=overlap))
        await connection.execute(_FORGET, name)
        if len(await connection.fetch(_LIVE, name)) >= MAX_SECRETS:
            raise ApiError(CONFLICT, f"{MAX_SECRETS} secrets are good: delete one")
        added = await _add(connection, sealer, name, secret)
        await connection.execute(_TOUCH, name)
        return added


async def remove_secret(pool: Pool, name: str, id_: str) -> None:
    """Delete a secret, which is no longer good at once.

    Raises:
        ApiError: 404 when it is not there, 409 when no other lasts.
    """
    async with _transaction(pool) as connection:
        await _hold(connection, name)
        live = {row["id"]: row["lasts"] for row in await connection.fetch(_LIVE, name)}
        # Former ones that are still good are not enough: with their overlap the door would close.
        if live.pop(id_, None) is not None and not any(live.values()):
            raise ApiError(CONFLICT, "no other secret lasts: add one before, or delete the source")
        if await connection.fetchval(_REMOVE, name, id_) is None:
            raise ApiError(NOT_FOUND)
        await connection.execute(_TOUCH, name)


@asynccontextmanager
async def _transaction(pool: Pool) -> AsyncIterator[Either]:
    async with pool.acquire() as connection, connection.transaction():
        # The caller wakes the stamper itself, after the commit.
        await connection.execute(_POKE_OFF)
        yield connection


async def _hold(connection: Either, name: str) -> asyncpg.Record:
    found = await connection.fetchrow(_HOLD, name)
    if found is None:
        raise ApiError(NOT_FOUND)
    return found


async def _add(connection: Either, sealer: Sealer, name: str, secret: str) -> asyncpg.Record:
    id_ = uuid.uuid4().hex
    row = await connection.fetchrow(_ADD, id_, name, sealer.seal(secret, name, id_))
    assert row is not None  # an INSERT without a condition  # noqa: S101
    return row


def misfit(scheme: StandardWebhooks | HmacHeader, secrets: tuple[Secret, ...]) -> str | None:
    """Why one of these secrets can't be used with a scheme; `None`: all can."""
    for secret in secrets:
        try:
            if secret.plain is not None:
                scheme.check_secret(secret.plain)
        except ValueError as error:
            return f"the secret {secret.id} can't be used with this scheme: {error}"
    return None
