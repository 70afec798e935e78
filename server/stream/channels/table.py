"""`table.>`: watched tables that were given no channel of their own, for admins (and keys)."""

from server.stream.channels.policy import Policy

POLICY = Policy("table", lambda who: ("table.>",) if who.is_admin else ())
