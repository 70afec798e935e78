"""`user.<id>.>`: that user's alone."""

from server.stream.channels.policy import Policy

POLICY = Policy(
    "user", lambda who: (f"user.{who.user_id}.>",) if who.kind == "user" and who.user_id else ()
)
