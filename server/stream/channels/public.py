"""`public.>`: everybody may read."""

from server.stream.channels.policy import Policy

POLICY = Policy("public", lambda _: ("public.>",))
