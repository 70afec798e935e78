"""Which kind of zip a file is, by the names in its central directory. Nothing is unpacked.

`zipfile` reads a central directory of any length into memory and makes an object for each entry;
here at most `MAX_DIRECTORY` bytes are read, and an archive with more is a zip and no document.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from server.uploads.policies import DOCX, PPTX, XLSX, ZIP
from server.uploads.refused import Reason, Refused

MAX_DIRECTORY = 1024 * 1024
"""Bytes of a document's central directory: 1 MiB has room for some 10,000 names."""

_MAIN_PARTS = {
    # Word on the web names it document2.xml.
    DOCX.name: re.compile(rb"word/document[0-9]*\.xml"),
    XLSX.name: re.compile(rb"xl/workbook[0-9]*\.xml"),
    PPTX.name: re.compile(rb"ppt/presentation[0-9]*\.xml"),
}
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END64_LOCATOR = 20


class _Directory(NamedTuple):
    offset: int
    size: int
    entries: int


def read_kind(file: BinaryIO) -> str:
    """The media type of a zip: of the Office document that it is, or application/zip.

    A document with macros is a zip here: what is called .docx must not hold any.

    Raises:
        Refused: the archive is cut off, or something stands behind it or before it.
    """
    directory = _find_directory(file)
    if directory is None or directory.size > MAX_DIRECTORY:
        return ZIP.name
    file.seek(directory.offset)
    names = list(_names(file.read(directory.size), directory.entries))
    if b"[Content_Types].xml" not in names or any(_is_macro(name) for name in names):
        return ZIP.name
    kinds = [
        kind for kind, part in _MAIN_PARTS.items() if any(part.fullmatch(name) for name in names)
    ]
    return kinds[0] if len(kinds) == 1 else ZIP.name


def _find_directory(file: BinaryIO) -> _Directory | None:
    """Where the central directory is; None for a zip64 archive, which is no document."""
    length = file.seek(0, io.SEEK_END)
    tail_at = max(0, length - _END.size - 0xFFFF - _END64_LOCATOR)
    file.seek(tail_at)
    tail = file.read(length - tail_at)
    at = _find_end(tail)
    _, disk, first_disk, here, entries, size, offset, _ = _END.unpack_from(tail, at)
    if tail[max(0, at - _END64_LOCATOR) : at].startswith(b"PK\x06\x07"):
        return None
    if disk or first_disk or here != entries or offset + size != tail_at + at:
        raise _damaged()
    return _Directory(offset, size, entries)


def _find_end(tail: bytes) -> int:
    """Where the end record is: the one whose comment reaches the end of the file."""
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size:
            comment: int = _END.unpack_from(tail, at)[-1]
            if at + _END.size + comment == len(tail):
                return at
        at = tail.rfind(b"PK\x05\x06", 0, at)
    raise _damaged()


def _names(directory: bytes, entries: int) -> Iterator[bytes]:
    at = 0
    for _ in range(entries):
        if at + _ENTRY.size > len(directory):
            raise _damaged()
        fields = _ENTRY.unpack_from(directory, at)
        name, extra, comment = fields[10:13]
        end = at + _ENTRY.size + name + extra + comment
        if fields[0] != b"PK\x01\x02" or end > len(directory):
            raise _damaged()
        yield directory[at + _ENTRY.size : at + _ENTRY.size + name]
        at = end
    if at != len(directory):
        raise _damaged()


def _is_macro(name: bytes) -> bool:
    return name.lower().endswith(b"/vbaproject.bin")


def _damaged() -> Refused:
    return Refused(Reason.DAMAGED, "the zip archive is damaged")
