"""What the tests of the embedded Postgres share beside fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable

import asyncpg
import pytest

from server.db.embedded import EmbeddedPostgres

Make = Callable[..., EmbeddedPostgres]
ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root changes to another user")


async def value(postgres: EmbeddedPostgres, query: str) -> object:
    """The one value of a query on a connection of its own."""
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
