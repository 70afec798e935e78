"""JPEG: every segment and scan up to the end of the image, and what decoding them would take.

What follows the end is let through: phones put gain maps, videos and trailers there (Ultra HDR,
Motion Photo), and refusing it would refuse their photos. Not a zip archive or markup, though: no
camera writes those, and they are what makes a polyglot.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from server.uploads.formats.exif import UPRIGHT, read_orientation
from server.uploads.formats.picture import Data, Picture, check_size, cut, damaged
from server.uploads.refused import Reason, Refused

MAX_COEFFICIENTS = 48 * 1024 * 1024
"""Bytes that libjpeg holds for an image in several scans (progressive): two for each sample."""
MAX_SCANS = 64
"""Each goes over the whole image; usual are ten."""
MAX_SEGMENTS = 4096

_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_COMMENT = 0xFE
_PROGRESSIVE = 0xC2
_FRAMES = (0xC0, 0xC1, _PROGRESSIVE)
# Lossless, hierarchical and arithmetic frames: no browser shows them.
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_BLOCK = 262_144
# A marker's last fill byte: with `\xff+` each of a run would be tried, to the end of the run.
_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FILL = re.compile(rb"\xff+")
_MARKUP = re.compile(rb"[\s\x00]*<")
_ZIP_TAIL = 66_000


class _Frame(NamedTuple):
    width: int
    height: int
    samplings: tuple[tuple[int, int], ...]
    progressive: bool

    @property
    def coefficients(self) -> int:
        """Bytes of all coefficients, the components' blocks rounded up to whole units."""
        across = max(x for x, _ in self.samplings)
        down = max(y for _, y in self.samplings)
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return units * sum(x * y for x, y in self.samplings) * 64 * 2


class _Reader:
    """Walks the segments, and remembers which a decoder needs."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._frame: _Frame | None = None
        self._scans = 0
        self._coded = 0
        self._orientation = UPRIGHT
        self._ranges: list[tuple[int, int]] = []

    def read(self) -> Picture:
        if self._data[:2] != b"\xff\xd8":
            raise damaged("it has no JPEG signature")
        self._keep(0, 2)
        at = 2
        for _ in range(MAX_SEGMENTS):
            start, marker, at = self._marker(at)
            if marker == _EOI:
                self._keep(start, at)
                _check_rest(self._data, at)
                return self._finish()
            at = self._segment(start, marker, at)
        raise damaged("it is in too many pieces")

    def _finish(self) -> Picture:
        if self._frame is None or not self._scans:
            raise damaged("it has no pixels")
        width, height = self._frame.width, self._frame.height
        # A block takes at least one bit, in one scan two; decoders fill up what is not there.
        blocks = (width // 8) * (height // 8)
        if self._coded * 8 < blocks * (1 if self._frame.progressive else 2):
            raise damaged("pixels are missing")
        return Picture(width, height, self._orientation, tuple(self._ranges))

    def _marker(self, at: int) -> tuple[int, int, int]:
        """Where the marker starts, behind bytes that only fill, which it is, and where it ends."""
        fill = _FILL.match(self._data, at)
        if fill is None:
            cut(self._data, at, at + 2)
            raise damaged("a marker is missing")
        (marker,) = cut(self._data, fill.end(), fill.end() + 1)
        if marker == 0 or marker in _STANDALONE:
            raise damaged("a marker is missing")
        return fill.end() - 1, marker, fill.end() + 1

    def _segment(self, start: int, marker: int, at: int) -> int:
        """Read one segment, with the scan that follows it if it starts one; where it ends."""
        length = int.from_bytes(cut(self._data, at, at + 2))
        end = at + length
        body = cut(self._data, at + 2, end)
        if length < 2 or marker in _OTHER_FRAMES or marker == _DNL:
            raise damaged("it has a part of no known kind")
        if marker in _FRAMES:
            self._read_frame(marker, body)
        elif marker == _SOS:
            self._read_scan(body)
            scan, end = end, self._scan_end(end)
            self._coded += end - scan
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            self._orientation = read_orientation(body[6:])
        # Colours depend on JFIF and Adobe; the rest is metadata that no decoder has to parse.
        if marker in (_APP0, _APP14) or not (_APP0 <= marker <= 0xEF or marker == _COMMENT):
            self._keep(start, end)
        return end

    def _read_frame(self, marker: int, body: bytes) -> None:
        if self._frame is not None or len(body) < 6 or len(body) != 6 + 3 * body[5]:
            raise damaged("its header is broken")
        precision, height, width = struct.unpack_from(">BHH", body)
        check_size(width, height)
        samplings = tuple((each >> 4, each & 15) for each in body[7::3])
        valid = all(1 <= x <= 4 and 1 <= y <= 4 for x, y in samplings)
        if precision != 8 or len(samplings) not in (1, 3, 4) or not valid:
            raise damaged("its header is of no known kind")
        self._frame = _Frame(width, height, samplings, marker == _PROGRESSIVE)

    def _read_scan(self, body: bytes) -> None:
        frame = self._frame
        if frame is None or not body:
            raise damaged("its header is missing")
        self._scans += 1
        in_several = frame.progressive or body[0] < len(frame.samplings)
        if self._scans > MAX_SCANS or (in_several and frame.coefficients > MAX_COEFFICIENTS):
            message = "the image is progressive and too large for that, or has too many scans"
            raise Refused(Reason.DIMENSIONS, message)

    def _scan_end(self, at: int) -> int:
        """Where the next marker is: looked for in blocks, as a search holds the interpreter."""
        while at < len(self._data):
            found = _IN_SCAN.search(self._data, at, at + _BLOCK)
            if found is not None:
                return found.start()
            # A marker may stand across the border.
            at += _BLOCK - 1
        raise damaged("it is cut off")

    def _keep(self, start: int, end: int) -> None:
        if self._ranges and self._ranges[-1][1] == start:
            start = self._ranges.pop()[0]
        self._ranges.append((start, end))


def read_jpeg(data: Data) -> Picture:
    """Read a JPEG to the end of the image.

    Raises:
        Refused: it is cut off, broken, too large, or a zip or markup follows its end.
    """
    return _Reader(data).read()


def _check_rest(data: Data, end: int) -> None:
    tail = data[max(end, len(data) - _ZIP_TAIL) : len(data)]
    if b"PK\x05\x06" in tail or _MARKUP.match(data, end):
        raise damaged("something follows its end")
