"""Files in Postgres: what they are, whose, and how much of the quota they take."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import asyncpg

from server.errors import STORAGE, ApiError
from server.uploads.owners import Owner

if TYPE_CHECKING:
    from server.db.pool import Either, Pool

COLUMNS = """id, owner, user_id, policy, visibility, state, name, type, size, sha256, width, height,
    created_at, ready_at, expires_at"""
_ONE = f"SELECT {COLUMNS} FROM public.uploads WHERE id = $1"  # noqa: S608 - constants
_USED = """
    SELECT coalesce(sum(size), 0)::bigint FROM public.uploads
    WHERE owner = $1 AND id <> $2 AND (expires_at IS NULL OR expires_at > now())"""
# One at a time for an owner: two that each fit alone may not fit together.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7245722306))"
_ADD = f"""
    INSERT INTO public.uploads (id, owner, user_id, policy, visibility, state, name, type, size,
      sha256, width, height, host, metadata, ready_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
      CASE WHEN $6 = 'ready' THEN clock_timestamp() END,
      clock_timestamp() + $15::float8 * interval '1 second')
    RETURNING {COLUMNS}"""  # noqa: S608 - constants
_READY = f"""
    UPDATE public.uploads SET state = 'ready', name = $2, type = $3, size = $4, sha256 = $5,
      width = $6, height = $7, host = NULL, ready_at = clock_timestamp(),
      expires_at = clock_timestamp() + $8::float8 * interval '1 second'
    WHERE id = $1 AND state = 'receiving'
    RETURNING {COLUMNS}"""  # noqa: S608 - constants
_REMOVE = "DELETE FROM public.uploads WHERE id = $1 RETURNING id"
_GIVE_UP = "DELETE FROM public.uploads WHERE id = $1 AND state = 'receiving' RETURNING id"

State = Literal["receiving", "ready"]


class Record(NamedTuple):
    """A row of `uploads`."""

    id: str
    owner: str
    user_id: str | None
    policy: str
    visibility: Literal["public", "private"]
    state: State
    name: str
    type: str
    size: int
    sha256: str | None
    width: int | None
    height: int | None
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


class Found(NamedTuple):
    """What a whole file was found to be."""

    name: str
    type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None


class New(NamedTuple):
    """A row to be added. `expires`: seconds from now."""

    id: str
    owner: Owner
    policy: str
    visibility: str
    state: State
    found: Found
    host: str | None = None
    metadata: str | None = None
    expires: float | None = None


def record(row: asyncpg.Record) -> Record:
    """A row as a record."""
    return Record(*(row[name] for name in Record._fields))


async def find(pool: Pool, id_: str) -> Record | None:
    """The file of this id."""
    row = await pool.fetchrow(_ONE, id_)
    return record(row) if row is not None else None


async def used(connection: Pool | Either, owner: Owner, besides: str = "") -> int:
    """Bytes that an owner's files take, those that are reserved included."""
    return int(await connection.fetchval(_USED, owner.label, besides))


async def add(pool: Pool, new: New, quota: int) -> Record:
    """Add a file, if its owner has room for it.

    Raises:
        ApiError: 507.
    """
    found = new.found
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_LOCK, new.owner.label)
        require_room(await used(connection, new.owner), found.size, quota)
        row = await connection.fetchrow(
            _ADD,
            new.id,
            *new.owner,
            new.policy,
            new.visibility,
            new.state,
            found.name,
            found.type,
            found.size,
            found.sha256 or None,
            found.width,
            found.height,
            new.host,
            new.metadata,
            new.expires,
        )
    if row is None:
        msg = "an INSERT without a row"
        raise RuntimeError(msg)
    return record(row)


async def ready(pool: Pool, id_: str, found: Found, expires: float | None) -> Record | None:
    """A file that was received in pieces is whole; `None`: it was deleted meanwhile."""
    row = await pool.fetchrow(
        _READY,
        id_,
        found.name,
        found.type,
        found.size,
        found.sha256,
        found.width,
        found.height,
        expires,
    )
    return record(row) if row is not None else None


async def remove(pool: Pool, id_: str) -> bool:
    """Forget a file; whether it was there."""
    return await pool.fetchval(_REMOVE, id_) is not None


async def give_up(pool: Pool, id_: str) -> bool:
    """Forget a file that is not whole; whether it was there."""
    return await pool.fetchval(_GIVE_UP, id_) is not None


def require_room(taken: int, size: int, quota: int) -> None:
    """Whether so many more bytes fit into a quota.

    Raises:
        ApiError: 507.
    """
    if taken + size > quota:
        left = max(0, quota - taken)
        raise ApiError(STORAGE, f"of a quota of {quota} bytes {left} are left")
