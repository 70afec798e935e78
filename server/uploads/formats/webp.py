"""WebP: every chunk of the file and of its frames, and what decoding them would take."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from server.uploads.formats.exif import UPRIGHT, read_orientation
from server.uploads.formats.picture import Data, Picture, check_size, cut, damaged
from server.uploads.refused import Reason, Refused

MAX_DECODED = 2_000_000
"""Pixels up to which an image is decoded too: libwebp and Pillow hold about 30 bytes for each.

A larger one is checked by its structure alone, which tells if it is cut off as well.
"""
MAX_DECODED_FRAMES = 50_000_000
"""Pixels of all frames of an animation up to which it is decoded."""
MAX_FRAMES = 1000
MAX_CHUNKS = 4096

_HEAD = 12
_FRAME_HEAD = 16
_BITSTREAMS = (b"VP8 ", b"VP8L")
_SIDE_BITS = 0x3FFF


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int


def read_webp(data: Data) -> Picture:
    """Read a whole WebP.

    Raises:
        Refused: it is cut off, broken or too large, or something follows its end.
    """
    riff, size, webp = struct.unpack("<4sL4s", cut(data, 0, _HEAD))
    if riff != b"RIFF" or webp != b"WEBP":
        raise damaged("it has no WebP signature")
    end = 8 + size
    cut(data, end, end)
    if end != len(data):
        raise damaged("something follows its end")
    chunks = list(_chunks(data, _HEAD, end))
    first = chunks[0] if chunks else None
    if first is None or first.kind not in (b"VP8X", *_BITSTREAMS):
        raise damaged("it has no header")
    if first.kind != b"VP8X":
        width, height = _dimensions(first, data)
        check_size(width, height)
        return _picture(width, height, UPRIGHT, 1, end)
    width, height = (1 + side for side in _sides(data, first.start + 4, first.end))
    check_size(width, height)
    frames = _read_images(chunks, data, (width, height))
    return _picture(width, height, _orientation(chunks, data), frames, end)


def _picture(width: int, height: int, orientation: int, frames: int, end: int) -> Picture:
    pixels = width * height
    decoded = pixels <= MAX_DECODED and frames * pixels <= MAX_DECODED_FRAMES
    return Picture(width, height, orientation, ((0, end),) if decoded else ())


def _chunks(data: Data, start: int, end: int) -> Iterator[_Chunk]:
    """Every chunk between `start` and `end`; each is padded to an even length."""
    for _ in range(MAX_CHUNKS):
        if start == end:
            return
        if start + 8 > end:
            break
        kind, size = struct.unpack("<4sL", cut(data, start, start + 8))
        if start + 8 + size > end:
            break
        yield _Chunk(kind, start + 8, start + 8 + size)
        start += 8 + size + size % 2
    raise damaged("its parts are broken")


def _read_images(chunks: list[_Chunk], data: Data, canvas: tuple[int, int]) -> int:
    """Check the still image, or every frame of an animation; how many there are."""
    stills = [chunk for chunk in chunks if chunk.kind in _BITSTREAMS]
    frames = [chunk for chunk in chunks if chunk.kind == b"ANMF"]
    if len(frames) > MAX_FRAMES:
        raise Refused(Reason.DIMENSIONS, f"the image has more than {MAX_FRAMES} frames")
    if stills:
        if len(stills) > 1 or frames or _dimensions(stills[0], data) != canvas:
            raise damaged("its parts don't fit together")
        return 1
    if not frames:
        raise damaged("it has no pixels")
    for frame in frames:
        _read_frame(frame, data, canvas)
    return len(frames)


def _read_frame(frame: _Chunk, data: Data, canvas: tuple[int, int]) -> None:
    if frame.end - frame.start < _FRAME_HEAD:
        raise damaged("a frame is broken")
    x, y = _sides(data, frame.start, frame.end)
    width, height = (1 + side for side in _sides(data, frame.start + 6, frame.end))
    parts = _chunks(data, frame.start + _FRAME_HEAD, frame.end)
    images = [part for part in parts if part.kind in _BITSTREAMS]
    inside = 2 * x + width <= canvas[0] and 2 * y + height <= canvas[1]
    if not inside or [_dimensions(image, data) for image in images] != [(width, height)]:
        raise damaged("a frame is broken")


def _sides(data: Data, at: int, end: int) -> tuple[int, int]:
    """Two numbers of 24 bits."""
    if at + 6 > end:
        raise damaged("its header is broken")
    low, high, low2, high2 = struct.unpack("<HBHB", data[at : at + 6])
    return low | high << 16, low2 | high2 << 16


def _dimensions(chunk: _Chunk, data: Data) -> tuple[int, int]:
    """Width and height by the head of a bitstream."""
    head = data[chunk.start : min(chunk.end, chunk.start + 10)]
    if chunk.kind == b"VP8L" and len(head) >= 5 and head[0] == 0x2F and head[4] >> 5 == 0:
        (bits,) = struct.unpack_from("<L", head, 1)
        return 1 + (bits & _SIDE_BITS), 1 + (bits >> 14 & _SIDE_BITS)
    if chunk.kind == b"VP8 " and len(head) == 10 and head[3:6] == b"\x9d\x01\x2a":
        first_part = int.from_bytes(head[:3], "little") >> 5
        if not head[0] & 1 and first_part <= chunk.end - chunk.start - 10:
            width, height = struct.unpack_from("<HH", head, 6)
            return width & _SIDE_BITS, height & _SIDE_BITS
    raise damaged("its pixels are broken")


def _orientation(chunks: list[_Chunk], data: Data) -> int:
    for kind, start, end in chunks:
        if kind == b"EXIF":
            return read_orientation(
                data[start : min(end, start + 65_536)].removeprefix(b"Exif\0\0")
            )
    return UPRIGHT
