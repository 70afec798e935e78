"""Which part of a file a request asks for, and under which conditions (RFC 9110). Pure.

A Range of one part is answered 206. Several parts, another unit and what is malformed are answered
as a whole, as RFC 9110 (14.2) allows: no client needs `multipart/byteranges`, and many small parts
would be a way to make a server work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

Verdict = Literal["send", "not modified", "failed"]

FIELDS = (
    "If-Match",
    "If-Unmodified-Since",
    "If-None-Match",
    "If-Modified-Since",
    "If-Range",
    "Range",
)
"""The headers that are judged here; several lines of one are one, with commas (5.3)."""

_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)
# Lists may have empty elements (5.6.1).
_TAG = re.compile(r'[ \t,]*(?:(\*)|(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*"))[ \t]*(?:,|$)')


class Version(NamedTuple):
    """What a file is at one address: `etag` with its quotes, `modified` in whole seconds."""

    etag: str
    modified: datetime


class Part(NamedTuple):
    """Bytes of a file, as a slice."""

    start: int
    length: int


class OutOfRangeError(Exception):
    """The file has none of the bytes that are asked for: 416."""


def judge(headers: Mapping[str, str], version: Version) -> Verdict:
    """The preconditions of a GET or HEAD, in the order of RFC 9110, 13.2.2."""
    if "If-Match" in headers:
        if not _names(headers["If-Match"], version.etag, weak=False):
            return "failed"
    elif (before := _date(headers.get("If-Unmodified-Since"))) and version.modified > before:
        return "failed"
    if "If-None-Match" in headers:
        if _names(headers["If-None-Match"], version.etag, weak=True):
            return "not modified"
    elif (since := _date(headers.get("If-Modified-Since"))) and version.modified <= since:
        return "not modified"
    return "send"


def part(headers: Mapping[str, str], version: Version, size: int) -> Part | None:
    """The part of a file of `size` bytes that a GET asks for; `None`: the whole.

    Raises:
        OutOfRangeError: there is no such part.
    """
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or not _still(headers.get("If-Range"), version):
        return None
    first, last = found.groups()
    if first:
        start, end = _number(first), _number(last) + 1 if last else size
        if start >= end and last:
            return None  # malformed: it ends before it begins
    elif last:
        start, end = max(0, size - _number(last)), size
    else:
        return None
    if start >= size:
        raise OutOfRangeError
    return Part(start, min(end, size) - start)


def _still(condition: str | None, version: Version) -> bool:
    """Whether a client that has a part of this file has it of this version."""
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith(('"', "W/")):
        return condition == version.etag
    return _date(condition) == version.modified


def _names(text: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of tags has this one. `weak`: as a weak one, too."""
    at = 0
    while found := _TAG.match(text, at):
        if found[1] or (found[3] == etag and (weak or not found[2])):
            return True
        if found.end() == len(text):
            return False
        at = found.end()
    return False


def _date(text: str | None) -> datetime | None:
    """A time in a header; what is none counts as not given."""
    if not text or text.count(",") > 1:  # two of them are none
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _number(digits: str) -> int:
    """No file is as large as what is cut off here, and `int` refuses thousands of digits."""
    return int(digits.lstrip("0")[:20] or "0")
