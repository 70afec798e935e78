"""Who makes a request, and what that lets them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["anonymous", "user", "key"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Nobody, a signed-in user, or the holder of an API key.

    `patterns`: channels that a key lists. `scopes`: what a key may do. `expires`: Unix time.
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

    @property
    def is_admin(self) -> bool:
        """Whether this is a user with the role `admin`."""
        return self.kind == "user" and self.role == "admin"

    @property
    def may_publish(self) -> bool:
        """Whether this may publish events over HTTP."""
        return self.is_admin or "publish" in self.scopes


ANONYMOUS = Principal()
BOOTSTRAP = Principal(
    kind="key", name="bootstrap", patterns=(">",), scopes=frozenset({"publish", "read", "notify"})
)
"""The holder of `TAILRACE_API_KEY`."""
