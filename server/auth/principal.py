"""Who makes a request, and what that lets them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["anonymous", "user", "key", "token"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Nobody, a signed-in user, or the holder of an API key or of a stream token.

    `patterns`: channels that a key or token lists. `scopes`: what a key may do. `expires`: Unix
    time. `rate`: a key's own, requests and seconds; `None` is no limit. `user_id` of a key or
    token is nobody's: they act for themselves.
    """

    kind: Kind = "anonymous"
    user_id: str | None = None
    name: str | None = None
    email: str | None = None
    role: str | None = None
    patterns: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    expires: float | None = None
    by_cookie: bool = False
    session_id: str | None = None
    key_id: str | None = None
    rate: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """Who this is in a log: kind and id, never a name or a secret."""
        return f"{self.kind}:{self.user_id or self.key_id or ''}".rstrip(":")

    @property
    def is_admin(self) -> bool:
        """Whether this is a user with the role `admin`."""
        return self.kind == "user" and self.role == "admin"


SCOPES = frozenset({"publish", "read", "notify", "webhooks", "uploads"})
"""What an API key may be allowed: to publish events, read channels, notify users, administer
webhooks, and upload files of its own."""
ANONYMOUS = Principal()
BOOTSTRAP = Principal(
    kind="key", name="bootstrap", key_id="bootstrap", patterns=(">",), scopes=SCOPES
)
"""The holder of `TAILRACE_API_KEY`."""
