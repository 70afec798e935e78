from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.db.pool import Database
from tests.accounts.serving import Accounts, accounts
from tests.clean import clean, reused

__all__ = ["clean", "reused"]


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Accounts]:
    """The application with its usual settings, but cheap passwords and wide rates."""
    async with accounts(clean) as running:
        yield running
