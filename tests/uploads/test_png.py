from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.uploads.formats.picture import MAX_PIXELS, MAX_SIDE
from server.uploads.formats.png import MAX_METADATA
from server.uploads.policies import PNG
from server.uploads.refused import Reason, Refused
from tests.uploads import making
from tests.uploads.measuring import measured, refusal


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_any_colours_is_measured(mode: str) -> None:
    image = Image.new(mode, (40, 24)) if mode == "I;16" else making.picture(mode)
    assert measured(making.encoded(image, "PNG"), PNG) == (40, 24)


def test_a_palette_with_transparency_is_measured() -> None:
    data = making.encoded(making.picture("P"), "PNG", transparency=b"\x00\x80\xff")
    assert b"tRNS" in data
    assert measured(data, PNG) == (40, 24)


@pytest.mark.parametrize(
    "size", [(20_000, 20_000), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (8000, 6251), (2**31, 2**31)]
)
def test_a_png_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert refusal(making.png((*size, 8, 6, 0, 0, 0)), PNG) is Reason.DIMENSIONS


def test_a_png_of_as_many_pixels_as_may_be_is_measured() -> None:
    height = MAX_PIXELS // 8000
    rows = (b"\0" + bytes(1000)) * height
    assert measured(making.png((8000, height, 1, 0, 0, 0, 0), rows=rows), PNG) == (8000, height)


BOMB = zlib.compress(bytes(MAX_METADATA + 1))


@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"zTXt", b"key\0\0"), (b"iCCP", b"icc\0\0"), (b"iTXt", b"key\0\1\0de\0key\0")],
)
def test_a_png_with_a_bomb_in_its_metadata_is_refused(kind: bytes, head: bytes) -> None:
    harmless = making.chunk(kind, head + zlib.compress(bytes(MAX_METADATA // 2)))
    assert measured(making.png(before=harmless), PNG) == (1, 1)
    assert refusal(making.png(before=making.chunk(kind, head + BOMB)), PNG) is Reason.DAMAGED
    assert refusal(making.png(before=harmless * 3), PNG) is Reason.DAMAGED


def test_what_inflates_before_an_error_counts_as_well() -> None:
    broken = zlib.compress(bytes(MAX_METADATA // 2))[:-1] + b"x"
    text = making.chunk(b"zTXt", b"key\0\0" + broken)
    assert measured(making.png(before=text), PNG) == (1, 1)
    assert refusal(making.png(before=text * 3), PNG) is Reason.DAMAGED


def test_a_large_plain_text_in_a_png_is_no_matter() -> None:
    text = making.chunk(b"tEXt", b"key\0" + bytes(3_000_000))
    broken = making.chunk(b"zTXt", b"no end") + making.chunk(b"iTXt", b"key\0\1")
    assert measured(making.png(after=text + broken), PNG) == (1, 1)


def test_an_animated_png_is_another_type() -> None:
    frames = [making.picture(), making.picture("L").convert("RGB")]
    data = making.encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert refusal(data, PNG) is Reason.TYPE


PIXEL = making.chunk(b"IDAT", zlib.compress(b"\0\0"))


@pytest.mark.parametrize(
    "data",
    [
        making.png((1, 1, 3, 0, 0, 0, 0)),
        making.png((1, 1, 8, 0, 1, 0, 0)),
        making.png((1, 1, 8, 0, 0, 0, 2)),
        making.png((0, 1, 8, 0, 0, 0, 0)),
        making.png((1, 1, 8, 3, 0, 0, 0)),
        making.png((1, 1, 8, 3, 0, 0, 0), after=making.chunk(b"PLTE", b"rgb")),
        making.png(before=making.chunk(b"PLTE", b"rg")),
        making.png(before=making.chunk(b"EVIL", b"")),
        making.png(before=PIXEL + making.chunk(b"tEXt", b"a\0b")),
        making.png(after=PIXEL),
        making.png(rows=b"\0"),
        making.png(rows=b"\0\0\0"),
        making.png(rows=b"\5\0"),
        making.png().replace(PIXEL, b""),
        making.png().replace(PIXEL, making.chunk(b"IDAT", b"not deflated")),
        making.png().replace(PIXEL, PIXEL[:-1] + b"x"),
        making.png(before=making.chunk(b"teSt", b"") * 70_000),
    ],
)
def test_a_png_that_breaks_a_rule_is_damaged(data: bytes) -> None:
    assert refusal(data, PNG) is Reason.DAMAGED


KINDS = [(1, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (8, 6), (16, 6)]
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def count_rows(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, told pixel by pixel from the picture of Adam7 in the standard."""
    tile = (
        "16462646",
        "77777777",
        "56565656",
        "77777777",
        "36463646",
        "77777777",
        "56565656",
        "77777777",
    )
    rows: dict[tuple[str, int], int] = {}
    for y in range(height):
        for x in range(width):
            row = (tile[y % 8][x % 8] if interlaced else "", y)
            rows[row] = rows.get(row, 0) + bits
    return sum(1 + -(-row // 8) for row in rows.values())


@given(
    width=st.integers(1, 20),
    height=st.integers(1, 20),
    kind=st.sampled_from(KINDS),
    interlaced=st.booleans(),
    off=st.sampled_from([0, 0, -1, 1]),
)
def test_a_png_is_whole_with_exactly_its_rows_as_pillow_has_it(
    *, width: int, height: int, kind: tuple[int, int], interlaced: bool, off: int
) -> None:
    depth, colour = kind
    total = count_rows(width, height, depth * CHANNELS[colour], interlaced)
    header = (width, height, depth, colour, 0, 0, int(interlaced))
    data = making.png(header, rows=bytes(total + off))
    if off:
        with pytest.raises(Refused):
            measured(data, PNG)
    else:
        assert measured(data, PNG) == (width, height)
        Image.open(io.BytesIO(data)).load()
