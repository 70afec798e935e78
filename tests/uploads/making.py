"""Files to upload, made for the tests: by Pillow and zipfile, or by hand where those refuse."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

NAME = "0123456789abcdef" * 2
"""As the server makes them: an upload's id, its name in the spool, its key in the store."""

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
MP4 = struct.pack(">L", 24) + b"ftypisom\0\0\2\0isommp41" + struct.pack(">L", 8) + b"mdat"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm" + bytes(40)
WAV = b"RIFF" + struct.pack("<L", 36) + b"WAVEfmt " + bytes(28)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'
HTML = b"<!doctype html><script>alert(document.cookie)</script>"


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Noise, so that nothing compresses to nothing."""
    width, height = size
    noise = Image.frombytes("RGB", size, random.Random(7).randbytes(width * height * 3))
    return noise if mode == "RGB" else noise.convert(mode)


def encoded(image: Image.Image, plugin: str, **options: Any) -> bytes:
    """The image as a file."""
    out = io.BytesIO()
    image.save(out, plugin, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(
    header: Sequence[int] = (1, 1, 8, 0, 0, 0, 0),
    *,
    before: bytes = b"",
    rows: bytes = b"\0\0",
    after: bytes = b"",
) -> bytes:
    """A PNG by hand: `header` is width, height, depth, colour, and the three methods."""
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", *header))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + after + chunk(b"IEND", b"")


def archive(*names: str, content: bytes = b"<x/>") -> bytes:
    """A zip of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            target.writestr(name, content)
    return out.getvalue()


def office(main: str) -> bytes:
    """A document whose main part is `main`."""
    return archive("[Content_Types].xml", "_rels/.rels", main)


DOCX = office("word/document.xml")
XLSX = office("xl/workbook.xml")
PPTX = office("ppt/presentation.xml")

JPEG = encoded(picture(), "JPEG")
PROGRESSIVE = encoded(picture(), "JPEG", progressive=True)
PNG = encoded(picture(), "PNG")
WEBP = encoded(picture(), "WEBP")
ANIMATED = encoded(picture(), "WEBP", save_all=True, append_images=[picture("L")] * 2)
