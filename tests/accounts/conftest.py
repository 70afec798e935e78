"""One server for all tests of accounts, emptied before each; some have a second beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from server.auth.attempts import ATTEMPTS, Attempts
from server.db.pool import Database
from server.keys import POOL
from tests.accounts.serving import Accounts, accounts
from tests.clean import RESET, reused

__all__ = ["reused"]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared(reused: Database) -> AsyncIterator[Accounts]:
    """The application with its usual settings, but cheap passwords and wide rates."""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.close()
    async with accounts(reused) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def server(shared: Accounts) -> AsyncIterator[Accounts]:
    """It, without accounts, events and attempts to sign in."""
    await shared.app[POOL].execute("DELETE FROM public.users; DELETE FROM tailrace.event")
    Attempts.__init__(shared.app[ATTEMPTS])
    yield shared
    await shared.leave()


@pytest_asyncio.fixture(loop_scope="package")
async def clean(server: Accounts, reused: Database) -> Database:
    """Its database, for a server with other settings, or for a command."""
    del server
    return reused
