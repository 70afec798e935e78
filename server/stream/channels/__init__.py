"""Who may read which channels: a registry of policies, one file each. What none opens is closed.

To add one: a file with a `POLICY`, its name in `POLICIES`, a test of who is let in and who not.
"""

from __future__ import annotations

from collections.abc import Iterable

from server.auth.principal import Principal
from server.stream.channels import keys, ops, posts, public, table, user
from server.stream.channels.policy import Policy
from server.stream.names import covers

POLICIES: tuple[Policy, ...] = (
    public.POLICY,
    posts.POLICY,
    user.POLICY,
    ops.POLICY,
    table.POLICY,
    keys.POLICY,
)


def grants(principal: Principal) -> list[str]:
    """Every pattern of channels that `principal` may read."""
    return [pattern for policy in POLICIES for pattern in policy.grants(principal)]


def readable(principal: Principal, wanted: Iterable[str], opened: tuple[str, ...] = ()) -> bool:
    """Whether `principal` may read all of `wanted`; `opened` are patterns open to everybody."""
    patterns = [*opened, *grants(principal)]
    return all(
        name in patterns or any(covers(pattern, name) for pattern in patterns) for name in wanted
    )
