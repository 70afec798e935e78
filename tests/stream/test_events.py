from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from server.app import build
from server.auth import sessions
from server.db.pool import Database
from server.keys import POOL
from server.log.model import FIRST_PAGE
from server.settings import load
from server.stream.service import SERVICE
from tests.served import BEARER, KEY
from tests.waiting import until

Client = TestClient[Any, Any]


@pytest.fixture
async def client(clean: Database, aiohttp_client: AiohttpClient) -> AsyncIterator[Client]:
    """A client of a running application on the clean database."""
    settings = load(api_key=KEY, pool_size=4, partition_size=100_000)
    client = await aiohttp_client(build(settings, clean, demo=False))
    yield client
    await client.close()


def event(data: object, **more: object) -> dict[str, object]:
    return {"channel": "public.a", "type": "t", "data": data} | more


async def publish(client: Client, body: object, status: int = 200) -> Any:
    async with client.post("/api/events", json=body, headers=BEARER) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def history(client: Client, query: str, **headers: str) -> Any:
    async with client.get(f"/api/events?{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def settled(client: Client, count: int) -> str:
    """Return when so many events are published here; the epoch."""
    assert client.app is not None
    pubsub = client.app[SERVICE].pubsub
    await until(lambda: pubsub.position >= count)
    return str(pubsub.epoch)


def datas(page: Any) -> list[Any]:
    return [item["data"] for item in page["events"]]


async def test_a_published_event_is_in_the_history_with_its_message_id(client: Client) -> None:
    given = {"text": 'ä\r\n\u2028"', "n": 1e3, "list": [None, True]}
    ids = (await publish(client, event(given, key="k")))["ids"]
    epoch = await settled(client, 1)
    page = await history(client, "channel=public.a&after=earliest")
    (item,) = page["events"]
    assert list(item) == ["id", "channel", "type", "key", "at", "message_id", "data"]
    assert (item["id"], item["key"], item["data"]) == (f"{epoch}.1", "k", given)
    assert [item["message_id"]] == ids
    assert (page["next"], page["gap"]) == (f"{epoch}.1", None)


async def test_history_is_paged_without_a_hole(client: Client) -> None:
    await publish(
        client, {"events": [event(n, channel=f"public.{'ab'[n % 2]}") for n in range(25)]}
    )
    await settled(client, 25)
    for query, expected in (("channel=public.a", range(0, 25, 2)), ("channel=public.>", range(25))):
        after, got = "earliest", []
        for _ in range(20):
            page = await history(client, f"{query}&limit=4&after={after}")
            got += datas(page)
            after = page["next"]
        assert got == list(expected)
        assert after.endswith(".25")


async def test_history_without_a_start_begins_now(client: Client) -> None:
    await publish(client, event(1))
    epoch = await settled(client, 1)
    page = await history(client, "channel=public.a")
    assert page == {"events": [], "next": f"{epoch}.1", "gap": None}


async def test_rewind_since_and_last_event_id_start_a_page_too(client: Client) -> None:
    await publish(client, {"events": [event(n) for n in range(5)]})
    epoch = await settled(client, 5)
    assert datas(await history(client, "channel=public.a&rewind=2")) == [3, 4]
    assert len(datas(await history(client, "channel=public.a&since=1m"))) == 5
    last = {"Last-Event-ID": f"{epoch}.4"}
    assert datas(await history(client, "channel=public.a&after=earliest", **last)) == [4]
    empty = {"Last-Event-ID": ""}
    assert len(datas(await history(client, "channel=public.a&after=earliest", **empty))) == 5


async def test_a_gap_is_told_in_the_page(client: Client) -> None:
    await publish(client, {"events": [event(n) for n in range(5)]})
    epoch = await settled(client, 5)
    assert client.app is not None
    await client.app[SERVICE].log.retention.prune(3)
    client.app[SERVICE].pubsub.ring.clear()
    page = await history(client, f"channel=public.a&after={epoch}.1")
    assert page["gap"] == {"after": f"{epoch}.1", "resumed": f"{epoch}.3", "reason": "pruned"}
    assert datas(page) == [3, 4]
    page = await history(client, "channel=public.a&wait=30", **{"Last-Event-ID": "nonsense"})
    assert page["gap"]["reason"] == "malformed"


async def test_a_long_poll_answers_with_the_event_that_comes(client: Client) -> None:
    await publish(client, event("old"))
    await settled(client, 1)
    poll = asyncio.create_task(history(client, "channel=public.a&wait=30"))
    assert client.app is not None
    pubsub = client.app[SERVICE].pubsub
    await until(lambda: pubsub.subscribers)
    await publish(client, event("else", channel="public.b"))
    await publish(client, event("new"))
    assert datas(await poll) == ["new"]
    await until(lambda: not pubsub.subscribers)


async def test_a_long_poll_ends_empty_when_nothing_comes(client: Client) -> None:
    await publish(client, event(1))
    epoch = await settled(client, 1)
    page = await history(client, "channel=public.a&wait=0.2")
    assert page == {"events": [], "next": f"{epoch}.1", "gap": None}


async def test_long_polls_in_a_row_miss_nothing(client: Client) -> None:
    page = await history(client, "channel=public.a")

    async def write() -> None:
        for number in range(60):
            await publish(client, event(number))

    writing = asyncio.create_task(write())
    got: list[int] = []
    while len(got) < 60:
        page = await history(client, f"channel=public.a&wait=10&after={page['next']}")
        got += datas(page)
    await writing
    assert got == list(range(60))


async def test_a_page_of_large_events_stays_small(client: Client) -> None:
    for _ in range(FIRST_PAGE + 4):
        await publish(client, event("x" * 1_000_000))
    await settled(client, FIRST_PAGE + 4)
    page = await history(client, "channel=public.a&limit=1000&after=earliest")
    assert len(page["events"]) <= FIRST_PAGE
    page = await history(client, f"channel=public.a&limit=1000&after={page['next']}")
    assert page["next"].endswith(f".{FIRST_PAGE + 4}")


async def test_a_repeated_message_id_emits_once(client: Client) -> None:
    message = str(uuid.uuid4())
    for number in range(3):
        body = event(number, message_id=message)
        assert (await publish(client, body))["ids"] == [message]
    await publish(client, {"events": [event(7, message_id=message), event(8)]})
    await settled(client, 2)
    assert datas(await history(client, "channel=public.a&after=earliest")) == [0, 8]


async def test_concurrent_publishes_share_transactions_and_keep_their_order(
    client: Client,
) -> None:
    assert client.app is not None
    outbox = client.app[SERVICE].log.outbox
    await asyncio.gather(
        *(publish(client, {"events": [event([n, 0]), event([n, 1])]}) for n in range(60))
    )
    assert outbox.published == 120
    assert outbox.batches < 60
    await settled(client, 120)
    got = datas(await history(client, "channel=public.a&after=earliest&limit=1000"))
    assert sorted(got) == [[n, m] for n in range(60) for m in (0, 1)]
    for number in range(60):
        assert [m for n, m in got if n == number] == [0, 1]


async def test_the_answer_comes_after_the_commit(client: Client) -> None:
    ids = (await publish(client, event(1)))["ids"]
    assert client.app is not None
    assert ids[0] in [
        str(row[0])
        for row in await client.app[POOL].fetch(
            "SELECT message_id FROM tailrace.outbox UNION SELECT message_id FROM tailrace.event"
        )
    ]


async def test_who_may_not_publish_is_told(client: Client) -> None:
    assert client.app is not None
    pool = client.app[POOL]
    for role, status in ((None, 401), ("user", 403), ("admin", 200)):
        headers = {}
        if role:
            user = await pool.fetchval(
                "INSERT INTO users (name, email, role) VALUES ('U', $1::text || '@x', $1)"
                " RETURNING id", role,
            )  # fmt: skip
            headers = {"Authorization": f"Bearer {await sessions.create(pool, user)}"}
        async with client.post("/api/events", json=event(1), headers=headers) as answer:
            assert answer.status == status


async def test_another_sites_page_cannot_publish_with_the_cookie(client: Client) -> None:
    assert client.app is not None
    pool = client.app[POOL]
    user = await pool.fetchval(
        "INSERT INTO users (name, email, role) VALUES ('U', 'u@x', 'admin') RETURNING id"
    )
    cookie = {"Cookie": f"tailrace.session_token={await sessions.create(pool, user)}"}
    own = f"http://{client.host}:{client.port}"
    for headers, status in (
        ({}, 200), ({"Origin": own}, 200), ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Origin": ""}, 403),
        ({"Origin": own + ".evil.example"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ):  # fmt: skip
        async with client.post("/api/events", json=event(1), headers=cookie | headers) as answer:
            assert answer.status == status, headers
    assert client.app[SERVICE].log.outbox.published == 2
