"""What wakes the worker from other processes: the events on `ops.webhooks` that tell of new work.

A worker is a subscriber like any other, so it needs no connection and no notification of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from server.stream.names import Matcher
from server.stream.pubsub import PubSub
from server.stream.subscriber import Subscriber
from server.webhooks.events import CHANNEL

NEWS = tuple(f'"webhook.{what}"'.encode() for what in ("received", "pending", "source"))
"""Its own results are no news to it."""


class Watch(Subscriber):
    """Calls `wake` at each such event; it keeps nothing and so never lags."""

    __slots__ = ("_wake",)

    def __init__(self, pubsub: PubSub, wake: Callable[[], None]) -> None:
        super().__init__(Matcher([CHANNEL]), pubsub.id, capacity=0)
        self._wake = wake
        # It is in the index alone, and counts as nobody's stream. A gap it does not hear of: what
        # was missed there is found when the worker looks by itself.
        pubsub.join(self)

    def offer(self, pos: int, frame: bytes) -> bool:
        """Look at it and let it go."""
        self.cursor = pos
        if any(name in frame for name in NEWS):
            self._wake()
        return True

    def offer_ephemeral(self, frame: bytes) -> None:
        """There is none on this channel."""
