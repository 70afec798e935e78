"""What may be uploaded, and under which terms: declared data, read by every other room.

To add a policy, write it down here and put it into `POLICIES`. A new type needs a name that
`filetype` knows among its names; a new image type also a reader in `images.py`; a new kind of
Office document its main part in `zips.py`. The tests go through the registry and ask for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

MIB = 1024 * 1024


class Kind(StrEnum):
    """How the bytes of a type are checked."""

    IMAGE = "image"
    """By their start, then as a whole: `images.measure`."""
    TEXT = "text"
    """To their end: UTF-8 without binary control characters. The bytes can't tell more."""
    ZIPPED = "zipped"
    """By their start, then by the names in the archive: `zips.read_kind`."""
    BINARY = "binary"
    """By their start."""


@dataclass(frozen=True, slots=True)
class FileType:
    """A media type that a policy may take."""

    name: str
    """As it is stored and served."""
    extensions: tuple[str, ...]
    """Lower case, without a dot; the first is given to a file whose name has none of them."""
    kind: Kind
    aliases: tuple[str, ...] = ()
    """Other names for it: of clients that declare it, and of `filetype`."""
    start: bytes = b""
    """What the file begins with, where `filetype` is less strict."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The terms of an upload: `?policy=<name>`."""

    name: str
    types: tuple[FileType, ...]
    max_bytes: int
    visibility: Literal["public", "private"]
    """Public: whoever has the address. Private: the owner, or a signed address that expires."""
    expires: timedelta | None = None
    """How long a file is kept; None: until it is deleted."""

    def find(self, name: str) -> FileType | None:
        """The type of this name or alias (lower case), if the policy takes it."""
        for each in self.types:
            if name == each.name or name in each.aliases:
                return each
        return None


_OFFICE = "application/vnd.openxmlformats-officedocument"

JPEG = FileType(
    "image/jpeg", ("jpg", "jpeg", "jpe", "jfif"), Kind.IMAGE, ("image/jpg", "image/pjpeg")
)
PNG = FileType("image/png", ("png",), Kind.IMAGE, ("image/x-png",), b"\x89PNG\r\n\x1a\n")
WEBP = FileType("image/webp", ("webp",), Kind.IMAGE, start=b"RIFF")

# `filetype` takes a PDF behind a byte order mark for one; viewers find it up to 1,024 bytes in.
PDF = FileType("application/pdf", ("pdf",), Kind.BINARY, ("application/x-pdf",), b"%PDF-")
TEXT = FileType("text/plain", ("txt", "text", "log"), Kind.TEXT)
# Windows declares a .csv by the program that opens it.
CSV = FileType("text/csv", ("csv",), Kind.TEXT, ("application/csv", "application/vnd.ms-excel"))
MARKDOWN = FileType("text/markdown", ("md", "markdown"), Kind.TEXT, ("text/x-markdown",))
DOCX = FileType(f"{_OFFICE}.wordprocessingml.document", ("docx",), Kind.ZIPPED)
XLSX = FileType(f"{_OFFICE}.spreadsheetml.sheet", ("xlsx",), Kind.ZIPPED)
PPTX = FileType(f"{_OFFICE}.presentationml.presentation", ("pptx",), Kind.ZIPPED)
ZIP = FileType("application/zip", ("zip",), Kind.ZIPPED, ("application/x-zip-compressed",))

MP4 = FileType("video/mp4", ("mp4", "m4v"), Kind.BINARY, ("video/x-m4v",))
WEBM = FileType("video/webm", ("webm",), Kind.BINARY)
QUICKTIME = FileType("video/quicktime", ("mov",), Kind.BINARY)
MP3 = FileType("audio/mpeg", ("mp3",), Kind.BINARY, ("audio/mp3", "audio/x-mp3"))
M4A = FileType("audio/mp4", ("m4a",), Kind.BINARY, ("audio/x-m4a", "audio/m4a"))
OGG = FileType("audio/ogg", ("ogg", "oga", "opus"), Kind.BINARY, ("application/ogg",))
WAV = FileType("audio/wav", ("wav",), Kind.BINARY, ("audio/x-wav", "audio/wave", "audio/vnd.wave"))
FLAC = FileType("audio/flac", ("flac",), Kind.BINARY, ("audio/x-flac",))

DEFAULT = "images"
"""The policy of an upload that names none."""

POLICIES = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            Policy("images", (JPEG, PNG, WEBP), 5 * MIB, "public"),
            Policy("documents", (PDF, TEXT, CSV, MARKDOWN, DOCX, XLSX, PPTX), 25 * MIB, "private"),
            Policy(
                "media",
                (MP4, WEBM, QUICKTIME, MP3, M4A, OGG, WAV, FLAC, ZIP),
                2048 * MIB,
                "private",
            ),
        )
    }
)
"""Every policy by its name."""

EXTENSIONS = frozenset(
    extension
    for policy in POLICIES.values()
    for each in policy.types
    for extension in each.extensions
)
"""Every extension that means one of these types."""
