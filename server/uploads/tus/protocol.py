"""What tus says in headers: read strictly, and written. Pure: text in, values or a refusal out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, NamedTuple

from server.errors import CHECKSUM, MEDIA_TYPE, NO_FILE, TUS_VERSION, ApiError, invalid
from server.uploads.chunks import Chunk
from server.uploads.policies import DEFAULT, POLICIES, Policy

if TYPE_CHECKING:
    from datetime import datetime
    from hashlib import _Hash

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "expiration", "checksum", "termination")
ALGORITHMS = ("sha1", "sha256")
"""Of `Upload-Checksum`. sha1 is what tus asks for: it finds faults of the way, not forgeries."""
BYTES = "application/offset+octet-stream"
MAX_SIZE = max(policy.max_bytes for policy in POLICIES.values())
MAX_PAIRS = 20
MAX_METADATA = 4096
"""Characters of `Upload-Metadata`; it is kept, and told in every HEAD."""

ABOUT = {
    "Tus-Version": VERSION,
    "Tus-Extension": ",".join(EXTENSIONS),
    "Tus-Max-Size": str(MAX_SIZE),
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
}
"""What OPTIONS tells."""

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,100}", re.ASCII)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


class Metadata(NamedTuple):
    """What a client tells of a file before it sends it. `text`: the header as it came."""

    text: str | None
    policy: Policy
    name: str | None
    type: str | None


def require_version(given: str | None, *, safe: bool = False) -> None:
    """Whether a request speaks this version; one that is `safe` need not say so.

    Raises:
        ApiError: 412.
    """
    if given != VERSION and not (safe and given is None):
        detail = f"the header Tus-Resumable must be {VERSION}"
        raise ApiError(TUS_VERSION, detail, headers={"Tus-Version": VERSION})


def read_number(headers: Mapping[str, str], name: str) -> int:
    """A header that is a number of bytes.

    Raises:
        ApiError: 400.
    """
    given = headers.get(name)
    if given is None:
        raise invalid(name, "is missing", "missing")
    if not _NUMBER.fullmatch(given):
        raise invalid(name, "must be a number of bytes")
    return int(given)


def read_length(headers: Mapping[str, str]) -> int:
    """How many bytes a new upload will have.

    Raises:
        ApiError: 400 for none, or an empty file, which is complete at once and never checked.
    """
    if "Upload-Defer-Length" in headers:
        raise invalid("Upload-Defer-Length", "the length must be known at the creation")
    if "Upload-Concat" in headers:
        raise invalid("Upload-Concat", "uploads can't be put together here")
    length = read_number(headers, "Upload-Length")
    if length == 0:
        raise ApiError(NO_FILE, "the file is empty")
    return length


def read_metadata(text: str | None) -> Metadata:
    """The pairs of `Upload-Metadata`; `filename`, `filetype` and `policy` mean something here.

    Clients also call the first two `name` and `type`; other keys are kept as they came.

    Raises:
        ApiError: 400.
    """
    pairs = _pairs(text) if text is not None else {}
    policy = POLICIES.get(_text(pairs, "policy") or DEFAULT)
    if policy is None:
        raise invalid("Upload-Metadata", f"policy must be one of {', '.join(POLICIES)}")
    name = _text(pairs, "filename") or _text(pairs, "name")
    return Metadata(text, policy, name, _text(pairs, "filetype") or _text(pairs, "type"))


def _pairs(text: str) -> dict[str, bytes]:
    if len(text) > MAX_METADATA:
        raise invalid("Upload-Metadata", f"has more than {MAX_METADATA} characters", "too_long")
    pairs: dict[str, bytes] = {}
    for item in text.split(","):
        key, _, value = item.partition(" ")
        if not _KEY.fullmatch(key):
            raise invalid("Upload-Metadata", "must be pairs of a key and a value in base64")
        if key in pairs:
            raise invalid("Upload-Metadata", "has a key twice")
        pairs[key] = _decoded("Upload-Metadata", value)
        if len(pairs) > MAX_PAIRS:
            raise invalid("Upload-Metadata", f"has more than {MAX_PAIRS} pairs", "too_long")
    return pairs


def _text(pairs: Mapping[str, bytes], key: str) -> str:
    try:
        return pairs.get(key, b"").decode()
    except UnicodeDecodeError:
        raise invalid("Upload-Metadata", f"{key} is not text in UTF-8") from None


def _decoded(header: str, value: str) -> bytes:
    if not _BASE64.fullmatch(value):
        raise invalid(header, "a value is not base64")
    return base64.b64decode(value)


class Checksum:
    """What the bytes of one request must come to."""

    def __init__(self, algorithm: str, expected: bytes) -> None:
        self._hash: _Hash = hashlib.new(algorithm, usedforsecurity=False)
        if len(expected) != self._hash.digest_size:
            raise invalid("Upload-Checksum", f"is not one of {algorithm}")
        self._expected = expected

    def feed(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)

    def verify(self) -> None:
        """After the last byte.

        Raises:
            ApiError: 460.
        """
        if not hmac.compare_digest(self._hash.digest(), self._expected):
            raise ApiError(CHECKSUM, "the bytes are not those that were sent; they are not kept")


def read_checksum(text: str | None) -> Checksum | None:
    """`Upload-Checksum`: an algorithm and a hash in base64.

    Raises:
        ApiError: 400.
    """
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise invalid("Upload-Checksum", f"the algorithm must be one of {', '.join(ALGORITHMS)}")
    return Checksum(algorithm, _decoded("Upload-Checksum", value))


def expires(moment: datetime | None) -> dict[str, str]:
    """`Upload-Expires`, of an upload that does."""
    return {} if moment is None else {"Upload-Expires": format_datetime(moment, usegmt=True)}


def require_bytes(content_type: str, encoding: str) -> None:
    """Whether a body is bytes of the file, as they are.

    Raises:
        ApiError: 415.
    """
    if content_type != BYTES:
        raise ApiError(MEDIA_TYPE, f"the body must be {BYTES}")
    if encoding.lower() != "identity":
        raise ApiError(MEDIA_TYPE, "the body must not be compressed")
