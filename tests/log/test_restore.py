"""A log that goes on elsewhere: restored from a dump, cloned, or on a promoted replica."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from server.db.embedded import EmbeddedPostgres
from server.db.migrate import migrate
from server.db.pool import Database
from tests.conftest import database_url
from tests.served import Served, served
from tests.waiting import until


async def write(server: Served, *datas: object) -> str:
    """Publish, one transaction each; the id after the last."""
    for data in datas:
        await server.publish("public.a", data)
    await server.settled()
    return str(server.service.pubsub.id)


async def resumed(server: Served, last: str, count: int) -> list[object]:
    """The next events for a client that comes back with this id; its gap's reason first."""
    stream = await server.open("public.a", headers={"Last-Event-ID": last})
    ready = await stream.block()
    assert ready.event == "ready"
    found: list[object] = []
    if ready.id is None:
        gap = await stream.block()
        found.append(gap.data["reason"])
        assert gap.data["resumed"] == str(server.service.pubsub.id)
    else:
        assert ready.id.partition(".")[2] == last.partition(".")[2]
    return found + [block.data["data"] for block in await stream.messages(count)]


async def check(server: Served, old: str) -> None:
    """The log was forked after position 5 of the epoch `old`; the other side went on to 8."""
    epoch = server.service.pubsub.epoch
    assert epoch != old
    assert await resumed(server, f"{old}.5", 0) == []
    assert (await write(server, "new"))[8:] == ".6"
    assert await resumed(server, f"{old}.5", 1) == ["new"]
    assert await resumed(server, f"{old}.3", 3) == [4, 5, "new"]
    for lost in (6, 7, 8, 9):
        assert await resumed(server, f"{old}.{lost}", 0) == ["epoch"]
    await write(server, "new", "new", "new")
    for lost in (6, 8):  # such positions are there again now, and are others
        assert await resumed(server, f"{old}.{lost}", 0) == ["epoch"]
    assert await resumed(server, f"{old}.2", 7) == [3, 4, 5, "new", "new", "new", "new"]
    assert await resumed(server, f"{epoch}.6", 3) == ["new", "new", "new"]
    assert await resumed(server, f"{epoch}.10", 0) == ["ahead"]


@pytest.fixture
async def elsewhere(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """The address of a second database, which the test makes."""
    connection = await asyncpg.connect(postgres.url)
    yield Database(database_url(postgres, "elsewhere"), None, embedded=True)
    await connection.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
    await connection.close()


async def test_a_restored_dump_resumes_what_it_shares(
    postgres: EmbeddedPostgres, database: Database, elsewhere: Database, place: Path
) -> None:
    shared = place / "dump"
    shared.mkdir()
    postgres.cluster.home.account.own(shared, 0o700)
    file = str(shared / "dump")
    async with served(database) as server:
        old = (await write(server, 1, 2, 3, 4, 5))[:8]
        postgres.run("pg_dump", "-Fc", "-f", file, database.url)
        await write(server, "lost", "lost", "lost")
    postgres.run("psql", "-qc", "CREATE DATABASE elsewhere", postgres.url)
    postgres.run("pg_restore", "--exit-on-error", "-d", elsewhere.url, file)
    assert not await migrate(elsewhere)
    assert await migrate(elsewhere, force=True)
    async with served(elsewhere) as server:
        await check(server, old)


async def test_a_cloned_database_resumes_what_it_shares(
    postgres: EmbeddedPostgres, database: Database, elsewhere: Database
) -> None:
    async with served(database) as server:
        old = (await write(server, 1, 2, 3, 4, 5))[:8]
    name = urlsplit(database.url).path[1:]
    postgres.run("psql", "-qc", f"CREATE DATABASE elsewhere TEMPLATE {name}", postgres.url)
    async with served(database) as server:
        assert server.service.pubsub.epoch == old
        await write(server, "lost", "lost", "lost")
    async with served(elsewhere) as server:
        await check(server, old)


@asynccontextmanager
async def replica(
    postgres: EmbeddedPostgres, database: Database, place: Path
) -> AsyncIterator[Database]:
    """A streaming replica of the whole Postgres; the address of `database` on it."""
    account, data, run = postgres.cluster.home.account, place / "data", place / "run"
    for directory in (data, run):
        directory.mkdir()
        account.own(directory, 0o700)
    postgres.run("pg_basebackup", "-D", str(data), "-R", "-c", "fast", "-d", postgres.url)
    settings = {"listen_addresses": "", "unix_socket_directories": str(run), "fsync": "off",
                "max_prepared_transactions": "10"}  # fmt: skip
    arguments = [text for item in settings.items() for text in ("-c", "=".join(item))]
    with (place / "log").open("wb") as log:
        process = account.spawn(
            [postgres.cluster.binaries.path("postgres"), "-D", str(data), *arguments],
            end=signal.SIGQUIT,
            output=log.fileno(),
        )
    url = urlsplit(database.url)._replace(query=f"host={run}&port=5432").geturl()

    async def takes_connections() -> bool:
        try:
            await (await asyncpg.connect(url)).close()
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    try:
        await until(takes_connections)
        yield Database(url, None, embedded=True)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


async def test_a_promoted_replica_that_lost_commits_resumes_what_it_has(
    postgres: EmbeddedPostgres, database: Database, place: Path
) -> None:
    async with replica(postgres, database, place) as second:
        standby = await asyncpg.connect(second.url)
        async with served(database) as server:
            old = (await write(server, 1, 2, 3, 4, 5))[:8]
            await until(lambda: _value(standby, "SELECT pos = 5 FROM tailrace.head"))
            await standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
            await standby.execute("SELECT pg_reload_conf()")
            await until(
                lambda: _value(standby, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
            )
            await write(server, "lost", "lost", "lost")
        assert await standby.fetchval("SELECT pg_promote()")
        await standby.close()
        async with served(second) as server:
            await check(server, old)
            fork = await _fork(second)
            assert fork == 5


async def _value(connection: asyncpg.Connection[asyncpg.Record], query: str) -> object:
    return await connection.fetchval(query)


async def _fork(database: Database) -> object:
    connection = await asyncpg.connect(database.url)
    found = await connection.fetchval(
        "SELECT fork FROM tailrace.epoch_history ORDER BY seq DESC LIMIT 1"
    )
    await connection.close()
    return found
