"""From bytes to blocks: an incremental reader of HTTP/1.1 answers and of Server-Sent Events.

Thousands of clients receive the same bytes. So what a read contained is kept by its bytes: when a
reader is between two blocks and two chunks, equal bytes mean equal blocks, and are parsed once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from scripts.load.ledger import Ledger

MAX_HEAD = 64 * 1024
MAX_BLOCK = 4 * 1024 * 1024
KEPT = 512
KEPT_BYTES = 64 * 1024


class WireError(Exception):
    """Bytes that are no HTTP/1.1 answer or no stream as docs/streams.md has it."""


class Event(NamedTuple):
    """An event of this run. `byte`, `mask`: its bit in a map of its channel. `due`: µs."""

    key: int
    channel: int
    byte: int
    mask: int
    due: int


class Moved(NamedTuple):
    """An event of this run at another position than `first`, where somebody else had it."""

    event: Event
    first: int


class Mark(NamedTuple):
    """A block that only moves the position: id-only, or of a kind that a test has no use for."""

    key: int


class Stray(NamedTuple):
    """An event that is not of this run: no client of it asked for that."""

    key: int | None
    what: str


class Ready(NamedTuple):
    """The first block; without a key a gap follows. `retry`: ms."""

    key: int | None
    retry: int | None


class Gap(NamedTuple):
    """Events are missing up to `key`."""

    key: int
    reason: str


class Bye(NamedTuple):
    """A planned end."""

    reason: str
    retry: int | None


Block: TypeAlias = Event | Moved | Mark | Stray | Ready | Gap | Bye


class Answer:
    """One answer. `feed` gives its body as it comes; `ended` when it is whole."""

    __slots__ = ("_last", "_left", "_raw", "chunked", "ended", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.chunked = False
        self.ended = False
        self._raw = b""
        self._left = 0
        self._last = False

    @property
    def between(self) -> bool:
        """Whether nothing has begun that has not ended: the next byte begins a chunk."""
        return self.status != 0 and not self._raw and not self.ended and self._left <= 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes; those of the body in them.

        Raises:
            WireError: no HTTP.
        """
        self._raw += data
        if not self.status and not self._head():
            return b""
        if self.chunked:
            return self._chunks()
        body, self._raw = self._raw, b""
        if self._left >= 0 and self.headers.get(b"content-length"):
            body = body[: self._left]
            self._left -= len(body)
            self.ended = self._left == 0
        return body

    def _head(self) -> bool:
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            if len(head) > MAX_HEAD:
                raise WireError("headers without an end")
            return False
        first, *lines = head.split(b"\r\n")
        found = re.match(rb"HTTP/1\.[01] ([1-9]\d\d)(?: |$)", first)
        if found is None:
            raise WireError(f"not HTTP: {first!r:.80}")
        pairs = (line.partition(b":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.status = int(found[1])
        self._raw = rest
        self.chunked = self.headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = self.headers.get(b"content-length", b"")
        if length and not self.chunked:
            if not length.isdigit():
                raise WireError(f"content-length {length!r:.40}")
            self._left = int(length)
            self.ended = self._left == 0
        return True

    def _chunks(self) -> bytes:
        """Whole chunks, and what has come of the last one."""
        raw, at = self._raw, 0
        body: list[bytes] = []
        while at < len(raw) and not self.ended:
            if self._left > 0:  # inside a chunk; its line end counts as two bytes of it
                piece = raw[at : at + self._left]
                at += len(piece)
                keep = len(piece) - max(0, 2 - (self._left - len(piece)))
                body.append(piece[: max(0, keep)])
                self._left -= len(piece)
                self.ended = self._last and self._left == 0
                continue
            end = raw.find(b"\r\n", at)
            if end < 0:
                if len(raw) - at > 1024:
                    raise WireError("a chunk's size without an end")
                break
            try:
                size = int(raw[at:end].partition(b";")[0], 16)
            except ValueError:
                raise WireError(f"chunk size {raw[at:end]!r:.40}") from None
            at = end + 2
            self._left = size + 2
            self._last = size == 0
        self._raw = raw[at:]
        return b"".join(body)


class Decoder:
    """Blocks of one run's streams, from their text; tells the ledger where each event stands."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.kept: dict[tuple[bool, bytes], Sequence[Block]] = {}
        name = re.escape(ledger.run.encode())
        self._event = re.compile(
            rb'"channel": ?"public\.load\.'
            + name
            + rb'\.(\d{1,9})".*"load": ?"(\d{1,9})\.(\d{1,9})"'
        )
        # Published before the streams open, and matched by the pattern.
        self._probe = re.compile(rb'"channel": ?"public\.load\.' + name + rb'\.probe"')

    def keep(self, chunked: bool, data: bytes, blocks: Sequence[Block]) -> None:
        """Remember what these bytes mean to a reader that is between blocks."""
        if len(data) <= KEPT_BYTES:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            self.kept[chunked, data] = blocks

    def block(self, raw: bytes) -> Block | None:
        """One block without its empty line; `None`: nothing that concerns a test.

        Raises:
            WireError: a field that the contract does not know, or a false one.
        """
        fields: dict[bytes, bytes] = {}
        for line in raw.split(b"\n"):
            name, colon, value = line.partition(b":")
            if name in (b"id", b"event", b"data", b"retry") and colon:
                fields[name] = value.removeprefix(b" ")
            elif name:  # a comment is nothing
                raise WireError(f"line {line!r:.80}")
        key = None
        if b"id" in fields:
            key = self.ledger.epochs.key(fields[b"id"])
            if key is None:
                raise WireError(f"id {fields[b'id']!r:.80}")
        if b"event" in fields:
            return self._control(fields[b"event"], key, fields)
        if b"data" in fields:
            return self._default(key, fields[b"data"])
        return None if key is None else Mark(key)

    def _default(self, key: int | None, data: bytes) -> Block:
        """An event without a type: one of this run, or astray."""
        found = self._event.search(data)
        if found is None:
            if key is not None and self._probe.search(data):
                return Mark(key)
            return Stray(key, f"{data!r:.80}")
        if key is None:
            raise WireError(f"an event without an id: {data!r:.80}")
        return self._placed(key, found)

    def _placed(self, key: int, found: re.Match[bytes]) -> Event | Moved:
        number, said, seq = int(found[1]), int(found[2]), int(found[3])
        if number != said or number >= len(self.ledger.channels):
            raise WireError(f"an event of channel {said} on channel {number}")
        channel = self.ledger.channels[number]
        try:
            first = channel.place(seq, key)
        except IndexError:
            raise WireError(f"event {seq} of channel {number} was never published") from None
        event = Event(key, number, seq >> 3, 1 << (seq & 7), channel.due[seq])
        return event if first == key else Moved(event, first)

    @staticmethod
    def _control(event: bytes, key: int | None, fields: dict[bytes, bytes]) -> Block | None:
        retry = fields.get(b"retry", b"")
        after = int(retry) if retry.isdigit() else None
        if event == b"ready":
            return Ready(key, after)
        try:
            told = json.loads(fields.get(b"data", b"{}"))
            reason = str(told.get("reason", "?"))[:40]
        except (ValueError, AttributeError):
            raise WireError(f"data of {event!r:.40}: {fields.get(b'data')!r:.80}") from None
        if event == b"gap" and key is not None:
            return Gap(key, reason)
        if event == b"bye":
            return Bye(reason, after)
        return Mark(key) if key is not None else None


class Reader:
    """The blocks of one connection. `answer.status` is 0 until the headers are there."""

    __slots__ = ("_clean", "_decoder", "_text", "answer")

    def __init__(self, decoder: Decoder) -> None:
        self.answer = Answer()
        self._decoder = decoder
        self._text = b""
        self._clean = False

    def feed(self, data: bytes) -> Sequence[Block]:
        """Take bytes; the blocks that they complete.

        Raises:
            WireError: no stream.
        """
        if self._clean:
            found = self._decoder.kept.get((self.answer.chunked, data))
            if found is not None:
                return found
        return self._read(data)

    def _read(self, data: bytes) -> Sequence[Block]:
        was, answer = self._clean, self.answer
        self._text += answer.feed(data)
        if answer.status != 200:
            return ()
        *whole, self._text = self._text.split(b"\n\n")
        if len(self._text) > MAX_BLOCK:
            raise WireError("a block without an end")
        found = (self._decoder.block(raw) for raw in whole)
        blocks = tuple(block for block in found if block is not None)
        self._clean = not self._text and answer.between
        if was and self._clean:
            self._decoder.keep(answer.chunked, data, blocks)
        return blocks
