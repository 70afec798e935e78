"""Background tasks: owned, named, restarted with back-off when they fail, never silently dead."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_DELAY = 0.05
LONGEST_DELAY = 5.0


class Tasks:
    """The side tasks of one process. A task that raises is logged, counted and started again."""

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` until `stop`; a normal return ends the task, an error restarts it."""
        self._tasks.append(asyncio.create_task(self._keep(name, run), name=name))

    async def stop(self) -> None:
        """Cancel every task, the newest first, and wait until each has ended."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            started = loop.time()
            try:
                await run()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Not us: something that it awaited was cancelled.
                self.failures[name] = self.failures.get(name, 0) + 1
                log.exception("task %s failed; starting it again", name)
            except Exception:
                self.failures[name] = self.failures.get(name, 0) + 1
                log.exception("task %s failed; starting it again", name)
            else:
                return
            if loop.time() - started > LONGEST_DELAY:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(delay * 2, LONGEST_DELAY)
