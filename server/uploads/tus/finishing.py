"""The end of an upload in pieces: made whole once all its bytes are there, or removed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from server.db.faults import LOST
from server.errors import NOT_FOUND, ApiError
from server.uploads import records
from server.uploads.incoming import found_of, seconds, stored
from server.uploads.owners import Owner

if TYPE_CHECKING:
    from server.uploads.progress import Meter
    from server.uploads.records import Found, Record
    from server.uploads.service import Uploads
    from server.uploads.sniff import Sniffer
    from server.uploads.spoolfile import SpoolFile
    from server.uploads.tus.parts import Upload

RETRIES = (0.1, 0.5, 2.0, 4.0)
"""Seconds to wait for a database that is away, when all but the row is done: a restart's."""

log = logging.getLogger(__name__)


async def complete(
    uploads: Uploads, upload: Upload, file: SpoolFile, sniffer: Sniffer | None
) -> Record:
    """All bytes are there, and the upload's lock is held: check them, store them, and make the
    file known. `sniffer`: one that was fed all of them.

    Raises:
        ApiError: 400 or 413 when the file is refused, and nothing of it is left; 503 or 507 when
            it can't be stored now, 404 when it was deleted meanwhile.
    """
    id_, meter = upload.record.id, meter_of(uploads, upload)
    meter.tell("checking", file.size)
    with stored():
        path = await file.finish()
    checker, metadata = uploads.checker, upload.metadata
    try:
        if sniffer is not None:
            looked = await checker.look(path, sniffer)
        else:
            looked = await checker.look_anew(path, metadata.policy, metadata.type)
    except ApiError:
        await drop(uploads, upload)
        raise
    except FileNotFoundError:
        raise deleted() from None
    found = found_of(file, metadata.name, looked)
    with stored():
        await uploads.store.put(id_, path, size=found.size, content_type=looked.type.name)
    kept = await asyncio.shield(_tell(uploads, upload, found))
    meter.tell("ready", found.size)
    return kept


async def drop(uploads: Uploads, upload: Upload, *, lost: bool = False) -> None:
    """Remove an upload that is not whole, and whose lock is held. `lost`: it has no file, so that
    one may be in the store, of a process that died before it could say so."""
    id_ = upload.record.id
    removed = await records.give_up(uploads.pool, id_)
    if removed:
        uploads.told()
        meter_of(uploads, upload).tell("failed", 0)
    await uploads.spool.discard(id_)
    # A shutdown ends the lock before the row is known: it may have become whole meanwhile.
    if lost and removed:
        await uploads.forget(id_)


def meter_of(uploads: Uploads, upload: Upload) -> Meter:
    """What tells the owner's tabs how far an upload is."""
    record, policy = upload.record, upload.metadata.policy
    owner = Owner(record.owner, record.user_id)
    return uploads.meter(owner, record.id, record.name, policy, record.size)


def deleted() -> ApiError:
    """The 404 of an upload that was there when the request began."""
    return ApiError(NOT_FOUND, "the upload was deleted meanwhile")


async def _tell(uploads: Uploads, upload: Upload, found: Found) -> Record:
    """Make a stored file known."""
    id_ = upload.record.id
    try:
        kept = await _ready(uploads, upload, found)
    except LOST:
        # It may be ready. If it is not, the next to ask finds no bytes, and removes it all.
        raise
    except Exception:
        await uploads.forget(id_)
        raise
    if kept is None:
        await uploads.forget(id_)
        raise deleted()
    uploads.told()
    return kept


async def _ready(uploads: Uploads, upload: Upload, found: Found) -> Record | None:
    """The row as it is then; `None`: it is gone."""
    id_, expires = upload.record.id, seconds(upload.metadata.policy)
    pauses = iter(RETRIES)
    while True:
        try:
            kept = await records.ready(uploads.pool, id_, found, expires)
            return kept or await _made(uploads, id_, found)
        except LOST as error:
            pause = next(pauses, None)
            if pause is None:
                raise
            log.warning("upload %s is stored, and waits for the database: %r", id_, error)
            await asyncio.sleep(pause)


async def _made(uploads: Uploads, id_: str, found: Found) -> Record | None:
    """The row of this very file: its commit may have been the last that the connection did."""
    record = await records.find(uploads.pool, id_)
    return record if record is not None and record.sha256 == found.sha256 else None
