from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.db import migrate as module
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import migrate, read_schema
from server.db.pool import Database, connect, create_pool
from server.errors import StartError
from tests.conftest import database_url

if TYPE_CHECKING:
    from pathlib import Path

    from server.db.pool import Connection


async def version_of(database: Database) -> int:
    connection = await connect(database)
    version: int = await connection.fetchval("SELECT max(version) FROM tailrace.schema_version")
    await connection.close()
    return version


async def test_the_first_migration_applies_the_schema_and_the_second_does_nothing(
    database: Database,
) -> None:
    connection = await connect(database)
    await connection.execute("DROP SCHEMA tailrace CASCADE")
    await connection.close()
    assert await migrate(database)
    assert await version_of(database) == read_schema()[0]
    assert not await migrate(database)


async def test_a_forced_migration_applies_the_same_version_again(database: Database) -> None:
    assert await migrate(database, force=True)


async def test_servers_that_start_together_migrate_once(database: Database) -> None:
    connection = await connect(database)
    await connection.execute("DROP SCHEMA tailrace CASCADE")
    await connection.close()
    assert sorted(await asyncio.gather(*(migrate(database) for _ in range(4)))) == [False] * 3 + [
        True
    ]


async def test_a_newer_database_stops_the_start(database: Database) -> None:
    connection = await connect(database)
    await connection.execute("INSERT INTO tailrace.schema_version (version) VALUES (9999)")
    await connection.close()
    with pytest.raises(StartError, match=r"schema version 9999 and this Tailrace knows \d+"):
        await migrate(database)


async def test_a_held_lock_stops_the_start_instead_of_hanging(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "50ms")
    connection = await connect(database)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", module.LOCK)
        with pytest.raises(StartError, match="another transaction has held a lock"):
            await migrate(database, force=True)
    await connection.close()


async def test_a_user_without_rights_gets_a_sentence(
    postgres: EmbeddedPostgres, database: Database
) -> None:
    connection = await connect(database)
    await connection.execute("DROP SCHEMA tailrace CASCADE; CREATE ROLE weak LOGIN")
    weak = Database(database.url.replace("postgres@", "weak@"), None, embedded=False)
    try:
        with pytest.raises(StartError, match="permission denied"):
            await migrate(weak)
    finally:
        await connection.execute("DROP ROLE weak")
        await connection.close()


async def test_an_old_postgres_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OLDEST_POSTGRES", 99)
    with pytest.raises(StartError, match="needs 99 or newer"):
        await migrate(database)


def test_a_schema_without_a_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = tmp_path / "schema.sql"
    schema.write_text("SELECT 1;\n")
    monkeypatch.setattr(module, "PLACES", (schema,))
    with pytest.raises(StartError, match="does not begin with its version"):
        read_schema()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/x", "refused"),
        ("postgresql://u:hunter2@127.0.0.1:1x/x", "cannot be understood"),
        ("postgresql://u:hunter2@nowhere.invalid/x", "nowhere.invalid/x: "),
    ],
)
async def test_a_refused_connection_is_one_sentence_without_the_password(
    url: str, why: str
) -> None:
    with pytest.raises(StartError) as caught:
        await migrate(Database(url, None, embedded=False))
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_missing_database_is_said(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StartError, match="there is no such database"):
        await migrate(Database(database_url(postgres, "missing"), None, embedded=False))


async def test_the_pool_checks_every_new_connection(database: Database) -> None:
    checked: list[Connection] = []

    async def check(connection: Connection) -> None:
        assert await connection.fetchval("SELECT current_setting('application_name')") == "tailrace"
        checked.append(connection)

    pool = await create_pool(database, 3, check=check)
    connections = [await pool.acquire() for _ in range(3)]
    assert len(checked) == 3
    for connection in connections:
        await pool.release(connection)
    await pool.close()


async def test_a_pooler_gets_no_named_statements(database: Database) -> None:
    async def check(_connection: Connection) -> None:
        pass

    behind = Database(database.url, database.url, embedded=False)
    pool = await create_pool(behind, 2, check=check)
    async with pool.acquire() as connection:
        await connection.fetchval("SELECT 1 + $1::int", 1)
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    await pool.close()
