"""The API of sources: who may, what is refused, what is told, and that secrets never are."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from server.keys import POOL
from server.webhooks.sources.cache import SOURCES
from tests.webhooks.sending import (
    SHOPIFY,
    SLACK,
    STANDARD,
    Caller,
    by_slack,
)
from tests.webhooks.shared import SHARED, api, client, reused, server, shared

__all__ = ["api", "client", "reused", "server", "shared"]
pytestmark = SHARED

SECRET = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ="
PASSPHRASE = "hush, hush: a passphrase"


async def key(api: Caller, *scopes: str, channels: tuple[str, ...] = ()) -> str:
    """A new API key."""
    _, admin = await api.server.sign_in("admin")
    answer = await api.client.post(
        f"{api.server.url}/api/keys",
        json={"name": "K", "scopes": scopes, "channels": channels},
        headers={"Authorization": f"Bearer {admin}"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


async def told(api: Caller, since: int) -> list[dict[str, Any]]:
    """What `ops.webhooks` has of sources, after a position."""
    await api.server.settled()
    rows = await api.server.app[POOL].fetch(
        "SELECT key, data FROM tailrace.event"
        " WHERE channel = 'ops.webhooks' AND type = 'webhook.source' AND pos > $1 ORDER BY pos",
        since,
    )
    found = [json.loads(row["data"]) for row in rows]
    assert [it["name"] for it in found] == [row["key"] for row in rows]
    return found


async def test_admins_and_keys_of_the_scope_may_and_nobody_else(api: Caller) -> None:
    made = await api.make()
    paths = [
        ("GET", "", None),
        ("GET", "/acme", None),
        ("POST", "", {"name": "new", "scheme": STANDARD}),
        ("PATCH", "/acme", {"paused": True}),
        ("POST", "/acme/secrets", {}),
        ("DELETE", f"/acme/secrets/{made['secrets'][0]['id']}", None),
        ("DELETE", "/acme", None),
    ]
    _, user = await api.server.sign_in()
    other = await key(api, "publish", "read", "notify", channels=(">",))
    for token, status in (("nonsense", 401), (user, 403), (other, 403)):
        for method, path, body in paths:
            answer = await api.call(method, path, body, token)
            assert answer.status_code == status, (method, path, answer.text)
    anonymous = await api.client.get(f"{api.server.url}/api/webhooks/sources")
    assert anonymous.status_code == 401
    _, admin = await api.server.sign_in("admin")
    for token in (admin, await key(api, "webhooks")):
        for method, path, body in paths:
            answer = await api.call(method, path, body, token)
            assert answer.status_code in (200, 201, 204), (method, path, answer.text)
        await api.call("DELETE", "/new")
        made = await api.make()
        paths[5] = ("DELETE", f"/acme/secrets/{made['secrets'][0]['id']}", None)


async def test_a_key_names_only_channels_that_it_may_publish_to(api: Caller) -> None:
    body = {"name": "acme", "scheme": STANDARD, "channel": "public.acme.events"}
    assert (await api.call("POST", "", body, await key(api, "webhooks"))).status_code == 403
    narrow = await key(api, "webhooks", "publish", channels=("public.acme.*",))
    assert (await api.call("POST", "", body, narrow)).status_code == 201
    change = {"channel": "public.other"}
    assert (await api.call("PATCH", "/acme", change, narrow)).status_code == 403
    assert (await api.call("PATCH", "/acme", {"channel": None}, narrow)).status_code == 200
    assert (await api.told())["channel"] is None
    _, admin = await api.server.sign_in("admin")
    assert (await api.call("PATCH", "/acme", change, admin)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "ops.webhooks"},
        {"channel": "ops"},
        {"channel": "table.public.contacts"},
        {"channel": "public.*"},
        {"channel": "public..a"},
        {"channel": "public.a\n"},
        {"scheme": {"kind": "stripe"}},
        {"scheme": {"kind": "standard", "header": "x"}},
        {"scheme": {"kind": "hmac"}},
        {"scheme": {"kind": "hmac", "header": "a b"}},
        {"scheme": SLACK | {"template": "{body}"}},
        {"scheme": SHOPIFY | {"algorithm": "md5"}},
        {"scheme": STANDARD | {"tolerance": 0}},
        {"scheme": None},
        {"scheme": []},
        {"unknown": 1},
    ],
)
async def test_what_can_not_be_a_source_is_refused(api: Caller, change: dict[str, Any]) -> None:
    body = {"name": "acme", "scheme": STANDARD} | change
    assert (await api.call("POST", "", body)).status_code == 400
    await api.make()
    assert (await api.call("PATCH", "/acme", change)).status_code == 400
    assert (await api.told())["scheme"] == STANDARD | {"tolerance": 300}


async def test_names_and_secrets_are_judged(api: Caller) -> None:
    for name in ("", "A", "-a", "a.b", "a b", "a/b", "a" * 51, "ä", "a\n", "stripe", "sources", 7):
        answer = await api.call("POST", "", {"name": name, "scheme": STANDARD})
        assert (answer.status_code, answer.json()["issues"][0]["path"]) == (400, ["name"]), name
    await api.make("a" * 50)
    for secret in (PASSPHRASE, "whsec_!", "whsec_YQ==", "whsk_" + "A" * 44, " ", "x" * 1025, ""):
        answer = await api.call("POST", "", {"name": "b", "scheme": STANDARD, "secret": secret})
        assert answer.status_code == 400, secret
        assert len(secret) < 4 or secret not in answer.text
        answer = await api.call("POST", f"/{'a' * 50}/secrets", {"secret": secret})
        assert answer.status_code == 400, secret
    for overlap in (-1, 31 * 86_400, 1.5, "x"):
        answer = await api.call("POST", f"/{'a' * 50}/secrets", {"overlapSeconds": overlap})
        assert answer.status_code == 400, overlap
    assert (await api.call("PATCH", f"/{'a' * 50}", {})).status_code == 400


async def test_a_name_is_given_once_even_at_the_same_moment(api: Caller) -> None:
    bodies = [{"name": "acme", "scheme": STANDARD}] * 5
    answers = await asyncio.gather(*(api.call("POST", "", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    [made] = [answer.json() for answer in answers if answer.status_code == 201]
    assert await api.status(made["secret"]) == 200
    assert answers[0].headers.get("location", "/api/webhooks/sources/acme").endswith("/acme")


async def test_there_are_two_hundred_at_most(api: Caller) -> None:
    await api.server.app[POOL].execute(
        "INSERT INTO public.webhook_sources (name, scheme)"
        " SELECT 'n' || n, '{\"kind\": \"standard\"}' FROM generate_series(1, 199) n"
    )
    bodies = [{"name": f"m{number}", "scheme": STANDARD} for number in range(4)]
    answers = await asyncio.gather(*(api.call("POST", "", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    await api.call("PATCH", "/github", {"paused": True})  # is not one of them
    await api.call("DELETE", "/n1")
    await api.make("m9")


async def test_a_built_in_source_can_be_paused_and_nothing_else(api: Caller) -> None:
    for paused in (True, True, False):
        answer = await api.call("PATCH", "/stripe", {"paused": paused})
        assert answer.json()["paused"] is paused
    for method, path, body in (
        ("PATCH", "/stripe", {"channel": "public.x"}),
        ("PATCH", "/stripe", {"scheme": STANDARD, "paused": True}),
        ("DELETE", "/stripe", None),
        ("POST", "/stripe/secrets", {}),
        ("DELETE", "/stripe/secrets/1", None),
    ):
        assert (await api.call(method, path, body)).status_code == 409, (method, path)
    assert (await api.told("stripe"))["paused"] is False


async def test_another_scheme_must_fit_the_secrets(api: Caller) -> None:
    await api.make(scheme=SLACK, secret=PASSPHRASE)
    answer = await api.call("PATCH", "/acme", {"scheme": STANDARD})
    assert answer.status_code == 409
    assert PASSPHRASE not in answer.text
    await api.rotate(secret=SECRET, overlapSeconds=0)
    assert (await api.call("PATCH", "/acme", {"scheme": STANDARD})).status_code == 200
    assert (await api.deliver(by_slack(SECRET))).status_code == 400
    assert await api.status(SECRET) == 200


async def test_a_paused_source_takes_deliveries_and_keeps_what_else_it_is(api: Caller) -> None:
    made = await api.make(secret=SECRET, channel="public.acme")
    changed = (await api.call("PATCH", "/acme", {"paused": True})).json()
    assert changed | {"paused": False, "updatedAt": ""} == {
        name: value for name, value in made.items() if name != "secret"
    } | {"updatedAt": ""}
    assert await api.status(SECRET) == 200
    state = await api.server.app[POOL].fetchval("SELECT state FROM public.webhook_deliveries")
    assert state == "pending"


async def test_each_change_is_an_event_on_ops_webhooks(api: Caller) -> None:
    await api.server.settled()
    since = api.server.service.pubsub.position
    made = await api.make(channel="public.acme")
    await api.call("PATCH", "/acme", {"paused": True})
    await api.call("PATCH", "/acme", {"channel": None, "paused": False})
    await api.rotate()
    await api.call("DELETE", f"/acme/secrets/{made['secrets'][0]['id']}")
    await api.call("PATCH", "/dodo", {"paused": True})
    await api.call("POST", "", {"name": "acme", "scheme": STANDARD})  # 409: nothing changed
    await api.call("DELETE", "/acme")
    plain = {"name": "acme", "builtin": False, "paused": False, "channel": None, "removed": False}
    assert await told(api, since) == [
        plain | {"channel": "public.acme"},
        plain | {"channel": "public.acme", "paused": True},
        plain,
        plain,
        plain,
        plain | {"name": "dodo", "builtin": True, "paused": True},
        plain | {"removed": True},
    ]


async def test_the_events_of_a_source_come_on_its_channel(api: Caller) -> None:
    made = await api.make(channel="public.acme")
    stream, _ = await api.server.live("public.acme")
    assert await api.status(made["secret"]) == 200
    [block] = await stream.messages(1)
    assert (block.data["type"], block.data["key"]) == ("contact.created", "u1")
    assert block.data["data"] == {"id": "c1", "user_id": "u1"}


async def test_a_secret_is_told_once_and_nowhere_else(
    api: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await api.make()
    added = await api.rotate()
    shown = [made["secret"], added["secret"]]
    assert len(set(shown)) == 2
    api.heard.clear()  # these two answers had them
    await api.make("given", secret=SECRET)
    await api.rotate("given", secret=SECRET[:-2] + "A=")
    await api.make("hmac", SLACK, secret=PASSPHRASE)
    hidden = [*shown, SECRET, SECRET[:-2] + "A=", PASSPHRASE]
    for name in ("acme", "given", "hmac"):
        await api.call("POST", "", {"name": name, "scheme": STANDARD, "secret": SECRET})
        await api.call("PATCH", f"/{name}", {"scheme": STANDARD, "paused": True})
        await api.call("POST", f"/{name}/secrets", {"secret": f" {PASSPHRASE} "})
        await api.call("POST", f"/{name}/secrets", {"secret": SECRET, "overlapSeconds": "x"})
        await api.call("GET", f"/{name}")
        await api.status(SECRET, name)
        await api.deliver(by_slack(PASSPHRASE), name=name)
        await api.deliver({}, name=name)
    await api.call("GET", "")
    await api.call("DELETE", "/given")
    await api.server.settled()
    pool = api.server.app[POOL]
    places = {
        "answers": "\n".join(api.heard),
        "log": caplog.text,
        "objects": repr(await api.server.app[SOURCES].all()),
    }
    for table in (
        "tailrace.event",
        "public.webhook_sources",
        "public.webhook_secrets",
        "public.webhook_deliveries",
    ):
        rows = await pool.fetch(f"SELECT t::text AS row FROM {table} t")
        assert rows, table
        places[table] = "\n".join(row["row"] for row in rows)
    for secret in hidden:
        for form in (secret, secret.removeprefix("whsec_"), secret.encode().hex()):
            assert [name for name, text in places.items() if form in text] == []
