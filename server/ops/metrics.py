"""The process tells its own figures once a second, as an ephemeral event on `ops.metrics`."""

from __future__ import annotations

import asyncio
import os
import time

from pydantic import BaseModel, ConfigDict, Field

from server.log.catalog import CATALOG
from server.stream.service import Service

CHANNEL = "ops.metrics"
PERIOD = 1.0


class Figures(BaseModel):
    """What one process tells of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: int = Field(description="Open streams.")
    events_per_second: float = Field(description="Published in the last second.")
    position: str = Field(description="Of the newest event, as an SSE id.")
    process: str


METRICS = CATALOG.ephemeral("metrics", CHANNEL, Figures, "A process' figures, once a second")


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
            self._service.pubsub.announce(CHANNEL, METRICS.body(self.figures()))

    def figures(self) -> Figures:
        """Clients now, events per second since the last look, the position."""
        pubsub, now = self._service.pubsub, time.monotonic()
        rate = (pubsub.published - self._published) / max(now - self._at, 1e-3)
        self._published, self._at = pubsub.published, now
        return Figures(
            clients=len(self._service.streams),
            events_per_second=round(rate, 1),
            position=str(pubsub.id),
            process=str(os.getpid()),
        )
