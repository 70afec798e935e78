"""`Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]`: HMAC-SHA256 over `t.body`.

The key is the secret as it stands, its `whsec_` included. While a secret is rolled Stripe sends a
`v1` for each. Items of other schemes (`v0` of test events) are passed over.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.webhooks.signing.signatures import (
    MAX_SIGNATURES,
    TOLERANCE,
    BadSignatureError,
    Signed,
    check_text,
    from_hex,
    meets,
    needed,
    signing_time,
    text_key,
)

HEADER = "stripe-signature"


@dataclass(frozen=True)
class StripeSignature:
    """The message's id is not signed apart: it is in the body."""

    tolerance: float = TOLERANCE

    def present(self, headers: Mapping[str, str]) -> bool:
        return bool(headers.get(HEADER))

    def verify(
        self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float
    ) -> Signed:
        times: list[str] = []
        given: list[bytes] = []
        for item in needed(headers, HEADER).split(","):
            name, _, value = item.partition("=")
            if name == "t":
                times.append(value)
            elif name == "v1" and len(given) < MAX_SIGNATURES:
                given.append(from_hex(value) or b"")
        if len(times) != 1 or not given:
            msg = "the header has not one t and at least one v1"
            raise BadSignatureError(msg)
        at = signing_time(times[0], now, self.tolerance)
        content = times[0].encode() + b"." + body
        if not meets(given, [hmac.digest(text_key(key), content, "sha256") for key in secrets]):
            msg = "no signature fits"
            raise BadSignatureError(msg)
        return Signed(None, at)

    def sign(self, body: bytes, secret: str, *, message_id: str, at: float) -> dict[str, str]:
        """`message_id` has no place in the header."""
        del message_id
        self.check_secret(secret)
        content = b"%d." % int(at) + body
        digest = hmac.digest(text_key(secret), content, "sha256").hex()
        return {HEADER: f"t={int(at)},v1={digest}"}

    def check_secret(self, secret: str) -> None:
        check_text(secret)
