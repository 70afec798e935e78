"""One server for all tests of a module, without sources and deliveries before each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.sources.cache import SOURCES
from tests.clean import RESET, reused
from tests.served import Served, served
from tests.webhooks.sending import Caller

__all__ = ["SHARED", "api", "client", "reused", "server", "shared"]

SHARED = pytest.mark.asyncio(loop_scope="module")
"""The mark of such a module."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(reused: Database) -> AsyncIterator[Served]:
    """The server."""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.close()
    async with served(reused) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def server(shared: Served) -> Served:
    """It, emptied."""
    await shared.app[POOL].execute("""
        DELETE FROM public.webhook_deliveries;
        TRUNCATE public.webhook_sources CASCADE""")
    await shared.app[SOURCES].all()
    return shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    # It verifies no TLS, as there is none: loading the certificates for it takes 50 ms.
    async with httpx.AsyncClient(timeout=20, verify=False) as running:
        yield running


@pytest.fixture
def api(client: httpx.AsyncClient, server: Served) -> Caller:
    """The operator, at that server."""
    return Caller(client, server)
