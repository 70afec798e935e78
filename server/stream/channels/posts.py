"""`posts`: everybody may read, as everybody may read the posts themselves."""

from server.stream.channels.policy import Policy

POLICY = Policy("posts", lambda _: ("posts",))
