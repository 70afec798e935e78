"""A door that takes two schemes: the first whose signature header is there decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.webhooks.signing.signatures import NoSignatureError, Scheme, Signed

PREFIXES = ("whsec_", "whpk_", "whsk_")


@dataclass(frozen=True)
class Either:
    """`first` wins where both headers are there, so nothing falls back to the weaker `second`."""

    first: Scheme
    second: Scheme

    def present(self, headers: Mapping[str, str]) -> bool:
        return self.first.present(headers) or self.second.present(headers)

    def verify(
        self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float
    ) -> Signed:
        for scheme in (self.first, self.second):
            if scheme.present(headers):
                return scheme.verify(body, headers, secrets, now)
        msg = "no signature header"
        raise NoSignatureError(msg)

    def sign(self, body: bytes, secret: str, *, message_id: str, at: float) -> dict[str, str]:
        """As the first scheme does."""
        return self.first.sign(body, secret, message_id=message_id, at=at)

    def check_secret(self, secret: str) -> None:
        """What one of the two can use will do; but what looks like a secret of Standard Webhooks
        and is none was mistyped: every delivery would be refused."""
        try:
            self.first.check_secret(secret)
        except ValueError:
            if secret.startswith(PREFIXES):
                raise
            self.second.check_secret(secret)
