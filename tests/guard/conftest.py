from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.db.pool import Database
from tests.clean import clean, reused
from tests.guard.valkey import Valkey
from tests.served import Served, served

__all__ = ["clean", "reused"]


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    """The application with its usual settings."""
    async with served(clean) as running:
        yield running


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Redis of its own, running."""
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.stop()
