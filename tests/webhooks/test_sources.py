"""Doors and secrets of sources that admins make, with real senders, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from server.keys import POOL
from server.webhooks.sources import cache as sources
from server.webhooks.sources.cache import SOURCES
from tests.served import Served
from tests.waiting import until
from tests.webhooks.sending import (
    BODY,
    SHOPIFY,
    SLACK,
    STANDARD,
    Caller,
    by_shopify,
    by_slack,
    by_standard,
)
from tests.webhooks.shared import SHARED, api, client, reused, server, shared

__all__ = ["api", "client", "reused", "server", "shared"]
pytestmark = SHARED

OLD = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ="
NEW = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldy1zZWNyZXQ="


async def rows(server: Served) -> list[Any]:
    return list(
        await server.app[POOL].fetch("SELECT * FROM public.webhook_deliveries ORDER BY seq")
    )


async def test_a_source_takes_what_the_library_signs(api: Caller) -> None:
    made = await api.make()
    assert made["secret"].startswith("whsec_")
    assert (made["open"], made["builtin"], made["path"]) == (True, False, "/api/webhooks/acme")
    headers = by_standard(made["secret"])
    answer = await api.deliver(headers)
    assert answer.status_code == 200, answer.text
    again = await api.deliver(headers)
    assert again.json() == answer.json()
    [row] = await rows(api.server)
    assert (row["source"], row["message_id"]) == ("acme", headers["webhook-id"])
    assert (row["type"], row["key"], row["body"]) == ("contact.created", "u1", BODY)


@pytest.mark.parametrize(("scheme", "sign"), [(SLACK, by_slack), (SHOPIFY, by_shopify)])
@pytest.mark.parametrize("secret", [None, "hush, hush: a passphrase"])
async def test_a_described_hmac_takes_its_senders_form(
    api: Caller, scheme: Any, sign: Callable[[str], dict[str, str]], secret: str | None
) -> None:
    made = await api.make("shop", scheme, secret=secret)
    assert (made["secret"] is None) == (secret is not None)
    headers = sign(secret or made["secret"])
    assert (await api.deliver(headers, name="shop")).status_code == 200
    assert (await api.deliver(headers, BODY + b" ", name="shop")).status_code == 401
    assert (await api.deliver(sign("another"), name="shop")).status_code == 401
    [row] = await rows(api.server)
    assert row["message_id"] == headers.get("X-Shopify-Webhook-Id", row["message_id"])


async def test_while_a_secret_is_rotated_both_are_good(api: Caller) -> None:
    await api.make(secret=OLD)
    added = await api.rotate(secret=NEW)
    assert added["secret"] is None
    assert [await api.status(OLD), await api.status(NEW)] == [200, 200]
    first, second = (await api.told())["secrets"]
    assert second == {name: added[name] for name in ("id", "createdAt", "expiresAt")}
    assert first["expiresAt"] is not None
    assert second["expiresAt"] is None


async def test_a_former_secret_ends_with_its_overlap_without_a_look_at_the_database(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FRESH", 1e9)
    await api.make(secret=OLD)
    await api.rotate(secret=NEW, overlapSeconds=1)
    looks = api.server.app[SOURCES].looks

    async def over() -> bool:
        return await api.status(OLD) == 401

    await until(over)
    assert await api.status(NEW) == 200
    assert api.server.app[SOURCES].looks == looks


async def test_without_an_overlap_the_former_ends_at_once(api: Caller) -> None:
    await api.make(secret=OLD)
    made = (await api.rotate(overlapSeconds=0))["secret"]
    assert [await api.status(OLD), await api.status(made)] == [401, 200]
    assert len((await api.told())["secrets"]) == 1  # what is over is forgotten


async def test_an_overlap_never_makes_a_secret_last_longer(api: Caller) -> None:
    await api.make(secret=OLD)
    await api.rotate(overlapSeconds=60)
    before = (await api.told())["secrets"][0]
    await api.rotate(overlapSeconds=3600)
    assert (await api.told())["secrets"][0] == before


async def test_a_secret_can_be_deleted_unless_it_is_the_last_good_one(api: Caller) -> None:
    await api.make(secret=OLD)
    await api.rotate(secret=NEW)
    old, new = [it["id"] for it in (await api.told())["secrets"]]
    assert (await api.call("DELETE", f"/acme/secrets/{old}")).status_code == 204
    assert [await api.status(OLD), await api.status(NEW)] == [401, 200]
    assert (await api.call("DELETE", f"/acme/secrets/{old}")).status_code == 404
    assert (await api.call("DELETE", f"/acme/secrets/{new}")).status_code == 409
    last = (await api.rotate())["id"]
    await api.server.app[POOL].execute(
        "UPDATE public.webhook_secrets SET expires_at = now() WHERE id = $1", new
    )
    assert (await api.call("DELETE", f"/acme/secrets/{last}")).status_code == 409
    assert (await api.call("DELETE", f"/acme/secrets/{new}")).status_code == 204  # over anyway
    await api.make("other")
    assert (await api.call("DELETE", f"/other/secrets/{last}")).status_code == 404


async def test_a_new_scheme_and_a_secret_that_only_the_former_can_use_never_both_count(
    api: Caller,
) -> None:
    await api.make(scheme=SLACK, secret=NEW)
    secret, scheme = await asyncio.gather(
        api.call("POST", "/acme/secrets", {"secret": "a mere text", "overlapSeconds": 0}),
        api.call("PATCH", "/acme", {"scheme": STANDARD}),
    )
    assert (secret.status_code, scheme.status_code) in {(201, 409), (409, 200), (400, 200)}


async def test_the_newest_secret_stays_as_the_others_end_with_their_overlap(api: Caller) -> None:
    await api.make(secret=OLD)
    added = await api.rotate(secret=NEW)
    answer = await api.call("DELETE", f"/acme/secrets/{added['id']}")
    assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
    assert [await api.status(OLD), await api.status(NEW)] == [200, 200]
    await api.rotate()
    assert (await api.call("DELETE", f"/acme/secrets/{added['id']}")).status_code == 204
    assert [await api.status(OLD), await api.status(NEW)] == [200, 401]


async def test_ten_secrets_are_good_at_once(api: Caller) -> None:
    await api.make()
    for _ in range(9):
        await api.rotate()
    assert (await api.call("POST", "/acme/secrets", {})).status_code == 409
    await api.rotate(overlapSeconds=0)


async def test_a_deleted_source_is_gone_and_its_deliveries_stay(api: Caller) -> None:
    await api.make(secret=OLD)
    assert await api.status(OLD) == 200
    assert (await api.call("DELETE", "/acme")).status_code == 204
    assert await api.status(OLD) == 404
    for method in ("GET", "DELETE"):
        assert (await api.call(method, "/acme")).status_code == 404
    assert (await api.call("PATCH", "/acme", {"paused": True})).status_code == 404
    assert (await api.call("POST", "/acme/secrets", {})).status_code == 404
    assert len(await rows(api.server)) == 1
    assert not await api.server.app[POOL].fetch("SELECT FROM public.webhook_secrets")
    await api.make(secret=NEW)
    assert [await api.status(OLD), await api.status(NEW)] == [401, 200]


async def test_a_secret_that_was_moved_to_another_source_is_none(api: Caller) -> None:
    await api.make(secret=OLD)
    await api.make("victim", secret=NEW)
    pool = api.server.app[POOL]
    await pool.execute("DELETE FROM public.webhook_secrets WHERE source = 'victim'")
    await pool.execute("UPDATE public.webhook_secrets SET source = 'victim'")
    assert not (await api.told("victim"))["open"]
    assert await api.status(OLD, "victim") == 503


async def test_names_that_nobody_has_made_cost_no_query_each(api: Caller) -> None:
    known = api.server.app[SOURCES]
    began, looks = time.monotonic(), known.looks
    for number in range(60):
        assert await api.status(OLD, f"n{number}") == 404
    assert known.looks - looks <= 1 + (time.monotonic() - began) / sources.FRESH


async def test_an_unknown_source_is_404_before_its_body_is_read(api: Caller) -> None:
    for name in ("nobody", "dodo", "A", "%00", "a" * 300, "%2e%2e"):
        stream = await api.server.raw(
            b"POST /api/webhooks/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
            % name.encode()
        )
        assert stream.status == 404, name
        stream.abort()
    assert await api.status(OLD) == 404


async def test_addresses_of_the_api_and_names_of_providers_are_no_doors(api: Caller) -> None:
    """Even if there were such a row, and a secret of somebody's with it."""
    pool, sealer = api.server.app[POOL], api.server.app[SOURCES].sealer
    names = ("sources", "deliveries", "replay", "summary", "github", "dodo", "stripe")
    for name in names:
        answer = await api.call("POST", "", {"name": name, "scheme": STANDARD})
        assert answer.status_code == 400, name
        await pool.execute(
            "INSERT INTO public.webhook_sources (name, scheme) VALUES ($1, $2)",
            name,
            json.dumps(STANDARD),
        )
        await pool.execute(
            "INSERT INTO public.webhook_secrets (id, source, sealed) VALUES ($1, $1, $2)",
            name,
            sealer.seal(OLD, name, name),
        )
    await api.server.app[SOURCES].all()
    statuses = {name: await api.status(OLD, name) for name in names}
    # The API's own ask for credentials; closed doors and what is none of ours are 404.
    assert statuses == {
        "sources": 401,
        "deliveries": 405,
        "replay": 404,
        "summary": 405,
        "github": 404,
        "dodo": 404,
        "stripe": 404,
    }
    assert not await rows(api.server)


async def test_answers_of_a_door(api: Caller) -> None:
    await api.make(secret=OLD)
    signed = by_standard(OLD)
    no_time = {name: value for name, value in signed.items() if name != "webhook-timestamp"}
    stale = signed | {"webhook-timestamp": "1700000000"}
    big = b'"' + b"x" * (1024 * 1024) + b'"'
    for headers, body, status, error in (
        ({}, BODY, 400, "No signature"),
        (no_time, BODY, 400, "No signature"),
        (stale, BODY, 401, "Invalid signature"),
        (by_standard(NEW), BODY, 401, "Invalid signature"),
        (signed, BODY + b" ", 401, "Invalid signature"),
        (by_standard(OLD, b"no json"), b"no json", 400, "Invalid input"),
        (by_standard(OLD, big), big, 413, "Payload too large"),
        (signed | {"Content-Encoding": "gzip"}, BODY, 415, "Unsupported media type"),
    ):
        answer = await api.deliver(headers, body)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert not await rows(api.server)
    url = f"{api.server.url}/api/webhooks/acme"
    assert (await api.client.get(url)).status_code == 405
