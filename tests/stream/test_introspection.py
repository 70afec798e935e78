from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from server.db.pool import Database
from server.keys import POOL
from server.stream import directory
from server.stream import streams as open_streams
from server.stream.directory import DIRECTORY
from tests.served import BEARER, KEY, Served, served
from tests.stream.neighbours import admin, end, id_of, listed, met, pair, process, single
from tests.waiting import until

__all__ = ["pair", "single"]


async def test_the_streams_of_all_processes_are_listed_the_oldest_first(
    pair: tuple[Served, Served],
) -> None:
    one, other = pair
    who = await admin(one)
    user, token = await one.sign_in()
    mine = {"Authorization": f"Bearer {token}"}
    await other.live("public.a", "posts", headers=BEARER)
    _, at = await one.live(f"user.{user}.>", headers=mine, mode="latest")
    await other.live("public.>")
    found = await listed(one, who)
    assert (found["total"], found["complete"]) == (3, True)
    assert found["processes"] == sorted(
        [{"id": process(one), "streams": 1, "answered": True},
         {"id": process(other), "streams": 2, "answered": True}],
        key=lambda item: str(item["id"]),
    )  # fmt: skip
    first, second, third = found["streams"]
    assert [item["process"] for item in (first, second, third)] == [
        process(other), process(one), process(other),
    ]  # fmt: skip
    assert first["age"] >= second["age"] >= third["age"] > 0
    assert second.pop("age") > 0
    assert second.pop("bytes") == one.service.streams.find(second["id"]).connection.written > 0  # type: ignore[union-attr]
    assert second.pop("openedAt").startswith("20")
    assert second == {
        "id": id_of(one), "process": process(one), "channels": [f"user.{user}.>"],
        "channelCount": 1, "mode": "latest", "kind": "user", "user": user, "key": None,
        "address": "127.0.0.1", "position": at, "lag": 0, "waiting": 0, "state": "live",
    }  # fmt: skip
    assert (first["kind"], first["key"], first["channels"]) == (
        "key", "bootstrap", ["posts", "public.a"],
    )  # fmt: skip
    assert (third["kind"], third["user"], third["mode"]) == ("anonymous", None, "all")
    text = json.dumps(found)
    session = await one.app[POOL].fetchval("SELECT id FROM sessions WHERE user_id = $1", user)
    assert not any(secret in text for secret in (token, KEY, session))


async def test_filters_say_which_streams_and_the_limit_says_how_many(
    pair: tuple[Served, Served],
) -> None:
    one, other = pair
    who = await admin(one)
    user, token = await one.sign_in()
    mine = {"Authorization": f"Bearer {token}"}
    await one.live("public.orders", headers=mine)
    await other.live("public.>")
    await other.live("public.*.x")
    await other.live("posts", "public.*", headers=mine)
    by_channel = await listed(one, who, query="channel=public.orders")
    assert [item["channels"] for item in by_channel["streams"]] == [
        ["public.orders"], ["public.>"], ["posts", "public.*"],
    ]  # fmt: skip
    by_user = await listed(one, who, query=f"user={user}")
    assert (by_user["total"], {item["user"] for item in by_user["streams"]}) == (2, {user})
    for server in pair:
        by_process = await listed(one, who, query=f"process={process(server)}")
        assert [item["id"] for item in by_process["processes"]] == [process(server)]
        assert {item["process"] for item in by_process["streams"]} == {process(server)}
    few = await listed(other, who, query="limit=2")
    assert [item["channels"] for item in few["streams"]] == [["public.orders"], ["public.>"]]
    assert (few["total"], few["complete"]) == (4, True)
    nobody = await listed(one, who, query="process=00000000")
    assert nobody == {"streams": [], "total": 0, "processes": [], "complete": True}
    for query in ("limit=0", "limit=1001", "channel=public.>", "user=a%20b", "process=x", "x=1"):
        answer, _ = await one.get(f"/api/streams?{query}", **who)
        assert answer.status == 400, query


async def test_a_process_that_tells_it_differently_is_told_as_silent(
    pair: tuple[Served, Served],
) -> None:
    one, other = pair
    who = await admin(one)
    await one.live("public.a")
    await other.live("public.a")
    (right,) = (await other.app[DIRECTORY].describe({"limit": 1}))["streams"]
    wrong: list[object] = [
        1, [1], [{}], [right | {"opened_at": "x"}], [right | {"state": "asleep"}],
    ]  # fmt: skip
    for streams in wrong:

        async def differently(_args: object, told: object = streams) -> object:
            return {"open": 1, "total": 1, "streams": told}

        other.service.log.peers.answer("streams", differently)
        found = await listed(one, who)
        assert (found["total"], found["complete"]) == (1, False), streams
        assert [item["id"] for item in found["streams"]] == [id_of(one)]
        assert {"id": process(other), "streams": None, "answered": False} in found["processes"]


async def test_a_tokens_stream_is_told_as_its_makers(server: Served) -> None:
    user, session = await server.sign_in()
    for maker, token in ((user, session), (None, KEY)):
        answer = await server.raw(
            b"POST /api/streams/token HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer "
            + token.encode()
            + b"\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n"
            + b'{"channels":["public.a"]}'
        )
        made = json.loads(await answer.rest())["token"]
        await server.live("public.a", headers={"Authorization": f"Bearer {made}"})
        found = (await listed(server, await admin(server)))["streams"][-1]
        assert (found["kind"], found["user"]) == ("token", maker)
        assert found["key"] == (None if maker else "bootstrap")
    who = await admin(server)
    assert (await listed(server, who, query=f"user={user}"))["total"] == 1


async def test_only_admins_may_look_and_end(server: Served) -> None:
    await server.live("public.a")
    _, token = await server.sign_in()
    for path, method in (
        ("streams", "GET"), ("channels", "GET"), (f"streams/{id_of(server)}", "DELETE"),
    ):  # fmt: skip
        assert (await server.get(f"/api/{path}", method))[0].status == 401
        for bearer in (token, KEY):
            headers = {"Authorization": f"Bearer {bearer}"}
            assert (await server.get(f"/api/{path}", method, **headers))[0].status == 403
    assert len(server.service.streams) == 1


async def test_channels_are_counted_over_all_processes(pair: tuple[Served, Served]) -> None:
    one, other = pair
    who = await admin(one)
    for server in pair:
        await server.live("public.a", "public.>")
    await other.live("public.a", "posts")
    found = await listed(one, who, "channels")
    assert [(item["name"], item["subscribers"]) for item in found["channels"]] == [
        ("public.a", 3), ("public.>", 2), ("posts", 1),
    ]  # fmt: skip
    assert (found["total"], found["complete"]) == (3, True)
    assert {item["id"]: item["streams"] for item in found["processes"]} == {
        process(one): 1, process(other): 2,
    }  # fmt: skip
    few = await listed(one, who, "channels", "match=public.>&limit=1")
    assert [item["name"] for item in few["channels"]] == ["public.a"]
    assert (few["total"], few["complete"]) == (2, True)


async def test_what_another_process_leaves_out_is_told(
    pair: tuple[Served, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MOST_NAMES", 1)
    one, other = pair
    await other.live("public.a", "public.b")
    found = await listed(one, await admin(one), "channels")
    assert (found["total"], found["complete"]) == (1, False)
    assert all(item["answered"] for item in found["processes"])
    own = await listed(other, await admin(one), "channels")
    assert (own["total"], own["complete"]) == (2, True)


async def test_looking_through_many_names_gives_the_loop_its_turns(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "SLICE", 50)
    for number in range(5):
        await server.live(*(f"public.{number}.{item}.>" for item in range(100)))
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    known = server.app[DIRECTORY]
    for looking in (known.count({"match": None}), known.describe({"limit": 1, "channel": "x"})):
        turns = 0
        await looking
        assert turns >= 4
    ticking.cancel()


async def test_many_channels_of_a_stream_are_counted_and_some_told(server: Served) -> None:
    await server.live(*(f"public.{number}" for number in range(30)))
    (found,) = (await listed(server, await admin(server)))["streams"]
    assert (len(found["channels"]), found["channelCount"]) == (directory.SHOWN, 30)


@pytest.mark.parametrize("takeover", ["on", "off"])
async def test_a_stream_is_ended_in_whatever_process_it_lives(
    clean: Database, takeover: str
) -> None:
    async with served(clean, takeover=takeover) as one, served(clean, takeover=takeover) as other:
        await met(one, other)
        who = await admin(one)
        for server in (one, other):
            stream, _ = await server.live("public.a")
            kept, _ = await server.live("public.a")
            stream_id, kept_id = id_of(server), id_of(server, 1)
            assert await end(one, stream_id, who) == 204
            bye = await stream.named("bye")
            assert bye.data["reason"] == "revoked"
            assert bye.retry == bye.data["retry"]
            assert await stream.rest() == b""
            await until(lambda: [s.id for s in server.service.streams] == [kept_id])  # noqa: B023
            assert await end(one, stream_id, who) == 404
            await server.publish("public.a", 1)
            assert (await kept.named(None)).data["data"] == 1


async def test_what_is_no_stream_can_not_be_ended(server: Served) -> None:
    who = await admin(server)
    assert await end(server, f"{process(server)}-{'0' * 16}", who) == 404
    assert await end(server, f"00000000-{'0' * 16}", who) == 404
    for wrong in ("x", f"{process(server)}-0", "%0A", f"{'A' * 8}-{'0' * 16}"):
        assert await end(server, wrong, who) == 400, wrong
    for name in ("token", "cookie"):
        answer, _ = await server.get(f"/api/streams/{name}", "DELETE", **who)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("takeover", ["on", "off"])
async def test_a_client_that_takes_nothing_is_cut(
    clean: Database, monkeypatch: pytest.MonkeyPatch, takeover: str
) -> None:
    monkeypatch.setattr(open_streams, "GRACE", 0.2)
    async with served(clean, takeover=takeover) as server:
        who = await admin(server)
        stream, _ = await server.live("public.a", buffer=4096)
        stream.pause()
        for _ in range(6):
            await server.publish("public.a", "x" * 500_000)
        await until(lambda: lagging(server, who))
        (found,) = (await listed(server, who))["streams"]
        assert found["waiting"] > 0
        assert found["lag"] > 0
        assert await end(server, id_of(server), who) == 204
        await until(lambda: not len(server.service.streams))


async def lagging(server: Served, who: Mapping[str, str]) -> bool:
    (found,) = (await listed(server, who))["streams"]
    return bool(found["state"] == "lagging" and found["waiting"])
