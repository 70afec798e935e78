"""What is read out of an image without decoding it, and the limits that hold for every format."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from server.uploads.refused import Reason, Refused

MAX_PIXELS = 50_000_000
"""Width times height."""
MAX_SIDE = 16_384
"""Pixels of width, and of height; also what WebP can hold."""

Data = bytes | mmap.mmap
"""A whole file: slices of it are bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image by its headers."""

    width: int
    """Pixels as stored, before the orientation is applied."""
    height: int
    orientation: int
    """The EXIF tag: 1 as stored; 5 to 8 stand on their side."""
    ranges: tuple[tuple[int, int], ...]
    """Where the parts are that a decoder needs (start, end); empty: decoding would tell no more."""


def check_size(width: int, height: int) -> None:
    """Judge dimensions before anything is allocated for them.

    Raises:
        Refused: one is zero, or they are over `MAX_SIDE` or `MAX_PIXELS`.
    """
    if width < 1 or height < 1:
        raise damaged("it has no pixels")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        message = (
            f"the image has more than {MAX_PIXELS:,} pixels or a side of more than {MAX_SIDE:,}"
        )
        raise Refused(Reason.DIMENSIONS, message)


def cut(data: Data, start: int, end: int) -> bytes:
    """The bytes from `start` to `end`.

    Raises:
        Refused: the file ends before.
    """
    if end > len(data):
        raise damaged("it is cut off")
    return data[start:end]


def damaged(what: str) -> Refused:
    """The refusal of an image that is broken; `what` ends the sentence."""
    return Refused(Reason.DAMAGED, f"the image is damaged: {what}")
