"""The one EXIF tag that changes an image's width and height: its orientation."""

from __future__ import annotations

import struct

UPRIGHT = 1

_ORIENTATION = 0x0112
_SHORT = 3
_MAX_TAGS = 1000


def read_orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block without its `Exif` prefix.

    Cameras write all kinds of broken EXIF, and browsers show such images upright: so does this.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}L", tiff, 4)
        (tags,) = struct.unpack_from(f"{order}H", tiff, at)
        for index in range(min(tags, _MAX_TAGS)):
            tag, kind, count, value = struct.unpack_from(f"{order}HHLH", tiff, at + 2 + 12 * index)
            if tag == _ORIENTATION:
                valid = kind == _SHORT and count == 1 and 1 <= value <= 8
                return int(value) if valid else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT
