from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.db.pool import Database
from tests.clean import clean, reused
from tests.served import Served, served

__all__ = ["clean", "reused"]


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    """The application with its usual settings."""
    async with served(clean) as running:
        yield running
