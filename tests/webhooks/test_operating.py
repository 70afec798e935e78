"""Operating webhooks over HTTP: real requests, real rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.operating import routes as delivery_routes
from server.webhooks.operating import sql
from tests.clean import clean, reused
from tests.served import BEARER, Served, served

__all__ = ["clean", "reused"]

PATH = "/api/webhooks/deliveries"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
PUT = """
    INSERT INTO public.webhook_deliveries (source, message_id, type, key, received_at, headers,
      body, state, attempts, due_at, error, history, handled_at)
    VALUES ($1, gen_random_uuid(), $2, $3, $4, '{"x-more": "ä"}', $5, $6, $7,
      clock_timestamp() + interval '1 hour', $8, $9::json,
      CASE WHEN $6 <> 'pending' THEN now() END)
    RETURNING id"""


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    async with served(clean, webhook_workers=0, limits="off") as running:
        yield running


@pytest.fixture
async def client(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers=BEARER, timeout=20) as running:
        yield running


async def put(
    server: Served,
    source: str = "dodo",
    type_: str = "payment.succeeded",
    *,
    key: str | None = None,
    minutes: int = 0,
    body: bytes | None = b'{"a":1}',
    state: str = "done",
    attempts: int = 1,
    error: str | None = None,
    history: str = "[]",
) -> str:
    """A delivery as the intake and the worker leave it; its id."""
    at = START + timedelta(minutes=minutes)
    values = (source, type_, key, at, body, state, attempts, error, history)
    return str(await server.app[POOL].fetchval(PUT, *values))


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["deliveries"]]


async def states(server: Served, *columns: str) -> dict[str, Any]:
    """Each delivery's state, or these columns of it."""
    names = ", ".join(columns or ("state",))
    found = await server.app[POOL].fetch(
        f"SELECT id, {names} FROM public.webhook_deliveries ORDER BY seq"
    )
    return {row["id"]: tuple(row)[1:] if columns else row["state"] for row in found}


async def test_the_list_is_paged_from_the_newest_on(
    server: Served, client: httpx.AsyncClient
) -> None:
    made = [await put(server, source="stripe") for _ in range(5)]
    await put(server, source="github")
    answer = await client.get(PATH, params={"source": "stripe", "limit": 2, "since": "90000d"})
    found, pages = [], 1
    while True:
        assert answer.headers["cache-control"] == "no-store"
        found += [row["id"] for row in answer.json()["deliveries"]]
        if answer.json()["next"] is None:
            assert "link" not in answer.headers
            break
        assert f"after={answer.json()['next']}" in answer.headers["link"]
        # What comes meanwhile moves no following page.
        await put(server, source="stripe")
        answer = await client.get(answer.links["next"]["url"])
        pages += 1
    assert (found, pages) == (made[::-1], 3)
    assert not {"headers", "body", "history"} & set(answer.json()["deliveries"][0])
    position = answer.headers["stream-position"]
    stream = await server.open("ops.webhooks", headers=BEARER, after=position)
    assert (await client.post(f"{PATH}/{made[0]}/retry")).status_code == 200
    # It may repeat what the list already shows, and misses nothing.
    while (told := (await stream.named(None)).data)["type"] != "webhook.pending":
        assert told["type"] == "webhook.received"
    assert told["key"] == made[0]


async def test_every_filter_finds_its_own(server: Served, client: httpx.AsyncClient) -> None:
    a = await put(server, "dodo", "payment.succeeded", key="cus_1", minutes=0, state="done")
    b = await put(server, "dodo", "payment.failed", key="cus_2", minutes=10, state="unhandled")
    c = await put(server, "stripe", "payments.x", key="cus_1", minutes=200, state="dead")
    d = await put(server, "github", "push", minutes=300, state="unmatched")
    for query, wanted in (
        ({}, [d, c, b, a]),
        ({"source": "dodo"}, [b, a]),
        ({"type": "payment.failed"}, [b]),
        ({"type": "payment.*"}, [b, a]),
        ({"state": "dead"}, [c]),
        ({"state": ["dead", "unmatched"]}, [d, c]),
        ({"state": "pending"}, []),
        ({"key": "cus_1"}, [c, a]),
        ({"since": "2026-11-22T12:10:00Z"}, [d, c, b]),
        ({"until": "2026-11-22T12:10:00Z"}, [a]),
        ({"since": "2026-11-22T12:01:00Z", "until": "2026-11-22T16:00:00+00:00"}, [c, b]),
        ({"key": "cus_1", "state": "done", "source": "dodo", "type": "payment.*"}, [a]),
    ):
        assert await listed(client, **query) == wanted, query


async def test_a_text_is_found_however_json_spells_it(
    server: Served, client: httpx.AsyncClient
) -> None:
    plain = await put(server, body='{"name":"Käthe \\"K\\" 100%_of"}'.encode())
    escaped = await put(server, body=b'{"name":"K\\u00e4the", "at":"https:\\/\\/a.example"}')
    upper = await put(server, body=b'{"name":"K\\u00C4THE", "at":"https://a.example"}')
    await put(server, body=b'{"name":"Kathe 100 of"}')
    await put(server, body=None)
    for text, wanted in (
        ("käthe", [upper, escaped, plain]),
        ('"k" 100', [plain]),
        ("100%_", [plain]),
        ("%%", []),
        ("__", []),
        ("HTTPS://A.", [upper, escaped]),
        ("\\u00e4", [escaped]),
    ):
        assert await listed(client, q=text) == wanted, text


async def test_a_search_that_takes_too_long_is_given_up(
    server: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.app[POOL].execute(
        "INSERT INTO public.webhook_deliveries (source, message_id, type, headers, body, state)"
        " SELECT 'dodo', i, 'x', '{}', convert_to(repeat('abcdefgh', 12500), 'UTF8'), 'done'"
        " FROM generate_series(1, 100) i"
    )
    monkeypatch.setattr(delivery_routes, "LIST_SECONDS", 0.002)
    answer = await client.get(PATH, params={"q": "nowhere"})
    assert answer.status_code == 400
    assert "narrow the time" in answer.json()["detail"]
    monkeypatch.setattr(delivery_routes, "REPLAY_SECONDS", 0.002)
    answer = await client.post(f"{PATH}/replay", json={"state": ["done"], "q": "abcd"})
    assert answer.status_code == 400
    assert set((await states(server)).values()) == {"done"}


async def test_one_is_shown_whole(server: Served, client: httpx.AsyncClient) -> None:
    attempt = {"at": "2026-11-22T12:00:00.000+00:00", "state": "failed", "error": "no", "ms": 1.5}
    body = '{"a":"ä"}'.encode()
    made = await put(
        server, state="dead", body=body, attempts=16, error="no", history=json.dumps([attempt])
    )
    answer = await client.get(f"{PATH}/{made}")
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert (found["headers"], found["body"], found["size"]) == ({"x-more": "ä"}, '{"a":"ä"}', 10)
    assert found["history"] == [attempt | {"at": "2026-11-22T12:00:00.000Z"}]
    assert (found["state"], found["attempts"], found["error"]) == ("dead", 16, "no")
    gone = await put(server, body=None)
    assert (await client.get(f"{PATH}/{gone}")).json()["body"] is None
    assert (await client.get(f"{PATH}/{'0' * 32}")).status_code == 404


async def test_the_summary_counts_by_source_and_state(
    server: Served, client: httpx.AsyncClient
) -> None:
    empty = (await client.get("/api/webhooks/summary")).json()
    assert empty == {"sources": [], "since": None, "pendingSeconds": None, "complete": True}
    for number, state in enumerate(("pending", "pending", "done", "dead", "unmatched")):
        await put(server, state=state, minutes=number)
    await put(server, source="stripe", state="unhandled", minutes=-1)
    await put(server, source="stripe", state="pending", minutes=1)
    found = (await client.get("/api/webhooks/summary")).json()
    none = dict.fromkeys(("pending", "done", "unhandled", "unmatched", "dead"), 0)
    one = {"pending": 2, "done": 1, "dead": 1, "unmatched": 1}
    assert found["sources"] == [
        none | one | {"source": "dodo", "oldestPending": "2026-11-22T12:00:00.000Z"},
        none
        | {"pending": 1, "unhandled": 1}
        | {"source": "stripe", "oldestPending": "2026-11-22T12:01:00.000Z"},
    ]
    assert (found["since"], found["complete"]) == ("2026-11-22T11:59:00.000Z", True)
    age = await server.app[POOL].fetchval(
        "SELECT extract(epoch FROM now() - $1::timestamptz)", START
    )
    assert found["pendingSeconds"] <= float(age)


async def test_a_summary_says_where_it_stopped(
    server: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.webhooks.operating import models as delivery_models

    for module in (sql, delivery_models):
        monkeypatch.setattr(module, "MAX_COUNTED", 2)
    for _ in range(3):
        await put(server, state="dead")
    found = (await client.get("/api/webhooks/summary")).json()
    assert (found["sources"][0]["dead"], found["complete"]) == (2, False)


async def test_admins_and_keys_with_the_scope_may(server: Served) -> None:
    made = await put(server, state="dead")
    admin, user = [(await server.sign_in(role))[1] for role in ("admin", "user")]
    made_keys = []
    for scopes in (["webhooks"], ["read", "notify"]):
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {admin}"}) as client:
            body = {"name": "server", "scopes": scopes}
            answer = await client.post(f"{server.url}/api/keys", json=body)
            made_keys.append(answer.json()["key"])
    key, other = made_keys
    for token, status in ((None, 401), (user, 403), (other, 403), (key, 200), (admin, 200)):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            for method, path, given in (
                ("GET", PATH, None),
                ("GET", f"{PATH}/{made}", None),
                ("GET", "/api/webhooks/summary", None),
                ("POST", f"{PATH}/{made}/retry", None),
                ("POST", f"{PATH}/replay", {"source": "dodo"}),
            ):
                answer = await client.request(method, path, json=given)
                assert answer.status_code == status, (path, answer.text)
        if status != 200:
            assert await states(server) == {made: "dead"}


async def test_lists_are_read_by_an_index(clean: Database) -> None:
    connection = await asyncpg.connect(clean.url)
    try:
        await connection.execute("SET session_replication_role = replica")  # no events
        await connection.execute(
            "INSERT INTO public.webhook_deliveries"
            " (source, message_id, type, received_at, headers, body, state)"
            " SELECT CASE WHEN i % 500 = 0 THEN 'rare' ELSE 'dodo' END, i, 'x',"
            "   now() - interval '1 minute' * (20000 - i), '{}', '{}',"
            "   CASE WHEN i % 1000 = 0 THEN 'dead' WHEN i > 19950 THEN 'pending' ELSE 'done' END"
            " FROM generate_series(1, 20000) i"
        )
        await connection.execute("ANALYZE public.webhook_deliveries")
        week = datetime.now(UTC) - timedelta(days=7)
        for wanted in (
            sql.Filter(),
            sql.Filter(source="dodo"),
            sql.Filter(source="rare"),
            *(sql.Filter(states=(state,)) for state in ("pending", "done", "dead")),
            sql.Filter(states=sql.AGAIN),
            sql.Filter(since=week),
            sql.Filter(until=week),
            sql.Filter(since=week, until=week + timedelta(hours=1)),
        ):
            plan, removed = await explained(connection, wanted)
            assert "Seq Scan" not in plan, plan
            assert removed < 1000, plan
    finally:
        await connection.close()


async def explained(connection: Any, wanted: sql.Filter) -> tuple[str, int]:
    """A list's plan, and how many rows were read in vain."""
    async with sql._bounded(connection, 20):
        low, high = await sql._span(connection, wanted)
        rows = await connection.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql._LIST}",
            *wanted.arguments(), low, high, 21,
        )  # fmt: skip
    lines = [row[0] for row in rows]
    removed = [int(line.rpartition(" ")[2]) for line in lines if "Rows Removed by" in line]
    return "\n".join(lines), sum(removed)
