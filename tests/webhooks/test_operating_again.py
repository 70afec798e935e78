"""Deliveries that are asked for again over HTTP: one, or all that match."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.operating import sql
from tests.clean import clean, reused
from tests.served import BEARER, Served, served
from tests.waiting import until
from tests.webhooks.test_operating import PATH, client, put, server, states

__all__ = ["clean", "client", "reused", "server"]


async def test_a_retry_makes_any_delivery_due_now(
    server: Served, client: httpx.AsyncClient
) -> None:
    settled = [
        await put(server, state=state, error="e")
        for state in ("done", "unhandled", "unmatched", "dead")
    ]
    waiting = await put(server, state="pending", attempts=3, error="e")
    for made in (*settled, waiting):
        answer = await client.post(f"{PATH}/{made}/retry")
        assert answer.status_code == 200
        assert (answer.json()["id"], answer.json()["state"]) == (made, "pending")
    columns = ("state", "attempts", "error", "handled_at", "due_at <= clock_timestamp()")
    assert await states(server, *columns) == dict.fromkeys(
        settled, ("pending", 0, None, None, True)
    ) | {waiting: ("pending", 3, "e", None, True)}
    gone = await put(server, body=None)
    assert (await client.post(f"{PATH}/{gone}/retry")).status_code == 409
    assert (await client.post(f"{PATH}/{'0' * 32}/retry")).status_code == 404
    assert (await states(server))[gone] == "done"


async def test_a_retry_does_not_wait_for_the_worker_that_holds_it(
    server: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "LOCK_SECONDS", 0.05)
    made = await put(server, state="pending")
    async with server.app[POOL].acquire() as worker, worker.transaction():
        await worker.execute("SELECT FROM public.webhook_deliveries WHERE id = $1 FOR UPDATE", made)
        answer = await client.post(f"{PATH}/{made}/retry")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_replay_takes_what_waits_for_an_operator_the_oldest_first(
    server: Served, client: httpx.AsyncClient
) -> None:
    dead, unmatched, held, late = [
        await put(server, state=state, error="e") for state in ("dead", "unmatched", "dead", "dead")
    ]
    gone = await put(server, state="dead", body=None)
    done = await put(server, state="done")
    other = await put(server, source="stripe", state="dead")
    before = await states(server)
    dry = {"source": "dodo", "limit": 3, "dryRun": True}
    answer = await client.post(f"{PATH}/replay", json=dry)
    assert answer.json() == {"replayed": 0, "matched": 3, "more": True}
    assert await states(server) == before
    async with server.app[POOL].acquire() as worker, worker.transaction():
        await worker.execute("SELECT FROM public.webhook_deliveries WHERE id = $1 FOR UPDATE", held)
        answer = await client.post(f"{PATH}/replay", json={"source": "dodo", "limit": 3})
        assert answer.json() == {"replayed": 2, "matched": 3, "more": True}
    first = {dead: "pending", unmatched: "pending"}
    assert await states(server) == before | first
    answer = await client.post(f"{PATH}/replay", json={"source": "dodo"})
    assert answer.json() == {"replayed": 2, "matched": 2, "more": False}
    found = await states(server, "state", "attempts", "error", "handled_at")
    assert {found[item] for item in (dead, unmatched, held, late)} == {("pending", 0, None, None)}
    assert [found[item][0] for item in (gone, done, other)] == ["dead", "done", "dead"]
    due = await server.app[POOL].fetch(
        "SELECT id FROM public.webhook_deliveries WHERE state = 'pending' ORDER BY due_at, seq"
    )
    assert [row["id"] for row in due] == [dead, unmatched, held, late]


async def test_a_replay_by_any_filter_is_told_live(
    server: Served, client: httpx.AsyncClient
) -> None:
    body = b'{"order":"A-17"}'
    made = await put(server, state="done", key="cus_1", minutes=5, body=body)
    await put(server, state="done", key="cus_2", minutes=5, body=body)
    await server.settled()
    stream, _ = await server.live("ops.webhooks", headers=BEARER)
    wanted = {
        "type": "payment.*",
        "state": ["done", "unhandled"],
        "key": "cus_1",
        "since": "2026-11-22T12:00:00Z",
        "until": "2026-11-22T13:00:00Z",
        "q": "a-17",
    }
    answer = await client.post(f"{PATH}/replay", json=wanted)
    assert answer.json() == {"replayed": 1, "matched": 1, "more": False}
    told = (await stream.named(None)).data
    assert (told["type"], told["key"]) == ("webhook.pending", made)


async def test_a_replay_has_to_say_of_what(server: Served, client: httpx.AsyncClient) -> None:
    await put(server, state="dead")
    wrongs: tuple[dict[str, Any], ...] = (
        {},
        {"key": "x"},
        {"q": "ab", "until": "1h"},
        {"state": ["pending"]},
        {"state": []},
        {"source": None},
        {"since": 0},
        {"source": "dodo", "q": "a"},
        {"source": "dodo", "limit": 10_001},
        {"source": "dodo", "q": "\x00\x00"},
        {"source": "dodo", "q": "\ud800\ud800"},
    )
    for wrong in wrongs:
        body = json.dumps(wrong)
        headers = {"Content-Type": "application/json"}
        answer = await client.post(f"{PATH}/replay", content=body, headers=headers)
        assert answer.status_code == 400, wrong
    assert set((await states(server)).values()) == {"dead"}


async def test_the_worker_takes_up_what_is_asked_for_again(clean: Database) -> None:
    async with (
        served(clean, webhook_workers=1) as server,
        httpx.AsyncClient(base_url=server.url, headers=BEARER) as client,
    ):
        made = await put(server, source="github", type_="push", state="dead")
        assert (await client.post(f"{PATH}/{made}/retry")).status_code == 200
        await until(lambda: _is(server, made, "unhandled"))
        replayed = await client.post(f"{PATH}/replay", json={"state": ["unhandled"]})
        assert replayed.json()["replayed"] == 1

        async def twice() -> bool:
            row = (await client.get(f"{PATH}/{made}")).json()
            return [item["state"] for item in row["history"]] == ["unhandled"] * 2

        await until(twice)


async def _is(server: Served, made: str, state: str) -> bool:
    return bool((await states(server))[made] == state)
