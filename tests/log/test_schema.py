from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from server.db.migrate import migrate, read_schema
from server.db.pool import Database
from server.errors import StartError
from tests.log.looking import datas, publish

if TYPE_CHECKING:
    from server.db.embedded import EmbeddedPostgres

STATE = """SELECT string_agg(t, E'\\n' ORDER BY t) FROM (
    SELECT c.oid::regclass::text || c.relkind::text || coalesce(c.reloptions::text, '') AS t
    FROM pg_class c WHERE c.relnamespace IN ('tailrace'::regnamespace, 'public'::regnamespace)
    UNION ALL SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc
    WHERE pronamespace = 'tailrace'::regnamespace
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
    UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint) x"""


async def test_applied_again_it_changes_nothing_and_loses_nothing(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("SELECT tailrace.extend(100, 100)")
    await publish(connection, 1)
    before = await connection.fetchval(STATE)
    head = await connection.fetchrow("SELECT * FROM tailrace.head")
    assert await migrate(database, force=True)
    assert await connection.fetchval(STATE) == before
    assert await connection.fetchrow("SELECT * FROM tailrace.head") == head
    assert await datas(connection) == [1]
    await connection.close()


async def test_a_users_grants_outlive_a_migration(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("""CREATE ROLE contract_grantee; GRANT USAGE ON SCHEMA tailrace TO
        contract_grantee; GRANT EXECUTE ON FUNCTION tailrace.position() TO contract_grantee""")
    try:
        await migrate(database, force=True)
        assert await connection.fetchval(
            "SELECT has_function_privilege('contract_grantee', 'tailrace.position()', 'execute')"
            " AND has_schema_privilege('contract_grantee', 'tailrace', 'usage')"
        )
    finally:
        await connection.execute("DROP OWNED BY contract_grantee; DROP ROLE contract_grantee")
        await connection.close()


@pytest.mark.parametrize(
    "name", ["users", "sessions", "api_keys", "notifications", "posts", "contacts", "uploads"]
)
async def test_a_foreign_table_of_our_name_stops_the_migration(
    database: Database, name: str
) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute(
        "DROP SCHEMA tailrace CASCADE;"
        " DROP TABLE api_keys, contacts, notifications, posts, sessions, uploads, users"
    )
    await connection.execute(f"CREATE TABLE {name} (id int); INSERT INTO {name} VALUES (1)")
    sentence = f"the table public.{name} exists and is not Tailrace's: give Tailrace a database"
    with pytest.raises(StartError, match=sentence):
        await migrate(database)
    assert await connection.fetchval(f"SELECT id FROM {name}") == 1
    assert not await connection.fetchval("SELECT to_regnamespace('tailrace')::text")
    await connection.close()


async def test_every_function_pins_its_search_path_or_runs_with_the_callers_rights(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.url)
    loose = await connection.fetch("""SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'tailrace'::regnamespace AND prosecdef
          AND NOT coalesce(array_to_string(proconfig, ',') LIKE '%search_path=pg_catalog, pg_temp%',
            false)""")
    assert loose == []
    await connection.close()


def test_the_schema_says_its_version_in_its_first_line() -> None:
    version, text = read_schema()
    assert f"schema_version (version) VALUES ({version})" in text


async def test_a_database_of_version_3_gets_the_table_of_reports(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("""DROP TABLE tailrace.report;
        DELETE FROM tailrace.schema_version; INSERT INTO tailrace.schema_version VALUES (3)""")
    assert await migrate(database)
    kind = "SELECT relpersistence::text FROM pg_class WHERE oid = 'tailrace.report'::regclass"
    assert await connection.fetchval(kind) == "u"
    newest = await connection.fetchval("SELECT max(version) FROM tailrace.schema_version")
    assert newest == read_schema()[0] >= 4
    await connection.close()


async def test_an_empty_database_is_migrated_and_works(postgres: EmbeddedPostgres) -> None:
    from tests.conftest import database_url
    from tests.served import served

    postgres.run("psql", "-qc", "CREATE DATABASE empty_contract", postgres.url)
    database = Database(database_url(postgres, "empty_contract"), None, embedded=True)
    try:
        assert await migrate(database)
        async with served(database) as server:
            stream, _ = await server.live("public.a")
            await server.publish("public.a", 1)
            assert (await stream.named(None)).data["data"] == 1
    finally:
        postgres.run("psql", "-qc", "DROP DATABASE empty_contract WITH (FORCE)", postgres.url)
