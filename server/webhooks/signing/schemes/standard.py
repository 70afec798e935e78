"""Standard Webhooks 1.0, which Dodo Payments, Svix and many others speak.

`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64> v1a,<base64> …`, all over
`id.timestamp.body`. `v1` is HMAC-SHA256 with the bytes that stand in base64 after `whsec_`; `v1a`
is ed25519 with the public key after `whpk_`. Svix's own names, `svix-…`, are the same headers.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from pydantic import BaseModel, ConfigDict, Field

from server.webhooks.signing import signatures
from server.webhooks.signing.signatures import (
    MAX_SECRET,
    MAX_SIGNATURES,
    TOLERANCE,
    BadSignatureError,
    Signed,
    from_base64,
    meets,
    needed,
    signing_time,
)

SECRET, PUBLIC, PRIVATE = "whsec_", "whpk_", "whsk_"
MAX_ASYMMETRIC = 4
"""`v1a` signatures of one header that are tried: each costs a tenth of a millisecond and more."""
MIN_KEY = 16
"""Bytes of a symmetric key; the standard asks for 24 to 64."""


class StandardWebhooks(BaseModel):
    """Secrets are `whsec_…` (or the base64 alone), or `whpk_…`; both kinds may stand together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["standard"] = "standard"
    tolerance: float = Field(default=TOLERANCE, gt=0, le=86_400)
    """Seconds that the time of signing may be off, before and after."""

    def present(self, headers: Mapping[str, str]) -> bool:
        return bool(headers.get("webhook-signature") or headers.get("svix-signature"))

    def verify(
        self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float
    ) -> Signed:
        # One set of names, never a mixture.
        names = "webhook" if headers.get("webhook-signature") else "svix"
        tokens = needed(headers, f"{names}-signature").split(" ")[:MAX_SIGNATURES]
        message_id = signatures.message_id(needed(headers, f"{names}-id"))
        time = needed(headers, f"{names}-timestamp")
        at = signing_time(time, now, self.tolerance)
        content = f"{message_id}.{time}.".encode() + body
        symmetric, asymmetric = _of("v1", tokens), _of("v1a", tokens)[:MAX_ASYMMETRIC]
        keys = [key for secret in secrets if (key := _key(secret)) is not None]
        fits = meets(symmetric, [hmac.digest(key, content, "sha256") for key in keys])
        if not fits and asymmetric:
            publics = [public for secret in secrets if (public := _public(secret)) is not None]
            fits = any(_fits(public, one, content) for public in publics for one in asymmetric)
        if not fits:
            msg = "no signature fits"
            raise BadSignatureError(msg)
        return Signed(message_id, at)

    def sign(self, body: bytes, secret: str, *, message_id: str, at: float) -> dict[str, str]:
        """By `whsec_…` as `v1`, by a private key `whsk_…` as `v1a`."""
        content = f"{message_id}.{int(at)}.".encode() + body
        if secret.startswith(PRIVATE):
            signature = "v1a," + b64encode(_private(secret).sign(content)).decode()
        else:
            key = _key(secret)
            if key is None:
                self.check_secret(secret)
                msg = "nothing can be signed with a public key"
                raise ValueError(msg)
            signature = "v1," + b64encode(hmac.digest(key, content, "sha256")).decode()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": signature,
        }

    def check_secret(self, secret: str) -> None:
        if secret.startswith(PRIVATE):
            msg = "whsk_… is the sender's private key: the public one, whpk_…, belongs here"
        elif secret.startswith(PUBLIC):
            if _public(secret) is not None:
                return
            msg = "after whpk_ the secret must be the base64 of an ed25519 key's 32 bytes"
        else:
            key = _key(secret)
            if key is None:
                msg = "the secret must be base64, after whsec_ or alone"
            elif len(key) < MIN_KEY:
                msg = f"the secret holds {len(key)} bytes: it must be at least {MIN_KEY}"
            else:
                return
        raise ValueError(msg)


def _of(version: str, tokens: Sequence[str]) -> list[bytes]:
    """The signatures of one version; what can't be decoded fits nothing."""
    found = (token.partition(",") for token in tokens)
    return [from_base64(text) or b"" for name, _, text in found if name == version]


def _key(secret: str) -> bytes | None:
    """The key of a symmetric secret; `None` if it is none. Some senders leave the padding out."""
    if len(secret) > MAX_SECRET or secret.startswith((PUBLIC, PRIVATE)):
        return None
    text = secret.removeprefix(SECRET)
    return from_base64(text + "=" * (-len(text) % 4)) or None


def _public(secret: str) -> Ed25519PublicKey | None:
    key = from_base64(secret.removeprefix(PUBLIC)) if secret.startswith(PUBLIC) else None
    if key is None or len(key) != 32:
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(key)
    except ValueError:
        return None


def _private(secret: str) -> Ed25519PrivateKey:
    key = from_base64(secret.removeprefix(PRIVATE))
    # Some keep the public half behind the seed, as libsodium does.
    if key is None or len(key) not in (32, 64):
        msg = "after whsk_ the secret must be the base64 of an ed25519 key"
        raise ValueError(msg)
    return Ed25519PrivateKey.from_private_bytes(key[:32])


def _fits(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
