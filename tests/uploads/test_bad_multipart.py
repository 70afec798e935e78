"""`POST /api/upload`: what is refused, with its documented answer and nothing left behind."""

from __future__ import annotations

import base64
import gzip

import pytest

from tests.uploads import making
from tests.uploads.forms import BODY, BOUNDARY, CHUNKED, CLOSE, OPEN, Door, answer, form, head, part
from tests.uploads.making import JPEG, PNG
from tests.uploads.refusing import shared, uploads

__all__ = ["shared", "uploads"]
pytestmark = pytest.mark.asyncio(loop_scope="session")

GIF = b"GIF89a/*\0\0\0\0*/=1;alert(1)//" + bytes(40)

NO_FILE, BAD_TYPE = (400, "No file provided"), (400, "Invalid file type")
INVALID, TOO_LARGE = (400, "Invalid input"), (413, "File too large")
MEDIA_TYPE = (415, "Unsupported media type")

FORMS = {
    "zero bytes": (form(part(b"")), NO_FILE),
    "an empty file input": (
        form(part(b"", 'form-data; name="file"; filename=""', "application/octet-stream")),
        NO_FILE,
    ),
    "no file": (form(part(b"x", 'form-data; name="a"', None)), NO_FILE),
    "no part": (CLOSE, NO_FILE),
    "a text in the field": (form(part(PNG, 'form-data; name="file"')), NO_FILE),
    "another field": (form(part(PNG, 'form-data; name="image"; filename="a.png"')), NO_FILE),
    "a part without a name": (form(part(PNG, "form-data")), NO_FILE),
    "no body": (b"", INVALID),
    "no form": (PNG, INVALID),
    "no closing boundary": (BODY[: -len(CLOSE)], INVALID),
    "cut in the closing boundary": (BODY[:-6], INVALID),
    "another boundary": (BODY.replace(BOUNDARY.encode(), b"other"), INVALID),
    "a boundary that goes on": (BODY.replace(OPEN, OPEN[:-2] + b"x\r\n"), INVALID),
    "thousands of fields": (
        form(*[part(b"", f'form-data; name="{n}"', None) for n in range(3000)]),
        INVALID,
    ),
    "a large field": (form(part(b"x" * 70_000, "form-data; name=a"), part(PNG)), INVALID),
    "an endless preamble": (b"x" * 100_000 + BODY, INVALID),
    "an endless header": (OPEN + b"X: " + b"y" * 100_000, INVALID),
    "endless header lines": (OPEN + b"X: y\r\n" * 20_000, INVALID),
    "an endless epilogue": (BODY + b"x" * 100_000, INVALID),
    "two names": (form(part(PNG, "form-data; name=file; name=a; filename=a.png")), INVALID),
    "two files": (form(part(PNG), part(PNG)), INVALID),
    "a form in a form": (
        form(part(form(part(PNG)), kind="multipart/mixed; boundary=x")), BAD_TYPE,
    ),
    "base64": (
        form(part(base64.b64encode(PNG), "form-data; name=file; filename=a.png", "image/png",
                  "Content-Transfer-Encoding: base64")),
        MEDIA_TYPE,
    ),
    "a part in gzip": (
        form(part(gzip.compress(PNG), "form-data; name=file; filename=a.png", "image/png",
                  "Content-Encoding: gzip")),
        MEDIA_TYPE,
    ),
    "a gif with a script": (form(part(GIF, kind="image/gif")), BAD_TYPE),
    "a gif with a script as png": (form(part(GIF)), BAD_TYPE),
    "an svg as png": (form(part(making.SVG)), BAD_TYPE),
    "an svg": (form(part(making.SVG, kind="image/svg+xml")), BAD_TYPE),
    "html as png": (form(part(making.HTML)), BAD_TYPE),
    "jpeg as png": (form(part(JPEG)), BAD_TYPE),
    "a zip behind a png": (form(part(PNG + making.archive("a"))), BAD_TYPE),
    "a truncated jpeg": (form(part(JPEG[: len(JPEG) // 2], kind="image/jpeg")), BAD_TYPE),
    "20,000 x 20,000 pixels": (form(part(making.png((20_000, 20_000, 8, 2, 0, 0, 0)))), TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
async def test_a_bad_form_has_its_answer(uploads: Door, name: str) -> None:
    body, expected = FORMS[name]
    for headers in ({}, CHUNKED):
        sent = body if not headers else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if headers and not body:
            sent = b"0\r\n\r\n"
        stream = await uploads.running.raw(head(len(body), headers=headers) + sent)
        found = await answer(stream)
        assert (found.status, found.error) == expected, found
        assert uploads.files() == []  # before the answer is told, not some time later
        await stream.send("GET", "/healthz", {}, b"")
        assert stream.status == 200
        stream.abort()
    await uploads.nothing()


@pytest.mark.parametrize(
    ("name", "policy"),
    [("a zip as docx", "documents"), ("text with a NUL", "documents"), ("a docx", "media")],
)
async def test_a_polyglot_has_its_answer(uploads: Door, name: str, policy: str) -> None:
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    content, kind = {
        "a zip as docx": (making.archive("a.txt"), docx),
        "text with a NUL": (b"a,b\n\0", "text/csv"),
        "a docx": (making.DOCX, docx),
    }[name]
    found = await uploads.post(form(part(content, kind=kind)), f"?policy={policy}")
    assert (found.status, found.error) == BAD_TYPE


REQUESTS: dict[str, tuple[str, dict[str, str | None], int]] = {
    "no credentials": ("", {"Authorization": None}, 401),
    "a wrong key": ("", {"Authorization": "Bearer " + "x" * 40}, 401),
    "an unknown policy": ("?policy=none", {}, 400),
    "two policies": ("?policy=images&policy=media", {}, 400),
    "no boundary": ("", {"Content-Type": "multipart/form-data"}, 400),
    "an empty boundary": ("", {"Content-Type": "multipart/form-data; boundary="}, 400),
    "a long boundary": ("", {"Content-Type": f"multipart/form-data; boundary={'b' * 71}"}, 400),
    "another boundary": ("", {"Content-Type": "multipart/form-data; boundary=b"}, 400),
    "multipart/mixed": ("", {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"}, 415),
    "urlencoded": ("", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "no type": ("", {"Content-Type": None}, 415),
    "gzip": ("", {"Content-Encoding": "gzip"}, 415),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_bad_request_has_its_answer(uploads: Door, name: str) -> None:
    query, headers, status = REQUESTS[name]
    assert (await uploads.post(BODY, query, headers)).status == status
    await uploads.nothing()
