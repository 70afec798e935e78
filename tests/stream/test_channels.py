from __future__ import annotations

import pytest

from server.auth.principal import ANONYMOUS, BOOTSTRAP, Principal
from server.stream.channels import readable

ANN = Principal(kind="user", user_id="ann", role="user")
ADMIN = Principal(kind="user", user_id="root", role="admin")


@pytest.mark.parametrize(
    ("channel", "readers"),
    [
        ("public.hello", {"anonymous", "ann", "admin", "key"}),
        ("public.>", {"anonymous", "ann", "admin", "key"}),
        ("posts", {"anonymous", "ann", "admin", "key"}),
        ("user.ann.notifications", {"ann", "key"}),
        ("user.ann.>", {"ann", "key"}),
        ("user.*.notifications", {"key"}),
        ("ops.metrics", {"admin", "key"}),
        ("table.public.orders", {"admin", "key"}),
        ("orders", {"key"}),
        (">", {"key"}),
    ],
)
def test_who_may_read_what(channel: str, readers: set[str]) -> None:
    asked = {"anonymous": ANONYMOUS, "ann": ANN, "admin": ADMIN, "key": BOOTSTRAP}
    assert {name for name, who in asked.items() if readable(who, [channel])} == readers


@pytest.mark.parametrize("user_id", ["*", ">", "ann.x", "a@b", "", " "])
def test_a_user_id_that_is_no_segment_opens_no_channel(user_id: str) -> None:
    who = Principal(kind="user", user_id=user_id, role="user")
    for channel in ("user.ann.notifications", f"user.{user_id}.notifications", "user.ann.x.y"):
        assert not readable(who, [channel])
