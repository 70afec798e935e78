"""The headers of tus, read and written."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest

from server.errors import ApiError
from server.uploads.policies import POLICIES
from server.uploads.tus import protocol


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def refusal(text: str) -> str:
    """The issue that metadata is refused for."""
    with pytest.raises(ApiError) as caught:
        protocol.read_metadata(text)
    assert caught.value.kind.status == 400
    (issue,) = caught.value.issues
    assert issue.path == ("Upload-Metadata",)
    return issue.message


def test_metadata_says_name_type_and_policy() -> None:
    text = f"policy {b64('media')},filename {b64('ä,b.mp4')},filetype {b64('video/mp4')},x"
    found = protocol.read_metadata(text)
    assert found == (text, POLICIES["media"], "ä,b.mp4", "video/mp4")
    uppys = protocol.read_metadata(f"name {b64('a.png')},type {b64('image/png')},empty ")
    assert (uppys.name, uppys.type, uppys.policy) == ("a.png", "image/png", POLICIES["images"])
    assert protocol.read_metadata(None) == (None, POLICIES["images"], "", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pairs"),
        (",", "pairs"),
        ("a YQ==,", "pairs"),
        ("a YQ==, b YQ==", "pairs"),
        (" YQ==", "pairs"),
        ("ä YQ==", "pairs"),
        ("a\tYQ==", "pairs"),
        ("k" * 101, "pairs"),
        ("a YQ==,a Yg==", "twice"),
        ("a YQ", "base64"),
        ("a YQ==YQ==", "base64"),
        ("a AAAA==", "base64"),
        ("a Y Q=", "base64"),
        ("a \udcff", "base64"),
        ("filename //79", "UTF-8"),
        (f"policy {b64('Images')}", "one of images"),
        (",".join(f"k{n}" for n in range(21)), "20 pairs"),
        ("k " + "A" * 4096, "4096"),
    ],
)
def test_metadata_is_read_strictly(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize("algorithm", protocol.ALGORITHMS)
def test_a_checksum_is_that_of_all_that_was_fed(algorithm: str) -> None:
    digest = base64.b64encode(hashlib.new(algorithm, b"hello world").digest()).decode()
    for second, right in ((b"world", True), (b"World", False)):
        checksum = protocol.read_checksum(f"{algorithm} {digest}")
        assert checksum is not None
        checksum.feed(b"hello ")
        checksum.feed(second)
        if right:
            checksum.verify()
        else:
            with pytest.raises(ApiError) as caught:
                checksum.verify()
            assert caught.value.kind.status == 460


def test_the_checksum_of_the_specification_is_right() -> None:
    checksum = protocol.read_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
    assert checksum is not None
    checksum.feed(b"hello world")
    checksum.verify()


@pytest.mark.parametrize(
    "text", ["", "sha1", "sha1 ", "md5 XrY7u+Ae7tCTyyK7j1rNww==", "SHA1 AAAA", "sha256 AAAA"]
)
def test_another_checksum_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        protocol.read_checksum(text)
    assert caught.value.kind.status == 400


def test_the_moment_of_expiry_is_written_as_http_does() -> None:
    moment = datetime(2014, 6, 25, 16, 0, tzinfo=UTC)
    assert protocol.expires(moment) == {"Upload-Expires": "Wed, 25 Jun 2014 16:00:00 GMT"}
    assert protocol.expires(None) == {}
