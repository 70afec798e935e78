"""A strict reader of a stream's bytes, from the HTTP response to blocks; knows no server code.

A browser forgives much that this refuses: whatever the contract does not allow is a `WireError`.
Bytes of a block that did not arrive whole are forgotten, as by a browser.
"""

from __future__ import annotations

import re

from tests.oracle.model import ID, Block

CONTROL_EVENTS = {"ready", "gap", "bye"}
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}", re.ASCII)
_HEADERS = {
    b"content-type": b"text/event-stream; charset=utf-8",
    b"cache-control": b"no-store, no-transform",
    b"x-accel-buffering": b"no",
    b"transfer-encoding": b"chunked",
}


class WireError(Exception):
    """Bytes that the contract does not allow."""


class Parser:
    """Feed it what the socket gives; it gives whole blocks back."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.ended = False
        self._raw = bytearray()
        self._text = bytearray()
        self._left = 0
        self._closing = False
        """`_left` bytes of the current chunk are still to come, then its line end."""

    @property
    def partial(self) -> bool:
        """Whether a block has begun and not ended."""
        return bool(self._text or self._raw)

    def feed(self, data: bytes) -> list[Block]:
        """Take bytes.

        Raises:
            WireError: they break the contract.
        """
        self._raw += data
        if self.status is None and not self._head():
            return []
        self._dechunk()
        *whole, rest = self._text.split(b"\n\n")
        if not whole:
            return []
        self._text = bytearray(rest)
        return [parse(block) for block in whole]

    def _head(self) -> bool:
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = bytes(head).split(b"\r\n")
        if not first.startswith(b"HTTP/1.1 "):
            raise WireError(f"not HTTP: {first!r}")
        self.status = int(first.split()[1])
        if self.status == 200:
            pairs = (line.partition(b":") for line in lines)
            found = {name.lower(): value.strip() for name, _, value in pairs}
            for name, value in _HEADERS.items():
                if found.get(name) != value:
                    raise WireError(f"header {name!r} is {found.get(name)!r}")
        self._raw = rest
        return self.status == 200

    def _dechunk(self) -> None:
        raw, at = self._raw, 0
        while at < len(raw):
            if self._left:
                taken = min(self._left, len(raw) - at)
                self._text += raw[at : at + taken]
                self._left -= taken
                at += taken
                continue
            end = raw.find(b"\r\n", at)
            if end < 0:
                break
            self._line(bytes(raw[at:end]))
            at = end + 2
        del raw[:at]

    def _line(self, line: bytes) -> None:
        """What stands between the bodies of chunks: an empty line, and the next one's size."""
        if self._closing:
            if line:
                raise WireError(f"after a chunk: {line!r:.50}")
            self._closing = False
        elif self.ended or not _SIZE.fullmatch(line):
            raise WireError(f"chunk size {line!r:.50}")
        else:
            self._left, self._closing = int(line, 16), True
            self.ended = self._left == 0


def parse(raw: bytes | bytearray) -> Block:
    """One block, without its empty line.

    Raises:
        WireError: it is not what the contract allows.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"not UTF-8: {error}") from None
    if "\r" in text or "\0" in text or text.startswith("\ufeff"):
        raise WireError(f"a forbidden character: {text!r:.200}")
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, colon, value = line.partition(": ")
        if not colon or name not in ("id", "event", "data", "retry") or name in fields:
            raise WireError(f"line {line!r:.200}")
        fields[name] = value
    return _checked(fields)


def _checked(fields: dict[str, str]) -> Block:
    at, event = fields.get("id"), fields.get("event", "")
    if at is not None and not ID.fullmatch(at):
        raise WireError(f"id {at!r}")
    if "event" in fields and event not in CONTROL_EVENTS:
        raise WireError(f"event {event!r}")
    if "retry" in fields and not (event in ("ready", "bye") and fields["retry"].isdecimal()):
        raise WireError(f"retry in {fields!r:.200}")
    if at is None and "data" not in fields:
        raise WireError(f"a block that says nothing: {fields!r}")
    if event and "data" not in fields:
        raise WireError(f"{event} without data")
    return Block(at, event, fields.get("data"))
