"""`/healthz` and `/readyz`: alive means this loop turns; ready means events really pass."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Literal

from aiohttp import web
from pydantic import Field

from server.db.faults import LOST
from server.errors import UNAVAILABLE, ApiError
from server.openapi.fields import EVENT_ID, Output
from server.openapi.route import route
from server.stream.service import SERVICE

log = logging.getLogger(__name__)

PROOF_TIMEOUT = 3.0
FRESH = 0.5
"""Seconds for which one proof serves everybody who asks."""


class Readiness:
    """Proves listener and stamper by a round trip; many askers share one proof."""

    def __init__(self) -> None:
        self._proof: asyncio.Task[str] | None = None
        self._at = 0.0

    async def mode(self, app: web.Application) -> str:
        """`notify` or `polling`.

        Raises:
            ApiError: 503 with what does not work.
        """
        if self._proof is None or (self._proof.done() and time.monotonic() - self._at > FRESH):
            self._at = time.monotonic()
            self._proof = asyncio.create_task(_prove(app), name="readiness")
        return await asyncio.shield(self._proof)


async def _prove(app: web.Application) -> str:
    try:
        async with asyncio.timeout(PROOF_TIMEOUT):
            return await app[SERVICE].log.prove()
    except TimeoutError:
        raise ApiError(UNAVAILABLE, "no round trip through the database in time") from None
    except LOST as error:
        log.warning("not ready: %r", error)
        raise ApiError(UNAVAILABLE, "the database is not reachable") from None


READINESS = web.AppKey("readiness", Readiness)


class Alive(Output):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Output):
    """Events pass through this process."""

    status: Literal["ready"] = "ready"
    mode: str = Field(description="How events get here: `notify` or `polling`.")
    position: str = Field(pattern=EVENT_ID)


@route("GET", "/healthz", summary="Alive", tag="Operations", answers={200: Alive})
async def healthz() -> Alive:
    """Whether the process answers; touches nothing else."""
    return Alive()


@route("GET", "/readyz", summary="Ready", tag="Operations", answers={200: Ready})
async def readyz(request: web.Request) -> Ready:
    """Whether events really pass: database, listener and stamper, proven by a round trip."""
    service = request.app[SERVICE]
    if service.streams.closing:
        raise ApiError(UNAVAILABLE, "shutting down")
    mode = await request.app[READINESS].mode(request.app)
    return Ready(mode=mode, position=str(service.pubsub.id))
