"""Uploads: what a file is, where it is kept, and who may have it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from aiohttp import web

from server.keys import POOL, SETTINGS
from server.meters import METERS
from server.openapi.route import add
from server.stream.service import SERVICE
from server.tasks import Tasks
from server.uploads import listing, multipart, serving, tus
from server.uploads.body import continue_later
from server.uploads.cleaning import Cleaner
from server.uploads.sending import Sender
from server.uploads.service import UPLOADS, Uploads
from server.uploads.signing import URL_KEY, derive
from server.uploads.stores import open_store

__all__ = ["add_routes"]


def add_routes(app: web.Application) -> None:
    """Put the routes on the application, and what they need into its life."""
    app.cleanup_ctx.append(_live)
    add(app, multipart.upload, expect=continue_later)
    tus.add_routes(app)
    add(app, serving.get_upload, serving.sign_upload)
    add(app, listing.list_uploads, listing.upload_info, listing.delete_upload)


async def _live(app: web.Application) -> AsyncIterator[None]:
    """Open the store.

    Raises:
        StartError: `STORAGE_URL` is wrong, or there is no place for files.
    """
    settings, log = app[SETTINGS], app[SERVICE].log
    store = open_store(settings.storage_url, settings.data)
    uploads = app[UPLOADS] = Uploads(app[POOL], store, settings, log.ephemeral, log.stamper.wake)
    sender = app[serving.SENDER] = Sender(store, settings.write_deadline)
    # The start always has a secret; without one, signed addresses are good while this process is.
    app[URL_KEY] = derive(settings.secret or secrets.token_urlsafe(32))
    meters = app[METERS]
    meters.gauge("uploads_running", "Requests that send files now", lambda: uploads.running)
    meters.counter("uploads", "Uploads that are over", lambda: uploads.ends, "outcome")
    meters.counter("upload_bytes", "Bytes received", lambda: uploads.spool.received)
    tasks = Tasks()
    tasks.spawn("uploads cleanup", Cleaner(app[POOL], store, uploads.spool).run)
    try:
        await uploads.check(needed=settings.storage_url is not None)
        yield
    finally:
        await tasks.stop()
        sender.close()
        await uploads.close()
