from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.webhooks.providers import PROVIDERS, Provider, source
from server.webhooks.providers.envelope import (
    MAX_DEPTH,
    BodyError,
    Envelope,
    moment,
    parse,
    text_or_none,
    type_name,
)
from server.webhooks.providers.samples.example import Example
from server.webhooks.signing.schemes import StandardWebhooks
from server.webhooks.signing.signatures import Signed

READERS = (*PROVIDERS, source("crm", StandardWebhooks()))
SIGNED = Signed("msg_1", 1_700_000_000.0)
UNSIGNED = Signed(None, None)
every_reader = pytest.mark.parametrize("provider", READERS, ids=lambda provider: provider.name)

HOSTILE = [
    b"",
    b" ",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"\x00"',
    b"{",
    b'{"a":1}x',
    b"{'a':1}",
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b"NaN",
    b"[" * 1_000_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    b"payload=%7B%7D",
]
STRANGE = [
    b"null",
    b"[]",
    b'"text"',
    b"0",
    b"{}",
    b'\xef\xbb\xbf{"type":"a"}',
    b'{"type":5,"data":[],"id":{}}',
    b'{"type":"a\\u0000b","id":"\\u0000","data":{"customer":"\\ud800"}}',
    b'{"type":"' + b"t" * 1000 + b'","id":"' + b"i" * 1000 + b'"}',
    b'{"type":"a","created":1e999,"timestamp":"9999-99-99"}',
    b'{"type":"a","created":' + b"9" * 100_000 + b"}",
    b'{"type":"a","data":{"object":{"id":["x"],"customer":{"id":7}}}}',
    b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1),
    b'{"' + b"[" * 5000 + b'":"' + b"{" * 5000 + b'"}',
]


def storable(envelope: Envelope) -> bool:
    """Whether Postgres and the log take its texts."""
    texts = [envelope.id, envelope.type, envelope.key or "k"]
    plain = all(0 < len(text) <= 200 and min(text) >= " " for text in texts)
    return plain and all(text.encode() for text in texts) and envelope.type.isascii()


@every_reader
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_body_that_is_not_json_is_refused(provider: Provider, body: bytes) -> None:
    with pytest.raises(BodyError, match="the body is"):
        provider.read(body, {}, SIGNED)


@every_reader
@pytest.mark.parametrize("body", STRANGE, ids=range(len(STRANGE)))
def test_json_that_says_nothing_known_is_kept(provider: Provider, body: bytes) -> None:
    envelope = provider.read(body, {"x-github-event": "\udc80\0"}, UNSIGNED)
    assert storable(envelope)
    assert provider.read(body, {}, SIGNED).type == provider.read(body, {}, UNSIGNED).type


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "type",
                    "data",
                    "object",
                    "customer",
                    "customer_id",
                    "timestamp",
                    "created",
                    "metadata",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@every_reader
@given(value=json_values, garbage=st.binary(max_size=40), header=st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_is_stored_or_refused(
    provider: Provider, value: object, garbage: bytes, header: str
) -> None:
    headers = {"x-github-event": header}
    for body in (json.dumps(value).encode(), garbage, garbage + json.dumps(value).encode()):
        envelope = read(provider, body, headers)
        assert envelope is None or storable(envelope)


def read(provider: Provider, body: bytes, headers: dict[str, str]) -> Envelope | None:
    try:
        return provider.read(body, headers, UNSIGNED)
    except BodyError:
        return None


@every_reader
def test_a_sample_is_read_as_what_it_is(provider: Provider) -> None:
    for kind in provider.types:
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        body = provider.sample(kind, Example(reference="r7", at=at))
        envelope = provider.read(body, provider.headers(kind), UNSIGNED)
        assert envelope.type == kind
        assert envelope.at in (at, None)
        assert envelope.key
        other = provider.sample(kind, Example(reference="r8", at=at))
        assert provider.read(other, provider.headers(kind), UNSIGNED).id != envelope.id or (
            provider.name == "github"
            and kind == "ping"  # only its delivery's id tells one from another
        )


def test_registered_providers_have_doors_and_secrets_of_their_own() -> None:
    assert len({provider.name for provider in PROVIDERS}) == len(PROVIDERS)
    assert len({provider.path for provider in PROVIDERS}) == len(PROVIDERS)
    assert all(provider.setting and provider.path.startswith("/api/") for provider in PROVIDERS)


def test_identical_bytes_without_an_id_are_one_delivery() -> None:
    dodo = PROVIDERS[0]
    first = dodo.read(b'{"type":"a"}', {}, UNSIGNED)
    assert first.id == dodo.read(b'{"type":"a"}', {}, UNSIGNED).id
    assert first.id != dodo.read(b'{"type":"a" }', {}, UNSIGNED).id
    assert dodo.read(b'{"type":"a"}', {}, SIGNED).id == "msg_1"


def test_the_last_of_two_equal_names_counts_and_huge_numbers_are_texts() -> None:
    assert parse(b'{"a":1,"a":2}') == {"a": 2}
    assert parse(b"9" * 640) == 10**640 - 1
    assert parse(b"9" * 641) == "9" * 641


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        (1767323045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", None),
        ("2026-01-02", None),
        ("1999-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("x" * 10_000, None),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_time_is_one_that_has_an_offset_and_a_likely_year(
    value: object, found: datetime | None
) -> None:
    assert moment(value) == found


def test_texts_are_short_and_plain_and_types_are_names() -> None:
    assert text_or_none("cus_é 1") == "cus_é 1"
    for bad in ("", "a\0", "a\n", "\ud800", "x" * 201, "a\u2028", 5, None, ["a"]):
        assert text_or_none(bad) is None
    for good in ("a", "payment.succeeded", "orders/create", "A:b-c_9"):
        assert type_name(good) == good
    for bad in ("", ".a", "a b", "é", "a\n", "x" * 101, 5, None):
        assert type_name(bad) == "unknown"


def test_a_source_of_ones_own_orders_by_numbers_as_by_texts() -> None:
    for key, body in [("17", b'{"data":{"id":17}}'), (None, b'{"data":{"id":true}}')]:
        assert source("own", StandardWebhooks()).read(body, {}, Signed("m", None)).key == key
