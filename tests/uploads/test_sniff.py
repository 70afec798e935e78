from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.uploads.policies import POLICIES
from server.uploads.refused import Reason, Refused
from server.uploads.sniff import HEAD, Sniffer
from server.uploads.zips import MAX_DIRECTORY, read_kind
from tests.uploads import making
from tests.uploads.making import JPEG, PNG, WEBP

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def sniff(data: bytes, policy: str, declared: str | None = None, step: int = 65_536) -> str:
    """The type of a file that comes in chunks of `step` bytes."""
    sniffer = Sniffer(POLICIES[policy], declared)
    for at in range(0, len(data), step):
        sniffer.feed(data[at : at + step])
    found = sniffer.close()
    return (found or sniffer.settle(io.BytesIO(data))).name


def refusal(data: bytes, policy: str, declared: str | None = None) -> Reason:
    with pytest.raises(Refused) as caught:
        sniff(data, policy, declared)
    return caught.value.reason


ACCEPTED = [
    ("images", "image/jpeg", JPEG),
    ("images", "image/png", PNG),
    ("images", "image/webp", WEBP),
    ("documents", "application/pdf", making.PDF),
    ("documents", "text/plain", "größer\r\n\t\x1b[1m".encode()),
    ("documents", DOCX, making.DOCX),
    ("documents", XLSX, making.XLSX),
    ("documents", PPTX, making.PPTX),
    ("media", "video/mp4", making.MP4),
    ("media", "video/webm", making.WEBM),
    ("media", "video/quicktime", struct.pack(">L", 20) + b"ftypqt  \0\0\0\0qt  "),
    ("media", "audio/mpeg", b"ID3\x03\0" + bytes(40)),
    ("media", "audio/mp4", struct.pack(">L", 24) + b"ftypM4A \0\0\0\0M4A mp42"),
    ("media", "audio/ogg", b"OggS\0" + bytes(40)),
    ("media", "audio/wav", making.WAV),
    ("media", "audio/flac", b"fLaC" + bytes(40)),
    ("media", "application/zip", making.archive("a.txt")),
]


@pytest.mark.parametrize(("policy", "name", "data"), ACCEPTED, ids=[each[1] for each in ACCEPTED])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("step", [1, 65_536])
def test_a_type_is_told_declared_or_not_in_chunks_of_any_size(
    policy: str, name: str, data: bytes, declared: bool, step: int
) -> None:
    assert sniff(data, policy, name if declared else None, step) == name


def test_every_type_of_every_policy_is_among_these() -> None:
    told_by_declaration = {"text/csv", "text/markdown"}
    names = {each.name for policy in POLICIES.values() for each in policy.types}
    assert names == {name for _, name, _ in ACCEPTED} | told_by_declaration


@pytest.mark.parametrize(
    "declared",
    ["image/jpg", "IMAGE/JPEG", "image/jpeg; name=a.jpg", "application/octet-stream", "", None],
)
def test_what_clients_declare_for_a_jpeg(declared: str | None) -> None:
    assert sniff(JPEG, "images", declared) == "image/jpeg"


def test_a_table_is_a_text_that_is_declared_as_one() -> None:
    assert sniff(b"ID3,GIF\n1,2\n", "documents", "text/csv; charset=utf-8") == "text/csv"
    assert sniff(b"a;b\n", "documents", "application/vnd.ms-excel") == "text/csv"
    assert sniff(b"a;b\n", "documents") == "text/plain"


@pytest.mark.parametrize(
    ("data", "policy", "declared"),
    [
        (PNG, "images", "image/jpeg"),
        (b"GIF89a<script>alert(1)</script>", "images", None),
        (b"GIF89a<script>alert(1)</script>", "images", "image/gif"),
        (b"GIF89a<script>alert(1)</script>", "images", "image/png"),
        (making.SVG, "images", None),
        (making.SVG, "images", "image/png"),
        (making.SVG, "images", "image/svg+xml"),
        (b"\x89PNG<script>", "images", "image/png"),
        (b"\x89PNG\n\x1a\n" + PNG[8:], "images", None),
        (making.HTML, "images", "image/webp"),
        (making.HTML, "documents", "text/html"),
        (b" " + making.PDF, "documents", "application/pdf"),
        (b"\xef\xbb\xbf" + making.PDF, "documents", "application/pdf"),
        (making.HTML + making.PDF, "documents", "application/pdf"),
        (making.PDF, "images", None),
        (b"MZ" + bytes(100), "documents", None),
        (b"\x7fELF" + bytes(100), "media", "application/octet-stream"),
        (making.WAV, "images", "image/webp"),
        (b"x", "images", "nonsense"),
    ],
)
def test_what_is_not_of_the_policy_or_not_as_declared_is_refused(
    data: bytes, policy: str, declared: str | None
) -> None:
    assert refusal(data, policy, declared) is Reason.TYPE


def test_markup_declared_as_text_is_a_text() -> None:
    assert sniff(making.HTML, "documents", "text/plain") == "text/plain"
    assert sniff(making.SVG, "documents", "text/csv") == "text/csv"


def test_what_is_declared_and_not_taken_is_refused_before_any_byte() -> None:
    with pytest.raises(Refused):
        Sniffer(POLICIES["images"], "image/gif")


def test_a_wrong_file_is_refused_at_its_head() -> None:
    sniffer = Sniffer(POLICIES["images"], None)
    sniffer.feed(bytes(HEAD - 1))
    with pytest.raises(Refused):
        sniffer.feed(b"\0")


@pytest.mark.parametrize("declared", [None, "text/plain", "application/pdf", DOCX])
def test_nothing_is_refused_as_empty(declared: str | None) -> None:
    assert refusal(b"", "documents", declared) is Reason.EMPTY


@pytest.mark.parametrize(
    "bad",
    [b"\0", b"\x07", b"\x0b", b"\xff", b"\xc3(", "é".encode("latin-1"), "hi".encode("utf-16")],
)
@pytest.mark.parametrize("declared", ["text/plain", None])
def test_binary_anywhere_in_a_text_is_refused(bad: bytes, declared: str | None) -> None:
    assert refusal(b"a" * 20_000 + bad + b"b" * 20_000, "documents", declared) is Reason.TYPE


def test_a_text_that_ends_within_a_character_is_refused() -> None:
    assert refusal("é".encode()[:1], "documents", "text/plain") is Reason.TYPE


@given(st.text(min_size=1).map(lambda text: text.encode("utf-8")), st.integers(1, 9))
def test_a_text_is_what_python_decodes_and_holds_no_binary_character(
    data: bytes, step: int
) -> None:
    binary = set(data) & ({*range(32)} - {*b"\t\n\f\r\x1b"})
    if binary:
        assert refusal(data, "documents", "text/plain") is Reason.TYPE
    else:
        assert sniff(data, "documents", "text/plain", step) == "text/plain"


@given(
    st.sampled_from([data[:400] for _, _, data in ACCEPTED]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=6),
    st.sampled_from(sorted(POLICIES)),
)
def test_broken_bytes_raise_nothing_but_a_refusal(
    data: bytes, edits: list[tuple[int, bytes]], policy: str
) -> None:
    for at, new in edits:
        data = data[:at] + new + data[at + len(new) :]
    try:
        name = sniff(data, policy)
    except Refused:
        return
    assert POLICIES[policy].find(name) is not None


def test_a_zip_is_no_document() -> None:
    assert refusal(making.archive("a.txt"), "documents", DOCX) is Reason.TYPE
    assert refusal(making.archive("word/document.xml"), "documents", DOCX) is Reason.TYPE
    assert refusal(making.archive("a.txt"), "documents") is Reason.TYPE


def test_a_document_is_not_another_kind_of_document() -> None:
    assert refusal(making.XLSX, "documents", DOCX) is Reason.TYPE


def test_a_document_is_a_zip_where_zips_are_taken() -> None:
    assert sniff(making.DOCX, "media", "application/zip") == "application/zip"


def test_a_document_with_macros_or_with_two_main_parts_is_none() -> None:
    types = "[Content_Types].xml"
    macros = making.archive(types, "word/document.xml", "word/vbaProject.bin")
    both = making.archive(types, "word/document.xml", "xl/workbook.xml")
    assert refusal(macros, "documents", DOCX) is Reason.TYPE
    assert refusal(both, "documents", DOCX) is Reason.TYPE


def test_the_main_part_of_word_on_the_web_is_known() -> None:
    assert sniff(making.office("word/document2.xml"), "documents") == DOCX


def test_names_only_in_the_local_headers_make_no_document() -> None:
    data = making.DOCX
    (start,) = struct.unpack_from("<L", data, data.rindex(b"PK\x05\x06") + 16)
    disguised = data[:start] + data[start:].replace(b"word/document.xml", b"word/documenX.xml")
    assert refusal(disguised, "documents", DOCX) is Reason.TYPE


@pytest.mark.parametrize("data", [making.DOCX, making.archive("a.txt"), making.archive()])
def test_a_zip_that_is_cut_off_or_followed_or_preceded_is_damaged(data: bytes) -> None:
    for broken in (*(data[:at] for at in range(4, len(data))), data + b"x", b"x" + data):
        with pytest.raises(Refused) as caught:
            read_kind(io.BytesIO(broken))
        assert caught.value.reason is Reason.DAMAGED


@pytest.mark.parametrize("entries", [2, 4])
def test_a_zip_that_counts_its_names_wrongly_is_damaged(entries: int) -> None:
    at = making.DOCX.rindex(b"PK\x05\x06") + 8
    data = making.DOCX[:at] + struct.pack("<HH", entries, entries) + making.DOCX[at + 4 :]
    with pytest.raises(Refused):
        read_kind(io.BytesIO(data))


def test_a_comment_in_a_zip_is_no_part_that_follows() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.comment = b"PK\x05\x06 a comment"
    assert read_kind(out) == "application/zip"


def test_an_archive_of_very_many_names_is_no_document() -> None:
    names = (f"word/media/{number:05}{'x' * 200}" for number in range(6000))
    data = making.archive("[Content_Types].xml", "word/document.xml", *names, content=b"")
    assert len(data) > MAX_DIRECTORY
    assert read_kind(io.BytesIO(data)) == "application/zip"


@given(st.binary(max_size=120), st.integers(0, 300))
def test_a_broken_directory_raises_nothing_but_a_refusal(noise: bytes, at: int) -> None:
    data = making.DOCX[:-at] + noise if at else making.DOCX + noise
    for broken in (data, data + making.DOCX[-22:], data + making.archive()):
        try:
            read_kind(io.BytesIO(broken))
        except Refused:
            continue
