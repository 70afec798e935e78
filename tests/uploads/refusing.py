"""A server that must be as it was after all that it refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from tests.uploads.forms import BODY, Door, door


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(postgres: EmbeddedPostgres) -> AsyncIterator[Door]:
    async with door(postgres, upload_stall=10.0) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def uploads(shared: Door, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    """The server. At the end it has kept nothing, still works, and has complained of nothing."""
    yield shared
    await shared.left_alone()
    assert (await shared.post(BODY)).status == 200
    await shared.forget()
    complaints = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert complaints == []
