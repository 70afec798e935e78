from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from server.db.pool import Database
from tests.clean import clean, reused
from tests.served import Served, served

__all__ = ["clean", "reused"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops for slow readers: the buffers of their transports differ."""
    del config
    if item.path.name == "test_slow.py":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=["on", "off"], ids=["taken", "parked"])
def takeover(request: pytest.FixtureRequest) -> str:
    """Both carriers of a stream must pass the same tests."""
    return str(request.param)


@pytest.fixture
async def server(clean: Database, takeover: str) -> AsyncIterator[Served]:
    """The application with its usual settings."""
    async with served(clean, takeover=takeover) as running:
        yield running
