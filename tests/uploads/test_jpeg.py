from __future__ import annotations

import re
import struct

import pytest

from server.uploads.formats.jpeg import MAX_SCANS
from server.uploads.policies import JPEG
from server.uploads.refused import Reason
from tests.uploads import making
from tests.uploads.measuring import measured, refusal


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK", "YCbCr"])
def test_a_jpeg_of_any_colours_is_measured(mode: str) -> None:
    assert measured(making.encoded(making.picture(mode), "JPEG"), JPEG) == (40, 24)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (16, 8), (17, 9)])
def test_a_jpeg_of_any_shape_is_measured(size: tuple[int, int]) -> None:
    assert measured(making.encoded(making.picture(size=size), "JPEG"), JPEG) == size


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """The file with other dimensions in its header."""
    frame = re.search(rb"\xff[\xc0\xc2]\x00\x11\x08", data)
    assert frame is not None
    return data[: frame.end()] + struct.pack(">HH", height, width) + data[frame.end() + 4 :]


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((20_000, 20_000), Reason.DIMENSIONS),
        ((65_535, 1), Reason.DIMENSIONS),
        ((0, 24), Reason.DAMAGED),
        ((40, 0), Reason.DAMAGED),
        ((8000, 6000), Reason.DAMAGED),
    ],
)
def test_a_jpeg_with_wrong_dimensions_is_refused(size: tuple[int, int], reason: Reason) -> None:
    assert refusal(resized_jpeg(making.JPEG, *size), JPEG) is reason


def test_a_progressive_jpeg_that_would_take_too_much_memory_is_refused() -> None:
    assert refusal(resized_jpeg(making.PROGRESSIVE, 5000, 5000), JPEG) is Reason.DIMENSIONS


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    scan = making.PROGRESSIVE.rindex(b"\xff\xda")
    head, last = making.PROGRESSIVE[:scan], making.PROGRESSIVE[scan:-2]
    assert measured(head + last * 2 + b"\xff\xd9", JPEG) == (40, 24)
    assert refusal(head + last * MAX_SCANS + b"\xff\xd9", JPEG) is Reason.DIMENSIONS


@pytest.mark.parametrize("place", ["in front", "in the scan", "at the end"])
def test_a_jpeg_full_of_fill_bytes_is_read_in_one_go(place: str) -> None:
    """A search that tries each of them again takes hours, and holds the interpreter."""
    fill = b"\xff" * 3 * 1024 * 1024
    data = {
        "in front": making.JPEG[:2] + fill + making.JPEG[2:],
        "in the scan": making.JPEG[:-2] + fill + b"\0" + making.JPEG[-2:],
        "at the end": making.JPEG[:-2] + fill + making.JPEG[-2:],
    }[place]
    assert measured(data, JPEG) == (40, 24)
    assert refusal(data[:-2], JPEG) is Reason.DAMAGED


def test_neither_zip_nor_markup_follows_the_end_of_a_jpeg() -> None:
    for rest in (making.archive("a.txt"), b"\0\0" + making.HTML, making.SVG, making.DOCX):
        assert refusal(making.JPEG + rest, JPEG) is Reason.DAMAGED


def test_what_phones_put_behind_a_jpeg_is_let_through() -> None:
    for rest in (making.JPEG, making.MP4, b"\0\0\x01\x0aMotionPhoto_Data" + making.MP4):
        assert measured(making.JPEG + rest, JPEG) == (40, 24)


def test_metadata_of_a_jpeg_reaches_no_decoder() -> None:
    hostile = b"\xff\xe2\0\x08MPF\0\xff\xff" + b"\xff\xed\0\x12Photoshop 3.0\0\x38\x42"
    hostile += b"\xff\xe1\0\x0cExif\0\0II*\0" + b"\xff\xfe\0\x0a<script>"
    assert measured(making.JPEG[:2] + hostile + making.JPEG[2:], JPEG) == (40, 24)
