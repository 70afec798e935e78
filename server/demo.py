"""`--demo`: a demo user who is signed in by a printed link, and something that moves.

Only ever on request, or with the embedded Postgres; its admin can do nothing that the person who
can read the terminal could not do with the database itself.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import random
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from server.auth import sessions
from server.errors import FORBIDDEN, ApiError
from server.log.catalog import CATALOG

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.log.service import Log

EMAIL = "demo@tailrace.local"
PERIOD = 1.0
SESSIONS = 5
"""Of so many starts the pages stay signed in; a session a start would pile up."""

_USER = """
    INSERT INTO public.users (name, email, role) VALUES ('Demo', $1, 'admin')
    ON CONFLICT (lower(email)) DO UPDATE SET updated_at = now() RETURNING id"""
_KEEP = """
    DELETE FROM public.sessions WHERE user_id = $1 AND id NOT IN (
      SELECT id FROM public.sessions WHERE user_id = $1 ORDER BY created_at DESC LIMIT $2)"""
_NOTIFY = """
    INSERT INTO public.notifications (user_id, title, body)
    SELECT $1, title, body FROM (VALUES
      ('Welcome to Tailrace', 'This page is live: publish something from any SQL client.'),
      ('Watch a table of yours', 'SELECT tailrace.watch(''…'', channel => ''public.…'')')
    ) AS v (title, body)
    WHERE NOT EXISTS (SELECT FROM public.notifications WHERE user_id = $1)"""


class Measurement(BaseModel):
    """What a river's gauge reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level_m: float = Field(description="Metres.")
    flow_m3s: float = Field(description="Cubic metres a second.")


MEASUREMENT = CATALOG.published(
    "measurement", "public.demo", Measurement, "A river's gauge, once a second (with --demo)"
)


class Demo:
    """The demo of one process."""

    def __init__(self, token: str) -> None:
        self.token = token

    @classmethod
    async def prepare(cls, pool: Pool) -> Demo:
        """Make the demo user and some rows, and sign the user in."""
        user_id = await pool.fetchval(_USER, EMAIL)
        await pool.execute(_NOTIFY, user_id)
        token = await sessions.create(pool, user_id)
        await pool.execute(_KEEP, user_id, SESSIONS)
        return cls(token)

    def banner(self, base: str) -> list[str]:
        """What the start prints."""
        return [
            f"  open     {base}/demo?token={self.token}   (signs you in as the demo's admin)",
            f"  session  curl -N -H 'Authorization: Bearer {self.token}'"
            f" '{base}/api/notifications/stream'",
        ]

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """The printed link: sets the session's cookie and goes to the page."""
        given = request.query.get("token", "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self.token.encode()):
            raise ApiError(FORBIDDEN, "use the link that the server printed at its last start")
        answer = web.HTTPSeeOther("/")
        answer.set_cookie(
            sessions.COOKIE,
            self.token,
            max_age=int(sessions.LIFETIME.total_seconds()),
            httponly=True,
            samesite="Lax",
            path="/",
        )
        answer.headers["Referrer-Policy"] = "no-referrer"
        raise answer

    @staticmethod
    async def move(log: Log) -> None:
        """Publish a measurement a second, so that the page has something to show."""
        tick = 0
        while True:
            await asyncio.sleep(PERIOD)
            await log.outbox.publish([MEASUREMENT.draft(_measure(tick), key="river")])
            tick += 1


def _measure(tick: int) -> Measurement:
    level = 2.4 + 0.6 * math.sin(tick / 20) + random.uniform(-0.05, 0.05)
    return Measurement(level_m=round(level, 3), flow_m3s=round(level * 41.5, 1))
