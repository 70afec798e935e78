"""The bytes of a stream: WHATWG HTML, section 9.2 (Server-sent events). Pure functions.

Events of applications are of the default type `message`, so that `onmessage` sees exactly them;
what the server itself has to say is a named event. Every block is whole: it ends with an empty
line. Lines end with a line feed alone.
"""

from __future__ import annotations

import json
import random
from json.encoder import encode_basestring
from typing import Any, Literal

from server.log.model import Event, EventId, GapReason

ByeReason = Literal["shutdown", "max-age", "expired", "revoked", "overload"]

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}

MIN_RETRY = 1_000
RECONNECTS_PER_SECOND = 2_000
"""What the reconnects of a whole population are spread to."""


def event(epoch: str, item: Event) -> bytes:
    """An application's event. Its body is one line: JSON has line breaks only between tokens."""
    return f"id: {epoch}.{item.pos}\ndata: {one_line(item.body)}\n\n".encode()


def ephemeral(body: str) -> bytes:
    """An event without an id: it is not in the log and does not move the client's position."""
    return f"data: {one_line(body)}\n\n".encode()


def mark(position: EventId) -> bytes:
    """An id-only block: browsers store the id and dispatch nothing (9.2.6, step 1).

    It is the heartbeat, and moves the position of a quiet stream with the log.
    """
    return f"id: {position}\n\n".encode()


def ready(position: EventId | None, stream: str, channels: list[str], heartbeat: float) -> bytes:
    """A stream's first block after `retry`: the position that it goes on *from*.

    `None` when a gap follows: a client that is cut between the two must come back with the id it
    had, and be told of the gap again.
    """
    head = f"id: {position}\n" if position is not None else ""
    names = ",".join(map(encode_basestring, channels))
    return (
        f'{head}event: ready\ndata: {{"stream":"{stream}","channels":[{names}],'
        f'"heartbeat":{heartbeat}}}\n\n'
    ).encode()


def gap(after: str | None, resumed: EventId, reason: GapReason) -> bytes:
    """Events between `after` (as the client gave it) and `resumed` are missing."""
    data = {"after": after, "resumed": str(resumed), "reason": reason}
    return f"id: {resumed}\nevent: gap\ndata: {_json(data)}\n\n".encode()


def skipped(count: int, after: EventId) -> bytes:
    """Of the events after `after`, so many are left out before the next ones: each is replaced by
    a later one of its channel and key. Without an id: a client cut here has to be told again."""
    data = {"count": count, "after": str(after)}
    return f"event: skipped\ndata: {_json(data)}\n\n".encode()


def bye(reason: ByeReason, retry_ms: int) -> bytes:
    """A planned end. `retry` sets the browser's reconnection time, and is told in the data."""
    data = {"reason": reason, "retry": retry_ms}
    return f"retry: {retry_ms}\nevent: bye\ndata: {_json(data)}\n\n".encode()


def message(data: Any) -> bytes:
    """A default-type block without an id: the notification stream of the source text."""
    return f"data: {_json(data)}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """The browser's reconnection time, in the first block of a stream."""
    return f"retry: {milliseconds}\n".encode()


def spread(population: int) -> int:
    """A reconnection time in ms, at random within what `population` clients need to come back."""
    window = 1_000 + population * 1_000 // RECONNECTS_PER_SECOND
    return MIN_RETRY + int(random.random() * window)


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked answer (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def one_line(body: str) -> str:
    """JSON text on one line: a raw line break in it can only stand between tokens."""
    if "\n" in body or "\r" in body:
        return body.replace("\r", " ").replace("\n", " ")
    return body


# Made once: json.dumps() makes an encoder for each call that wants something special.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
