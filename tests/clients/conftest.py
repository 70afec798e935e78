"""Fixtures of the tests with real clients: the server process, and a page of a browser.

Everything here runs in the loop of the session, as the browser does; so must the tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Page

from server.db.pool import Database
from tests.clients.served import Served

Serve = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture(loop_scope="session")
async def serve(place: Path, database: Database) -> AsyncIterator[Serve]:
    """Starts the server, with settings; at the end it must not have complained."""
    async with contextlib.AsyncExitStack() as stack:
        started: list[Served] = []

        async def serve(*, demo: bool = False, quick_retry: bool = True, **settings: str) -> Served:
            served = Served(place, database, demo=demo, quick_retry=quick_retry, **settings)
            started.append(await stack.enter_async_context(served))
            return served

        yield serve
        complaints = "".join(served.output for served in started)
        assert "Traceback" not in complaints, complaints
        assert " ERROR " not in complaints, complaints


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page in a profile of its own."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()
