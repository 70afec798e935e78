"""Two applications on one database, as two processes: they share nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from server.db.pool import Database
from server.log.living import Living
from tests.served import Served, served
from tests.waiting import until


@pytest.fixture(name="server")
async def single(clean: Database) -> AsyncIterator[Served]:
    async with served(clean) as running:
        yield running


@pytest.fixture
async def pair(clean: Database) -> AsyncIterator[tuple[Served, Served]]:
    async with served(clean) as one, served(clean) as other:
        await met(one, other)
        yield one, other


def process(server: Served) -> str:
    return server.service.streams.process


async def met(*servers: Served) -> None:
    """Until all know each other to live."""
    names = {process(server) for server in servers}
    for server in servers:
        living = server.service.log.living
        await until(lambda: knows(living, names))  # noqa: B023


async def knows(living: Living, names: set[str]) -> bool:
    return await living.others() == names - {living.process}


async def admin(server: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await server.sign_in('admin'))[1]}"}


async def listed(
    server: Served, who: Mapping[str, str], what: str = "streams", query: str = ""
) -> Any:
    answer, body = await server.get(f"/api/{what}?{query}", **who)
    assert answer.status == 200, body
    return body


def id_of(server: Served, number: int = 0) -> str:
    return [stream.id for stream in server.service.streams][number]


async def end(server: Served, stream_id: str, who: Mapping[str, str]) -> int:
    """The status: a 204 has no body that could be waited for."""
    lines = [f"DELETE /api/streams/{stream_id} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in who.items()]
    return (await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n")).status
