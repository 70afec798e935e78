"""Servers that give files out, with a client and a user each."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.uploads.records import Record
from tests.served import Served
from tests.uploads.kept import bearer, keep, running
from tests.uploads.making import PNG
from tests.uploads.moto import Moto, address


class Site:
    """A server with a client for it, a user, and that user's token."""

    def __init__(self, server: Served, user: str, token: str) -> None:
        self.server = server
        self.user = user
        self.mine = bearer(token)
        self.client = httpx.AsyncClient(base_url=server.url)

    async def keep(self, content: bytes = PNG, **more: Any) -> Record:
        return await keep(self.server, content, self.user, **more)

    async def private(self, content: bytes = b"%PDF-1.4", **more: Any) -> Record:
        given = {"name": "a.pdf", "type_": "application/pdf"} | more
        return await self.keep(content, policy="documents", visibility="private", **given)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(f"/api/uploads/{path}", headers=named)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    """On the local disk."""
    async with running(postgres, write_deadline=0.5) as server:
        site = Site(server, *await server.sign_in())
        async with site.client:
            yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: EmbeddedPostgres, moto: Moto) -> AsyncIterator[Site]:
    """On S3."""
    url = address(moto.port, uuid.uuid4().hex)
    async with running(postgres, storage_url=url, write_deadline=0.5) as server:
        site = Site(server, *await server.sign_in())
        async with site.client:
            yield site
