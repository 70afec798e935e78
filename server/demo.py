"""`--demo`: a demo user who is signed in by a printed link, and something that moves.

Only ever on request, or with the embedded Postgres; its admin can do nothing that the person who
can read the terminal could not do with the database itself. What moves is made up and says so
(`demo` in its channel or title), and bounded: of each kind only the newest rows are kept.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import random
from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from server.auth import sessions
from server.errors import FORBIDDEN, ApiError
from server.log.catalog import CATALOG

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.log.service import Log

log = logging.getLogger(__name__)

EMAIL = "demo@tailrace.local"
DEVICE = "The link that the server printed"
PERIOD = 1.0
ORDER_EVERY = 3
POST_EVERY = 60
NOTICE_EVERY = 300
"""In periods: a step of an order, a change of the demo's post, a notification."""
ORDERS = 30
NOTICES = 5
"""Demo rows that are kept; whatever else is in these tables is never touched."""
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
_ORDERS = """
    CREATE TABLE IF NOT EXISTS public.demo_orders (
      id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      item   text NOT NULL,
      amount numeric(8, 2) NOT NULL,
      state  text NOT NULL DEFAULT 'new',
      at     timestamptz NOT NULL DEFAULT now());
    SELECT tailrace.watch('public.demo_orders', channel => 'public.demo.orders')"""
_NEW_ORDER = "INSERT INTO public.demo_orders (item, amount) VALUES ($1, $2)"
_NEXT_STATE = """
    UPDATE public.demo_orders SET at = now(), state = CASE state
      WHEN 'new' THEN 'paid' WHEN 'paid' THEN 'packed' ELSE 'shipped' END
    WHERE id = (SELECT id FROM public.demo_orders WHERE state <> 'shipped' ORDER BY at, id LIMIT 1)
    RETURNING id"""
_FORGET_ORDERS = """
    DELETE FROM public.demo_orders WHERE id <= (
      SELECT id FROM public.demo_orders ORDER BY id DESC OFFSET $1 LIMIT 1)"""
_TELL = """
    INSERT INTO public.notifications (user_id, title, body)
    SELECT u.id, 'Demo: orders shipped', format('%s of the last %s demo orders are shipped.',
      count(*) FILTER (WHERE o.state = 'shipped'), count(*))
    FROM public.users u, public.demo_orders o WHERE u.id = $1 GROUP BY u.id"""
_FORGET_NOTICES = """
    DELETE FROM public.notifications WHERE user_id = $1 AND title = 'Demo: orders shipped'
      AND id NOT IN (SELECT id FROM public.notifications
        WHERE user_id = $1 AND title = 'Demo: orders shipped' ORDER BY id DESC LIMIT $2)"""
# One post that goes on changing, so that there is nothing to delete. If the reader deletes it, it
# is written anew.
_POST = """
    WITH mine AS (
      SELECT min(id) AS id FROM public.posts
      WHERE author_id = $1 AND title = 'Demo: the river today'
    ), changed AS (
      UPDATE public.posts SET content = $2, updated_at = now() FROM mine WHERE posts.id = mine.id)
    INSERT INTO public.posts (author_id, title, content)
    SELECT u.id, 'Demo: the river today', $2
    FROM mine, public.users u WHERE mine.id IS NULL AND u.id = $1"""
_ITEMS = ("lamp", "kettle", "paddle", "rope, 20 m", "field book", "rain jacket")


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

    def __init__(self, pool: Pool, user_id: str, token: str, *, orders: bool) -> None:
        self.token = token
        self._pool = pool
        self._user_id = user_id
        self._orders = orders

    @classmethod
    async def prepare(cls, pool: Pool) -> Demo:
        """Make the demo user and some rows, and sign the user in."""
        user_id = await pool.fetchval(_USER, EMAIL)
        await pool.execute(_NOTIFY, user_id)
        token = await sessions.create(pool, user_id, user_agent=DEVICE)
        await pool.execute(_KEEP, user_id, SESSIONS)
        return cls(pool, user_id, token, orders=await _make_orders(pool))

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

    async def move(self, into: Log) -> None:
        """Publish a measurement a second; change rows now and then, as an application would."""
        tick = 0
        while True:
            await asyncio.sleep(PERIOD)
            measurement = _measure(tick)
            await into.outbox.publish([MEASUREMENT.draft(measurement, key="river")])
            tick += 1
            if self._orders and tick % ORDER_EVERY == 0:
                await self.move_orders()
            if tick % POST_EVERY == 0:
                await self.write_post(measurement)
            if self._orders and tick % NOTICE_EVERY == 0:
                await self.notify()

    async def move_orders(self) -> None:
        """An order goes a step further; or a new one comes, of whose life there are three steps."""
        is_new = random.random() < 1 / 4
        if is_new or await self._pool.fetchval(_NEXT_STATE) is None:
            amount = Decimal(random.randint(400, 24_900)) / 100
            await self._pool.execute(_NEW_ORDER, random.choice(_ITEMS), amount)
            await self._pool.execute(_FORGET_ORDERS, ORDERS)

    async def write_post(self, measurement: Measurement) -> None:
        """The demo user's one post is about the river as it is now."""
        text = f"The gauge reads {measurement.level_m:.2f} m. (Made up, once a minute.)"
        await self._pool.execute(_POST, self._user_id, text)

    async def notify(self) -> None:
        """Tell the demo user how the orders do."""
        await self._pool.execute(_TELL, self._user_id)
        await self._pool.execute(_FORGET_NOTICES, self._user_id, NOTICES)


async def _make_orders(pool: Pool) -> bool:
    """Whether there is a watched table of demo orders: not every role may make tables."""
    try:
        await pool.execute(_ORDERS)
    except asyncpg.InsufficientPrivilegeError as error:
        log.warning("the demo goes without its orders: %s", error)
        return False
    return True


def _measure(tick: int) -> Measurement:
    level = 2.4 + 0.6 * math.sin(tick / 20) + random.uniform(-0.05, 0.05)
    return Measurement(level_m=round(level, 3), flow_m3s=round(level * 41.5, 1))
