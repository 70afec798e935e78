"""Ranges and preconditions by the words of RFC 9110, without a server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from server.uploads.conditions import OutOfRangeError, Part, Version, judge, part

MODIFIED = datetime(2026, 11, 22, 16, 4, 5, tzinfo=UTC)
VERSION = Version('"4f1c"', MODIFIED)
SAME = "Sun, 22 Nov 2026 16:04:05 GMT"
EARLIER = "Sun, 22 Nov 2026 16:04:04 GMT"
LATER = "Sun, 22 Nov 2026 16:04:06 GMT"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes=0-0", Part(0, 1)),
        ("bytes=0-99", Part(0, 100)),
        ("bytes=99-99", Part(99, 1)),
        ("bytes=10-", Part(10, 90)),
        ("bytes=50-1000", Part(50, 50)),
        (f"bytes=0-{'9' * 8000}", Part(0, 100)),
        (f"bytes={'0' * 8000}7-7", Part(7, 1)),
        ("bytes=-1", Part(99, 1)),
        ("bytes=-100", Part(0, 100)),
        ("bytes=-1000", Part(0, 100)),
        ("BYTES= 1-2 ", Part(1, 2)),
    ],
)
def test_one_range_is_a_part(text: str, found: Part) -> None:
    assert part({"Range": text}, VERSION, 100) == found


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={'9' * 99}-"])
def test_a_range_behind_the_end_is_refused(text: str) -> None:
    with pytest.raises(OutOfRangeError):
        part({"Range": text}, VERSION, 100)


@pytest.mark.parametrize(
    "text",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=200-100"),
        *("bytes=0-1,5-6", "bytes=0-0,", "lines=0-5", "bytes=1--2", "bytes=+1-2", "bytes=٣-٤"),
    ],
)
def test_any_other_range_is_the_whole(text: str) -> None:
    assert part({"Range": text}, VERSION, 100) is None


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        *(('"4f1c"', True), ('W/"4f1c"', False), ('"other"', False), (SAME, True)),
        *((EARLIER, False), (LATER, False), ("nonsense", False), ("", False)),
        (f"Sun, 22 Nov {'9' * 20} 16:04:05 GMT", False),
    ],
)
def test_a_range_of_another_version_is_the_whole(condition: str, applies: bool) -> None:
    found = part({"Range": "bytes=0-0", "If-Range": condition}, VERSION, 100)
    assert found == (Part(0, 1) if applies else None)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, "send"),
        ({"If-None-Match": '"4f1c"'}, "not modified"),
        ({"If-None-Match": 'W/"4f1c"'}, "not modified"),
        ({"If-None-Match": '"a,b" , "4f1c"'}, "not modified"),
        ({"If-None-Match": "*"}, "not modified"),
        ({"If-None-Match": ', "a",, "4f1c"'}, "not modified"),
        ({"If-None-Match": '"other"'}, "send"),
        ({"If-None-Match": "4f1c"}, "send"),
        ({"If-None-Match": '"4f1c'}, "send"),
        ({"If-None-Match": '"other"', "If-Modified-Since": SAME}, "send"),
        ({"If-Modified-Since": SAME}, "not modified"),
        ({"If-Modified-Since": LATER}, "not modified"),
        ({"If-Modified-Since": EARLIER}, "send"),
        ({"If-Modified-Since": "Sun, 99 Nov 2026 16:04:05 GMT"}, "send"),
        ({"If-Modified-Since": f"Sun, 22 Nov {'9' * 20} 16:04:05 GMT"}, "send"),
        ({"If-Modified-Since": f"{LATER}, {LATER}"}, "send"),
        ({"If-Modified-Since": "Sunday, 22-Nov-26 16:04:05 GMT"}, "not modified"),
        ({"If-Modified-Since": "Sun Nov 22 16:04:05 2026"}, "not modified"),
        ({"If-Match": '"4f1c"'}, "send"),
        ({"If-Match": "*"}, "send"),
        ({"If-Match": '"other", "4f1c"'}, "send"),
        ({"If-Match": 'W/"4f1c"'}, "failed"),
        ({"If-Match": '"other"'}, "failed"),
        ({"If-Match": ""}, "failed"),
        ({"If-Match": '"4f1c"', "If-Unmodified-Since": EARLIER}, "send"),
        ({"If-Unmodified-Since": SAME}, "send"),
        ({"If-Unmodified-Since": EARLIER}, "failed"),
        ({"If-Match": '"4f1c"', "If-None-Match": '"4f1c"'}, "not modified"),
    ],
)
def test_preconditions_in_their_order(headers: dict[str, str], verdict: str) -> None:
    assert judge(headers, VERSION) == verdict
