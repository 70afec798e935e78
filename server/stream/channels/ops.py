"""`ops.>`: what the server tells of itself, for admins."""

from server.stream.channels.policy import Policy

POLICY = Policy("ops", lambda who: ("ops.>",) if who.is_admin else ())
