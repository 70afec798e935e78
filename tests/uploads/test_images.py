from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.uploads.formats.exif import read_orientation
from server.uploads.formats.jpeg import MAX_SCANS
from server.uploads.formats.picture import MAX_SIDE
from server.uploads.formats.webp import MAX_DECODED
from server.uploads.policies import JPEG, PNG, WEBP, FileType
from server.uploads.refused import Reason, Refused
from tests.uploads import making
from tests.uploads.measuring import measured, refusal

JPEG_FILE = making.encoded(making.picture(), "JPEG")
PROGRESSIVE_FILE = making.encoded(making.picture(), "JPEG", progressive=True)
PNG_FILE = making.encoded(making.picture(), "PNG")
WEBP_FILE = making.encoded(making.picture(), "WEBP")
LOSSLESS_FILE = making.encoded(making.picture("RGBA"), "WEBP", lossless=True)
ANIMATED_FILE = making.encoded(
    making.picture(), "WEBP", save_all=True, append_images=[making.picture("L")] * 2
)
ANIMATED_LOSSLESS_FILE = making.encoded(
    Image.new("L", (40, 24)), "WEBP", save_all=True, append_images=[making.picture()], lossless=True
)
FILES = [
    (JPEG, JPEG_FILE),
    (JPEG, PROGRESSIVE_FILE),
    (PNG, PNG_FILE),
    (WEBP, WEBP_FILE),
    (WEBP, LOSSLESS_FILE),
    (WEBP, ANIMATED_FILE),
]
names = ["jpeg", "progressive", "png", "webp", "lossless", "animated"]
each_file = pytest.mark.parametrize(("found", "data"), FILES, ids=names)


@each_file
def test_an_image_is_measured(found: FileType, data: bytes) -> None:
    assert measured(data, found) == (40, 24)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK", "YCbCr"])
def test_a_jpeg_of_any_colours_is_measured(mode: str) -> None:
    assert measured(making.encoded(making.picture(mode), "JPEG"), JPEG) == (40, 24)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (16, 8), (17, 9)])
def test_a_jpeg_of_any_shape_is_measured(size: tuple[int, int]) -> None:
    assert measured(making.encoded(making.picture(size=size), "JPEG"), JPEG) == size


@each_file
def test_an_image_that_is_cut_off_anywhere_is_damaged(found: FileType, data: bytes) -> None:
    for end in (*range(1, len(data), 10), len(data) - 1):
        assert refusal(data[:end], found) is Reason.DAMAGED, end


def without_tables(data: bytes) -> bytes:
    """A JPEG without its Huffman tables."""
    return re.sub(rb"(?s)\xff\xc4.*?(?=\xff\xda)", b"", data)


@pytest.mark.parametrize(
    ("found", "data"),
    [
        (JPEG, without_tables(PROGRESSIVE_FILE)),
        (JPEG, JPEG_FILE.replace(b"\xff\xda\0\x0c\x03\x01", b"\xff\xda\0\x0c\x03\x09")),
        (JPEG, JPEG_FILE.replace(b"\xff\xdb", b"\xff\xfe")),
        (WEBP, LOSSLESS_FILE[:-300] + b"\xff" * 300),
        (WEBP, ANIMATED_LOSSLESS_FILE[:-300] + b"\xff" * 300),
    ],
)
def test_an_image_that_is_whole_and_can_not_be_decoded_is_damaged(
    found: FileType, data: bytes
) -> None:
    with pytest.raises(Refused, match="can't be decoded"):
        measured(data, found)


@each_file
def test_an_empty_file_is_refused(found: FileType, data: bytes) -> None:
    assert refusal(b"", found) is Reason.EMPTY
    others = {JPEG, PNG, WEBP} - {found}
    assert {refusal(data, other) for other in others} == {Reason.DAMAGED}


@given(
    file=st.sampled_from(FILES),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 8)), max_size=8
    ),
)
def test_broken_bytes_raise_nothing_but_a_refusal(
    file: tuple[FileType, bytes],
    edits: list[tuple[float, bytes, int]],
) -> None:
    found, data = file
    for where, new, dropped in edits:
        at = int(where * len(data))
        data = data[:at] + new + data[at + dropped :]
    try:
        size = measured(data, found)
    except Refused:
        return
    assert min(size) >= 1
    assert max(size) <= MAX_SIDE


# Dimensions


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
    assert refusal(resized_jpeg(JPEG_FILE, *size), JPEG) is reason


def test_a_progressive_jpeg_that_would_take_too_much_memory_is_refused() -> None:
    assert refusal(resized_jpeg(PROGRESSIVE_FILE, 5000, 5000), JPEG) is Reason.DIMENSIONS


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    scan = PROGRESSIVE_FILE.rindex(b"\xff\xda")
    head, last = PROGRESSIVE_FILE[:scan], PROGRESSIVE_FILE[scan:-2]
    assert measured(head + last * 2 + b"\xff\xd9", JPEG) == (40, 24)
    assert refusal(head + last * MAX_SCANS + b"\xff\xd9", JPEG) is Reason.DIMENSIONS


@pytest.mark.parametrize("place", ["in front", "in the scan", "at the end"])
def test_a_jpeg_full_of_fill_bytes_is_read_in_one_go(place: str) -> None:
    """A search that tries each of them again takes hours, and holds the interpreter."""
    fill = b"\xff" * 3 * 1024 * 1024
    data = {
        "in front": JPEG_FILE[:2] + fill + JPEG_FILE[2:],
        "in the scan": JPEG_FILE[:-2] + fill + b"\0" + JPEG_FILE[-2:],
        "at the end": JPEG_FILE[:-2] + fill + JPEG_FILE[-2:],
    }[place]
    assert measured(data, JPEG) == (40, 24)
    assert refusal(data[:-2], JPEG) is Reason.DAMAGED


def webp_canvas(width: int, height: int) -> bytes:
    """An extended WebP of these dimensions with the small image in it."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<LL", 10, 0) + sides + WEBP_FILE[12:]
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
    at = WEBP_FILE.index(b"VP8 ") + 8
    with pytest.raises(Refused, match="its pixels are broken"):
        measured(WEBP_FILE[:at] + bytes([WEBP_FILE[at] | 1]) + WEBP_FILE[at + 1 :], WEBP)


def test_a_frame_outside_of_the_canvas_is_damaged() -> None:
    at = ANIMATED_FILE.index(b"ANMF") + 8
    with pytest.raises(Refused, match="a frame is broken"):
        measured(ANIMATED_FILE[:at] + b"\1" + ANIMATED_FILE[at + 1 :], WEBP)


def test_a_webp_of_very_many_frames_is_refused() -> None:
    start = ANIMATED_FILE.index(b"ANMF")
    (size,) = struct.unpack_from("<L", ANIMATED_FILE, start + 4)
    frame = ANIMATED_FILE[start : start + 8 + size]
    body = ANIMATED_FILE[8:start] + frame * 1001
    assert refusal(b"RIFF" + struct.pack("<L", len(body)) + body, WEBP) is Reason.DIMENSIONS


# Orientation


def exif(orientation: int) -> bytes:
    """EXIF with nothing but an orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize("plugin", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_on_its_side_is_measured_as_it_is_shown(
    plugin: str, orientation: int
) -> None:
    data = making.encoded(making.picture(), plugin, exif=exif(orientation))
    found = {"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP}[plugin]
    assert measured(data, found) == ((24, 40) if orientation >= 5 else (40, 24))


@given(st.binary(max_size=80) | st.binary(max_size=80).map(exif(6)[6:].__add__))
def test_broken_exif_is_upright_or_readable(block: bytes) -> None:
    for prefix in (b"", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0"):
        assert 1 <= read_orientation(prefix + block) <= 8


# What stands beside the pixels


@pytest.mark.parametrize("found", [PNG, WEBP], ids=["png", "webp"])
def test_nothing_follows_the_end_of_a_png_or_webp(found: FileType) -> None:
    data = {PNG: PNG_FILE, WEBP: WEBP_FILE}[found]
    for rest in (b"\0", making.archive("a.txt"), making.HTML):
        assert refusal(data + rest, found) is Reason.DAMAGED


def test_neither_zip_nor_markup_follows_the_end_of_a_jpeg() -> None:
    for rest in (making.archive("a.txt"), b"\0\0" + making.HTML, making.SVG, making.DOCX):
        assert refusal(JPEG_FILE + rest, JPEG) is Reason.DAMAGED


def test_what_phones_put_behind_a_jpeg_is_let_through() -> None:
    for rest in (JPEG_FILE, making.MP4, b"\0\0\x01\x0aMotionPhoto_Data" + making.MP4):
        assert measured(JPEG_FILE + rest, JPEG) == (40, 24)


def test_metadata_of_a_jpeg_reaches_no_decoder() -> None:
    hostile = b"\xff\xe2\0\x08MPF\0\xff\xff" + b"\xff\xed\0\x12Photoshop 3.0\0\x38\x42"
    hostile += b"\xff\xe1\0\x0cExif\0\0II*\0" + b"\xff\xfe\0\x0a<script>"
    assert measured(JPEG_FILE[:2] + hostile + JPEG_FILE[2:], JPEG) == (40, 24)


# Memory

PEAK = """
import sys
from pathlib import Path
from server.uploads.images import measure
from server.uploads.policies import POLICIES

def read(key):
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(key))

path, name = Path(sys.argv[1]), sys.argv[2]
before = read("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")
print(*measure(path, POLICIES["images"].find(name)), read("VmHWM:") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("found", "image", "options", "limit"),
    [
        (JPEG, Image.new("RGB", (8000, 6250)), {}, 16),
        (JPEG, Image.new("RGB", (4090, 4090)), {"progressive": True}, 64),
        (PNG, Image.new("L", (8000, 6250)), {"compress_level": 1}, 4),
        (WEBP, making.picture(size=(1600, 1250)), {"lossless": True, "method": 0}, 64),
    ],
    ids=["jpeg", "progressive", "png", "webp"],
)
def test_the_largest_image_takes_no_more_memory_than_is_told(
    found: FileType,
    image: Image.Image,
    options: dict[str, object],
    limit: int,
    tmp_path: Path,
) -> None:
    path = tmp_path / "image"
    path.write_bytes(making.encoded(image, found.name.removeprefix("image/"), **options))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), found.name],
        capture_output=True,
        text=True,
        check=True,
    )
    width, height, kibibytes = map(int, done.stdout.split())
    assert (width, height) == image.size
    # The mapped file is counted too.
    assert kibibytes < limit * 1024 + path.stat().st_size // 1024
