"""`/healthz` and `/readyz`: alive means this loop turns; ready means events really pass."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import web

from server.db.faults import LOST
from server.errors import UNAVAILABLE, ApiError
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


async def healthz(_request: web.Request) -> web.Response:
    """Alive: the process answers."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """Ready: database, listener and stamper, proven; `mode` tells how events get here."""
    service = request.app[SERVICE]
    if service.streams.closing:
        raise ApiError(UNAVAILABLE, "shutting down")
    mode = await request.app[READINESS].mode(request.app)
    body = {"status": "ready", "mode": mode, "position": str(service.pubsub.id)}
    return web.json_response(body, headers={"Cache-Control": "no-store"})
