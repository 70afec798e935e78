"""Capture never fails or blocks the user's write, whatever the row is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.log.looking import stamp
from tests.log.test_watch import after, brief

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from tests.log.conftest import Connect

TRUNCATED = {"truncated": True}


async def documents(sql: Sql, kind: str, arguments: str = "") -> None:
    await sql.execute(f"""CREATE TABLE doc (id int PRIMARY KEY, who text DEFAULT 'ann', v {kind});
        SELECT tailrace.watch('doc'{arguments})""")


async def test_a_row_over_the_limit_is_announced_by_its_key(sql: Sql) -> None:
    await documents(sql, "text", ", channel => 'user.{who}.doc'")
    seen = await after(
        sql, "INSERT INTO doc VALUES (1, 'ann', repeat('ä', 600000))",
        "UPDATE doc SET v = repeat('b', 600000)", "UPDATE doc SET v = 'c'", "DELETE FROM doc",
    )  # fmt: skip
    assert brief(seen) == [("user.ann.doc", kind, "1") for kind in
                           ("insert", "update", "update", "delete")]  # fmt: skip
    assert [event.data == TRUNCATED for event in seen] == [True, True, False, False]


@pytest.mark.parametrize(
    "text", ['{"a":"\\u0000"}', '"\\ud800"', '"\\udc00x"', '{"a":1,\r\n"a":2}', "1e99999", '""']
)
async def test_a_json_column_that_cannot_be_read_back_is_announced(sql: Sql, text: str) -> None:
    for arguments in ("", ", channel => 'user.{who}.doc'", ", columns => '{id,who,v}'"):
        await documents(sql, "json", arguments)
        await sql.execute("INSERT INTO doc VALUES (1, 'ann', $1)", text)
        seen = await after(sql, "UPDATE doc SET who = 'bob'", "DELETE FROM doc", "DROP TABLE doc")
        assert {event.type for event in seen} == {"insert", "update", "delete"}
        assert {event.key for event in seen} == {"1"}


async def test_odd_values_are_told(sql: Sql) -> None:
    await sql.execute("""CREATE TABLE odd (id int PRIMARY KEY, f float8, t timestamptz, b bytea,
        x xml, a int[], r int4range, "wéird ""name" text); SELECT tailrace.watch('odd')""")
    seen = await after(
        sql, "INSERT INTO odd VALUES (1, 'NaN', 'infinity', '\\x00ff', NULL, '{1,NULL}', '[1,2)')"
    )
    assert seen[0].data["new"] == {
        "id": 1, "f": "NaN", "t": "infinity", "b": "\\x00ff", "x": None, "a": [1, None],
        "r": "[1,2)", 'wéird "name': None,
    }  # fmt: skip


async def test_columns_may_be_renamed_dropped_and_added(sql: Sql) -> None:
    for arguments in ("", ", channel => 'user.{who}.doc'", ", columns => '{who}'"):
        await documents(sql, "text", arguments)
        for change in ("RENAME id TO number", "RENAME who TO whose", "ADD w int", "DROP whose",
                       "DROP number", "RENAME TO docs"):  # fmt: skip
            await sql.execute(f"ALTER TABLE doc {change}")
            name = "docs" if change == "RENAME TO docs" else "doc"
            for write in (f"INSERT INTO {name} DEFAULT VALUES" if "DROP number" in change
                          or "TO docs" in change else f"INSERT INTO {name} VALUES (1)",
                          f"UPDATE {name} SET v = 'x'", f"DELETE FROM {name}"):  # fmt: skip
                await sql.execute(write)
        await sql.execute("DROP TABLE docs")
        assert len(await stamp(sql)) >= 12


async def test_a_renamed_key_is_still_the_key(sql: Sql) -> None:
    await documents(sql, "text")
    seen = await after(sql, "ALTER TABLE doc RENAME id TO number", "INSERT INTO doc VALUES (5)")
    assert seen[0].key == "5"


async def test_a_cast_that_raises_is_announced(sql: Sql) -> None:
    await sql.execute("""CREATE TYPE mood AS ENUM ('good');
        CREATE FUNCTION public.explode(mood) RETURNS json LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE CAST (mood AS json) WITH FUNCTION public.explode(mood)""")
    await documents(sql, "mood")
    try:
        seen = await after(sql, "INSERT INTO doc VALUES (1, 'ann', 'good')")
        assert (brief(seen), seen[0].data) == ([("table.public.doc", "insert", "1")], TRUNCATED)
    finally:
        await sql.execute("DROP TYPE mood CASCADE; DROP FUNCTION IF EXISTS public.explode")


async def test_stored_generated_columns_are_shown_and_virtual_ones_do_no_harm(sql: Sql) -> None:
    await sql.execute(
        "CREATE TABLE g (id int PRIMARY KEY, d int GENERATED ALWAYS AS (id * 2) STORED)"
    )
    if sql.get_server_version().major >= 18:
        await sql.execute("ALTER TABLE g ADD v int GENERATED ALWAYS AS (id * 3) VIRTUAL")
    await sql.execute("SELECT tailrace.watch('g')")
    seen = await after(sql, "INSERT INTO g VALUES (2)", "UPDATE g SET id = 3")
    assert [event.data["new"]["d"] for event in seen] == [4, 6]


PARTED = """CREATE TABLE parted (id int, region text, PRIMARY KEY (id, region))
    PARTITION BY LIST (region);
    CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
    CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us');
    SELECT tailrace.watch('parted', channel => 'public.parted')"""


async def test_a_partitioned_table_is_watched_as_a_whole(sql: Sql) -> None:
    await sql.execute(PARTED)
    seen = await after(
        sql, "INSERT INTO parted VALUES (1, 'eu')", "INSERT INTO parted_us VALUES (2, 'us')",
        "CREATE TABLE parted_as PARTITION OF parted FOR VALUES IN ('as')",
        "INSERT INTO parted VALUES (3, 'as')", "TRUNCATE parted",
    )  # fmt: skip
    assert brief(seen) == [
        ("public.parted", "insert", '["1","eu"]'), ("public.parted", "insert", '["2","us"]'),
        ("public.parted", "insert", '["3","as"]'), ("public.parted", "truncate", None),
    ]  # fmt: skip


async def test_a_row_that_changes_its_partition_is_deleted_and_inserted(sql: Sql) -> None:
    await sql.execute(PARTED)
    seen = await after(
        sql, "INSERT INTO parted VALUES (1, 'eu')", "UPDATE parted SET region = 'us'"
    )
    assert [(event.type, event.key) for event in seen] == [
        ("insert", '["1","eu"]'), ("delete", '["1","eu"]'), ("insert", '["1","us"]'),
    ]  # fmt: skip


async def test_truncating_a_leaf_alone_is_not_seen(sql: Sql) -> None:
    await sql.execute(PARTED)
    assert await after(sql, "TRUNCATE parted_eu") == []


async def test_row_level_security_hides_nothing_from_the_log(sql: Sql, connect: Connect) -> None:
    await documents(sql, "text")
    await sql.execute("""ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
        DROP ROLE IF EXISTS contract_rls; CREATE ROLE contract_rls LOGIN;
        GRANT INSERT, SELECT ON doc TO contract_rls;
        CREATE POLICY blind ON doc FOR SELECT USING (false);
        CREATE POLICY add ON doc FOR INSERT WITH CHECK (true)""")
    try:
        user = await connect("contract_rls")
        await user.execute("INSERT INTO doc VALUES (1, 'ann', 'seen')")
        assert await user.fetch("SELECT * FROM doc") == []
        assert (await stamp(sql))[0].data["new"]["v"] == "seen"
        await user.close()
    finally:
        await sql.execute("DROP TABLE doc; DROP ROLE contract_rls")
