"""What a run has stored: nothing before it, and afterwards exactly what was acknowledged."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from scripts.benchmark.hookload import USERS, Posted
from scripts.benchmark.loadgen import MeasureError

EMPTY = (
    "TRUNCATE public.webhook_deliveries, public.payments, public.refunds, public.notifications",
    "INSERT INTO public.users (id, name, email)"
    " SELECT 'bench' || n, 'Bench', 'bench' || n || '@example.com'"
    f" FROM generate_series(0, {USERS - 1}) n ON CONFLICT DO NOTHING",
    "CHECKPOINT",
)
SETTLED = "SELECT NOT EXISTS (SELECT FROM tailrace.outbox)"
ROWS = "SELECT message_id, id FROM public.webhook_deliveries"
HANDLED = "SELECT count(*) FROM public.webhook_deliveries WHERE state <> 'pending'"


async def emptied(url: str) -> None:
    """No run shall find what another has left: its rows, its events, its dirty pages."""
    connection = await asyncpg.connect(url)
    try:
        for statement in EMPTY:
            await connection.execute(statement)
        deadline = time.monotonic() + 60
        while not await connection.fetchval(SETTLED):
            if time.monotonic() > deadline:
                raise MeasureError("the outbox is not stamped after a minute")
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def stored(url: str, posted: Posted) -> int:
    """How many of them are handled already.

    Raises:
        MeasureError: what is in the table is not exactly what was acknowledged.
    """
    connection = await asyncpg.connect(url)
    try:
        handled: int = await connection.fetchval(HANDLED)
        there = {row["message_id"]: row["id"] for row in await connection.fetch(ROWS)}
    finally:
        await connection.close()
    if there != posted.stored:
        lost = len(posted.stored.keys() - there.keys())
        raise MeasureError(
            f"{len(posted.stored)} were acknowledged, {lost} of them are not in the table,"
            f" which has {len(there)}; or the ids differ"
        )
    return handled
