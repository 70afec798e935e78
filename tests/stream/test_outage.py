"""What a browser sees while the database is away: never an answer that ends its EventSource."""

from __future__ import annotations

from server.auth import sessions
from server.db.pool import Database
from server.keys import POOL
from tests.gate import gated
from tests.served import BEARER, served


async def test_a_stream_lives_through_a_lost_database(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database) as server:
        stream, _ = await server.live("public.a")
        await server.publish("public.a", 1)
        assert (await stream.named(None)).data["data"] == 1
        await gate.shut()
        await gate.open()
        await server.publish("public.a", 2)
        assert (await stream.named(None)).data["data"] == 2


async def test_a_client_that_returns_during_an_outage_is_asked_to_come_again(
    clean: Database,
) -> None:
    async with gated(clean) as (gate, database), served(database, ring_bytes=0) as server:
        await server.publish("public.a", 1)
        await server.settled()
        epoch = server.service.pubsub.epoch
        await gate.shut()
        stream = await server.open("public.a", headers={"Last-Event-ID": f"{epoch}.0"})
        assert stream.status == 200
        bye = await stream.block()
        assert (bye.event, bye.data["reason"], bye.id) == ("bye", "overload", None)
        await gate.open()


async def test_a_signed_in_client_is_asked_to_come_again_too(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database) as server:
        pool = server.app[POOL]
        user = await pool.fetchval(
            "INSERT INTO users (name, email) VALUES ('U', 'u@x') RETURNING id"
        )
        headers = {"Cookie": f"tailrace.session_token={await sessions.create(pool, user)}"}
        await gate.shut()
        for path in ("/api/stream", "/api/notifications/stream"):
            stream = await server.open(f"user.{user}.x", path=path, headers=headers)
            assert stream.status == 200, path
            assert (await stream.block()).data["reason"] == "overload"
        await gate.open()


async def test_a_stream_that_needs_no_database_is_served_without_it(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database) as server:
        await server.publish("public.a", 1)
        await server.settled()
        epoch = server.service.pubsub.epoch
        await gate.shut()
        stream = await server.open("public.a", headers={"Last-Event-ID": f"{epoch}.0"})
        assert (await stream.named(None)).data["data"] == 1
        assert (await server.open(">", headers=BEARER)).status == 200
        await gate.open()


async def test_events_arrive_by_polling_where_notifications_do_not(clean: Database) -> None:
    async with gated(clean) as (gate, database):
        gate.deaf = True
        async with served(database) as server:
            stream, _ = await server.live("public.a")
            await server.publish("public.a", 1)
            assert (await stream.named(None)).data["data"] == 1
