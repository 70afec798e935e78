"""The providers' own libraries as oracles: they sign and we verify, and the other way round."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from dodopayments import DodoPayments
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from stripe import Webhook as StripeWebhook
from stripe import WebhookSignature

from server.webhooks.providers.dodo import DODO
from server.webhooks.providers.samples.example import Example
from server.webhooks.providers.stripe import STRIPE
from server.webhooks.signing.schemes import StandardWebhooks, StripeSignature
from server.webhooks.signing.signatures import Signed

keys = st.binary(min_size=16, max_size=64).map(lambda key: "whsec_" + b64encode(key).decode())
texts = st.text(st.characters(codec="utf-8"), max_size=200)
times = st.integers(946_684_800, 4_102_444_800)
ids = st.from_regex(r"[!-~]{1,40}", fullmatch=True)


@given(texts, keys, times, ids)
@settings(max_examples=60, deadline=None)
def test_what_standardwebhooks_signs_we_verify(body: str, key: str, at: int, name: str) -> None:
    # The library reads an aware time's clock as if it were UTC: give it UTC.
    signature = Webhook(key).sign(name, datetime.fromtimestamp(at, UTC), body)
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    assert StandardWebhooks().verify(body.encode(), headers, [key], at) == Signed(name, at)


@given(texts, keys, times)
@settings(max_examples=60, deadline=None)
def test_what_stripe_signs_we_verify(body: str, key: str, at: int) -> None:
    header = WebhookSignature.generate_signature_header(body, key, at)
    headers = {"stripe-signature": header}
    assert StripeSignature().verify(body.encode(), headers, [key], at) == Signed(None, at)
    assert StripeSignature().sign(body.encode(), key, message_id="", at=at) == headers


@given(st.text("abc{}", max_size=20), keys)
@settings(max_examples=20, deadline=None)
def test_what_we_sign_standardwebhooks_verifies(body: str, key: str) -> None:
    headers = StandardWebhooks().sign(body.encode(), key, message_id="msg_1", at=time.time())
    Webhook(key).verify(body, headers, json_parse=False)


@pytest.mark.parametrize("kind", DODO.types)
def test_dodos_library_takes_our_samples(kind: str) -> None:
    key = "whsec_" + b64encode(b"k" * 24).decode()
    body = DODO.sample(kind, Example())
    headers = DODO.scheme.sign(body, key, message_id="msg_1", at=time.time())
    with DodoPayments(bearer_token="none", webhook_key=key) as client:
        event = client.webhooks.unwrap(body.decode(), headers=headers)
    assert event.type == kind


@pytest.mark.parametrize("kind", STRIPE.types)
def test_stripes_library_takes_our_samples(kind: str) -> None:
    body = STRIPE.sample(kind, Example())
    headers = STRIPE.scheme.sign(body, "whsec_x", message_id="", at=time.time())
    event = StripeWebhook.construct_event(body, headers["stripe-signature"], "whsec_x")
    assert event.type == kind
    assert event.data.object["object"] == json.loads(body)["data"]["object"]["object"]
