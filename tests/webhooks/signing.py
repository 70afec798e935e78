"""The schemes under test, and one message that each of them signs."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import strategies as st

from server.webhooks.providers.dodo import DODO
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks, StripeSignature
from server.webhooks.signing.signatures import BadSignatureError, NoSignatureError, Scheme

NOW = 1_700_000_000.0
BODY = b'{"type":"payment.succeeded","data":{"credits":100}}'
SECRET = "whsec_" + b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + b64encode(bytes(range(1, 25))).decode()
SIGNED_ALL = HmacHeader(
    header="x-sig",
    id_header="x-id",
    timestamp_header="x-time",
    template="{id}.{timestamp}.{body}",
    algorithm="sha512",
    encoding="base64",
)
SCHEMES: dict[str, Scheme] = {
    "standard": StandardWebhooks(),
    "stripe": StripeSignature(),
    "github": HmacHeader(header="x-hub-signature-256", prefix="sha256=", id_header="x-id"),
    "text": HmacHeader(header="x-dodo-signature"),
    "sha1 base64": HmacHeader(header="x-hub", algorithm="sha1", encoding="base64"),
    "all": SIGNED_ALL,
    "dodo": DODO.scheme,
}
UNSIGNED = {("github", "x-id")}
every_scheme = pytest.mark.parametrize("name", SCHEMES)
bodies = st.binary(max_size=300)


def sign(name: str, secret: str = SECRET, at: float = NOW) -> dict[str, str]:
    return SCHEMES[name].sign(BODY, secret, message_id="msg_1", at=at)


def refused(
    name: str, headers: dict[str, str], body: bytes = BODY, secret: str = SECRET, now: float = NOW
) -> bool:
    """Whether it is refused, by one of the two errors."""
    try:
        SCHEMES[name].verify(body, headers, [secret], now)
    except (BadSignatureError, NoSignatureError):
        return True
    return False
