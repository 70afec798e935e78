"""Servers that have files already, put there without a request."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import asyncpg

from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database
from server.keys import POOL
from server.uploads import records
from server.uploads.owners import Owner
from server.uploads.records import Found, New, Record, State
from server.uploads.service import UPLOADS
from tests.conftest import CLONE, database_url
from tests.served import Served, served

ROOM = 2**40


@asynccontextmanager
async def running(postgres: EmbeddedPostgres, **settings: Any) -> AsyncIterator[Served]:
    """A server on a database of its own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(CLONE.format(name))
        database = Database(database_url(postgres, name), None, embedded=True)
        async with served(database, **settings) as server:
            yield server
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def keep(
    server: Served,
    content: bytes,
    owner: str,
    *,
    type_: str = "image/png",
    name: str = "a.png",
    policy: str = "images",
    visibility: str = "public",
    state: State = "ready",
    expires: float | None = None,
) -> Record:
    """A file in the store, or in the spool while it is `receiving`, with its row. `owner`: a
    user's id, or `key:…`."""
    uploads, id_ = server.app[UPLOADS], secrets.token_hex(16)
    path = uploads.spool.path(id_)
    path.write_bytes(content)
    if state == "ready":
        await uploads.store.put(id_, path, size=len(content), content_type=type_)
    whose = Owner(owner, None) if ":" in owner else Owner(f"user:{owner}", owner)
    found = Found(name, type_, len(content), sha256(content).hexdigest())
    new = New(id_, whose, policy, visibility, state, found, expires=expires)
    return await records.add(server.app[POOL], new, ROOM)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
