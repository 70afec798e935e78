"""A world to judge: one Postgres that can be crashed, servers on it, and a witness."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from server.db.embedded import EmbeddedPostgres
from server.db.faults import LOST
from tests.oracle.servers import SMALL, Server
from tests.oracle.witness import Witness
from tests.waiting import until

if TYPE_CHECKING:
    from server.db.pool import Connection

NAME = "oracle"
"""The harness's own connections; the servers' are called `tailrace…`."""
TABLES = """
    CREATE TABLE watched (id text PRIMARY KEY, shard int NOT NULL, note text NOT NULL);
    SELECT tailrace.watch('watched', channel => 'public.rows.{shard}');
    CREATE TABLE copied (id text PRIMARY KEY, note text NOT NULL);
    SELECT tailrace.watch('copied');"""


class World:
    """What the faults and the writers work on."""

    def __init__(self, postgres: EmbeddedPostgres, servers: list[Server]) -> None:
        self.postgres = postgres
        self.servers = servers

    async def connect(self, name: str = NAME) -> Connection:
        """A connection of the harness."""
        return await asyncpg.connect(
            self.postgres.url,
            timeout=5,
            command_timeout=20,
            server_settings={"application_name": name},
        )

    async def crash(self) -> None:
        """End Postgres in immediate mode, and wait until its supervisor has it up again."""
        old = self.postgres.pid
        assert old is not None
        watch = asyncio.create_task(self.postgres.watch())
        try:
            os.kill(old, signal.SIGQUIT)
            await until(lambda: self.postgres.pid not in (None, old))
            await until(self._answers)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _answers(self) -> bool:
        try:
            connection = await self.connect()
        except LOST:
            return False
        await connection.close()
        return True


@asynccontextmanager
async def servers_on(
    url: str, place: Path, names: str, bug: str | None = None
) -> AsyncIterator[list[Server]]:
    """Servers on a database, one for each letter; every second one on asyncio's own loop."""
    servers = [
        Server(name, place, url, SMALL | {"TAILRACE_LOOP": loop}, bug)
        for name, loop in zip(names, cycle(("uvloop", "asyncio")), strict=False)
    ]
    try:
        for server in servers:
            server.spawn()
        for server in servers:
            await server.ready()
        yield servers
    finally:
        for server in servers:
            server.close()


@asynccontextmanager
async def witness_of(url: str) -> AsyncIterator[Witness]:
    """A witness on a database that has its schema."""
    options = {"application_name": NAME}
    async with asyncpg.create_pool(
        url, min_size=1, max_size=3, command_timeout=20, server_settings=options
    ) as pool:
        yield Witness(pool, int(SMALL["TAILRACE_PARTITION_SIZE"]))


@asynccontextmanager
async def world(
    place: Path, servers: int, bug: str | None = None
) -> AsyncIterator[tuple[World, Witness]]:
    """Postgres, servers (with a planted bug) and a witness, all of them new."""
    postgres = EmbeddedPostgres(place / "postgres")
    postgres.start()
    try:
        names = "abcdefgh"[:servers]
        async with servers_on(postgres.url, place, names, bug) as processes:
            it = World(postgres, processes)
            connection = await it.connect()
            await connection.execute(TABLES)
            await connection.close()
            async with witness_of(postgres.url) as witness:
                yield it, witness
    finally:
        postgres.stop(immediate=True)
