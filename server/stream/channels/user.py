"""`user.<id>.>`: that user's alone."""

from collections.abc import Iterable

from server.auth.principal import Principal
from server.stream.channels.policy import Policy
from server.stream.names import is_channel


def _own(who: Principal) -> Iterable[str]:
    """Not for an id that is no single segment: as a pattern it would be others' channels."""
    if who.kind == "user" and who.user_id and is_channel(who.user_id) and "." not in who.user_id:
        return (f"user.{who.user_id}.>",)
    return ()


POLICY = Policy("user", _own)
