from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.uploads.formats.exif import read_orientation
from server.uploads.formats.picture import MAX_SIDE
from server.uploads.policies import JPEG, PNG, WEBP, FileType
from server.uploads.refused import Reason, Refused
from tests.uploads import making
from tests.uploads.measuring import measured, refusal

LOSSLESS_FILE = making.encoded(making.picture("RGBA"), "WEBP", lossless=True)
ANIMATED_LOSSLESS_FILE = making.encoded(
    Image.new("L", (40, 24)), "WEBP", save_all=True, append_images=[making.picture()], lossless=True
)
FILES = [
    (JPEG, making.JPEG),
    (JPEG, making.PROGRESSIVE),
    (PNG, making.PNG),
    (WEBP, making.WEBP),
    (WEBP, LOSSLESS_FILE),
    (WEBP, making.ANIMATED),
]
names = ["jpeg", "progressive", "png", "webp", "lossless", "animated"]
each_file = pytest.mark.parametrize(("found", "data"), FILES, ids=names)


@each_file
def test_an_image_is_measured(found: FileType, data: bytes) -> None:
    assert measured(data, found) == (40, 24)


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
        (JPEG, without_tables(making.PROGRESSIVE)),
        (JPEG, making.JPEG.replace(b"\xff\xda\0\x0c\x03\x01", b"\xff\xda\0\x0c\x03\x09")),
        (JPEG, making.JPEG.replace(b"\xff\xdb", b"\xff\xfe")),
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
    data = {PNG: making.PNG, WEBP: making.WEBP}[found]
    for rest in (b"\0", making.archive("a.txt"), making.HTML):
        assert refusal(data + rest, found) is Reason.DAMAGED


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
