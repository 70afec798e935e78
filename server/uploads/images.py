"""Images as a whole: their size, and whether they can be shown to their end.

`measure` blocks: call it in a thread, for a few at once. Beside the file itself, which is mapped,
an image takes at most

| image | checked by | memory |
|---|---|---|
| PNG | inflating and counting every row | 1 MB |
| JPEG in one scan | decoding at an eighth of its size | 16 MB |
| JPEG in several scans (progressive) | the same; libjpeg holds all coefficients | 64 MB |
| WebP up to `MAX_DECODED` pixels | decoding every frame | 64 MB |
| a larger WebP | its structure | 1 MB |

A progressive JPEG is refused above 25 million samples: some 16 million pixels with the usual
halved colours, 8 million in full colour, 25 million in grey. Pillow parses no metadata: those of a
JPEG are left out of what it reads.
Not told: pixels that are wrong but can be decoded, and a JPEG whose pixels end somewhat early
before a valid end marker: decoders fill up with grey. (Far too few are told: below a bit a block.)
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from server.uploads.formats.jpeg import read_jpeg
from server.uploads.formats.picture import Data, Picture, damaged
from server.uploads.formats.png import read_png
from server.uploads.formats.webp import read_webp
from server.uploads.policies import JPEG, PNG, WEBP, FileType
from server.uploads.refused import Reason, Refused

_BLOCK = 1024 * 1024

# Once, for the process: `warnings.catch_warnings` is not for threads. Not deprecations: those come
# with a new version of Pillow, not with a file.
for _category in (UserWarning, RuntimeWarning):
    warnings.filterwarnings("error", category=_category, module=r"PIL\.")


class Size(NamedTuple):
    """Pixels of an image as it is shown: turned by its EXIF orientation."""

    width: int
    height: int


class _Format(NamedTuple):
    read: Callable[[Data], Picture]
    decoder: Callable[[IO[bytes]], ImageFile] | None


_FORMATS = {
    JPEG.name: _Format(read_jpeg, JpegImageFile),
    PNG.name: _Format(read_png, None),
    WEBP.name: _Format(read_webp, WebPImageFile),
}


def measure(path: Path, found: FileType) -> Size:
    """Check a whole image of the type `found`, and say how large it is shown.

    Raises:
        Refused: it is empty, damaged, too large, or takes too much memory to check.
        KeyError: there is no reader for this type.
    """
    image = _FORMATS[found.name]
    with path.open("rb") as file:
        if not file.seek(0, io.SEEK_END):
            raise Refused(Reason.EMPTY, "the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            picture = image.read(data)
            if image.decoder is not None and picture.ranges:
                _decode(image.decoder, data, picture)
    if picture.orientation >= 5:
        return Size(picture.height, picture.width)
    return Size(picture.width, picture.height)


def _decode(decoder: Callable[[IO[bytes]], ImageFile], data: Data, picture: Picture) -> None:
    try:
        with (
            io.BufferedReader(_Ranges(data, picture.ranges), _BLOCK) as file,
            decoder(file) as image,
        ):
            if image.size != (picture.width, picture.height):
                raise damaged("its parts don't fit together")
            image.decodermaxblock = _BLOCK
            # An eighth in each direction, of a JPEG; the others have no such thing.
            image.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
    except Exception as error:
        # Hostile bytes raise a dozen kinds in Pillow, and its next version may find another.
        raise damaged("it can't be decoded") from error


class _Ranges(io.RawIOBase):
    """Some ranges of a file, read as if nothing stood between them."""

    def __init__(self, data: Data, ranges: tuple[tuple[int, int], ...]) -> None:
        self._data = data
        self._ranges = ranges
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        length = sum(end - start for start, end in self._ranges)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        skip = self._at
        for start, end in self._ranges:
            if skip < end - start:
                block = self._data[start + skip : min(end, start + skip + len(buffer))]
                buffer[: len(block)] = block
                self._at += len(block)
                return len(block)
            skip -= end - start
        return 0
