"""A server for the examples, and a connection to its database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from server.db.pool import Database
from tests.clean import reused
from tests.served import Served, served

__all__ = ["reused"]


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def server(reused: Database) -> AsyncIterator[Served]:
    async with served(reused, heartbeat=0.2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def sql(reused: Database) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's."""
    connection = await asyncpg.connect(reused.url)
    yield connection
    await connection.close()
