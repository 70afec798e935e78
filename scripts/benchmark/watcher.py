"""One subscriber that notes when it has what: a thread that only reads; all else comes later."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from scripts.benchmark.clients import Chunks
from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.world import KEY, Target


class Seen(NamedTuple):
    """An event, and when its last byte was here: ns of the monotonic clock."""

    at: int
    type: str
    key: str


class Watcher:
    """A stream of `channel`, for an admin; a context. The stream has begun when it is entered."""

    def __init__(self, target: Target, channel: str) -> None:
        self._pieces: list[tuple[int, bytes]] = []
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, name="watcher", daemon=True)
        self._sock = socket.create_connection(("127.0.0.1", target.process.port), 10)
        self._sock.settimeout(None)
        self._sock.sendall(
            f"GET /api/stream?channel={channel} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Accept: text/event-stream\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        )

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._begun.wait(10):
            self._close()
            raise MeasureError(f"no stream began: {self._text()[:200]!r}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._sock.close()

    def _read(self) -> None:
        while True:
            try:
                piece = self._sock.recv(1 << 16)
            except OSError:
                return
            at = time.monotonic_ns()
            if not piece:
                return
            self._pieces.append((at, piece))
            if not self._begun.is_set() and b"event: ready\n" in self._text():
                self._begun.set()

    def _text(self) -> bytes:
        return b"".join(piece for _, piece in self._pieces)

    def seen(self, type_: str, count: int, timeout: float = 30.0) -> list[Seen]:
        """At least `count` events of this type, as they came.

        Raises:
            MeasureError: they do not come.
        """
        mark = f'"type":"{type_}"'.encode()
        deadline = time.monotonic() + timeout
        while (found := self._text().count(mark)) < count:
            if time.monotonic() > deadline:
                raise MeasureError(f"{found} of {count} events {type_} came")
            time.sleep(0.1)
        return [one for one in _events(list(self._pieces)) if one.type == type_]


def _events(pieces: list[tuple[int, bytes]]) -> list[Seen]:
    chunks, rest, body, seen = Chunks(), b"", False, []
    for at, piece in pieces:
        text = piece
        if not body:
            _, found, text = (rest + piece).partition(b"\r\n\r\n")
            if not found:
                rest += piece
                continue
            body, rest = True, b""
        *blocks, rest = (rest + chunks.feed(text)).split(b"\n\n")
        seen += [Seen(at, data["type"], data["key"]) for data in map(_data, blocks) if data]
    return seen


def _data(block: bytes) -> dict[str, Any] | None:
    """What an application's event says; `None`: it is none."""
    if b"event: " in block:
        return None
    for line in block.split(b"\n"):
        if line.startswith(b"data: "):
            found: dict[str, Any] = json.loads(line[6:])
            return found
    return None
