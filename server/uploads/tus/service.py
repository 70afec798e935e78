"""The life of an upload that comes in pieces: begun, continued, made whole, or given up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from server.db.faults import LOST
from server.errors import NOT_FOUND, ApiError
from server.uploads import records
from server.uploads.body import Body
from server.uploads.checking import answered
from server.uploads.incoming import stored
from server.uploads.owners import Owner
from server.uploads.records import New
from server.uploads.sniff import Sniffer
from server.uploads.threads import Threads
from server.uploads.tus.finishing import complete, deleted, drop, meter_of
from server.uploads.tus.hosts import host_of, new_id
from server.uploads.tus.locks import Hold, Locks
from server.uploads.tus.parts import Upload, expected, find, require, require_few
from server.uploads.tus.protocol import Checksum, Metadata
from server.uploads.tus.receiving import Piece

if TYPE_CHECKING:
    from server.uploads.service import Uploads
    from server.uploads.spoolfile import SpoolFile


class Tus:
    """The uploads in pieces of one process. `expires`: seconds that each has to be whole."""

    def __init__(self, uploads: Uploads, expires: float) -> None:
        self.uploads = uploads
        self.locks = Locks(uploads.spool)
        self._expires = expires
        self._threads = Threads("tus", 1)
        self._host: str | None = None

    async def host(self) -> str:
        """The name of this machine's spool."""
        if self._host is None:
            directory = self.uploads.spool.path("0" * 32).parent
            self._host = await self._threads.start(host_of, directory)
            await self.locks.sweep()
        return self._host

    async def create(self, owner: Owner, metadata: Metadata, length: int) -> Upload:
        """Begin an upload; its bytes have their room in the quota from now on.

        Raises:
            ApiError: 400 for a type that is not taken, 429, 503, 507.
        """
        policy = metadata.policy
        with answered():
            Sniffer(policy, metadata.type)
        await require_few(self.uploads.pool, owner)
        host = await self.host()
        id_ = new_id(host)
        new = New(
            id_,
            owner,
            policy.name,
            policy.visibility,
            "receiving",
            expected(metadata, length),
            host=host,
            metadata=metadata.text,
            expires=self._expires,
        )
        with stored():
            file = await self.uploads.spool.create(id_)
        await file.close()
        try:
            # Shielded: cancelled in its commit, nobody would know whether there is a row.
            record = await asyncio.shield(records.add(self.uploads.pool, new, self.uploads.quota))
        except LOST:
            # The row may be there. If it is not, the cleanup finds the file.
            raise
        except Exception:
            await file.discard()
            raise
        self.uploads.told()
        return Upload(record, host, metadata, expired=False)

    async def offset(self, id_: str, owner: Owner) -> tuple[Upload, int]:
        """How much of an upload is there, once nobody writes to it any more.

        One whose bytes are all there is made whole before it is told so: a client that hears that
        nothing is missing sends nothing more.

        Raises:
            ApiError: 404, 409, 410, 423; what `complete` raises.
        """
        upload = await self.require(id_, owner)
        if upload.whole:
            return upload, upload.record.size
        async with self.locks.take(id_) as hold:
            upload = await self.require(id_, owner)
            if upload.whole:
                return upload, upload.record.size
            size = await self.require_file(upload, hold)
            if size < upload.record.size:
                return upload, size
            file = await self._open(id_)
            try:
                kept = await complete(self.uploads, upload, file, None)
            finally:
                await asyncio.shield(file.close())
            return upload._replace(record=kept), kept.size

    async def received(self, upload: Upload) -> int:
        """How many bytes have come so far, whoever may be sending more."""
        if upload.whole:
            return upload.record.size
        return await self._threads.start(_size, self.uploads.spool.path(upload.record.id))

    async def require(self, id_: str, owner: Owner) -> Upload:
        """See `parts.require`."""
        return await require(self.uploads.pool, id_, owner, await self.host())

    def body(self, request: web.Request) -> Body:
        """What a request sends."""
        return Body(request, stall=self.uploads.stall, turns=self.uploads.spool.turns)

    async def receive(
        self,
        upload: Upload,
        hold: Hold,
        body: Body,
        checksum: Checksum | None,
    ) -> tuple[Upload, int]:
        """Add a request's bytes to an upload; its new offset.

        Raises:
            ApiError: as `Piece.receive` and `complete`. Of a type that is not taken nothing is
                left.
        """
        record = upload.record
        file = await self._open(record.id)
        try:
            sniffer = None
            if file.size == 0:
                with answered():
                    sniffer = Sniffer(upload.metadata.policy, upload.metadata.type)
            piece = Piece(
                file,
                hold,
                meter_of(self.uploads, upload),
                length=record.size,
                checksum=checksum,
                sniffer=sniffer,
            )
            try:
                await piece.receive(body)
            except ApiError:
                if piece.rejected:
                    await file.discard()
                    await drop(self.uploads, upload)
                raise
            if file.size < record.size:
                return upload, file.size
            kept = await complete(self.uploads, upload, file, sniffer)
            return upload._replace(record=kept), kept.size
        finally:
            await asyncio.shield(file.close())

    async def _open(self, id_: str) -> SpoolFile:
        try:
            with stored():
                return await self.uploads.spool.open(id_)
        except FileNotFoundError:
            raise deleted() from None

    async def discard(self, id_: str) -> bool:
        """Remove an upload that is not whole, and whatever there is of it; also what is left of
        one without a row. Who writes to it is made to leave. Whether it is gone: one that is whole
        stays.

        Raises:
            ApiError: 423 when its writer does not leave.
        """
        async with self.locks.take(id_) as hold:
            upload = await find(self.uploads.pool, id_)
            if upload is None:
                await self.uploads.spool.discard(id_)
                return True
            if upload.whole:
                return False
            await drop(self.uploads, upload, lost=hold.size is None)
            return True

    async def end(self, id_: str, owner: Owner) -> None:
        """Remove an upload, be it whole or not.

        Raises:
            ApiError: 404, 409, 410, 423.
        """
        upload = await self.require(id_, owner)
        if not upload.whole and await self.discard(id_):
            return
        if await records.remove(self.uploads.pool, id_):
            self.uploads.told()
        await self.uploads.forget(id_)

    async def require_file(self, upload: Upload, hold: Hold) -> int:
        """How many bytes of an upload are there.

        Raises:
            ApiError: 404 when they are lost, and so is the upload.
        """
        if hold.size is None:
            await drop(self.uploads, upload, lost=True)
            raise ApiError(NOT_FOUND, "the bytes of this upload were lost: begin anew")
        return hold.size

    def close(self) -> None:
        """End the threads."""
        self.locks.close()
        self._threads.close()


TUS = web.AppKey("tus", Tus)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
