"""The process tells its own figures once a second, as an ephemeral event on `ops.metrics`."""

from __future__ import annotations

import asyncio
import os
import time

from server.log.ephemeral import body_of
from server.stream.service import Service

CHANNEL = "ops.metrics"
PERIOD = 1.0


class Metrics:
    """Announces in this process only: each page sees the process that it is connected to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._published = service.pubsub.published
        self._at = time.monotonic()

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            self._service.pubsub.announce(CHANNEL, body_of(CHANNEL, "metrics", self.figures()))

    def figures(self) -> dict[str, object]:
        """Clients now, events per second since the last look, the position."""
        pubsub, now = self._service.pubsub, time.monotonic()
        rate = (pubsub.published - self._published) / max(now - self._at, 1e-3)
        self._published, self._at = pubsub.published, now
        return {
            "clients": len(self._service.streams),
            "events_per_second": round(rate, 1),
            "position": str(pubsub.id),
            "process": str(os.getpid()),
        }
