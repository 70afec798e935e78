from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.pool import Database
from tests.clean import clean, reused

__all__ = ["clean", "reused"]

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql

    Connect = Callable[..., Awaitable[Sql]]


@pytest.fixture
async def connect(clean: Database) -> AsyncIterator[Connect]:
    """Opens connections to the clean database, as an application does."""
    made: list[Sql] = []

    async def connect(user: str = "postgres") -> Sql:
        connection = await asyncpg.connect(clean.url, user=user)
        made.append(connection)
        return connection

    yield connect
    for connection in made:
        connection.terminate()


@pytest.fixture
async def sql(connect: Connect) -> Sql:
    """One of them."""
    return await connect()
