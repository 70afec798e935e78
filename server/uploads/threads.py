"""The threads that wait for disks and for S3, so that the event loop never does."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Work: TypeAlias = Callable[[], bool]
    """Never raises. True: it is to run again, behind those that wait."""

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
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Have a thread run `call`, in the order of asking; from the event loop only.

        Cancelling the future keeps a call from beginning, and does nothing to one under way.
        """
        future: Future[T] = Future()
        self.run(_work(future, partial(call, *args, **kwargs)))
        return asyncio.wrap_future(future)

    @property
    def wanted(self) -> bool:
        """Whether a call waits for a thread."""
        return not self._work.empty()

    def run(self, work: Work) -> None:
        """As `start`, for what never raises."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            name = f"{self._name}-{self._started}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()

    def close(self) -> None:
        """Let the threads end, after what they were given; waits for nothing."""
        self._work.put(None)

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                # It stays the last: a line may have gone behind it, and other threads end by it.
                ended = self._work.empty()
                self._work.put(None)
                if ended:
                    return
                continue
            if again := work():
                self._work.put(work)
            # Or it would keep the last call's file and block alive until the next one.
            del work
            if not again:
                self._idle.release()


class Line:
    """Calls that run one behind the other, on whichever threads of a pool."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._calls: deque[Work] = deque()
        self._running = threading.Lock()

    def start(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As `Threads.start`. The thread goes on with what was started meanwhile, when no other
        call waits for one: to be woken for each block would take longer than to write it."""
        future: Future[T] = Future()
        self._calls.append(_work(future, partial(call, *args, **kwargs)))
        if self._running.acquire(blocking=False):
            self._threads.run(self._run)
        return asyncio.wrap_future(future)

    def _run(self) -> bool:
        while True:
            while self._calls:
                self._calls.popleft()()
                if self._calls and self._threads.wanted:
                    return True
            self._running.release()
            # One may have come before that, and have left it to this thread.
            if not self._calls or not self._running.acquire(blocking=False):
                return False


def _work(future: Future[T], call: Callable[[], T]) -> Work:
    def work() -> bool:
        if not future.set_running_or_notify_cancel():
            return False
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return False

    return work
