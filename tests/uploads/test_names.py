from __future__ import annotations

import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.uploads.names import MAX_NAME, content_disposition, safe_name
from server.uploads.policies import JPEG, PDF, TEXT, WEBP, FileType

parts = st.sampled_from(
    ["..", "/", "\\", "\0", "\u202e", "con", "nul", ".", " ", "jpg", "png", "é", "e\u0301", "😀"]
)
hostile = st.text() | st.lists(parts | st.characters()).map("".join)


@pytest.mark.parametrize(
    ("given_name", "found", "kept"),
    [
        ("photo.jpg", JPEG, "photo.jpg"),
        ("photo.JPEG", JPEG, "photo.jpeg"),
        ("photo.png", JPEG, "photo.jpg"),
        ("photo", WEBP, "photo.webp"),
        ("report.v2", PDF, "report.v2.pdf"),
        ("invoice.pdf.exe", TEXT, "invoice.pdf.exe.txt"),
        ("shell.php", JPEG, "shell.php.jpg"),
        ("../../etc/passwd", TEXT, "passwd.txt"),
        ("C:\\fakepath\\photo.jpg", JPEG, "photo.jpg"),
        ("/", JPEG, "image.jpg"),
        ("..", PDF, "file.pdf"),
        (".htaccess", TEXT, "htaccess.txt"),
        (".jpg", JPEG, "jpg.jpg"),
        ("", TEXT, "text.txt"),
        (None, JPEG, "image.jpg"),
        ("a\0b\r\nc.jpg", JPEG, "ab c.jpg"),
        ("Ann\u202egpj.exe", TEXT, "Anngpj.exe.txt"),
        ("\u2066x\u2069\u200f\u200b\ufeff.jpg", JPEG, "x.jpg"),
        ("e\u0301te\u0301.jpg", JPEG, "été.jpg"),
        ('a"b<c>d:e|f?g*h.jpg', JPEG, "a_b_c_d_e_f_g_h.jpg"),
        ("a.txt:stream.jpg", JPEG, "a.txt_stream.jpg"),
        ("CON.jpg", JPEG, "_CON.jpg"),
        ("nul.tar.jpg", JPEG, "_nul.tar.jpg"),
        ("console.jpg", JPEG, "console.jpg"),
        ("  two   words . jpg", JPEG, "two words . jpg.jpg"),
        ("\ud800.jpg", JPEG, "jpg.jpg"),
    ],
)
def test_a_name_as_it_is_kept(given_name: str | None, found: FileType, kept: str) -> None:
    assert safe_name(given_name, found) == kept


def test_of_ten_thousand_characters_some_and_the_extension_are_kept() -> None:
    kept = safe_name("é" * 10_000 + ".jpeg", JPEG)
    assert len(kept) == MAX_NAME
    assert kept.endswith("é.jpeg")


@given(hostile, st.sampled_from([JPEG, PDF, TEXT]))
def test_a_kept_name_is_safe_whatever_came(text: str, found: FileType) -> None:
    kept = safe_name(text, found)
    assert 0 < len(kept) <= MAX_NAME
    assert not set(kept) & set('/\\\0<>:"|?*')
    assert not {unicodedata.category(char) for char in kept} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert unicodedata.is_normalized("NFC", kept)
    assert kept.rpartition(".")[2] in found.extensions
    assert not kept.startswith((".", " "))
    assert kept.partition(".")[0].strip().lower() not in ("con", "nul", "")
    assert safe_name(kept, found) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("photo.jpg", 'attachment; filename="photo.jpg"'),
        ("été.jpg", "attachment; filename=\"ete.jpg\"; filename*=UTF-8''%C3%A9t%C3%A9.jpg"),
        ("日.pdf", "attachment; filename=\"_.pdf\"; filename*=UTF-8''%E6%97%A5.pdf"),
        ("100%.pdf", "attachment; filename=\"100_.pdf\"; filename*=UTF-8''100%25.pdf"),
        ("a／b.pdf", "attachment; filename=\"a_b.pdf\"; filename*=UTF-8''a%EF%BC%8Fb.pdf"),
    ],
)
def test_the_header_has_ascii_for_all_and_utf_8_beside_it(name: str, value: str) -> None:
    assert content_disposition(name) == value


def test_what_may_be_shown_is_inline() -> None:
    assert content_disposition("a.jpg", inline=True) == 'inline; filename="a.jpg"'


@given(hostile)
def test_the_header_is_one_line_of_ascii_that_others_read_back(text: str) -> None:
    name = safe_name(text, PDF)
    value = content_disposition(name)
    assert value.isascii()
    assert value.isprintable()
    message = Message()
    message["Content-Disposition"] = value
    if "filename*" in value:
        plain, _, _ = value.partition("; filename*")
        message.replace_header("Content-Disposition", value.replace(plain[10:], ""))
    read = message.get_param("filename", header="Content-Disposition")
    assert isinstance(read, str | tuple)
    assert collapse_rfc2231_value(read) == name
