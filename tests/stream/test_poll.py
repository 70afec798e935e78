"""A long poll is held to what a stream is: its permission lasts, and it counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.db.pool import Database
from server.keys import POOL
from server.stream.service import Service
from tests.served import BEARER, Served, served
from tests.waiting import until


def polling(server: Served, channel: str, **headers: str) -> asyncio.Task[tuple[int, Any]]:
    """A long poll that begins now: its status and its answer."""

    async def poll() -> tuple[int, Any]:
        answer, body = await server.get(f"/api/events?channel={channel}&wait=60", **headers)
        return answer.status, body

    return asyncio.create_task(poll())


async def waiting(service: Service, count: int) -> None:
    """Return when so many wait."""
    await until(lambda: sum(it.live for it in service.pubsub.subscribers) == count)


@pytest.mark.parametrize(
    ("ending", "status"),
    [("DELETE FROM sessions", 401), ("UPDATE users SET role = 'user'", 403), ("SELECT 1", 200)],
)
@pytest.mark.parametrize("by", ["Authorization", "Cookie"])
async def test_what_is_taken_away_while_it_waits_is_not_read(
    clean: Database, ending: str, status: int, by: str
) -> None:
    async with served(clean) as server:
        _, token = await server.sign_in("admin")
        given = {"Authorization": f"Bearer {token}", "Cookie": f"tailrace.session_token={token}"}
        poll = polling(server, "table.x", **{by: given[by]})
        await waiting(server.service, 1)
        await server.app[POOL].execute(ending)
        await server.publish("table.x", "secret")
        answered, body = await poll
        assert answered == status
        assert ("secret" in str(body)) == (status == 200)


async def test_one_too_many_is_answered_at_once_and_empty(clean: Database) -> None:
    async with served(clean, streams_per_address=2, stream_rate=1) as server:
        population = server.service.streams.population
        polls = [polling(server, "public.a") for _ in range(2)]
        await waiting(server.service, 2)
        at = str(server.service.pubsub.id)
        assert await polling(server, "public.a") == (200, {"events": [], "next": at, "gap": None})
        assert population.refused == {"per_address": 1}
        assert (await (await server.open("public.a")).block()).data["reason"] == "overload"
        await server.publish("public.a", 1)
        for status, body in await asyncio.gather(*polls):
            assert (status, body["events"][0]["data"]) == (200, 1)
        assert population.total == 0
        # None of them took of the streams that may begin in this second.
        await server.live("public.a")


async def test_what_need_not_wait_is_not_counted(clean: Database) -> None:
    async with served(clean, max_streams=1) as server:
        await server.live("public.b")
        await server.publish("public.a", 1)
        await server.settled()
        _, page = await server.get("/api/events?channel=public.a&after=earliest&wait=60")
        assert len(page["events"]) == 1
        assert not server.service.streams.population.refused


async def test_a_users_polls_count_with_his_streams(clean: Database) -> None:
    async with served(clean, streams_per_user=1) as server:
        user, token = await server.sign_in()
        mine = {"Authorization": f"Bearer {token}"}
        stream, _ = await server.live("public.a", headers=mine)
        assert (await polling(server, f"user.{user}.x", **mine))[1]["events"] == []
        stream.abort()
        await until(lambda: len(server.service.streams) == 0)
        poll = polling(server, f"user.{user}.x", **mine)
        operator = polling(server, f"user.{user}.x", **BEARER)
        await waiting(server.service, 2)
        await server.publish(f"user.{user}.x", 1)
        for _, body in await asyncio.gather(poll, operator):
            assert body["events"][0]["data"] == 1
