"""What a client library's task has received so far."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from tests.waiting import until

T = TypeVar("T")


class Received(list[T]):
    """A list that somebody's task fills; `cuts` counts the connections it has lost."""

    cuts = 0

    @contextlib.asynccontextmanager
    async def by(self, client: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Run the client for the length of the block; when it fails, so does the waiting."""
        self._client = asyncio.create_task(client)
        try:
            yield
        finally:
            self._client.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._client

    async def until(self, condition: Callable[[list[T]], object]) -> None:
        """Wait until what was received satisfies a condition."""
        await until(lambda: condition(self) or self._client.done())
        if self._client.done():
            self._client.result()
