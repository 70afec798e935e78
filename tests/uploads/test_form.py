from __future__ import annotations

import random

import pytest

from server.uploads.form import MAX_HEAD, MAX_PARTS, MAX_PREAMBLE, Malformed, Part, Scanner
from tests.uploads.forms import BOUNDARY, CLOSE, OPEN, form, part

LOOKS_LIKE_ONE = f"\r\n--{BOUNDARY[:-1]}\r\n--\r\r\n-".encode()


def scanned(
    data: bytes, size: int | None = None, boundary: str = BOUNDARY
) -> list[tuple[Part, bytes]]:
    """The parts of a body that comes in pieces of `size`."""
    scanner = Scanner(boundary)
    parts: list[tuple[Part, bytearray]] = []
    for start in range(0, len(data), size or len(data)):
        for piece in scanner.feed(data[start : start + (size or len(data))]):
            if isinstance(piece, Part):
                parts.append((piece, bytearray()))
            else:
                assert piece
                parts[-1][1].extend(piece)
    assert scanner.ended
    return [(found, bytes(content)) for found, content in parts]


def head_of(disposition: str, *more: str) -> Part:
    [(found, _)] = scanned(form(part(b"x", disposition, None, *more)))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, None])
def test_parts_are_found_however_the_body_is_cut(size: int | None) -> None:
    contents = [
        b"",
        b"\r\n",
        b"a\r",
        LOOKS_LIKE_ONE,
        random.Random(1).randbytes(3000),
        b"\r\n" * 70,
    ]
    body = b"preamble\r\n" + form(*(part(content) for content in contents)) + b"epilogue"
    assert [content for _, content in scanned(body, size)] == contents


def test_a_large_piece_is_handed_on_as_it_is() -> None:
    scanner = Scanner(BOUNDARY)
    scanner.feed(part(b"")[:-2])
    chunk = random.Random(2).randbytes(256 * 1024) + b"."
    [piece] = scanner.feed(chunk)
    assert piece is chunk


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('form-data; name="file"; filename="a.png"', "file", "a.png"),
        ("form-data;name=file;filename=a.png", "file", "a.png"),
        ('FORM-DATA ; NAME="file" ; FILENAME="a.png";', "file", "a.png"),
        ('form-data; name="file"', "file", None),
        ('form-data; name="file"; filename=""', "file", ""),
        ('form-data; name="file"; filename="a;b=\\"c\\".png"', "file", 'a;b="c".png'),
        (r'form-data; name="file"; filename="C:\new\a.png"', "file", r"C:\new\a.png"),
        ('form-data; name="file"; filename="naïve ☃.png"', "file", "naïve ☃.png"),
        ("form-data; name=file; filename*=UTF-8''na%C3%AFve.png", "file", "naïve.png"),
        ("form-data; name=file; filename=x; filename*=utf-8''a.png", "file", "a.png"),
        ("form-data; name=file; filename*=iso-8859-1'en'na%EFve.png", "file", "naïve.png"),
        ("form-data; name=file; filename*=koi8-r''a.png", "file", ""),
        ("form-data; name=file; filename*=UTF-8''%FF%", "file", "\ufffd%"),
        ('attachment; name="file"; filename="a.png"', None, None),
        ("form-data", None, None),
    ],
)
def test_names_are_read(disposition: str, name: str | None, filename: str | None) -> None:
    found = head_of(disposition)
    assert (found.name, found.filename) == (name, filename)


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    body = part(b"x").replace(b"a.png", b"\xff.png") + CLOSE
    [(found, _)] = scanned(body)
    assert found.filename == "\ufffd.png"


@pytest.mark.parametrize("line", ["Content-Transfer-Encoding: base64", "Content-Encoding: gzip"])
def test_an_encoded_part_says_so(line: str) -> None:
    assert not head_of("form-data; name=file", line).plain


@pytest.mark.parametrize(
    "line", ["Content-Transfer-Encoding: BINARY", "Content-Encoding: identity"]
)
def test_a_part_may_say_that_it_is_plain(line: str) -> None:
    assert head_of("form-data; name=file", line).plain


@pytest.mark.parametrize(
    "head",
    [
        b"no colon",
        b": empty",
        b"A\0: b",
        b"Content-Disposition: form-data; name=a\r\n continued",
        b"Content-Disposition: form-data; name=a\nX: y",
        b"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
        b"Content-Disposition: form-data; name=a; name=b",
        b'Content-Disposition: form-data; name="a',
        b"Content-Disposition: form-data; name",
        b"X: " + b"y" * MAX_HEAD,
    ],
)
def test_a_bad_header_is_malformed(head: bytes) -> None:
    with pytest.raises(Malformed, match=r"header|Disposition"):
        scanned(OPEN + head + b"\r\n\r\nx\r\n" + CLOSE)


@pytest.mark.parametrize("boundary", ["", "a" * 71, "a\r\nb", "a\0", "ä", "ends with space "])
def test_what_can_be_no_boundary_is_malformed(boundary: str) -> None:
    with pytest.raises(Malformed, match="boundary"):
        Scanner(boundary)


def test_an_endless_preamble_is_malformed() -> None:
    scanner = Scanner(BOUNDARY)
    scanner.feed(b"-" * MAX_PREAMBLE)
    with pytest.raises(Malformed, match="first boundary"):
        scanner.feed(b"-" * 200)


def test_an_endless_epilogue_is_malformed() -> None:
    scanner = Scanner(BOUNDARY)
    scanner.feed(form(part(b"x")))
    with pytest.raises(Malformed, match="follows"):
        scanner.feed(b"-" * (MAX_PREAMBLE + 1))


@pytest.mark.parametrize("size", [1, None])
def test_a_boundary_must_end_its_line(size: int | None) -> None:
    with pytest.raises(Malformed, match="end of its line"):
        scanned(OPEN[:-2] + b"x\r\n\r\n", size)


def test_spaces_behind_a_boundary_are_nothing() -> None:
    body = form(part(b"x")).replace(OPEN, OPEN[:-2] + b" \t\r\n")
    assert [content for _, content in scanned(body, 1)] == [b"x"]


def test_only_so_many_parts() -> None:
    assert len(scanned(form(*[part(b"")] * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(Malformed, match="more than 20 fields"):
        scanned(form(*[part(b"")] * (MAX_PARTS + 1)))


@pytest.mark.parametrize("seed", range(300))
def test_garbage_is_taken_apart_or_malformed_but_always_the_same(seed: int) -> None:
    """The same verdict for the whole and for single bytes, for forms with bytes changed."""
    chance = random.Random(seed)
    body = bytearray(form(part(b"ab\r\ncd"), part(b"", "form-data; name=x", None)))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body))
        body[at : at + chance.randint(0, 3)] = chance.choice(
            [b"", b"\r\n", b"-", b"\r", b'"', b"\0"]
        )

    def verdict(size: int | None) -> object:
        try:
            return scanned(bytes(body), size)
        except (Malformed, AssertionError) as error:
            return type(error)

    assert verdict(1) == verdict(None) == verdict(5)
