"""Stream tokens: a signed list of channels with an end. Nothing is stored, nothing looked up.

Pure functions. The signature covers the encoded payload, and is compared as text: no other
spelling of a token is valid.
"""

from __future__ import annotations

import functools
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from server.auth.principal import Principal

PREFIX = "trt_"
MAX_TOKEN = 3_900
"""Characters of a token: with its name and attributes it must fit into a cookie of 4,096 bytes."""
KNOWN = 10_000
"""Tokens of which is remembered whose they are."""
KNOWN_LENGTH = 512
"""Characters of the longest of them."""

TOKEN_KEY = web.AppKey("token_key", bytes)


def derive(secret: str) -> bytes:
    """The signing key: of the server's secret, but of no use for anything else."""
    return hmac.digest(
        secret.encode("utf-8", "surrogatepass"), b"tailrace stream token v1", "sha256"
    )


def sign(channels: Iterable[str], expires: int, by: str, key: bytes) -> str:
    """A token for these channels until `expires` (Unix time); `by`: `user:<id>` or `key:<id>`."""
    payload = {"c": list(channels), "e": expires, "b": by}
    text = _encode(json.dumps(payload, separators=(",", ":")).encode())
    return f"{PREFIX}{text}.{_signature(text, key)}"


def read(token: str, key: bytes, now: float) -> Principal | None:
    """Who holds `token` at `now` (Unix time): `None` if it is forged, damaged or over."""
    if not token.startswith(PREFIX) or len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        holder = (_known if len(token) <= KNOWN_LENGTH else _verified)(token, key)
    except ValueError:
        return None
    return holder if holder.expires is not None and holder.expires > now else None


def _verified(token: str, key: bytes) -> Principal:
    """Whose token it is, whenever.

    Raises:
        ValueError: it is forged or damaged.
    """
    text, _, signature = token.removeprefix(PREFIX).partition(".")
    holder = None
    if hmac.compare_digest(_signature(text, key), signature):
        holder = _principal(json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    if holder is None:
        msg = "this is no token of ours"
        raise ValueError(msg)
    return holder


_known = functools.lru_cache(maxsize=KNOWN)(_verified)
"""Remembers: a crowd that comes back brings the tokens it had. What raises is not remembered, so
forged tokens drive out none of ours."""


def _principal(payload: Any) -> Principal | None:
    """We signed it, but perhaps another version of us did."""
    match payload:
        case {"c": list(channels), "e": int(expires), "b": str(by)}:
            if all(isinstance(item, str) for item in channels):
                return Principal(
                    kind="token",
                    name=by,
                    patterns=tuple(channels),
                    scopes=frozenset({"read"}),
                    expires=float(expires),
                )
    return None


def _signature(text: str, key: bytes) -> str:
    return _encode(hmac.digest(key, text.encode(), "sha256"))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
