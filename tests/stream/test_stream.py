from __future__ import annotations

import json
import re

import pytest

from server.db.pool import Database
from server.keys import POOL
from tests.served import BEARER, Served, parse, served


async def test_a_new_stream_is_retry_and_ready_then_the_mark_of_the_present(
    server: Served,
) -> None:
    stream = await server.open("public.a", "public.b.>")
    ready, mark = await stream.blocks(2)
    here = str(server.service.pubsub.id)
    (open_stream,) = server.service.streams
    assert re.fullmatch(
        rf"retry: [1-9][0-9]{{3}}\nid: {here}\nevent: ready\n"
        rf'data: {{"stream":"{open_stream.id}","channels":\["public.a","public.b.>"\],'
        r'"heartbeat":15.0}',
        ready.raw,
    )
    assert mark.raw == f"id: {here}"


async def test_an_event_is_exactly_an_id_and_one_line_of_data(server: Served) -> None:
    stream, start = await server.live("public.a")
    await server.publish("public.a", {"n": 1, "text": "ä\n\u2028"}, type="made")
    block = await stream.block()
    row = await server.app[POOL].fetchrow("SELECT * FROM tailrace.event")
    assert row is not None
    at = row["at"].strftime("%Y-%m-%dT%H:%M:%S.") + f"{row['at'].microsecond // 1000:03d}Z"
    assert block.raw == (
        f"id: {start.partition('.')[0]}.1\n"
        f'data: {{"channel":"public.a","type":"made","key":null,"at":"{at}",'
        f'"message_id":"{row["message_id"]}","data":{{"n": 1, "text": "ä\\n\u2028"}}}}'
    )


async def test_the_headers_forbid_caching_and_buffering(server: Served) -> None:
    stream = await server.open("public.a")
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["x-content-type-options"] == "nosniff"
    assert len(stream.headers["x-request-id"]) == 16


async def test_json_with_line_breaks_of_its_own_stays_one_line(server: Served) -> None:
    stream, _ = await server.live("table.public.j", headers=BEARER)
    await server.app[POOL].execute("CREATE TABLE j (v json); SELECT tailrace.watch('j')")
    await server.app[POOL].execute("INSERT INTO j VALUES (E'{\"a\":\\r\\n\\r\\n1}')")
    assert (await stream.block()).data["data"]["new"] == {"v": {"a": 1}}


async def test_a_replay_ends_with_the_mark_and_goes_on_live(server: Served) -> None:
    await server.publish("public.a", *range(50))
    await server.settled()
    stream = await server.open("public.a", after="earliest")
    assert (await stream.block()).pos == 0
    assert [block.data["data"] for block in await stream.blocks(50)] == list(range(50))
    assert (await stream.block()).mark
    await server.publish("public.a", "live")
    assert (await stream.block()).data["data"] == "live"


async def test_events_that_are_published_during_a_replay_are_delivered_once(
    server: Served,
) -> None:
    await server.publish("public.a", *range(3_000))
    stream = await server.open("public.a", after="earliest")
    await server.publish("public.a", *range(3_000, 3_500))
    await server.publish("public.a", "end")
    got = [block.data["data"] for block in await stream.messages(3_501)]
    assert got == [*range(3_500), "end"]


async def test_last_event_id_wins_over_every_other_start(server: Served) -> None:
    await server.publish("public.a", *range(5))
    await server.settled()
    epoch = server.service.pubsub.epoch
    for query in ({"after": "earliest"}, {"rewind": 5}, {"since": "1h"}):
        stream = await server.open("public.a", headers={"Last-Event-ID": f"{epoch}.3"}, **query)
        assert (await stream.block()).id == f"{epoch}.3"
        assert [block.data["data"] for block in await stream.messages(2)] == [3, 4]


async def test_an_empty_last_event_id_is_none(server: Served) -> None:
    await server.publish("public.a", 0)
    await server.settled()
    stream = await server.open("public.a", headers={"Last-Event-ID": ""}, after="earliest")
    assert [block.data["data"] for block in await stream.messages(1)] == [0]


async def test_rewind_counts_matching_events_only(server: Served) -> None:
    for number in range(4):
        await server.publish("public.a", number)
        await server.publish("public.b", number)
    await server.settled()
    stream = await server.open("public.a", rewind=2)
    assert [block.data["data"] for block in await stream.messages(2)] == [2, 3]
    stream = await server.open("public.>", rewind=3)
    assert [block.data["data"] for block in await stream.messages(3)] == [2, 3, 3]
    stream = await server.open("public.a", rewind=100, limit=4)
    assert [block.data["data"] for block in await stream.messages(4)] == [0, 1, 2, 3]


async def test_since_starts_at_a_time(server: Served) -> None:
    await server.publish("public.a", "old")
    await server.publish("public.a", "new")
    await server.settled()
    pool = server.app[POOL]
    await pool.execute("UPDATE tailrace.event SET at = at - interval '1 hour' WHERE pos = 1")
    moment = (await pool.fetchval("SELECT at FROM tailrace.event WHERE pos = 2")).isoformat()
    for since, first in (("10m", "new"), (moment, "new"), ("2h", "old"), ("999999d", "old")):
        stream = await server.open("public.a", since=since)
        assert stream.status == 200
        assert (await stream.messages(1))[0].data["data"] == first


async def test_since_takes_any_time_of_the_calendar(server: Served) -> None:
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2000-01-01"):
        assert (await server.open("public.a", since=moment)).status == 200


async def test_limit_ends_the_stream_after_so_many_events(server: Served) -> None:
    await server.publish("public.a", 1, 2, 3)
    await server.settled()
    stream = await server.open("public.a", after="earliest", limit=2)
    blocks = [parse(text) for text in (await stream.rest()).decode().strip("\n").split("\n\n")]
    assert [block.data["data"] for block in blocks[1:]] == [1, 2]


async def test_limit_counts_live_events_too(server: Served) -> None:
    await server.publish("public.a", 1)
    await server.settled()
    stream = await server.open("public.a", after="earliest", limit=3)
    await stream.messages(1)
    await server.publish("public.a", 2, 3, 4)
    assert [block.data["data"] for block in await stream.messages(2)] == [2, 3]
    assert await stream.rest() == b""


async def test_overlapping_patterns_deliver_an_event_once(server: Served) -> None:
    names = ("public.a", "public.a", "public.*", "public.>", "*.a")
    stream, _ = await server.live(*names, headers=BEARER)
    await server.publish("public.a", 1)
    await server.publish("public.b.c", 2)
    await server.publish("posts", 3)
    await server.publish("public.b", 4)
    assert [block.data["data"] for block in await stream.messages(3)] == [1, 2, 4]
    again = await server.open(*names, after="earliest", headers=BEARER)
    assert [block.data["data"] for block in await again.messages(3)] == [1, 2, 4]


async def test_a_post_asks_for_the_same_in_json(server: Served) -> None:
    await server.publish("public.a", 1)
    await server.settled()
    body = json.dumps({"channels": ["public.a"] * 128, "after": "earliest", "limit": 1}).encode()
    head = f"POST /api/stream HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n"
    stream = await server.raw(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    assert stream.status == 200
    assert [block.data["data"] for block in await stream.messages(1)] == [1]
    assert await stream.rest() == b""


async def test_a_parked_connection_is_used_again_after_its_stream_has_ended(
    clean: Database,
) -> None:
    async with served(clean, takeover="off") as server:
        await server.publish("public.a", 1)
        await server.settled()
        stream = await server.open("public.a", after="earliest", limit=1)
        await stream.rest()
        await stream.send("GET", "/healthz", {}, b"")
        assert (stream.status, await stream.rest()) == (200, b'{"status":"ok"}')
        await stream.send("GET", "/api/stream?channel=public.a&after=earliest", {}, b"")
        assert [block.data["data"] for block in await stream.messages(1)] == [1]


@pytest.mark.parametrize("takeover", ["on"], ids=["taken"])
async def test_a_taken_connection_says_that_it_closes_and_does(server: Served) -> None:
    await server.publish("public.a", 1)
    await server.settled()
    stream = await server.open("public.a", after="earliest", limit=1)
    assert stream.headers["connection"] == "close"
    assert (await stream.messages(1))[0].data["data"] == 1
    assert await stream.rest() == b""
    await stream.gone()
    assert not server.service.streams


async def test_an_http_1_0_client_gets_the_stream_unchunked(server: Served) -> None:
    stream = await server.open("public.a", version="1.0")
    assert stream.status == 200
    assert "transfer-encoding" not in stream.headers
    await stream.blocks(2)
    await server.publish("public.a", 1)
    assert (await stream.block()).data["data"] == 1


async def test_head_answers_the_headers_alone(server: Served) -> None:
    stream = await server.open("public.a", method="HEAD")
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert len(server.service.streams) == 0


async def test_other_methods_are_refused_with_allow(server: Served) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        stream = await server.open("public.a", method=method)
        assert stream.status == 405
        assert set(stream.headers["allow"].split(",")) >= {"GET", "HEAD", "POST"}
        assert json.loads(await stream.rest())["error"] == "Method not allowed"
