"""Waiting for an event instead of sleeping: polls until it is true, fails when it never is."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PAUSE = 0.01
PATIENCE = 20.0


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Block until `condition()` is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"never true: {inspect.getsource(condition).strip()}"
        time.sleep(PAUSE)


async def until(
    condition: Callable[[], object | Awaitable[object]], timeout: float = PATIENCE
) -> None:
    """Wait until `condition()`, awaited if need be, is true."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, f"never true: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(PAUSE)
