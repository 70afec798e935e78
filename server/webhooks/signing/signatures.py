"""What every signature scheme promises, and the steps that they share. Pure: bytes and text only.

Headers are a mapping with lower-case names in which every name stands once: `plain` makes it.
Whatever headers and body are, `verify` raises nothing but the two errors below.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

TOLERANCE = 300.0
"""Seconds that the time of signing may be off, before and after."""
MAX_SIGNATURES = 50
"""Signatures of one header that are tried; a rotation has two, and an attacker pays for none."""
MAX_SECRET = 1024
"""Characters of a secret."""
MIN_LISTED = 16
"""Characters of each secret where a setting holds several."""

_TIME = re.compile(r"[0-9]{1,15}", re.ASCII)
_ID = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)


class Signed(NamedTuple):
    """What a valid signature covers beside the body, if the scheme has it."""

    id: str | None
    """The sender's id of the message: the same for every attempt to deliver it."""
    at: float | None
    """When it was signed, in Unix seconds."""


class NoSignatureError(Exception):
    """The headers of the scheme are missing, or not all there: the door answers 400."""


class BadSignatureError(Exception):
    """The signature does not fit, or is out of time: the door answers 401.

    The message is for the log of the operator: the answer never says why.
    """


class Scheme(Protocol):
    """How one kind of sender signs."""

    def present(self, headers: Mapping[str, str]) -> bool:
        """Whether the header that holds the signature is there."""

    def verify(
        self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float
    ) -> Signed:
        """Check the raw `body`; `now`: Unix seconds. Every signature meets every secret.

        Raises:
            NoSignatureError: headers are missing.
            BadSignatureError: anything else.
        """

    def sign(self, body: bytes, secret: str, *, message_id: str, at: float) -> dict[str, str]:
        """The headers that a sender adds; `at`: Unix seconds, cut to whole ones.

        Raises:
            ValueError: the secret can't be used.
        """

    def check_secret(self, secret: str) -> None:
        """Judge a secret where it is configured: `verify` takes an impossible one for wrong.

        Raises:
            ValueError: it can't be used; a sentence that does not hold it.
        """


def plain(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields as the schemes read them; what stands there twice is joined by `, `.

    No scheme takes a joined id or time, so a request can't show two of them.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def split_secrets(setting: str) -> tuple[str, ...]:
    """The secrets in a setting: several, for a rotation, stand apart by commas or white space.

    Only where each has at least `MIN_LISTED` characters: the words of a passphrase are no secrets.
    """
    parts = tuple(part for part in re.split(r"[\s,]+", setting) if part)
    if len(parts) > 1 and min(map(len, parts)) >= MIN_LISTED:
        return parts
    return (setting,)


def check_text(secret: str) -> None:
    """Judge a secret that is a key as it stands.

    Raises:
        ValueError: it is empty, too long, or has white space at an end.
    """
    if not secret:
        msg = "the secret is empty"
    elif len(secret) > MAX_SECRET:
        msg = f"the secret is longer than {MAX_SECRET} characters"
    elif secret != secret.strip():
        msg = "the secret has white space at its start or end"
    elif "\0" in secret:
        msg = "the secret holds a NUL"
    else:
        return
    raise ValueError(msg)


def text_key(secret: str) -> bytes:
    """The key that a secret is as it stands; surrogates are bytes that the environment held."""
    return secret.encode("utf-8", "surrogatepass")


def needed(headers: Mapping[str, str], name: str) -> str:
    """A header's value.

    Raises:
        NoSignatureError: it is missing or empty.
    """
    value = headers.get(name)
    if not value:
        msg = f"no {name} header"
        raise NoSignatureError(msg)
    return value


def is_id(text: str) -> bool:
    """Whether `text` can be a message's id: printable ASCII without spaces, up to 200."""
    return _ID.fullmatch(text) is not None


def message_id(text: str) -> str:
    """A message's id out of a signed header.

    Raises:
        BadSignatureError: it is none.
    """
    if not is_id(text):
        msg = "the id is malformed"
        raise BadSignatureError(msg)
    return text


def signing_time(text: str, now: float, tolerance: float) -> float:
    """When the sender signed: whole Unix seconds, in ASCII digits.

    Raises:
        BadSignatureError: it is none, or further than `tolerance` seconds from `now`.
    """
    if _TIME.fullmatch(text) is None:
        msg = "the time is malformed"
        raise BadSignatureError(msg)
    at = float(text)
    if abs(now - at) > tolerance:
        msg = f"the time is off by {now - at:.0f} s"
        raise BadSignatureError(msg)
    return at


def from_base64(text: str) -> bytes | None:
    """The bytes, if this is the one standard spelling of them (padded, no stray characters)."""
    try:
        found = b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return found if b64encode(found).decode() == text else None


def from_hex(text: str) -> bytes | None:
    """The bytes of hexadecimal digits in either case."""
    if len(text) % 2 or _HEX.fullmatch(text) is None:
        return None
    return bytes.fromhex(text)


def meets(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any signature is one of the expected ones.

    All pairs are compared, each in constant time: how long it takes tells nothing of which fits.
    """
    found = False
    for one in given:
        for other in expected:
            found |= hmac.compare_digest(one, other)
    return found
