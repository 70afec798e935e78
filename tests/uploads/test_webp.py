from __future__ import annotations

import struct

import pytest
from PIL import Image

from server.uploads.formats.webp import MAX_DECODED
from server.uploads.policies import WEBP
from server.uploads.refused import Reason, Refused
from tests.uploads import making
from tests.uploads.measuring import measured, refusal


def webp_canvas(width: int, height: int) -> bytes:
    """An extended WebP of these dimensions with the small image in it."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<LL", 10, 0) + sides + making.WEBP[12:]
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


def test_a_webp_of_too_many_pixels_is_refused() -> None:
    assert measured(webp_canvas(40, 24), WEBP) == (40, 24)
    assert refusal(webp_canvas(20_000, 20_000), WEBP) is Reason.DIMENSIONS
    assert refusal(webp_canvas(41, 24), WEBP) is Reason.DAMAGED


def test_a_webp_too_large_to_decode_is_checked_by_its_structure() -> None:
    image = Image.new("RGB", (2000, MAX_DECODED // 2000 + 1))
    data = making.encoded(image, "WEBP", method=0)
    assert measured(data, WEBP) == image.size
    assert refusal(data[:-1], WEBP) is Reason.DAMAGED


def test_a_webp_without_a_key_frame_is_damaged() -> None:
    at = making.WEBP.index(b"VP8 ") + 8
    with pytest.raises(Refused, match="its pixels are broken"):
        measured(making.WEBP[:at] + bytes([making.WEBP[at] | 1]) + making.WEBP[at + 1 :], WEBP)


def test_a_frame_outside_of_the_canvas_is_damaged() -> None:
    at = making.ANIMATED.index(b"ANMF") + 8
    with pytest.raises(Refused, match="a frame is broken"):
        measured(making.ANIMATED[:at] + b"\1" + making.ANIMATED[at + 1 :], WEBP)


def test_a_webp_of_very_many_frames_is_refused() -> None:
    start = making.ANIMATED.index(b"ANMF")
    (size,) = struct.unpack_from("<L", making.ANIMATED, start + 4)
    frame = making.ANIMATED[start : start + 8 + size]
    body = making.ANIMATED[8:start] + frame * 1001
    assert refusal(b"RIFF" + struct.pack("<L", len(body)) + body, WEBP) is Reason.DIMENSIONS
