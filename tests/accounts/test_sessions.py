from __future__ import annotations

import pytest

from server.auth import sessions
from server.keys import POOL
from tests.accounts.serving import ADA, COOKIE, Accounts
from tests.served import BEARER

pytestmark = pytest.mark.asyncio(loop_scope="package")

LIST = "/api/auth/list-sessions"
SHAPE = {
    "id", "userId", "token", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent",
}  # fmt: skip


async def test_the_present_session_is_told_without_its_secret(server: Accounts) -> None:
    client = await server.ada()
    answer = await client.get("/api/auth/get-session")
    body = answer.json()
    assert set(body["session"]) == SHAPE
    assert body["session"]["token"] == body["session"]["id"]
    assert body["session"]["ipAddress"] == "127.0.0.1"
    assert body["session"]["userAgent"].startswith("python-httpx/")
    assert body["user"]["email"] == ADA["email"]
    assert client.cookies[COOKIE] not in answer.text
    assert body["session"]["expiresAt"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"


async def test_two_sessions_are_listed_and_one_revokes_the_other(server: Accounts) -> None:
    first = await server.ada()
    second = await server.signed_in()
    listed = (await second.get(LIST)).json()
    assert [set(item) for item in listed] == [SHAPE, SHAPE]
    own = (await second.get("/api/auth/get-session")).json()["session"]["id"]
    assert own == listed[0]["id"]
    answer = await second.post("/api/auth/revoke-session", json={"token": listed[1]["token"]})
    assert answer.json() == {"status": True}
    assert "set-cookie" not in answer.headers
    assert (await first.get("/api/auth/get-session")).json() is None
    assert (await first.get(LIST)).status_code == 401
    assert [item["id"] for item in (await second.get(LIST)).json()] == [own]


async def test_a_session_may_be_named_by_its_token_too(server: Accounts) -> None:
    client = await server.ada()
    _, token = await server.sign_in()
    other = await server.signed_in()
    await client.post("/api/auth/revoke-session", json={"token": other.cookies[COOKIE]})
    assert len((await client.get(LIST)).json()) == 1
    await client.post("/api/auth/revoke-session", json={"token": token})
    assert (await server.client(token).get(LIST)).status_code == 200, "another user's"


async def test_revoking_the_own_session_deletes_the_cookie(server: Accounts) -> None:
    client = await server.ada()
    own = (await client.get("/api/auth/get-session")).json()["session"]["token"]
    answer = await client.post("/api/auth/revoke-session", json={"token": own})
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_all_others_or_all_sessions_end(server: Accounts) -> None:
    first, second = await server.ada(), await server.signed_in()
    third = await server.signed_in()
    assert (await second.post("/api/auth/revoke-other-sessions", json={})).json() == {
        "status": True
    }
    for client in (first, third):
        assert (await client.get("/api/auth/get-session")).json() is None
    assert (await second.post("/api/auth/revoke-sessions", json={})).json() == {"status": True}
    assert await server.sql("SELECT count(*) FROM sessions") == 0


async def test_the_streams_of_a_revoked_session_end_at_once(server: Accounts) -> None:
    client = await server.ada()
    user = (await client.get("/api/auth/get-session")).json()["user"]["id"]
    token = client.cookies[COOKIE]
    stream, _ = await server.live(f"user.{user}.>", headers={"Authorization": f"Bearer {token}"})
    public, _ = await server.live("public.a")
    await client.post("/api/auth/sign-out")
    assert (await stream.named("bye")).data["reason"] == "revoked"
    await server.publish("public.a", 1)
    assert (await public.named(None)).data["data"] == 1


async def test_keys_and_nobody_have_no_sessions_to_list(server: Accounts) -> None:
    assert (await server.client().get(LIST)).status_code == 401
    assert (await server.client(**BEARER).get(LIST)).status_code == 403


async def test_a_user_has_so_many_sessions_and_no_more(server: Accounts) -> None:
    await server.ada()
    user = await server.sql("SELECT id FROM users")
    await server.app[POOL].executemany(
        "INSERT INTO sessions (user_id, token_hash, expires_at, created_at)"
        " VALUES ($1, $2, now() + interval '1 day', now() - interval '1 hour')",
        [(user, sessions.token_hash(str(number))) for number in range(sessions.MAX_PER_USER)],
    )
    client = await server.signed_in()
    assert len((await client.get(LIST)).json()) == sessions.MAX_PER_USER


async def test_expired_sessions_are_forgotten(server: Accounts) -> None:
    await server.ada()
    await server.signed_in()
    pool = server.app[POOL]
    assert await sessions.delete_expired(pool) == 0
    await pool.execute("UPDATE sessions SET expires_at = now() - interval '1 s'")
    assert await sessions.delete_expired(pool) == 2
    assert await server.sql("SELECT count(*) FROM sessions") == 0


async def test_hostile_headers_are_stored_as_far_as_they_can_be(server: Accounts) -> None:
    _, token = await server.sign_in()
    user = await server.sql("SELECT user_id FROM sessions")
    pool = server.app[POOL]
    await sessions.create(pool, user, user_agent="x" * 5000)
    await sessions.create(pool, user, user_agent="\udcff\0é")
    rows = (await server.client(token).get(LIST)).json()
    assert {row["userAgent"] for row in rows} == {None, "x" * 300, "?é"}
