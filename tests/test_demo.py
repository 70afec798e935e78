from __future__ import annotations

import re

import asyncpg

from server.app import DEMO
from server.db.pool import Database
from server.demo import NOTICES, ORDERS, SESSIONS, Measurement
from server.keys import BANNER, POOL
from tests.served import served


async def test_the_printed_link_signs_in_and_another_does_not(database: Database) -> None:
    async with served(database, demo=True) as server:
        banner: list[str] = server.app[BANNER]
        path = re.search(r"/demo\?token=\S+", "\n".join(banner))
        assert path is not None
        answer, _ = await server.get(path[0], method="HEAD")
        assert (answer.status, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        pair = cookie.partition(";")[0]
        _, body = await server.get("/api/auth/get-session", Cookie=pair)
        assert (body["user"]["email"], body["user"]["role"]) == ("demo@tailrace.local", "admin")
        for token in ("", "x", "%FF", "%00", path[0][-5:]):
            answer, body = await server.get(f"/demo?token={token}")
            assert (answer.status, body["error"]) == (403, "Forbidden")
            assert "set-cookie" not in answer.headers


async def test_something_moves_and_metrics_are_open_in_the_demo(database: Database) -> None:
    async with served(database, demo=True) as server:
        stream, _ = await server.live("public.demo", "ops.metrics")
        seen = {(await stream.named(None)).data["channel"] for _ in range(4)}
        assert seen == {"public.demo", "ops.metrics"}


async def test_sessions_of_former_starts_stay_a_few_and_rows_are_made_once(
    database: Database,
) -> None:
    paths: list[str] = []
    for _ in range(SESSIONS + 2):
        async with served(database, demo=True) as server:
            banner: list[str] = server.app[BANNER]
            paths += re.findall(r"Bearer (\S+)'", "\n".join(banner))
    async with served(database) as server:
        signed_in = [
            (await server.get("/api/auth/get-session", Authorization=f"Bearer {token}"))[0].status
            for token in paths
        ]
    assert signed_in == [401] * 2 + [200] * SESSIONS
    connection = await asyncpg.connect(database.url)
    counts = [await connection.fetchval(f"SELECT count(*) FROM {name}") for name in
              ("users", "notifications")]  # fmt: skip
    await connection.close()
    assert counts == [1, 2]


async def test_orders_move_as_events_and_what_the_demo_makes_stays_a_few(
    database: Database,
) -> None:
    async with served(database, demo=True) as server:
        demo, pool = server.app[DEMO], server.app[POOL]
        stream, _ = await server.live("public.demo.orders", "posts")
        for _ in range(ORDERS * 6):
            await demo.move_orders()
        assert await pool.fetchval("SELECT count(*) FROM demo_orders") == ORDERS
        seen = {(await stream.named(None)).data["type"] for _ in range(ORDERS * 6)}
        assert seen == {"insert", "update", "delete"}
        await pool.execute(
            "INSERT INTO notifications (user_id, title) SELECT id, 'Of somebody else' FROM users"
        )
        for level in range(NOTICES + 2):
            await demo.notify()
            await demo.write_post(Measurement(level_m=level, flow_m3s=1))
        titles = await pool.fetch("SELECT title, count(*) FROM notifications GROUP BY title")
        counts = {row["title"]: row["count"] for row in titles}
        assert (counts["Demo: orders shipped"], counts["Of somebody else"]) == (NOTICES, 1)
        assert await pool.fetchval("SELECT content FROM posts") == (
            f"The gauge reads {NOTICES + 1}.00 m. (Made up, once a minute.)"
        )
        # Nothing of it needs the account to be there still.
        await pool.execute("DELETE FROM users")
        await demo.notify()
        await demo.write_post(Measurement(level_m=1, flow_m3s=1))
        assert await pool.fetchval("SELECT count(*) FROM posts") == 0


async def test_without_demo_there_is_no_such_door(database: Database) -> None:
    async with served(database) as server:
        assert (await server.get("/demo?token=x"))[0].status == 404
        stream = await server.open("ops.metrics")
        assert stream.status == 401
