"""A browser's own EventSource, watched: everything it dispatches is kept in the page."""

from __future__ import annotations

import json
from typing import Any, Self

from playwright.async_api import Page

_LISTEN = """
(path) => {
  const seen = (window.seen = { message: [], ready: [], gap: [], bye: [], errors: [] });
  const source = (window.source = new EventSource(path));
  source.onmessage = (event) => seen.message.push([event.lastEventId, event.data]);
  for (const name of ["ready", "gap", "bye"])
    source.addEventListener(name, (event) => seen[name].push([event.lastEventId, event.data]));
  source.onerror = () => seen.errors.push(source.readyState);
}"""
_NUMBERS = "seen.message.map(([id, data]) => JSON.parse(data).data.n).filter(Number.isInteger)"


class Source:
    """One EventSource in a page of the server's origin."""

    CONNECTING, OPEN, CLOSED = 0, 1, 2

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def open(cls, page: Page, base: str, path: str) -> Self:
        """Open it and wait for the server's `ready`."""
        await page.goto(f"{base}/healthz")
        await page.evaluate(_LISTEN, path)
        source = cls(page)
        await source.wait("seen.ready.length > 0")
        return source

    async def wait(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        await self._page.wait_for_function(condition, polling=10, timeout=20_000)

    async def seen(self, kind: str) -> list[tuple[str, Any]]:
        """What was dispatched as `kind`: ids and data."""
        found = await self._page.evaluate(f"seen.{kind}")
        return [(last_id, json.loads(data)) for last_id, data in found]

    async def numbers(self, last: int) -> list[int]:
        """All numbers, once the last one has come."""
        await self.wait(f"{_NUMBERS}.includes({last})")
        return list(await self._page.evaluate(_NUMBERS))

    async def errors(self) -> list[int]:
        """The `readyState` at each error."""
        return list(await self._page.evaluate("seen.errors"))
