"""Ephemeral events and control messages: best effort, no id, never in the log.

They are the notification's payload itself, sent outside any user's transaction and coalesced, so
that a process sends at most ten notifications a second however much there is to tell. Control
messages go first and have a queue of their own: no event delays one or takes its place.
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
from server.log.seldom import Seldom

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

PAYLOAD_BYTES = 7_000
PERIOD = 0.1
WAITING = 64
"""Messages of a kind kept for the next one; beyond it the oldest is dropped and counted."""

# NOTIFY gives its transaction a commit record: nobody needs to wait for that one's flush.
SEND = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    SELECT pg_notify('tailrace', $1) FROM quick"""


class Ephemeral:
    """Sends what lasts only as long as somebody looks: progress, metrics, presence."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._urgent: deque[str] = deque()
        self._waiting: deque[str] = deque()
        self._newest: dict[str, str] = {}
        self._arrived = asyncio.Event()
        self._losses = Seldom()
        self.sent = 0
        self.dropped = 0

    def send(self, channel: str, type_: str, data: Any, key: str | None = None) -> None:
        """Announce an ephemeral event to all processes.

        Raises:
            ValueError: the event alone is larger than a notification (7,000 bytes).
        """
        self.post(body_of(channel, type_, data, key))

    def post(self, body: str) -> None:
        """Announce an event of the catalog, as its `body()` is.

        Raises:
            ValueError: as `send`.
        """
        self._queue(self._waiting, body)

    def elsewhere(self, process: str, channel: str, body: str) -> None:
        """Announce an event of the catalog to the others: `process`, which is this one, has it.

        Of a channel only the newest waits: what is told every second is worth nothing later.

        Raises:
            ValueError: as `send`.
        """
        text = f'{body[:-1]},"from":"{process}"}}'
        _require_small(text)
        self._newest[channel] = text
        self._arrived.set()

    def control(self, message: dict[str, Any]) -> None:
        """Tell all processes, this one included, to do something idempotent.

        It leaves within `PERIOD`, before any event. `message` has to be signed
        (server/log/control.py), or nobody will listen.

        Raises:
            ValueError: the message alone is larger than a notification (7,000 bytes).
        """
        self._queue(self._urgent, dumps(message))

    def _queue(self, waiting: deque[str], text: str) -> None:
        _require_small(text)
        if len(waiting) >= WAITING:
            waiting.popleft()
            self.dropped += 1
        waiting.append(text)
        self._arrived.set()

    async def run(self) -> None:
        """Send what waits, at most once in `PERIOD`, until cancelled."""
        if self._waits():  # as after an error, which took the signal with it
            self._arrived.set()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            payload = self._take()
            try:
                await self._pool.execute(SEND, payload)
                self.sent += 1
            except LOST as error:
                if count := self._losses.count():
                    log.info("%d ephemeral messages were lost: %r", count, error)
            if self._waits():
                self._arrived.set()
            await asyncio.sleep(PERIOD)

    def _waits(self) -> bool:
        return bool(self._urgent or self._waiting or self._newest)

    def _take(self) -> str:
        """As many waiting messages of one kind as fit into a notification: a JSON array."""
        kind, waiting = ("c", self._urgent) if self._urgent else ("e", self._waiting)
        if kind == "e":
            waiting.extend(self._newest.values())
            self._newest.clear()
        text = waiting.popleft()
        size = len(text.encode()) + 3
        texts = [text]
        while waiting:
            size += len(waiting[0].encode()) + 1
            if size > PAYLOAD_BYTES:
                break
            texts.append(waiting.popleft())
        return f"{kind}[{','.join(texts)}]"


def body_of(channel: str, type_: str, data: Any, key: str | None = None) -> str:
    """An ephemeral event's JSON on the wire: as of the log, but without a message id."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return dumps({"channel": channel, "type": type_, "key": key, "at": at, "data": data})


def _require_small(text: str) -> None:
    if len(text.encode()) > PAYLOAD_BYTES - 3:
        msg = f"an ephemeral message may have {PAYLOAD_BYTES} bytes"
        raise ValueError(msg)


def dumps(value: Any) -> str:
    """Compact JSON without line breaks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def messages(payload: str, here: str | None = None) -> Iterator[tuple[str, str]]:
    """The (channel, body) pairs of a received payload, without what process `here` has already."""
    for message in json.loads(payload):
        sender = message.pop("from", None)
        if sender is None or sender != here:
            yield message["channel"], dumps(message)
