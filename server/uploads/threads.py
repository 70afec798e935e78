"""The threads that wait for disks and for S3, so that the event loop never does."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of at most `limit` threads, apart from asyncio's: a slow disk must not hold up DNS.

    They are daemons. `ThreadPoolExecutor` joins its threads when the interpreter ends: one that
    waits for a server which is gone would keep the process alive far beyond its five seconds.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Have a thread run `call`, in the order of asking; from the event loop only.

        Cancelling the future keeps a call from beginning, and does nothing to one under way.
        """
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end, after what they were given; waits for nothing."""
        for _ in range(self._started):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            # Or it would keep the last call's file and block alive until the next one.
            del work
            self._idle.release()
