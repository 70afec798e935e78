from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from server.stream.names import is_channel
from tests.log.looking import listening, rolled_back, stamp

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql
    from tests.log.conftest import Connect
    from tests.log.looking import Seen

ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, who text, secret text)"


async def after(sql: Sql, *statements: str) -> list[Seen]:
    """What these statements emit."""
    for statement in statements:
        await sql.execute(statement)
    return await stamp(sql)


async def orders(sql: Sql, arguments: str = "") -> None:
    await sql.execute(f"{ORDERS}; SELECT tailrace.watch('orders'{arguments})")


def brief(seen: list[Seen]) -> list[tuple[str, str, str | None]]:
    return [(event.channel, event.type, event.key) for event in seen]


async def test_every_change_is_an_event_with_the_row_before_and_after(sql: Sql) -> None:
    await orders(sql)
    row: dict[str, Any] = {"id": 1, "who": "a", "secret": None}
    assert await after(
        sql,
        "INSERT INTO orders VALUES (1, 'a')", "UPDATE orders SET who = 'b'",
        "DELETE FROM orders", "TRUNCATE orders",
    ) == [
        (1, "table.public.orders", "insert", "1", {"new": row, "old": None}),
        (2, "table.public.orders", "update", "1", {"new": row | {"who": "b"}, "old": row}),
        (3, "table.public.orders", "delete", "1", {"new": None, "old": row | {"who": "b"}}),
        (4, "table.public.orders", "truncate", None, {"new": None, "old": None}),
    ]  # fmt: skip


async def test_a_rolled_back_change_is_none(sql: Sql) -> None:
    await orders(sql)
    async with rolled_back(sql):
        await sql.execute("INSERT INTO orders VALUES (1)")
    assert await stamp(sql) == []


async def test_watch_itself_is_transactional(sql: Sql) -> None:
    await sql.execute(ORDERS)
    async with rolled_back(sql):
        await sql.execute("SELECT tailrace.watch('orders')")
    assert await after(sql, "INSERT INTO orders VALUES (1)") == []


async def test_it_says_nothing_but_its_channel(sql: Sql) -> None:
    said = list[str]()
    sql.add_log_listener(lambda _, message: said.append(str(message)))
    await orders(sql)
    assert await sql.fetchval("SELECT tailrace.watch('orders', 'public.x')") == "public.x"
    await sql.execute("SELECT tailrace.unwatch('orders'); SELECT tailrace.unwatch('orders')")
    assert said == []


async def test_copy_and_upsert_are_told_row_by_row(sql: Sql) -> None:
    await orders(sql)
    await sql.copy_records_to_table("orders", records=[(1, "a", None), (2, "b", None)])
    seen = await after(
        sql,
        "INSERT INTO orders VALUES (2), (3) ON CONFLICT (id) DO UPDATE SET who = 'c'",
        "INSERT INTO orders VALUES (3) ON CONFLICT DO NOTHING",
    )
    assert [(event.type, event.key) for event in seen] == [
        ("insert", "1"), ("insert", "2"), ("update", "2"), ("insert", "3"),
    ]  # fmt: skip


async def test_a_composite_key_is_a_json_array_in_the_keys_order(sql: Sql) -> None:
    await sql.execute("""CREATE TABLE pairs (a int, b text, PRIMARY KEY (b, a));
        SELECT tailrace.watch('pairs')""")
    seen = await after(sql, """INSERT INTO pairs VALUES (1, 'x"y')""")
    assert seen[0].key == '["x\\"y","1"]'


async def test_a_table_without_a_key_has_events_without_one(sql: Sql) -> None:
    await sql.execute("CREATE TABLE bare (v int UNIQUE); SELECT tailrace.watch('bare')")
    seen = await after(sql, "INSERT INTO bare VALUES (1)", "UPDATE bare SET v = 2")
    assert [event.key for event in seen] == [None, None]


async def test_a_key_with_hostile_characters_or_length_stays_a_valid_key(sql: Sql) -> None:
    await sql.execute("CREATE TABLE named (name text PRIMARY KEY); SELECT tailrace.watch('named')")
    for name in ("a\r\nid: 1\n\ndata: x", "x" * 2_000, "\x01\x1f\x7f", "", "ä🙂"):
        await sql.execute("INSERT INTO named VALUES ($1)", name)
    keys = [event.key for event in await stamp(sql)]
    assert keys[0] == "a  id: 1  data: x"
    assert keys[1] is not None
    assert len(keys[1]) <= 512
    assert keys[2:] == ["   ", "", "ä🙂"]


async def test_only_the_chosen_columns_are_shown(sql: Sql) -> None:
    await orders(sql, ", columns => '{id,who}'")
    seen = await after(
        sql,
        "INSERT INTO orders VALUES (1, 'a', 's')", "UPDATE orders SET secret = 't'",
        "UPDATE orders SET who = 'a'", "UPDATE orders SET who = 'b'", "DELETE FROM orders",
    )  # fmt: skip
    assert [(event.type, event.data) for event in seen] == [
        ("insert", {"new": {"id": 1, "who": "a"}, "old": None}),
        ("update", {"new": {"id": 1, "who": "b"}, "old": {"id": 1, "who": "a"}}),
        ("delete", {"new": None, "old": {"id": 1, "who": "b"}}),
    ]
    assert "secret" not in str(seen)


async def test_a_template_sends_a_row_to_its_own_channel(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.orders.{id}'")
    assert brief(
        await after(sql, "INSERT INTO orders VALUES (7, 'ann')", "DELETE FROM orders")
    ) == [
        ("user.ann.orders.7", "insert", "7"),
        ("user.ann.orders.7", "delete", "7"),
    ]


async def test_a_row_that_moves_is_deleted_where_it_was(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.orders'")
    seen = await after(sql, "INSERT INTO orders VALUES (1, 'ann')", "UPDATE orders SET who = 'bob'")
    assert brief(seen) == [
        ("user.ann.orders", "insert", "1"),
        ("user.ann.orders", "delete", "1"),
        ("user.bob.orders", "update", "1"),
    ]
    assert seen[1].data == {"new": None, "old": None}


async def test_a_row_that_moves_tells_its_new_readers_nothing_of_what_it_was(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.orders'")
    await after(sql, "INSERT INTO orders VALUES (1, 'ann', 'anns secret')")
    seen = await after(sql, "UPDATE orders SET who = 'bob', secret = NULL")
    assert "anns secret" not in str([event for event in seen if "bob" in event.channel])


async def test_a_move_is_told_although_no_shown_column_changes(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.orders', columns => '{id}'")
    seen = await after(
        sql, "INSERT INTO orders VALUES (1, 'ann')", "UPDATE orders SET who = 'bob'",
        "UPDATE orders SET secret = 'x'",
    )  # fmt: skip
    assert [event.type for event in seen] == ["insert", "delete", "update"]


HOSTILE = ["", "a.b", "*", ">", "a b", "ä🙂", "{id}", "{who}", "}", "..", "\n", "x" * 500,
           "x" * 195, "x" * 194, "x" * 193, "ops", "'", '"', "\\", "%s"]  # fmt: skip


async def test_hostile_values_in_a_template_always_give_a_valid_channel(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.o'")
    await sql.execute("INSERT INTO orders VALUES (0, NULL)")
    for number, value in enumerate(HOSTILE, 1):
        await sql.execute("INSERT INTO orders VALUES ($1, $2)", number, value)
    for event in await stamp(sql):
        assert is_channel(event.channel), event
        assert event.channel.startswith("user.")
        assert event.channel.count(".") <= 2


async def test_a_value_cannot_choose_who_may_read(sql: Sql) -> None:
    await sql.execute(ORDERS)
    for channel in ("{who}.x", "{who}", "o{who}.x", "{id}{who}"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="first segment of a channel"):
            await sql.execute("SELECT tailrace.watch('orders', channel => $1)", channel)


async def test_the_default_channel_replaces_what_a_segment_cannot_hold(sql: Sql) -> None:
    await sql.execute('CREATE SCHEMA IF NOT EXISTS "Ä x"; CREATE TABLE "Ä x"."a.b*c" (id int)')
    name = await sql.fetchval("""SELECT tailrace.watch('"Ä x"."a.b*c"')""")
    assert name == "table.--x.a-b-c"
    await sql.execute('DROP SCHEMA "Ä x" CASCADE')


async def test_a_second_watch_replaces_the_first(sql: Sql) -> None:
    await orders(sql)
    await sql.execute("SELECT tailrace.watch('orders', 'public.orders', '{id}')")
    seen = await after(sql, "INSERT INTO orders VALUES (1)", "TRUNCATE orders")
    assert brief(seen) == [("public.orders", "insert", "1"), ("public.orders", "truncate", None)]
    assert seen[0].data == {"new": {"id": 1}, "old": None}


async def test_unwatch_ends_it_and_does_not_mind_that_there_is_none(sql: Sql) -> None:
    await orders(sql)
    await sql.execute("SELECT tailrace.unwatch('orders'); SELECT tailrace.unwatch('orders')")
    assert await after(sql, "INSERT INTO orders VALUES (1)", "TRUNCATE orders") == []


async def test_truncate_under_a_template_comes_on_the_tables_channel(sql: Sql) -> None:
    await orders(sql, ", channel => 'user.{who}.orders'")
    assert brief(await after(sql, "TRUNCATE orders")) == [("table.public.orders", "truncate", None)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("'orders', 'ops.x'", "22023"), ("'orders', 'a b'", "22023"), ("'orders', ''", "22023"),
        ("'orders', 'a.{}'", "22023"), ("'orders', 'a.{who'", "22023"),
        ("'orders', 'a.{nope}'", "42703"), ("'orders', 'a', '{nope}'", "42703"),
        ("'orders', 'a', '{xmin}'", "42703"), ("'seen'", "42809"), ("'nothing'", "42P01"),
    ],
)  # fmt: skip
async def test_a_watch_that_cannot_be_is_refused(sql: Sql, arguments: str, error: str) -> None:
    await sql.execute(f"{ORDERS}; CREATE VIEW seen AS SELECT * FROM orders")
    with pytest.raises(asyncpg.PostgresError) as caught:
        await sql.execute(f"SELECT tailrace.watch({arguments})")
    assert caught.value.sqlstate == error


async def test_a_watched_write_wakes_a_sleeping_stamper_once(sql: Sql, connect: Connect) -> None:
    await orders(sql)
    async with listening(await connect()) as heard:
        await sql.execute("INSERT INTO orders SELECT generate_series(1, 50)")
        assert await heard.drain() == [""]
