"""One server for all tests of the Python client, and a proxy that fails for each of them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.db.pool import Database
from tests.clean import reused
from tests.client.reading import HEARTBEAT
from tests.clients.proxy import Proxy
from tests.served import Served, served

__all__ = ["reused"]

_names = (f"public.client{number}" for number in itertools.count())


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def server(reused: Database) -> AsyncIterator[Served]:
    """Each test has a channel of its own on it."""
    async with served(reused, heartbeat=HEARTBEAT) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def proxy(server: Served) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def channel() -> str:
    return next(_names)
