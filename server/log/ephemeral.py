"""Ephemeral events and control messages: best effort, no id, never in the log.

They are the notification's payload itself, sent outside any user's transaction and coalesced, so
that a process sends at most ten notifications a second however much there is to tell.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.db.faults import LOST

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 7_000
PERIOD = 0.1
WAITING = 64
"""Messages kept for the next notification; beyond it the oldest is dropped and counted."""

# NOTIFY gives its transaction a commit record: nobody needs to wait for that one's flush.
_SEND = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    SELECT pg_notify('tailrace', $1) FROM quick"""


class Ephemeral:
    """Sends what lasts only as long as somebody looks: progress, metrics, presence."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[tuple[str, str]] = deque()
        self._arrived = asyncio.Event()
        self.sent = 0
        self.dropped = 0

    def send(self, channel: str, type_: str, data: Any, key: str | None = None) -> None:
        """Announce an ephemeral event to all processes.

        Raises:
            ValueError: the event alone is larger than a notification (7,000 bytes).
        """
        self._queue("e", body_of(channel, type_, data, key))

    def control(self, message: dict[str, Any]) -> None:
        """Tell all processes, this one included, to do something idempotent."""
        self._queue("c", dumps(message))

    def _queue(self, kind: str, text: str) -> None:
        if len(text.encode()) > PAYLOAD_BYTES - 3:
            msg = f"an ephemeral message may have {PAYLOAD_BYTES} bytes"
            raise ValueError(msg)
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((kind, text))
        self._arrived.set()

    async def run(self) -> None:
        """Send what waits, at most once in `PERIOD`, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            payload = self._take()
            try:
                await self._pool.execute(_SEND, payload)
                self.sent += 1
            except LOST as error:
                log.info("an ephemeral message was lost: %r", error)
            if self._waiting:
                self._arrived.set()
            await asyncio.sleep(PERIOD)

    def _take(self) -> str:
        """As many waiting messages of one kind as fit into a notification: a JSON array."""
        kind, text = self._waiting.popleft()
        size = len(text.encode()) + 3
        texts = [text]
        while self._waiting and self._waiting[0][0] == kind:
            size += len(self._waiting[0][1].encode()) + 1
            if size > PAYLOAD_BYTES:
                break
            texts.append(self._waiting.popleft()[1])
        return f"{kind}[{','.join(texts)}]"


def body_of(channel: str, type_: str, data: Any, key: str | None = None) -> str:
    """An ephemeral event's JSON on the wire: as of the log, but without a message id."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dumps({"channel": channel, "type": type_, "key": key, "at": at, "data": data})


def dumps(value: Any) -> str:
    """Compact JSON without line breaks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def messages(payload: str) -> Iterator[tuple[str, str]]:
    """The (channel, body) pairs of a received payload."""
    for message in json.loads(payload):
        yield message["channel"], dumps(message)
