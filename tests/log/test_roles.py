"""Users who are not the owner: nothing is open, and what docs/event-log.md grants is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.log.looking import datas, listening, publish, stamp

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from tests.log.conftest import Connect

GRANTS = """
    GRANT USAGE ON SCHEMA tailrace TO contract_app;
    GRANT EXECUTE ON FUNCTION tailrace.publish(text, text, jsonb, text, uuid) TO contract_app;
    GRANT EXECUTE ON FUNCTION tailrace.position() TO contract_app"""
OWNER_GRANTS = """
    GRANT USAGE ON SCHEMA tailrace TO contract_app;
    GRANT EXECUTE ON FUNCTION tailrace.watch(regclass, text, text[]), tailrace.tell(),
      tailrace.capture_told(), tailrace.capture_truncate(), tailrace.trusted(oid),
      tailrace.needed(oid, text), tailrace.table_channel(oid), tailrace.key_columns(oid),
      tailrace.fault(text, text, text, integer), tailrace.segment(text),
      tailrace.max_data_bytes() TO contract_app"""


@pytest.fixture
async def user(sql: Sql, connect: Connect) -> AsyncIterator[Sql]:
    """A role without any right of its own."""
    await sql.execute("CREATE ROLE contract_app LOGIN")
    user = await connect("contract_app")
    yield user
    await user.close()
    await sql.execute("DROP OWNED BY contract_app CASCADE; DROP ROLE contract_app")


async def test_nothing_is_open_to_everybody(user: Sql) -> None:
    for statement in (
        "SELECT tailrace.publish('public.a', 't', '1')", "SELECT tailrace.position()",
        "SELECT tailrace.stamp(1)", "SELECT tailrace.prune(1)", "SELECT tailrace.epoch_new()",
        "SELECT * FROM tailrace.event", "INSERT INTO tailrace.outbox DEFAULT VALUES",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await user.execute(statement)


async def test_usage_of_the_schema_alone_opens_no_function_and_no_table(
    sql: Sql, user: Sql
) -> None:
    await sql.execute("GRANT USAGE ON SCHEMA tailrace TO contract_app")
    for (name,) in await sql.fetch("""SELECT oid::regprocedure::text FROM pg_proc
            WHERE pronamespace = 'tailrace'::regnamespace"""):
        assert not await user.fetchval("SELECT has_function_privilege($1, 'execute')", name), name
    for (name,) in await sql.fetch("""SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace = 'tailrace'::regnamespace AND relkind IN ('r', 'p')"""):
        assert not await user.fetchval(
            "SELECT has_table_privilege($1, 'select, insert, update, delete')", name
        )


async def test_a_granted_publish_works_and_wakes(sql: Sql, user: Sql, connect: Connect) -> None:
    await sql.execute(GRANTS)
    async with listening(await connect()) as heard:
        await publish(user, 1)
        assert await heard.drain() == [""]
    assert await datas(sql) == [1]
    assert (await user.fetchval("SELECT tailrace.position()")).endswith(".1")


async def test_a_granted_publish_does_not_reach_ops(sql: Sql, user: Sql) -> None:
    await sql.execute(GRANTS)
    for channel in ("ops", "ops.metrics"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="belong to the server"):
            await publish(user, 1, channel)


async def test_a_callers_search_path_changes_nothing(sql: Sql, user: Sql) -> None:
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"{GRANTS}; GRANT CREATE ON DATABASE {name} TO contract_app")
    await user.execute("""CREATE SCHEMA evil;
        CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0';
        CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
        SET search_path = evil, pg_catalog""")
    await publish(user, 1)
    assert await datas(sql) == [1]


async def test_a_writer_to_a_watched_table_needs_nothing_of_ours(sql: Sql, user: Sql) -> None:
    await sql.execute("""CREATE TABLE t (id int PRIMARY KEY, v text); SELECT tailrace.watch('t');
        GRANT INSERT, UPDATE, DELETE, SELECT, TRUNCATE ON t TO contract_app""")
    for write in (
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET v = 'x'",
        "DELETE FROM t",
        "TRUNCATE t",
    ):
        await user.execute(write)
    assert [event.type for event in await stamp(sql)] == ["insert", "update", "delete", "truncate"]


async def test_the_owner_of_a_table_watches_it_with_the_grants_of_the_docs(
    sql: Sql, user: Sql
) -> None:
    await sql.execute(OWNER_GRANTS)
    await user.execute("""CREATE TEMP TABLE x (id int)""")
    await sql.execute(
        "CREATE TABLE t (id int PRIMARY KEY, who text); ALTER TABLE t OWNER TO contract_app"
    )
    await user.execute("SELECT tailrace.watch('t', 'user.{who}.t')")
    await user.execute("INSERT INTO t VALUES (1, 'ann')")
    assert [event.channel for event in await stamp(sql)] == ["user.ann.t"]


async def test_nobody_watches_another_ones_table(sql: Sql, user: Sql) -> None:
    await sql.execute(f"{OWNER_GRANTS}; CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await user.execute("SELECT tailrace.watch('t')")


@pytest.mark.parametrize("channel", ["ops.metrics", "{v}.metrics"])
async def test_a_trigger_of_ones_own_does_not_reach_ops(sql: Sql, user: Sql, channel: str) -> None:
    await sql.execute(f"{OWNER_GRANTS}; CREATE TABLE t (id int PRIMARY KEY, v text)")
    await sql.execute("ALTER TABLE t OWNER TO contract_app")
    await user.execute(f"""CREATE TRIGGER sly AFTER INSERT ON t FOR EACH ROW
        EXECUTE FUNCTION tailrace.capture_told('{channel}', 'id', '')""")
    await user.execute("""BEGIN;
        SELECT set_config('tailrace.new', '{"id":1,"v":"ops"}', true),
               set_config('tailrace.old', '', true);
        INSERT INTO t VALUES (1, 'ops'); COMMIT""")
    assert [event.channel for event in await stamp(sql)] == ["table.public.t"]


async def test_the_trigger_that_runs_casts_with_our_rights_is_not_for_others(
    sql: Sql, user: Sql
) -> None:
    await sql.execute(f"{OWNER_GRANTS}; CREATE TABLE t (id int PRIMARY KEY)")
    await sql.execute("ALTER TABLE t OWNER TO contract_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await user.execute("""CREATE TRIGGER sly AFTER INSERT ON t FOR EACH ROW
            EXECUTE FUNCTION tailrace.capture('public.t', 'id')""")


async def test_a_cast_of_the_tables_owner_does_not_run_with_our_rights(sql: Sql, user: Sql) -> None:
    await sql.execute("CREATE SCHEMA IF NOT EXISTS own; ALTER SCHEMA own OWNER TO contract_app")
    await user.execute("""CREATE TYPE own.mood AS ENUM ('good');
        CREATE FUNCTION own.sly(own.mood) RETURNS json LANGUAGE sql AS
          'SELECT to_json(current_user::text)';
        CREATE CAST (own.mood AS json) WITH FUNCTION own.sly(own.mood);
        CREATE TABLE own.t (id int PRIMARY KEY, v own.mood);
        GRANT USAGE ON SCHEMA own TO PUBLIC""")
    await sql.execute("""CREATE TABLE ours (id int PRIMARY KEY, v own.mood);
        GRANT INSERT ON ours TO contract_app;
        SELECT tailrace.watch('own.t'); SELECT tailrace.watch('ours')""")
    await user.execute("INSERT INTO own.t VALUES (1, 'good'); INSERT INTO ours VALUES (1, 'good')")
    assert [event.data["new"]["v"] for event in await stamp(sql)] == ["contract_app"] * 2


async def test_a_table_of_somebody_else_is_told_as_ours_are(sql: Sql, user: Sql) -> None:
    await sql.execute(f"""{OWNER_GRANTS};
        CREATE TABLE t (id int PRIMARY KEY, who text, doc json, note text);
        ALTER TABLE t OWNER TO contract_app""")
    for columns in ("NULL", "'{who,doc}'"):
        await user.execute(f"SELECT tailrace.watch('t', 'user.{{who}}.t', {columns})")
        await user.execute("""INSERT INTO t VALUES (1, 'ann', '[1]', 'n');
            UPDATE t SET note = 'm'; UPDATE t SET who = 'bob';
            UPDATE t SET doc = '"\\u0000"'; DELETE FROM t""")
        seen = [(event.channel, event.type, event.key) for event in await stamp(sql)]
        told = [
            ("user.ann.t", "insert", "1"),
            ("user.ann.t", "update", "1"),
            ("user.ann.t", "delete", "1"),
            ("user.bob.t", "update", "1"),
            ("user.bob.t", "update", "1"),
            ("user.bob.t", "delete", "1"),
        ]
        assert seen == (told if columns == "NULL" else told[:1] + told[2:])
    await user.execute("ALTER TABLE t RENAME id TO number; INSERT INTO t VALUES (2, 'eve')")
    (event,) = await stamp(sql)
    assert (event.channel, event.key) == ("user.eve.t", "2")
    await sql.execute("SELECT tailrace.unwatch('t')")
    await user.execute("DELETE FROM t")
    assert await stamp(sql) == []
