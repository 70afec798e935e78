"""Control messages: what processes tell each other, signed. Pure functions.

Every role of the database may NOTIFY. So a message carries its time and a mark of its own, and an
HMAC over all of it, with a key that only those who know the server's secret can have.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_AGE = 60.0
"""Seconds that a message may be old, and that the clocks of two processes may differ."""


class Control(NamedTuple):
    """A message that is what it says. `mark`: its own, by which a repeat is known."""

    body: dict[str, Any]
    at: float
    mark: str


class RefusedError(Exception):
    """A message is forged, damaged or out of its time."""


def derive(secret: str) -> bytes:
    """The key of control messages: of the server's secret, but of no use for anything else."""
    return hmac.digest(
        secret.encode("utf-8", "surrogatepass"), b"tailrace control message v1", "sha256"
    )


def sign(body: Mapping[str, Any], key: bytes, *, at: float, mark: str) -> dict[str, str]:
    """`body` as it travels; `at`: Unix time, `mark`: one that no other message has."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    when = f"{at:.3f}"
    return {"m": text, "t": when, "n": mark, "s": _signature(key, when, mark, text)}


def verify(message: Any, key: bytes, now: float) -> Control:
    """What a received message says.

    Raises:
        RefusedError: it is not signed with `key`, damaged, or older than `MAX_AGE`.
    """
    match message:
        case {"m": str(text), "t": str(when), "n": str(mark), "s": str(given)}:
            pass
        case _:
            msg = "not of the form"
            raise RefusedError(msg)
    signature = _signature(key, when, mark, text)
    if not hmac.compare_digest(signature.encode(), given.encode("utf-8", "surrogatepass")):
        msg = "not signed with our secret"
        raise RefusedError(msg)
    at = float(when)
    if abs(now - at) > MAX_AGE:
        msg = f"{now - at:.0f} s old: is a clock wrong?"
        raise RefusedError(msg)
    body = json.loads(text)
    if not isinstance(body, dict):
        msg = "not an object"
        raise RefusedError(msg)
    return Control(body, at, mark)


def _signature(key: bytes, *parts: str) -> str:
    # As JSON, the parts cannot be told differently: ["1","2"] is not ["12",""].
    text = json.dumps(parts).encode()
    return hmac.digest(key, text, "sha256").hex()
