"""PNG: every chunk with its checksum, and every pixel's bytes inflated, counted and dropped.

That is all a decoder could find wrong, in 64 KB whatever the size of the image: Pillow would take
four bytes a pixel. Animated PNG is a type of its own (image/apng) and not taken.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from server.uploads.formats.exif import UPRIGHT, read_orientation
from server.uploads.formats.picture import Data, Picture, check_size, cut, damaged
from server.uploads.refused import Reason, Refused

MAX_CHUNKS = 65_536
"""Chunks of a file: a bound of the time that very small ones take."""
MAX_METADATA = 1024 * 1024
"""Bytes that compressed texts and a colour profile may inflate to, all together."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BLOCK = 65_536
_PIECE = 4096
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
# Of each of the seven passes of Adam7: first column and row, steps between columns and rows.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int


def read_png(data: Data) -> Picture:
    """Read a whole PNG.

    Raises:
        Refused: it is cut off, broken, too large or animated, or something follows its end.
    """
    if data[:8] != _SIGNATURE:
        raise damaged("it has no PNG signature")
    chunks = _chunks(data)
    first = next(chunks)
    if first.kind != b"IHDR" or first.end - first.start != 13:
        raise damaged("it has no header")
    width, height, depth, colour, *methods = struct.unpack(
        ">LLBBBBB", data[first.start : first.end]
    )
    check_size(width, height)
    if depth not in _DEPTHS.get(colour, ()) or methods[:2] != [0, 0] or methods[2] > 1:
        raise damaged("its header is of no known kind")
    pixels = _Pixels(width, height, depth * _CHANNELS[colour], interlaced=bool(methods[2]))
    extras = _Extras()
    kinds = [first.kind]
    for chunk in chunks:
        if chunk.kind == b"IDAT":
            if kinds[-1] != b"IDAT" and b"IDAT" in kinds:
                raise damaged("its pixels are not in one place")
            for at in range(chunk.start, chunk.end, _BLOCK):
                pixels.feed(data[at : min(at + _BLOCK, chunk.end)])
        else:
            extras.read(chunk, data)
        kinds.append(chunk.kind)
    pixels.close()
    if colour == _PALETTE and b"PLTE" not in kinds[: kinds.index(b"IDAT")]:
        raise damaged("it has no palette")
    return Picture(width, height, extras.orientation, ())


def _chunks(data: Data) -> Iterator[_Chunk]:
    """Every chunk up to the end, its checksum compared."""
    at = len(_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack(">L4s", cut(data, at, at + 8))
        start, end = at + 8, at + 8 + length
        (checksum,) = struct.unpack(">L", cut(data, end, end + 4))
        found = zlib.crc32(kind)
        for block in range(start, end, _BLOCK):
            found = zlib.crc32(data[block : min(block + _BLOCK, end)], found)
        if found != checksum:
            raise damaged("a checksum is wrong")
        at = end + 4
        yield _Chunk(kind, start, end)
        if kind == b"IEND":
            if at != len(data):
                raise damaged("something follows its end")
            return
    raise damaged("it is in too many pieces")


class _Extras:
    """What stands beside the pixels."""

    def __init__(self) -> None:
        self.orientation = UPRIGHT
        self._left = MAX_METADATA

    def read(self, chunk: _Chunk, data: Data) -> None:
        kind, start, end = chunk
        if kind == b"acTL":
            raise Refused(Reason.TYPE, "animated PNG is not taken")
        if kind == b"PLTE":
            if not 0 < end - start <= 768 or (end - start) % 3:
                raise damaged("its palette is broken")
        elif kind == b"eXIf":
            self.orientation = read_orientation(data[start : min(end, start + _BLOCK)])
        elif kind in (b"iCCP", b"zTXt"):
            at = data.find(b"\0", start, end)
            if at >= 0:
                self._inflate(data, at + 2, end)
        elif kind == b"iTXt":
            self._read_text(chunk, data)
        elif kind[:1].isupper() and kind != b"IEND":
            raise damaged("it has a part of no known kind")

    def _read_text(self, chunk: _Chunk, data: Data) -> None:
        at = data.find(b"\0", chunk.start, chunk.end)
        compressed = at >= 0 and data[at + 1 : at + 2] == b"\1"
        at += 3
        for _ in range(2):
            at = data.find(b"\0", at, chunk.end) + 1
            compressed = compressed and at > 0
        if compressed:
            self._inflate(data, at, chunk.end)

    def _inflate(self, data: Data, start: int, end: int) -> None:
        """Nobody here reads it; but whoever fetches the image should not meet a bomb in it."""
        stream = zlib.decompressobj()
        for at in range(start, end, _BLOCK):
            block = data[at : min(at + _BLOCK, end)]
            # In pieces: what came before an error counts too, or many that end in one are free.
            while block and not stream.eof:
                try:
                    self._charge(len(stream.decompress(block, _PIECE)))
                except zlib.error:
                    self._charge(_PIECE)
                    return
                block = stream.unconsumed_tail

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise damaged("its texts or its colour profile inflate to too much")


class _Pixels:
    """The inflated rows: as many as the header tells, each with a filter that exists."""

    def __init__(self, width: int, height: int, bits: int, *, interlaced: bool) -> None:
        self._stream = zlib.decompressobj()
        self._passes = _passes(width, height, bits, interlaced=interlaced)
        self._rows, self._row = next(self._passes)
        self._left = 0

    def feed(self, block: bytes) -> None:
        while block:
            if self._stream.eof:
                raise damaged("something follows its pixels")
            try:
                self._count(self._stream.decompress(block, _BLOCK))
            except zlib.error as error:
                raise damaged("its pixels don't inflate") from error
            block = self._stream.unconsumed_tail or self._stream.unused_data

    def close(self) -> None:
        if not self._stream.eof or self._left or self._rows or next(self._passes, None):
            raise damaged("pixels are missing")

    def _count(self, rows: bytes) -> None:
        at = 0
        while at < len(rows):
            if not self._left:
                self._start_row(rows[at])
            step = min(self._left, len(rows) - at)
            self._left -= step
            at += step

    def _start_row(self, row_filter: int) -> None:
        if not self._rows:
            self._rows, self._row = next(self._passes, (0, 0))
        if not self._rows or row_filter > 4:
            raise damaged("its rows are broken")
        self._rows -= 1
        self._left = self._row


def _passes(width: int, height: int, bits: int, *, interlaced: bool) -> Iterator[tuple[int, int]]:
    """Rows, and bytes of each with its filter, of every pass that has any pixels."""
    for x, y, dx, dy in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        if columns > 0 and rows > 0:
            yield rows, (columns * bits + 7) // 8 + 1
