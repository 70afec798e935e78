"""Forms with files, taken apart as they come (RFC 7578). Pure: bytes in, parts and their bytes out.

aiohttp's own reader copies each byte three times, and reads a preamble without an end. This one
hands a part's bytes on as they came, and bounds whatever is no part's content.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from server.uploads.chunks import Chunk

MAX_PREAMBLE = 8 * 1024
"""Bytes before the first boundary, and behind the last: nobody reads them."""
MAX_HEAD = 16 * 1024
"""Bytes of one part's header lines. A file name may be long; `names.safe_name` cuts it."""
MAX_PARTS = 20
"""Parts of a form; all but the file are passed over."""
MAX_BOUNDARY = 70
_PLAIN = frozenset({b"", b"identity", b"binary", b"8bit", b"7bit"})

_DASHES = b"--"
_LINE = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)")
# A backslash before a quote hides it; any other is one of a path on Windows.
_PARAMETER = re.compile(
    rb""";[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:\\"|[^"])*)"|([^ \t";]*))[ \t]*"""
)


class Malformed(ValueError):  # noqa: N818 - a verdict, not a fault of ours
    """The body is no form; the message is a sentence for the client, without bytes of the body."""


class Part(NamedTuple):
    """The head of a part; the bytes that follow it are its content."""

    name: str | None
    filename: str | None
    """As the client gives it; `None`: it is a text field."""
    type: str | None
    plain: bool
    """Its bytes are not encoded (base64, gzip, …)."""


Parts: TypeAlias = list[Part | Chunk]


class Scanner:
    """Takes a form's body in pieces of any size."""

    def __init__(self, boundary: str) -> None:
        """`boundary`: as the request's Content-Type has it.

        Raises:
            Malformed: it can't be one.
        """
        if len(boundary) > MAX_BOUNDARY or not _BOUNDARY.fullmatch(boundary):
            msg = "the boundary is missing, or none"
            raise Malformed(msg)
        self._mark = _LINE + _DASHES + boundary.encode("ascii")
        # So that the first boundary is one at a line's begin, as the others are.
        self._held = _LINE
        self._step: Callable[[bytes, Parts], bytes] = self._preamble
        self._passed = self._parts = 0
        self.ended = False
        """Whether the last boundary has come."""

    def feed(self, data: Chunk) -> Parts:
        """Take the next bytes: the heads of parts, and behind each what came of its content.

        Raises:
            Malformed: it is no form, or more than it may be.
        """
        found: Parts = []
        if self._step == self._content and not self._held:
            rest = self._content(data, found)
        else:
            rest = self._held + data
        self._held = b""
        while rest:
            step = self._step
            rest = step(rest, found)
            if self._step == step:
                # It needs more to go on.
                self._held = rest
                break
        return found

    def _preamble(self, data: bytes, _: Parts) -> bytes:
        at = data.find(self._mark)
        if at < 0:
            kept = len(self._mark) - 1
            self._pass(len(data) - kept, "its first boundary does not come")
            return data[-kept:]
        self._pass(at - len(_LINE), "its first boundary does not come")
        self._step = self._boundary
        return data[at + len(self._mark) :]

    def _boundary(self, data: bytes, _: Parts) -> bytes:
        """What stands behind a boundary: two dashes at the last one, else a line's end."""
        if data.startswith(_DASHES):
            self.ended, self._passed, self._step = True, 0, self._epilogue
            return data[len(_DASHES) :]
        if data == _DASHES[:1]:
            return data
        line, end, rest = data.partition(_LINE)
        if (line if end else line.removesuffix(_LINE[:1])).strip(b" \t") or len(line) > MAX_HEAD:
            msg = "a boundary is not the end of its line"
            raise Malformed(msg)
        if not end:
            return data
        self._parts += 1
        if self._parts > MAX_PARTS:
            msg = f"it has more than {MAX_PARTS} fields"
            raise Malformed(msg)
        # With the line's end before them, no header lines are an empty line.
        self._step = self._head
        return _LINE + rest

    def _head(self, data: bytes, found: Parts) -> bytes:
        end = data.find(_HEAD_END, 0, MAX_HEAD)
        if end < 0:
            if len(data) >= MAX_HEAD:
                msg = f"a part's header has more than {MAX_HEAD} bytes"
                raise Malformed(msg)
            return data
        found.append(_part(data[len(_LINE) : end]))
        self._step = self._content
        return data[end + len(_HEAD_END) :]

    def _content(self, data: Chunk, found: Parts) -> bytes:
        at = data.find(self._mark)
        if at >= 0:
            if at:
                found.append(data[:at])
            self._step = self._boundary
            return bytes(data[at + len(self._mark) :])
        kept = self._begun(data)
        if kept < len(data):
            found.append(data[: len(data) - kept] if kept else data)
        return bytes(data[len(data) - kept :])

    def _begun(self, data: Chunk) -> int:
        """How many bytes at the end may be the begin of a boundary: seldom any."""
        at = data.find(b"\r", max(0, len(data) - len(self._mark) + 1))
        while at >= 0:
            if self._mark.startswith(bytes(data[at:])):
                return len(data) - at
            at = data.find(b"\r", at + 1)
        return 0

    def _epilogue(self, data: bytes, _: Parts) -> bytes:
        self._pass(len(data), "too much follows its last boundary")
        return b""

    def _pass(self, count: int, message: str) -> None:
        self._passed += max(0, count)
        if self._passed > MAX_PREAMBLE:
            raise Malformed(message)


def _part(head: bytes) -> Part:
    """The head of a part, from its header lines."""
    fields: dict[bytes, bytes] = {}
    for line in head.split(_LINE) if head else ():
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            msg = "a part's header line is none, or comes twice"
            raise Malformed(msg)
        fields[match[1].lower()] = match[2].strip(b" \t")
    name, filename = _disposition(fields.get(b"content-disposition", b""))
    encodings = (fields.get(b"content-transfer-encoding"), fields.get(b"content-encoding"))
    plain = all(encoding is None or encoding.lower() in _PLAIN for encoding in encodings)
    declared = fields.get(b"content-type")
    return Part(name, filename, None if declared is None else _text(declared), plain)


def _disposition(value: bytes) -> tuple[str | None, str | None]:
    """The names of a field and of its file."""
    kind, semicolon, _ = value.partition(b";")
    if kind.strip().lower() != b"form-data":
        return None, None
    at, found = len(kind), dict[bytes, bytes]()
    value = value.rstrip(b"; \t")
    while semicolon and at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None or match[1].lower() in found:
            msg = "a part's Content-Disposition is none"
            raise Malformed(msg)
        quoted, plain = match[2], match[3]
        found[match[1].lower()] = plain if quoted is None else quoted.replace(b'\\"', b'"')
        at = match.end()
    name, filename = found.get(b"name"), found.get(b"filename")
    extended = _extended(found.get(b"filename*"))
    if extended is None and filename is not None:
        extended = _text(filename)
    return None if name is None else _text(name), extended


def _extended(value: bytes | None) -> str | None:
    """A `filename*` (RFC 8187): forms should not have it, and some clients send it (urllib3 1)."""
    if value is None:
        return None
    charset, _, rest = value.partition(b"'")
    encoded = rest.partition(b"'")[2]
    name = {b"utf-8": "utf-8", b"iso-8859-1": "latin-1"}.get(charset.lower())
    # A name that can't be read is still that of a file.
    return unquote_to_bytes(encoded).decode(name, "replace") if name else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
