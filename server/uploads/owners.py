"""Whose a file is, and who may upload."""

from __future__ import annotations

from typing import NamedTuple

from server.auth.principal import Principal
from server.openapi.access import KEY, Access

SCOPE = "uploads"

UPLOADERS = Access(
    f"A signed-in user, or an API key with the scope `{SCOPE}`.",
    lambda who: who.kind == "user" or (who.kind == "key" and SCOPE in who.scopes),
    KEY,
)


class Owner(NamedTuple):
    """A user, or an API key, which acts for itself."""

    label: str
    """As `uploads.owner` has it."""
    user_id: str | None


def owner_of(who: Principal) -> Owner:
    """The owner of what `who` uploads."""
    return Owner(who.label, who.user_id if who.kind == "user" else None)


def owns(who: Principal, label: str) -> bool:
    """Whether a file of this owner is theirs to read and delete: their own, or an admin's all."""
    allowed = UPLOADERS.allows(who)
    return allowed and (who.is_admin or who.label == label)
