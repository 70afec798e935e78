"""An HMAC in a header: GitHub's form, the source text's, and what an admin describes for others."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from server.webhooks.signing import signatures
from server.webhooks.signing.signatures import (
    MAX_SIGNATURES,
    TOLERANCE,
    BadSignatureError,
    Signed,
    check_text,
    from_base64,
    from_hex,
    is_id,
    meets,
    needed,
    signing_time,
    text_key,
)

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_PLACE = re.compile(r"\{[^{}]*\}|[{}]")


class HmacHeader(BaseModel):
    """The key is the secret as it stands. Without a signed time replays can't be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["hmac"] = "hmac"
    header: str
    """The header with the signature; several may stand in it, apart by commas."""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field(default="", max_length=50, pattern=r"^[\x21-\x2b\x2d-\x7e]*$")
    """What stands before each signature, as `sha256=`."""
    id_header: str | None = None
    timestamp_header: str | None = None
    """Whole Unix seconds; it must be part of what is signed."""
    template: str = Field(default="{body}", max_length=100, pattern=r"^[\x20-\x7e]*$")
    """What is signed: `{id}`, `{timestamp}` and, at its end, `{body}`; Slack's `v0:{timestamp}:{body}`.
    """  # noqa: E501
    tolerance: float = Field(default=TOLERANCE, gt=0, le=86_400)
    """Seconds that the time of signing may be off, before and after."""

    @field_validator("header", "id_header", "timestamp_header")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if _NAME.fullmatch(value.lower()) is None:
            msg = "not a header's name"
            raise ValueError(msg)
        return value.lower()

    @model_validator(mode="after")
    def _sane(self) -> HmacHeader:
        names = [n for n in (self.header, self.id_header, self.timestamp_header) if n]
        places = _PLACE.findall(self.template)
        allowed = {"{body}", "{id}", "{timestamp}"}
        if len(set(names)) < len(names):
            msg = "signature, id and time must have headers of their own"
        elif not set(places) <= allowed or len(set(places)) < len(places):
            msg = "the template may hold {id}, {timestamp} and {body}, each once"
        elif not self.template.endswith("{body}"):
            msg = "the template must end with {body}"
        elif "}{" in self.template:
            msg = "two values need something between them: they could pass into each other"
        elif "{id}" in places and self.id_header is None:
            msg = "the template has {id}, but no id_header is named"
        elif ("{timestamp}" in places) != (self.timestamp_header is not None):
            msg = (
                "timestamp_header and {timestamp} go together: a time that isn't signed is no proof"
            )
        else:
            return self
        raise ValueError(msg)

    def present(self, headers: Mapping[str, str]) -> bool:
        return bool(headers.get(self.header))

    def verify(
        self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float
    ) -> Signed:
        given = self._given(needed(headers, self.header))
        message_id, time, at = self._id(headers), "", None
        if self.timestamp_header is not None:
            time = needed(headers, self.timestamp_header)
            at = signing_time(time, now, self.tolerance)
        content = self._content(body, message_id or "", time)
        if not meets(given, [self._digest(secret, content) for secret in secrets]):
            msg = "no signature fits"
            raise BadSignatureError(msg)
        return Signed(message_id, at)

    def sign(self, body: bytes, secret: str, *, message_id: str, at: float) -> dict[str, str]:
        self.check_secret(secret)
        time = str(int(at))
        digest = self._digest(secret, self._content(body, message_id, time))
        text = digest.hex() if self.encoding == "hex" else b64encode(digest).decode()
        headers = {self.header: self.prefix + text}
        if self.id_header is not None:
            headers[self.id_header] = message_id
        if self.timestamp_header is not None:
            headers[self.timestamp_header] = time
        return headers

    def check_secret(self, secret: str) -> None:
        check_text(secret)

    def _id(self, headers: Mapping[str, str]) -> str | None:
        if self.id_header is None:
            return None
        if "{id}" in self.template:
            return signatures.message_id(needed(headers, self.id_header))
        # It is not signed: without a good one the body itself has to be the id.
        given = headers.get(self.id_header, "")
        return given if is_id(given) else None

    def _given(self, value: str) -> list[bytes]:
        found = []
        for part in value.split(",", MAX_SIGNATURES)[:MAX_SIGNATURES]:
            text = part.strip(" ")
            if text.startswith(self.prefix):
                text = text[len(self.prefix) :]
                found.append((from_hex if self.encoding == "hex" else from_base64)(text) or b"")
        return found

    def _content(self, body: bytes, message_id: str, time: str) -> bytes:
        head = self.template.removesuffix("{body}")
        # Each value goes in once, and neither into the other.
        filled = {"{id}": message_id, "{timestamp}": time}
        return _PLACE.sub(lambda place: filled[place[0]], head).encode() + body

    def _digest(self, secret: str, content: bytes) -> bytes:
        return hmac.digest(text_key(secret), content, self.algorithm)
