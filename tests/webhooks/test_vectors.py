"""Signatures that others have published or made, exact to the byte."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from server.webhooks.providers import PROVIDERS
from server.webhooks.providers.dodo import TEXT_FORM
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks, StripeSignature
from server.webhooks.signing.signatures import BadSignatureError, Scheme, Signed

GITHUB = next(provider.scheme for provider in PROVIDERS if provider.name == "github")
SLACK = HmacHeader(
    header="X-Slack-Signature",
    prefix="v0=",
    timestamp_header="X-Slack-Request-Timestamp",
    template="v0:{timestamp}:{body}",
)
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STANDARD = {"webhook-id": STANDARD_ID, "webhook-timestamp": "1614265330"}
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER_V1 = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
V1A = "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
PUBLIC = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
PRIVATE = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


class Vector(NamedTuple):
    scheme: Scheme
    body: bytes
    headers: dict[str, str]
    secret: str
    signed: Signed


VECTORS = {
    # The test suite of the Standard Webhooks libraries.
    "standard": Vector(
        StandardWebhooks(),
        STANDARD_BODY,
        STANDARD | {"webhook-signature": V1},
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        Signed(STANDARD_ID, 1614265330),
    ),
    # The same, as Svix names the headers; without the secret's prefix.
    "svix": Vector(
        StandardWebhooks(),
        STANDARD_BODY,
        {
            "svix-id": STANDARD_ID,
            "svix-timestamp": "1614265330",
            "svix-signature": f"{OTHER_V1} v2,{V1[3:]} {V1} {OTHER_V1}",
        },
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        Signed(STANDARD_ID, 1614265330),
    ),
    # The key pair of RFC 8032, 7.1, test 1; signed by OpenSSL.
    "ed25519": Vector(
        StandardWebhooks(),
        STANDARD_BODY,
        STANDARD | {"webhook-signature": f"{OTHER_V1} {V1A}"},
        PUBLIC,
        Signed(STANDARD_ID, 1614265330),
    ),
    # Signed by OpenSSL.
    "stripe": Vector(
        StripeSignature(),
        b'{"id":"evt_1","object":"event"}',
        {
            "stripe-signature": "t=1614265330,"
            "v1=42b3d2b2181207b6b299df380bf37599bb895dc182467ba12e046b1916c4cd19,"
            "v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
        },
        "whsec_test_secret",
        Signed(None, 1614265330),
    ),
    # "Validating webhook deliveries" of GitHub's documentation.
    "github": Vector(
        GITHUB,
        b"Hello, World!",
        {
            "x-hub-signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        },
        "It's a Secret to Everybody",
        Signed("72d3162e-cc78-11e3-81ab-4c9367dc0958", None),
    ),
    # "Verifying requests from Slack" of Slack's documentation.
    "slack": Vector(
        SLACK,
        SLACK_BODY,
        {
            "x-slack-signature": "v0="
            "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
        },
        "8f742231b10e8888abcd99yyyzzz85a5",
        Signed(None, 1531420618),
    ),
    # The source text's form, signed by OpenSSL.
    "dodo text form": Vector(
        TEXT_FORM,
        b'{"type":"payment.succeeded","data":{"customerId":"u1","credits":5}}',
        {"x-dodo-signature": "1ecb35c0b6446246608641381ea15430e631d58c507b5dfa5b31cfd4183a4fb7"},
        "dodo_key",
        Signed(None, None),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_published_signature_verifies(name: str) -> None:
    scheme, body, headers, secret, signed = VECTORS[name]
    assert scheme.verify(body, headers, [secret], (signed.at or 0) + 300) == signed
    assert scheme.verify(body, headers, ["x" * 40, secret], (signed.at or 0) - 300) == signed
    with pytest.raises(BadSignatureError):
        scheme.verify(body + b" ", headers, [secret], signed.at or 0)
    with pytest.raises(BadSignatureError):
        scheme.verify(body, headers, [], signed.at or 0)


def test_we_sign_as_the_vectors_do() -> None:
    made = StandardWebhooks().sign(
        STANDARD_BODY, VECTORS["standard"].secret, message_id=STANDARD_ID, at=1614265330.9
    )
    assert made == VECTORS["standard"].headers
    made = StandardWebhooks().sign(STANDARD_BODY, PRIVATE, message_id=STANDARD_ID, at=1614265330)
    assert made["webhook-signature"] == V1A
    for name in ("github", "slack", "dodo text form"):
        scheme, body, headers, secret, signed = VECTORS[name]
        made = scheme.sign(body, secret, message_id=signed.id or "", at=signed.at or 0)
        assert made == headers


@pytest.mark.parametrize("name", ["standard", "svix", "ed25519", "stripe", "slack"])
@pytest.mark.parametrize("off", [300.5, -300.5, 3600.0, -3600.0])
def test_a_replay_out_of_time_is_refused_whether_late_or_early(name: str, off: float) -> None:
    scheme, body, headers, secret, signed = VECTORS[name]
    assert signed.at is not None
    with pytest.raises(BadSignatureError, match="off by"):
        scheme.verify(body, headers, [secret], signed.at + off)


def test_of_many_asymmetric_signatures_only_the_first_are_tried() -> None:
    scheme, body, headers, secret, signed = VECTORS["ed25519"]
    other = "v1a," + "A" * 86 + "=="
    for before in (3, 4):
        many = headers | {"webhook-signature": " ".join([other] * before + [V1A])}
        try:
            taken = scheme.verify(body, many, [secret], 1614265330) == signed
        except BadSignatureError:
            taken = False
        assert taken == (before < 4)
