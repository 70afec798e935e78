"""Typed keys of what every room shares on the application and the request."""

from __future__ import annotations

import asyncio

import asyncpg
from aiohttp import web

from server.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
POOL: web.AppKey[asyncpg.Pool[asyncpg.Record]] = web.AppKey("pool", asyncpg.Pool)
BANNER = web.AppKey("banner", list[str])
"""Lines that the start prints after the address."""
FATAL: web.AppKey[asyncio.Future[BaseException]] = web.AppKey("fatal", asyncio.Future)
"""Resolves when a part has failed for good: the process logs it and exits with 1."""
REQUEST_ID = web.RequestKey("request_id", str)
LAST = web.RequestKey("last", bool)
"""Whether the connection has to be closed behind the answer."""
