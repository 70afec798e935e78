"""What an API key lists, if it may read at all."""

from server.stream.channels.policy import Policy

POLICY = Policy("keys", lambda who: who.patterns if "read" in who.scopes else ())
