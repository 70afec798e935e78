"""Uploads: what a file is, where it is kept, and who may have it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from server.keys import POOL, SETTINGS
from server.openapi.route import add
from server.stream.service import SERVICE
from server.uploads import multipart
from server.uploads.service import UPLOADS, Uploads
from server.uploads.stores import open_store

__all__ = ["add_routes"]


def add_routes(app: web.Application) -> None:
    """Put the routes on the application, and what they need into its life."""
    app.cleanup_ctx.append(_live)
    add(app, multipart.upload)


async def _live(app: web.Application) -> AsyncIterator[None]:
    """Open the store.

    Raises:
        StartError: `STORAGE_URL` is wrong, or there is no place for files.
    """
    settings, log = app[SETTINGS], app[SERVICE].log
    store = open_store(settings.storage_url, settings.data)
    uploads = app[UPLOADS] = Uploads(app[POOL], store, settings, log.ephemeral, log.stamper.wake)
    try:
        await uploads.check(needed=settings.storage_url is not None)
        yield
    finally:
        await uploads.close()
