"""What a rate limit is, what was judged, and how that is told (IETF draft-10 RateLimit fields)."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

LONGEST_KEY = 100
"""Characters of a key that are kept as they are; a caller may be given megabytes of them."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `requests` in any `seconds`; `name` tells clients and logs which limit it is."""

    name: str
    requests: int
    seconds: int

    def __post_init__(self) -> None:
        # It goes between quotes into a header and into a Redis key.
        if not _NAME.fullmatch(self.name):
            msg = f"{self.name!r} is no name of a policy: letters, digits and ._- only"
            raise ValueError(msg)
        if self.requests < 1 or self.seconds < 1:
            msg = f"policy {self.name}: requests and seconds must be at least 1"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged of one request.

    `remaining` requests are left in the window. `reset_at` is Unix time in seconds: when the next
    request is possible (refused), or when the oldest counted request leaves the window (allowed).
    Not `counted` means that nobody could judge: the request passes, and no header is sent.
    """

    policy: Policy
    allowed: bool
    remaining: int
    reset_at: float
    counted: bool = True

    def headers(self, now: float) -> dict[str, str]:
        """The fields of the answer; `now` is Unix time in seconds."""
        if not self.counted:
            return {}
        policy = self.policy
        # Unix time as a float is exact to a quarter of a microsecond: 10.0000002 s are 10 s.
        left = max(0, math.ceil(self.reset_at - now - 1e-6))
        fields = {
            "RateLimit-Policy": f'"{policy.name}";q={policy.requests};w={policy.seconds}',
            "RateLimit": f'"{policy.name}";r={self.remaining};t={left}',
        }
        if not self.allowed:
            fields["Retry-After"] = str(max(1, left))
        return fields


def identity(policy: Policy, key: str) -> str:
    """What is counted: one key under one policy. Long and strange keys are hashed.

    The window is part of it: a log kept for ten seconds cannot answer for an hour.
    """
    if len(key) > LONGEST_KEY or not key.isascii():
        # Headers may hold surrogates, which UTF-8 proper refuses.
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        key = f"sha256-{digest}"
    return f"{policy.name}:{policy.seconds}:{key}"
