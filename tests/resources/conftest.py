from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from server.db.pool import Database
from tests.clean import RESET, reused
from tests.served import Served, served

__all__ = ["reused"]

FROM_ONE = """
    ALTER TABLE public.posts ALTER id RESTART;
    ALTER TABLE public.notifications ALTER id RESTART;
    ALTER TABLE public.contacts ALTER id RESTART"""


async def cleaned(reused: Database) -> Database:
    """As everywhere, and the ids of new rows are 1, 2, …"""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.execute(FROM_ONE)
    await connection.close()
    return reused


@pytest.fixture
async def clean(reused: Database) -> Database:
    """A clean database for one test."""
    return await cleaned(reused)


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    """The application with its usual settings, but without limits of rate."""
    async with served(clean, limits="off") as running:
        yield running
