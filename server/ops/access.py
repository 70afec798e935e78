"""The access log: one JSON object a line, without secrets, written in batches.

A line has no query string (tokens travel there), no cookie and no header but the user agent.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import time
from collections.abc import Callable

from aiohttp import web

from server.auth.identify import PRINCIPAL
from server.guard.address import client_address
from server.keys import REQUEST_ID
from server.settings import Network

BATCH_SECONDS = 0.2
"""A line is at most so old when it is written."""
BATCH_LINES = 1_000
MAX_TEXT = 200
"""Characters of a path or user agent."""


def _stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class AccessLog:
    """Collects lines and writes many at once: a write for each would cost more than the request."""

    def __init__(
        self, trusted: tuple[Network, ...], write: Callable[[str], None] = _stderr
    ) -> None:
        self._trusted = trusted
        self._write = write
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._stamp = ""

    def add(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        """Note an answered request: a stream when it begins, or when its parked handler ends."""
        who = request.get(PRINCIPAL) if len(request) > 1 else None
        size = response.content_length
        agent = request.headers.get("User-Agent", "")[:MAX_TEXT]
        self._lines.append(
            f'{{"time":"{self._now()}","id":"{request[REQUEST_ID]}","method":"{request.method}"'
            f',"path":{_text(request.path[:MAX_TEXT])},"status":{response.status}'
            f',"ms":{seconds * 1000:.2f},"bytes":{"null" if size is None else size}'
            f',"client":"{client_address(request, self._trusted)}"'
            f',"who":{_text(who.label) if who is not None else "null"},"agent":{_text(agent)}}}\n'
        )
        if len(self._lines) >= BATCH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._write("".join(lines))

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"


@functools.lru_cache(maxsize=1024)
def _text(value: str) -> str:
    """As JSON, in ASCII: a log line has no control characters, whatever a client sends."""
    return json.dumps(value)


ACCESS_LOG = web.AppKey("access_log", AccessLog)
