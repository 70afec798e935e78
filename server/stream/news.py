"""Tells admins on `ops.streams` that the list of streams has changed, so that nobody polls it.

Counts, not streams: their number never makes the event longer, and what opens and closes a
thousand times a second costs an addition each. Who wants to see the list asks for it then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from server.log.catalog import CATALOG

if TYPE_CHECKING:
    from server.stream.service import Service

CHANNEL = "ops.streams"
PERIOD = 1.0
"""Seconds between two looks, and so between two events of a process at least."""
CALM = 5
"""Looks between two events that only say that the log has moved on: with it move positions and
lags, without anybody having come or gone."""


class Crowd(BaseModel):
    """The streams of one process, in numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: str = Field(description="As in the list of streams; the event's key, too.")
    open: int
    opened: int = Field(description="Since the process began: it grows also if as many closed.")
    lagging: int = Field(description="Of the open ones, those that catch up or take nothing now.")
    position: str = Field(description="Of the newest event, as an SSE id.")


NEWS = CATALOG.ephemeral(
    "streams", CHANNEL, Crowd, "Streams were opened, have closed, or have been given events"
)


class News:
    """Announces what has changed in `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def run(self) -> None:
        """Announce until cancelled; nothing while nothing changes."""
        told, looks = self.crowd(), 0
        while True:
            await asyncio.sleep(PERIOD)
            now, looks = self.crowd(), looks + 1
            moved = now.position != told.position
            if now == told or (moved and looks < CALM and _who(now) == _who(told)):
                continue
            self._service.log.announce(CHANNEL, NEWS.body(now, key=now.process))
            told, looks = now, 0

    def crowd(self) -> Crowd:
        """How many there are now."""
        streams, pubsub = self._service.streams, self._service.pubsub
        return Crowd(
            process=streams.process,
            open=len(streams),
            opened=streams.begun,
            lagging=min(streams.lagging, len(streams)),
            position=str(pubsub.id),
        )


def _who(crowd: Crowd) -> tuple[int, int, int]:
    return crowd.open, crowd.opened, crowd.lagging
