"""Servers whose files only the tests clean up."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.keys import POOL
from server.uploads.cleaning import Cleaner
from server.uploads.records import Record
from server.uploads.service import UPLOADS
from tests.served import Served
from tests.uploads.kept import keep, running
from tests.uploads.making import PNG
from tests.uploads.moto import Moto, address


class Site:
    """A server whose files are cleaned up by the tests alone: its own timer waits for minutes."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.uploads = server.app[UPLOADS]

    def cleaner(self, older_than: float = 0, **more: Any) -> Cleaner:
        pool = self.server.app[POOL]
        store, spool = self.uploads.store, self.uploads.spool
        return Cleaner(pool, store, spool, older_than=older_than, **more)

    async def keep(self, **more: Any) -> Record:
        user, _ = await self.server.sign_in()
        return await keep(self.server, PNG, user, **more)

    async def orphan(self) -> str:
        """A file in the store whose row was never written."""
        id_ = secrets.token_hex(16)
        path = self.spooled(id_)
        await self.uploads.store.put(id_, path, size=len(PNG), content_type="image/png")
        return id_

    def spooled(self, id_: str, age: float = 0) -> Path:
        """A file in the spool, last written so many seconds ago."""
        path = self.uploads.spool.path(id_)
        path.write_bytes(PNG)
        os.utime(path, (time.time() - age,) * 2)
        return path

    async def stored(self) -> set[str]:
        files = self.uploads.store.keys()
        return {item.key async for item in files}

    async def empty(self) -> None:
        await self.server.app[POOL].execute("DELETE FROM uploads")
        for key in await self.stored():
            await self.uploads.store.delete(key)
        for left in await self.uploads.spool.leftovers(0):
            await self.uploads.spool.discard(left.name)

    async def known(self) -> set[str]:
        return {row["id"] for row in await self.server.app[POOL].fetch("SELECT id FROM uploads")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    async with running(postgres) as server:
        yield Site(server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: EmbeddedPostgres, moto: Moto) -> AsyncIterator[Site]:
    url = address(moto.port, uuid.uuid4().hex)
    async with running(postgres, storage_url=url) as server:
        yield Site(server)
