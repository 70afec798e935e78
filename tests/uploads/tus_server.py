"""A server of tus for the tests of a module, and what it has of an upload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from server.db.pool import Database
from server.keys import POOL, SETTINGS
from tests.served import Served, served
from tests.uploads.tus import Client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One server for all tests of a module."""
    async with served(reused, upload_stall=0.3, limits="off") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: Served) -> Client:
    """A new user's."""
    return Client(server.url, (await server.sign_in())[1])


def spooled(server: Served) -> list[str]:
    """What is in the spool, but for its own name."""
    directory = server.app[SETTINGS].data / "spool"
    return sorted(path.name for path in directory.iterdir() if path.name != ".host")


def kept(server: Served) -> list[Path]:
    """The files in the store."""
    store = server.app[SETTINGS].data / "uploads"
    return [path for path in store.rglob("*") if path.is_file()]


async def rows(server: Served, path: str) -> int:
    id_ = path.rpartition("/")[2]
    return int(await server.app[POOL].fetchval("SELECT count(*) FROM uploads WHERE id = $1", id_))


async def gone(server: Served, client: Client, path: str) -> None:
    """Nothing of an upload may be left."""
    assert (await client.head(path)).status == 404
    assert await rows(server, path) == 0
    id_ = path.rpartition("/")[2]
    assert [name for name in spooled(server) if id_ in name] == []
    assert [found for found in kept(server) if found.name == id_] == []
