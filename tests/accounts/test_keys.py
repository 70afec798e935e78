from __future__ import annotations

from typing import Any

import pytest

from server.accounts.keys import MAX_KEYS
from tests.accounts.serving import Accounts
from tests.served import BEARER
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="package")

EVENT = {"channel": "public.a", "type": "t", "data": 1}


async def test_a_key_is_shown_once_and_stored_hashed(server: Accounts) -> None:
    admin = await server.admin()
    body = {
        "name": "shop",
        "scopes": ["publish", "read"],
        "channels": ["shop.>"],
        "rate": {"requests": 5, "seconds": 60},
        "expiresAt": "2030-01-01T00:00:00+01:00",
    }
    answer = await admin.post("/api/keys", json=body)
    assert answer.status_code == 201
    made = answer.json()
    key = made.pop("key")
    assert key.startswith("trk_")
    assert len(key) == 36
    assert made["start"] == key[:10]
    assert made["rate"] == body["rate"]
    assert made["expiresAt"] == "2029-12-31T23:00:00.000Z"
    assert made["lastUsedAt"] is None
    listed = (await admin.get("/api/keys")).json()
    assert listed == {"keys": [made]}
    row = await server.sql("SELECT api_keys::text FROM api_keys")
    assert key not in row
    assert key not in str(listed)


async def test_only_admins_have_to_do_with_keys(server: Accounts) -> None:
    identifier, key = await server.key("publish", "read", "notify", "webhooks")
    user = await server.ada()
    others = [(server.client(), 401), (user, 403), (server.client(key), 403)]
    others.append((server.client(**BEARER), 403))
    for client, status in others:
        assert (await client.get("/api/keys")).status_code == status
        made = await client.post("/api/keys", json={"name": "x", "scopes": ["read"]})
        assert made.status_code == status
        assert (await client.delete(f"/api/keys/{identifier}")).status_code == status


async def test_a_key_may_do_what_its_scopes_say(server: Accounts) -> None:
    _, writer = await server.key("publish")
    _, reader = await server.key("read", channels=["shop.*", "ops.>"])
    assert (await server.client(writer).post("/api/events", json=EVENT)).status_code == 200
    assert (await server.client(reader).post("/api/events", json=EVENT)).status_code == 403
    for key, channel, status in (
        (reader, "shop.a", 200), (reader, "shop.*", 200), (reader, "public.a", 200),
        (reader, "shop.a.b", 403), (reader, "shop.>", 403), (reader, "user.x.y", 403),
        (writer, "shop.a", 403), (writer, "public.a", 200),
    ):  # fmt: skip
        stream = await server.open(channel, headers={"Authorization": f"Bearer {key}"})
        assert stream.status == status, (channel, status)


async def test_a_key_publishes_to_its_channels_alone(server: Accounts) -> None:
    _, key = await server.key("publish", channels=["shop.*", "public.a"])
    client = server.client(key)
    for channel, status in (("shop.a", 200), ("public.a", 200), ("public.b", 403), ("shop", 403)):
        answer = await client.post("/api/events", json=EVENT | {"channel": channel})
        assert answer.status_code == status, channel
    both = {"events": [EVENT, EVENT | {"channel": "user.ada.secret"}]}
    assert (await client.post("/api/events", json=both)).status_code == 403
    assert await server.sql("SELECT count(*) FROM tailrace.event WHERE channel LIKE 'user%'") == 0
    admin = await server.admin()
    nowhere = await admin.post("/api/keys", json={"name": "x", "scopes": ["publish"]})
    assert nowhere.status_code == 400


async def test_a_key_has_a_rate_of_its_own(server: Accounts) -> None:
    wide = {"requests": 2, "seconds": 600}
    _, key = await server.key("read", channels=["a"], rate=wide)
    _, other = await server.key("read", channels=["a"], rate=wide)
    client, body = server.client(key), {"channels": ["a"]}
    codes = [(await client.post("/api/streams/token", json=body)).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = await client.post("/api/streams/token", json=body)
    assert refused.json()["resetAt"]
    assert int(refused.headers["retry-after"]) > 500
    assert (await server.client(other).post("/api/streams/token", json=body)).status_code == 200


async def test_its_last_use_is_written_once_a_minute(server: Accounts) -> None:
    _, key = await server.key("publish")
    client = server.client(key)
    await client.post("/api/events", json=EVENT)

    async def used() -> Any:
        return await server.sql("SELECT last_used_at FROM api_keys")

    await until(used)
    first = await used()
    await client.post("/api/events", json=EVENT)
    _, other = await server.key("publish")
    await server.client(other).post("/api/events", json=EVENT)
    await until(lambda: server.sql("SELECT bool_and(last_used_at IS NOT NULL) FROM api_keys"))
    assert await server.sql("SELECT last_used_at = $1 FROM api_keys ORDER BY created_at", first)


async def test_a_revoked_expired_or_orphaned_key_is_refused_at_once(server: Accounts) -> None:
    admin = await server.admin()
    identifier, key = await server.key("read", channels=["shop.a"])
    bearer = {"Authorization": f"Bearer {key}"}
    stream, _ = await server.live("shop.a", headers=bearer)
    assert (await admin.delete(f"/api/keys/{identifier}")).json() == {"success": True}
    assert (await stream.named("bye")).data["reason"] == "revoked"
    assert (await server.open("public.a", headers=bearer)).status == 401
    assert (await admin.delete(f"/api/keys/{identifier}")).status_code == 404
    _, expired = await server.key("read")
    await server.sql("UPDATE api_keys SET expires_at = now()")
    _, orphan = await server.key("read")
    await server.sql("DELETE FROM users WHERE id = (SELECT user_id FROM api_keys"
                     " WHERE expires_at IS NULL)")  # fmt: skip
    for gone in (expired, orphan):
        headers = {"Authorization": f"Bearer {gone}"}
        assert (await server.open("public.a", headers=headers)).status == 401


async def test_there_are_so_many_keys_and_no_more(server: Accounts) -> None:
    admin = await server.admin()
    await server.sql(
        "INSERT INTO api_keys (user_id, name, start, key_hash, scopes)"
        " SELECT u.id, 'x', 'trk_', sha256(n::text::bytea), '{}'"
        " FROM users u, generate_series(1, $1) n",
        MAX_KEYS,
    )
    answer = await admin.post("/api/keys", json={"name": "x", "scopes": ["read"]})
    assert answer.status_code == 409
    assert len((await admin.get("/api/keys")).json()["keys"]) == MAX_KEYS


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, ["name"]),
        ({"scopes": []}, ["scopes"]),
        ({"scopes": ["root"]}, ["scopes", 0]),
        ({"channels": ["a..b"]}, ["channels", 0]),
        ({"channels": ["a.>.b"]}, ["channels", 0]),
        ({"channels": ["a\n"]}, ["channels", 0]),
        ({"channels": ["x" * 201]}, ["channels", 0]),
        ({"channels": ["a"] * 129}, ["channels"]),
        ({"rate": {"requests": 0, "seconds": 1}}, ["rate", "requests"]),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, ["expiresAt"]),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, ["expiresAt"]),
        ({"expiresAt": "0001-01-01T00:00:00+23:59"}, ["expiresAt"]),
        ({"expiresAt": "2030-01-01T00:00:00"}, ["expiresAt"]),
        ({"admin": True}, ["admin"]),
    ],
)
async def test_bad_fields_are_400_with_their_path(
    server: Accounts, change: dict[str, Any], path: list[Any]
) -> None:
    admin = await server.admin()
    answer = await admin.post("/api/keys", json={"name": "x", "scopes": ["read"]} | change)
    assert answer.status_code == 400
    assert [issue["path"] for issue in answer.json()["issues"]] == [path]


@pytest.mark.parametrize("identifier", ["x" * 101, "a.b", "%00", "'; DROP TABLE users", "é"])
async def test_what_is_no_id_is_404(server: Accounts, identifier: str) -> None:
    admin = await server.admin()
    assert (await admin.delete(f"/api/keys/{identifier}")).status_code == 404
