"""The doors and the intake behind them, with real requests, on a real Postgres."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from server.db.pool import Database
from server.errors import StartError
from server.keys import POOL
from server.webhooks import secrets_of
from server.webhooks.intake.intake import INTAKE, Intake
from server.webhooks.providers import PROVIDERS, Provider
from server.webhooks.providers.samples.example import Example
from tests.clean import clean, reused
from tests.gate import gated
from tests.served import Served, served
from tests.waiting import until

__all__ = ["clean", "reused"]

DODO_KEY = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
STRIPE_KEY = "whsec_stripe_0123456789"
GITHUB_KEY = "It's a Secret to Everybody"
SECRETS: dict[str, Any] = {
    "webhook_workers": 0,
    "dodo_payments_webhook_key": DODO_KEY,
    "stripe_webhook_secret": STRIPE_KEY,
    "github_webhook_secret": GITHUB_KEY,
}
DODO, STRIPE, GITHUB = PROVIDERS


@pytest.fixture
async def server(clean: Database) -> AsyncIterator[Served]:
    async with served(clean, **SECRETS) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=64)
    # It verifies no TLS, as there is none: loading the certificates for it takes 50 ms.
    async with httpx.AsyncClient(timeout=20, limits=limits, verify=False) as running:
        yield running


def signed(
    provider: Provider, reference: str = "1", type_: str | None = None
) -> tuple[bytes, dict[str, str]]:
    """A delivery as the provider would make it."""
    type_ = type_ or provider.types[0]
    body = provider.sample(type_, Example(reference=reference))
    secret = SECRETS[str(provider.setting)]
    headers = provider.scheme.sign(body, secret, message_id=f"msg-{reference}", at=time.time())
    return body, headers | provider.headers(type_)


async def deliver(
    client: httpx.AsyncClient, server: Served, provider: Provider, reference: str = "1"
) -> httpx.Response:
    body, headers = signed(provider, reference)
    return await client.post(url(server, provider), content=body, headers=headers)


def url(server: Served, provider: Provider) -> str:
    return f"http://127.0.0.1:{server.port}{provider.path}"


async def rows(server: Served) -> list[Any]:
    return list(
        await server.app[POOL].fetch("SELECT * FROM public.webhook_deliveries ORDER BY seq")
    )


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda it: it.name)
async def test_a_delivery_is_stored_as_it_came_before_it_is_answered(
    server: Served, client: httpx.AsyncClient, provider: Provider
) -> None:
    body, headers = signed(provider)
    more = {"Authorization": "Bearer nonsense", "Cookie": "a=b", "X-More": "\u00e4"}
    answer = await client.post(
        url(server, provider),
        content=body,
        headers=[(k.encode(), v.encode()) for k, v in (headers | more).items()],
    )
    assert answer.status_code == 200, answer.text
    [row] = await rows(server)
    assert answer.json() == {"received": True, "id": row["id"]}
    assert (row["source"], row["body"], row["state"]) == (provider.name, body, "pending")
    kept = json.loads(row["headers"])
    assert {name.lower() for name in headers} <= set(kept)
    assert not {"authorization", "cookie"} & set(kept)


async def test_a_repeat_has_the_first_ones_id(server: Served, client: httpx.AsyncClient) -> None:
    first = await deliver(client, server, DODO)
    again = await deliver(client, server, DODO)
    other = await deliver(client, server, DODO, "2")
    assert first.json() == again.json()
    assert other.json()["id"] != first.json()["id"]
    assert [row["message_id"] for row in await rows(server)] == ["msg-1", "msg-2"]


async def test_repeats_at_the_same_moment_at_two_processes_are_stored_once(
    clean: Database, client: httpx.AsyncClient
) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(served(clean, **SECRETS)) for _ in range(2)]
        answers = await asyncio.gather(
            *(
                deliver(client, servers[number % 2], provider, str(number // 8))
                for number in range(96)
                for provider in (DODO, STRIPE)
            )
        )
        assert {answer.status_code for answer in answers} == {200}
        found = await rows(servers[0])
        assert len(found) == 24
        assert {answer.json()["id"] for answer in answers} == {row["id"] for row in found}
        assert sum(server.app[INTAKE].repeated for server in servers) == 168
        assert sum(server.app[INTAKE].batches for server in servers) < 96, "no group commit"


async def test_it_is_seen_live(server: Served, client: httpx.AsyncClient) -> None:
    _, token = await server.sign_in("admin")
    stream, _ = await server.live("ops.webhooks", headers={"Authorization": f"Bearer {token}"})
    answer = await deliver(client, server, STRIPE)
    told = (await stream.named(None)).data
    assert (told["type"], told["key"]) == ("webhook.received", answer.json()["id"])
    assert told["data"]["source"] == "stripe"
    assert told["data"]["state"] == "pending"
    assert not {"body", "headers"} & set(told["data"])
    pool = server.app[POOL]
    await pool.execute("UPDATE public.webhook_deliveries SET body = NULL")
    await pool.execute("UPDATE public.webhook_deliveries SET state = 'done', attempts = 1")
    told = (await stream.named(None)).data
    assert told["type"] == "webhook.done", "what is removed by retention is no new state"


async def test_without_a_signature_400_with_a_wrong_one_401(
    server: Served, client: httpx.AsyncClient
) -> None:
    for provider in PROVIDERS:
        body, headers = signed(provider)
        none = await client.post(url(server, provider), content=body)
        assert (none.status_code, none.json()["error"]) == (400, "No signature")
        wrong = await client.post(url(server, provider), content=body + b" ", headers=headers)
        assert (wrong.status_code, wrong.json()["error"]) == (401, "Invalid signature")
        assert "issues" not in wrong.json() or not wrong.json()["issues"]
    assert not await rows(server)


async def test_the_source_texts_form_of_dodo(server: Served, client: httpx.AsyncClient) -> None:
    data = {"customerId": "user-1", "credits": 5}
    body = json.dumps({"type": "payment.succeeded", "data": data}).encode()
    sign = hmac.new(DODO_KEY.encode(), body, hashlib.sha256).hexdigest()
    answers = [
        await client.post(url(server, DODO), content=body, headers={"x-dodo-signature": sign})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    [row] = await rows(server)
    assert row["message_id"] == f"body-sha256:{hashlib.sha256(body).hexdigest()}"
    assert (row["type"], row["key"]) == ("payment.succeeded", "user-1")


async def test_the_official_sdk_signs(server: Served, client: httpx.AsyncClient) -> None:
    from datetime import UTC, datetime

    body = DODO.sample("payment.succeeded", Example()).decode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "sdk-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(DODO_KEY).sign("sdk-1", now, body),
    }
    answer = await client.post(url(server, DODO), content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert [row["message_id"] for row in await rows(server)] == ["sdk-1"]


async def test_a_rotation_takes_the_old_and_the_new_secret(
    clean: Database, client: httpx.AsyncClient
) -> None:
    old, new = "old-secret-0123456789", "new-secret-0123456789"
    async with served(clean, stripe_webhook_secret=f"{old},{new}") as server:
        for number, secret in enumerate((old, new, "other-secret-0123456789")):
            body = STRIPE.sample(STRIPE.types[0], Example(reference=str(number)))
            headers = STRIPE.scheme.sign(body, secret, message_id="", at=time.time())
            answer = await client.post(url(server, STRIPE), content=body, headers=headers)
            assert answer.status_code == (200 if number < 2 else 401)


async def test_a_door_without_a_secret_is_closed(
    clean: Database, client: httpx.AsyncClient
) -> None:
    async with served(clean) as server:
        for provider in PROVIDERS:
            assert (await deliver(client, server, provider)).status_code == 404


async def test_limits_of_a_body(server: Served, client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65536

    _, headers = signed(DODO)
    big = await client.post(url(server, DODO), content=b"x" * (1024 * 1024 + 1), headers=headers)
    chunked = await client.post(url(server, DODO), content=parts(), headers=headers)
    assert (big.status_code, chunked.status_code) == (413, 413)
    packed = await client.post(
        url(server, DODO), content=b"{}", headers=headers | {"Content-Encoding": "gzip"}
    )
    assert packed.status_code == 415


async def test_overload_is_told_before_the_body_is_read(
    server: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Intake, "max_bytes", 10)
    stream = await server.raw(
        b"POST /api/payments/dodo/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
    )
    assert stream.status == 503
    assert stream.headers["retry-after"] == "1"
    monkeypatch.undo()
    assert (await deliver(client, server, DODO)).status_code == 200


async def test_what_can_not_be_stored_now_is_not_acknowledged(
    clean: Database, client: httpx.AsyncClient
) -> None:
    async with gated(clean) as (gate, behind), served(behind, **SECRETS) as server:
        assert (await deliver(client, server, DODO, "1")).status_code == 200
        await server.settled()
        await gate.shut()
        answer = await deliver(client, server, DODO, "2")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await gate.open()

        async def stored() -> bool:
            return (await deliver(client, server, DODO, "2")).status_code == 200

        await until(stored)
        assert [row["message_id"] for row in await rows(server)] == ["msg-1", "msg-2"]


async def test_killed_backends_lose_nothing_that_was_acknowledged(
    server: Served, client: httpx.AsyncClient
) -> None:
    acknowledged: set[str] = set()

    async def sender(name: int) -> None:
        for number in range(6):
            reference = f"{name}-{number}"
            while True:
                answer = await deliver(client, server, STRIPE, reference)
                if answer.status_code == 200:
                    acknowledged.add(answer.json()["id"])
                    break
                assert answer.status_code == 503, answer.text

    async def killer() -> None:
        import asyncpg

        pool = server.app[POOL]
        for _ in range(6):
            goal = server.app[INTAKE].batches + 3

            def moved(goal: int = goal) -> bool:
                return server.app[INTAKE].batches >= goal

            await until(moved)
            try:
                await pool.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE query LIKE '%webhook_deliveries%' AND pid <> pg_backend_pid()"
                )
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                continue

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(sender(name) for name in range(16)))
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)

    async def found() -> bool:
        return {row["id"] for row in await rows(server)} == acknowledged

    assert await found()
    assert len(acknowledged) == 96


def test_a_secret_that_can_not_be_used_stops_the_start() -> None:
    from server.settings import load

    settings = load(stripe_webhook_secret=" spaces ")
    with pytest.raises(StartError, match="STRIPE_WEBHOOK_SECRET"):
        secrets_of(STRIPE, settings)
