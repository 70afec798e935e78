from __future__ import annotations

from base64 import b64encode

import pytest
from pydantic import ValidationError

from server.webhooks.providers.dodo import DODO
from server.webhooks.signing.schemes import Either, HmacHeader, StandardWebhooks, StripeSignature
from server.webhooks.signing.signatures import (
    Signed,
    split_secrets,
)
from tests.webhooks.signing import (
    BODY,
    NOW,
    OTHER,
    SECRET,
    SIGNED_ALL,
    refused,
    sign,
)


def test_a_setting_holds_several_secrets_only_if_each_is_long() -> None:
    assert split_secrets(f"{SECRET}, {OTHER}\n") == (SECRET, OTHER)
    assert split_secrets(f"{SECRET} {OTHER}") == (SECRET, OTHER)
    for single in ("It's a Secret to Everybody", "a,b", "", SECRET, f"{SECRET},short"):
        assert split_secrets(single) == (single,)


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        ("whsec_not!base64", "base64"),
        ("whsec_", "base64"),
        ("", "base64"),
        ("whsec_" + b64encode(b"short").decode(), "5 bytes"),
        ("whsk_" + b64encode(bytes(32)).decode(), "private"),
        ("whpk_" + b64encode(bytes(31)).decode(), "32 bytes"),
        ("whpk_!", "32 bytes"),
        ("whsec_" + "A" * 2000, "base64"),
        ("\udc80" * 8, "base64"),
    ],
)
def test_a_secret_that_can_verify_nothing_is_found_when_it_is_configured(
    secret: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        StandardWebhooks().check_secret(secret)
    assert refused("standard", sign("standard"), secret=secret)


def test_secrets_that_stand_as_they_are_may_be_any_text_but_nothing() -> None:
    for scheme in (StripeSignature(), HmacHeader(header="x"), DODO.scheme):
        scheme.check_secret("It's a Secret to Everybody")
        for bad in ("", " padded ", "x" * 1025, "a\0b"):
            with pytest.raises(ValueError, match="the secret"):
                scheme.check_secret(bad)
    StandardWebhooks().check_secret(SECRET)
    StandardWebhooks().check_secret(SECRET.removeprefix("whsec_"))
    assert isinstance(DODO.scheme, Either)
    for mistyped in ("whsec_nonsense!", "whsk_" + "A" * 44):
        with pytest.raises(ValueError, match=r"secret|key"):
            DODO.scheme.check_secret(mistyped)


@pytest.mark.parametrize(
    "fields",
    [
        {"header": ""},
        {"header": "x sig"},
        {"header": "x-ß"},
        {"header": "x", "id_header": "X"},
        {"header": "x", "algorithm": "md5"},
        {"header": "x", "encoding": "text"},
        {"header": "x", "prefix": "a,b"},
        {"header": "x", "prefix": "a b"},
        {"header": "x", "template": "{timestamp}.{body}"},
        {"header": "x", "template": "{id}.{body}"},
        {"header": "x", "template": "{body}."},
        {"header": "x", "template": "{body}{body}"},
        {"header": "x", "template": "{secret}.{body}"},
        {"header": "x", "template": "{.{body}"},
        {"header": "x", "timestamp_header": "y"},
        {"header": "x", "timestamp_header": "y", "template": "{timestamp}{body}"},
        {"header": "x", "tolerance": 0},
        {"header": "x", "tolerance": float("inf")},
        {"header": "x", "key": "value"},
    ],
)
def test_a_scheme_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HmacHeader.model_validate(fields)


def test_a_described_scheme_can_be_kept_as_json() -> None:
    for scheme in (SIGNED_ALL, StandardWebhooks(tolerance=60)):
        assert type(scheme).model_validate_json(scheme.model_dump_json()) == scheme
    signed = SIGNED_ALL.verify(BODY, sign("all"), [SECRET], NOW)
    assert signed == Signed("msg_1", NOW)
