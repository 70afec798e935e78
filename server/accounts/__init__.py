"""Accounts: sign-up, sessions, API keys and stream tokens over HTTP."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import web

from server.accounts import keys, password, sessions, signing, tokens
from server.auth import sessions as stored
from server.auth.attempts import ATTEMPTS, Attempts
from server.auth.keys import USES, Uses
from server.auth.passwords import PASSWORDS, Passwords
from server.auth.tokens import TOKEN_KEY, derive
from server.db.faults import LOST
from server.keys import POOL, SETTINGS
from server.openapi.route import add
from server.tasks import Tasks

if TYPE_CHECKING:
    from server.db.pool import Pool

log = logging.getLogger(__name__)

SWEEP = 3600.0
"""Seconds between two looks for sessions that have ended by themselves."""


def add_routes(app: web.Application) -> None:
    """Put the routes on the application, and what they need into its life."""
    app[PASSWORDS] = Passwords()
    app[ATTEMPTS] = Attempts()
    # The start always has a secret; without one, tokens are good until this process ends.
    app[TOKEN_KEY] = derive(app[SETTINGS].secret or secrets.token_urlsafe(32))
    app.cleanup_ctx.append(_live)
    add(app, *signing.ROUTES, *sessions.ROUTES, *password.ROUTES, *keys.ROUTES, *tokens.ROUTES)


async def _live(app: web.Application) -> AsyncIterator[None]:
    tasks = Tasks()
    uses = app[USES] = Uses()
    tasks.spawn("key uses", lambda: uses.run(app[POOL]))
    tasks.spawn("expired sessions", lambda: _sweep(app[POOL]))
    yield
    await tasks.stop()
    app[PASSWORDS].close()


async def _sweep(pool: Pool) -> None:
    """Forget ended sessions, now and every hour."""
    while True:
        try:
            await stored.delete_expired(pool)
        except LOST as error:
            log.warning("ended sessions are kept for now: %r", error)
        await asyncio.sleep(SWEEP)
